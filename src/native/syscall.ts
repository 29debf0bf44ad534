import { getSystemErrorName } from "node:util";
import koffi from "koffi";

/** A system call that the kernel refused: `call` is its name, `code` the errno name. */
export class SystemCallError extends Error {
  readonly call: string;
  readonly code: string;
  constructor(call: string, code: string, detail = "") {
    super(`${call}: ${code}${detail === "" ? "" : `: ${detail}`}`);
    this.call = call;
    this.code = code;
  }
}

/** Numbers of the system calls used, x86-64 (the kernel's syscall_64.tbl). */
const NUMBERS = { ioctl: 16, prlimit64: 302, perf_event_open: 298, bpf: 321, fsopen: 430, fsconfig: 431, fsmount: 432 };

export type SystemCall = keyof typeof NUMBERS;

const MAX_TRIES = 20;

/** A signal came meanwhile: bpf(2) says so with EAGAIN when it ends the check of a program. */
function isInterruption(call: SystemCall, code: string): boolean {
  return code === "EINTR" || (call === "bpf" && code === "EAGAIN");
}

/** Makes a system call with up to five arguments; throws SystemCallError when it fails. */
export type Kernel = (call: SystemCall, ...args: readonly (number | bigint)[]) => number;

/**
 * The C library's syscall(2). Null where its numbers are not those of this table: another architecture or system.
 * Throws when the C library cannot be loaded.
 */
export function loadKernel(): Kernel | null {
  if (process.platform !== "linux" || process.arch !== "x64") return null;
  // The library that this process already has: glibc or musl, whatever its file is called.
  const call = koffi.load(null).func("int64_t syscall(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t)");
  return (name, ...args) => {
    const [a = 0, b = 0, c = 0, d = 0, e = 0] = args;
    for (let tries = 1; ; tries += 1) {
      const result = Number(call(NUMBERS[name], a, b, c, d, e));
      if (result >= 0) return result;
      const code = getSystemErrorName(-koffi.errno());
      if (!isInterruption(name, code) || tries === MAX_TRIES) throw new SystemCallError(name, code);
    }
  };
}

/** Zeroed bytes that the garbage collector never moves, so that their address may be handed to the kernel. */
export function stableBuffer(length: number): Buffer {
  return Buffer.from(new ArrayBuffer(length));
}

/** A C string in bytes that never move. */
export function stableString(text: string): Buffer {
  const bytes = stableBuffer(Buffer.byteLength(text) + 1);
  bytes.write(text);
  return bytes;
}

/** The address of a stable buffer. The caller keeps the buffer alive until the kernel is done with it. */
export function addressOf(buffer: Buffer): bigint {
  return koffi.address(buffer);
}
