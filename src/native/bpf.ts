import { closeSync, readFileSync } from "node:fs";
import { addressOf, type Kernel, SystemCallError, stableBuffer, stableString } from "./syscall.ts";

/**
 * bpf(2), as much of it as counting needs. Field offsets are those of `union bpf_attr` in the kernel's
 * include/uapi/linux/bpf.h, which only ever grows at its end.
 */

const MAP_CREATE = 0;
const MAP_LOOKUP = 1;
const MAP_UPDATE = 2;
const MAP_DELETE = 3;
const MAP_GET_NEXT_KEY = 4;
const PROG_LOAD = 5;
const RAW_TRACEPOINT_OPEN = 17;
const MAP_TYPE_HASH = 1;
const MAP_TYPE_ARRAY = 2;
/** What runs a program: uprobes, or a tracepoint of the kernel. */
const PROG_TYPE = { kprobe: 2, rawTracepoint: 17 } as const;
const ATTR_BYTES = 72;
const LOG_BYTES = 1 << 16;
const RLIMIT_MEMLOCK = 8;

export interface MapShape {
  readonly kind: "hash" | "array";
  /** At most 15 characters; for those who list maps. */
  readonly name: string;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
}

/** Kernels before 5.11 charge maps to RLIMIT_MEMLOCK, 64 KiB by default, and answer EPERM. */
function raiseMemlock(kernel: Kernel): void {
  const unlimited = stableBuffer(16).fill(0xff);
  kernel("prlimit64", 0, RLIMIT_MEMLOCK, addressOf(unlimited), 0);
}

/** A map of the kernel, filled by programs and read here. It is gone when its last user closes it. */
export class BpfMap {
  readonly fd: number;
  readonly shape: MapShape;
  readonly #kernel: Kernel;
  readonly #attr = stableBuffer(ATTR_BYTES);
  readonly #key: Buffer;
  readonly #next: Buffer;
  readonly #value: Buffer;

  /** @throws SystemCallError: EPERM without CAP_BPF or CAP_SYS_ADMIN. */
  constructor(kernel: Kernel, shape: MapShape) {
    this.#kernel = kernel;
    this.shape = shape;
    this.#key = stableBuffer(shape.keyBytes);
    this.#next = stableBuffer(shape.keyBytes);
    this.#value = stableBuffer(shape.valueBytes);
    const attr = stableBuffer(ATTR_BYTES);
    attr.writeUInt32LE(shape.kind === "hash" ? MAP_TYPE_HASH : MAP_TYPE_ARRAY, 0);
    attr.writeUInt32LE(shape.keyBytes, 4);
    attr.writeUInt32LE(shape.valueBytes, 8);
    attr.writeUInt32LE(shape.maxEntries, 12);
    attr.write(shape.name, 28, 15, "latin1");
    this.fd = createMap(kernel, attr);
    this.#attr.writeUInt32LE(this.fd, 0);
    this.#attr.writeBigUInt64LE(addressOf(this.#key), 8);
  }

  /** A copy of the value of `key`; null when there is none. */
  get(key: Buffer): Buffer | null {
    key.copy(this.#key);
    return this.#call(MAP_LOOKUP, this.#value) ? Buffer.from(this.#value) : null;
  }

  set(key: Buffer, value: Buffer): void {
    key.copy(this.#key);
    value.copy(this.#value);
    this.#call(MAP_UPDATE, this.#value);
  }

  /** Nothing happens when there is no such key. */
  delete(key: Buffer): void {
    key.copy(this.#key);
    this.#call(MAP_DELETE, null);
  }

  /**
   * All entries. Entries that programs add meanwhile may be missed, and a deleted one can make the kernel start over:
   * each key is returned once.
   */
  entries(): { readonly key: Buffer; readonly value: Buffer }[] {
    const seen = new Set<string>();
    const keys: Buffer[] = [];
    // A null key asks for the first one.
    this.#attr.writeBigUInt64LE(0n, 8);
    let more = this.#call(MAP_GET_NEXT_KEY, this.#next);
    this.#attr.writeBigUInt64LE(addressOf(this.#key), 8);
    for (let steps = 0; more && steps < this.shape.maxEntries * 4; steps += 1) {
      const name = this.#next.toString("latin1");
      if (!seen.has(name)) keys.push(Buffer.from(this.#next));
      seen.add(name);
      this.#next.copy(this.#key);
      more = this.#call(MAP_GET_NEXT_KEY, this.#next);
    }
    return keys.flatMap((key) => {
      const value = this.get(key);
      return value === null ? [] : [{ key, value }];
    });
  }

  close(): void {
    closeSync(this.fd);
  }

  /** False for ENOENT; every other error is thrown. */
  #call(command: number, value: Buffer | null): boolean {
    this.#attr.writeBigUInt64LE(value === null ? 0n : addressOf(value), 16);
    try {
      this.#kernel("bpf", command, addressOf(this.#attr), ATTR_BYTES);
      return true;
    } catch (error) {
      if (error instanceof SystemCallError && error.code === "ENOENT") return false;
      throw error;
    }
  }
}

function createMap(kernel: Kernel, attr: Buffer): number {
  const create = () => kernel("bpf", MAP_CREATE, addressOf(attr), ATTR_BYTES);
  try {
    return create();
  } catch (error) {
    if (!(error instanceof SystemCallError) || error.code !== "EPERM") throw error;
    try {
      raiseMemlock(kernel);
    } catch {
      throw error;
    }
    return create();
  }
}

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
