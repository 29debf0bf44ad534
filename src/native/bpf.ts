import { closeSync, readFileSync } from "node:fs";
import { addressOf, type Kernel, SystemCallError, stableBuffer, stableString } from "./syscall.ts";

/**
 * bpf(2), as much of its programs as counting needs (its maps: bpf-map.ts). Field offsets are those of `union bpf_attr` in
 * the kernel's include/uapi/linux/bpf.h, which only ever grows at its end.
 */

const PROG_LOAD = 5;
const RAW_TRACEPOINT_OPEN = 17;
/** What runs a program: uprobes, or a tracepoint of the kernel. */
const PROG_TYPE = { kprobe: 2, rawTracepoint: 17 } as const;
const ATTR_BYTES = 72;
const LOG_BYTES = 1 << 16;

/** A program of the kernel. It is gone when its last user (an attached event) is closed. */
export class BpfProgram {
  readonly fd: number;

  /**
   * Loads a program, of the type that uprobes run unless another is asked for.
   * @throws SystemCallError with the end of the verifier's log: EPERM without rights, EINVAL when a helper is not known.
   */
  constructor(kernel: Kernel, name: string, instructions: Buffer, type: keyof typeof PROG_TYPE = "kprobe") {
    const code = stableBuffer(instructions.length);
    instructions.copy(code);
    // Some helpers are for programs under the GPL only: the license of the program in the kernel, not of this file.
    const license = stableString("GPL");
    const attr = stableBuffer(ATTR_BYTES);
    attr.writeUInt32LE(PROG_TYPE[type], 0);
    attr.writeUInt32LE(instructions.length / 8, 4);
    attr.writeBigUInt64LE(addressOf(code), 8);
    attr.writeBigUInt64LE(addressOf(license), 16);
    attr.write(name, 48, 15, "latin1");
    const load = () => kernel("bpf", PROG_LOAD, addressOf(attr), ATTR_BYTES);
    try {
      this.fd = load();
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code === "EPERM") throw error;
      throw new SystemCallError("bpf", error.code, explain(attr, load));
    }
  }

  /** Runs that the kernel left out because a program was already running on that CPU; 0 before Linux 5.12. */
  misses(): number {
    const text = readFileSync(`/proc/self/fdinfo/${this.fd}`, "latin1");
    return Number(MISSES.exec(text)?.[1] ?? 0);
  }

  close(): void {
    closeSync(this.fd);
  }
}

/**
 * Runs a program of the type `rawTracepoint` at a tracepoint of the kernel, until what it returns is called, at the latest
 * until this process ends.
 * @throws SystemCallError: EPERM without CAP_PERFMON, ENOENT for a name that the kernel does not have.
 */
export function attachTracepoint(kernel: Kernel, tracepoint: string, program: BpfProgram): () => void {
  const name = stableString(tracepoint);
  const attr = stableBuffer(ATTR_BYTES);
  attr.writeBigUInt64LE(addressOf(name), 0);
  attr.writeUInt32LE(program.fd, 8);
  const fd = kernel("bpf", RAW_TRACEPOINT_OPEN, addressOf(attr), ATTR_BYTES);
  return () => closeSync(fd);
}

const MISSES = /^recursion_misses:\s*(\d+)$/m;

/** What the verifier says when it is asked again with a log. */
function explain(attr: Buffer, load: () => number): string {
  const log = stableBuffer(LOG_BYTES);
  attr.writeUInt32LE(1, 24);
  attr.writeUInt32LE(LOG_BYTES, 28);
  attr.writeBigUInt64LE(addressOf(log), 32);
  try {
    closeSync(load());
  } catch {
    // The log is what is wanted.
  }
  const end = log.indexOf(0);
  return log.toString("latin1", 0, end).trim().split("\n").slice(-3).join(" | ").slice(0, 400);
}
