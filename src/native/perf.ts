import { closeSync, readFileSync } from "node:fs";
import type { BpfProgram } from "./bpf.ts";
import { addressOf, type Kernel, SystemCallError, stableBuffer, stableString } from "./syscall.ts";

/**
 * perf_event_open(2) for the uprobe event source. Field offsets are those of `struct perf_event_attr` in the kernel's
 * include/uapi/linux/perf_event.h.
 */

const SOURCE = "/sys/bus/event_source/devices/uprobe";
/** PERF_ATTR_SIZE_VER1: what holds config1 and config2. */
const ATTR_BYTES = 72;
const FLAG_DISABLED = 1n;
const OPEN_CLOEXEC = 8;
const IOC_ENABLE = 0x2400;
const IOC_SET_BPF = 0x4004_2408;

export interface UprobeSource {
  /** The number of the event source on this boot. */
  readonly type: number;
  /** `config` of an event at the function's return. */
  readonly returnConfig: bigint;
  /** A CPU that is online: an event for all processes has to name one, and its program runs on all of them. */
  readonly cpu: number;
}

const BIT = /^config:(\d{1,2})$/;

/** Reads what the kernel says of its uprobe event source. @throws errors of read(2): ENOENT when there is none. */
export function readUprobeSource(directory = SOURCE): UprobeSource {
  const bit = BIT.exec(readFileSync(`${directory}/format/retprobe`, "latin1").trim())?.[1];
  if (bit === undefined) throw new SystemCallError("perf_event_open", "EINVAL", `${directory}/format/retprobe`);
  return {
    type: Number.parseInt(readFileSync(`${directory}/type`, "latin1"), 10),
    returnConfig: 1n << BigInt(bit),
    cpu: Number.parseInt(readFileSync("/sys/devices/system/cpu/online", "latin1"), 10),
  };
}

export interface ProbePlace {
  /** A path that leads to the file now: the kernel keeps the inode. */
  readonly path: string;
  /** File offset of the instruction. */
  readonly offset: number;
  readonly atReturn: boolean;
}

/**
 * Runs `program` whenever any process comes to the place. The probe is gone when the event is closed, at the latest
 * when this process ends, however it ends.
 * @throws SystemCallError: EACCES without CAP_SYS_ADMIN: CAP_PERFMON alone was refused by Linux 6.18.
 */
export class UprobeEvent {
  readonly #fd: number;

  constructor(kernel: Kernel, source: UprobeSource, place: ProbePlace, program: BpfProgram) {
    const path = stableString(place.path);
    const attr = stableBuffer(ATTR_BYTES);
    attr.writeUInt32LE(source.type, 0);
    attr.writeUInt32LE(ATTR_BYTES, 4);
    attr.writeBigUInt64LE(place.atReturn ? source.returnConfig : 0n, 8);
    attr.writeBigUInt64LE(FLAG_DISABLED, 40);
    attr.writeBigUInt64LE(addressOf(path), 56);
    attr.writeBigUInt64LE(BigInt(place.offset), 64);
    this.#fd = kernel("perf_event_open", addressOf(attr), -1, source.cpu, -1, OPEN_CLOEXEC);
    try {
      kernel("ioctl", this.#fd, IOC_SET_BPF, program.fd);
      kernel("ioctl", this.#fd, IOC_ENABLE, 0);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
