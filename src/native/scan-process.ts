import { type ChildProcess, spawn } from "node:child_process";

/** Descriptors below this one are the child's standard ones. */
export const FIRST_FD = 3;
/** Type of a record (1 byte), three zero bytes, length of what follows. */
const HEAD_BYTES = 8;
const LAST = 0x5a;

export interface ScanRun {
  /** Path of the program: `logScanPath()`. */
  readonly program: string;
  readonly args: readonly string[];
  /** Open files: the first is descriptor FIRST_FD of the program. */
  readonly fds: readonly number[];
  readonly signal: AbortSignal;
  /** Bytes of the output are overwritten as soon as they were told: they may be somebody's payload. */
  readonly wipe?: boolean;
}

/** log-scan (log-scan/src/scan.h) at work. What it finds out waits until it is read; whoever starts it has to end it. */
export class ScanProcess {
  readonly #run: ScanRun;
  readonly #child: ChildProcess;

  constructor(run: ScanRun) {
    this.#run = run;
    this.#child = spawn(run.program, run.args, { stdio: ["ignore", "pipe", "ignore", ...run.fds], env: {} });
    // A program that cannot be started has no output.
    this.#child.on("error", () => undefined);
  }

  /**
   * Tells each record of the output, to the last: its type, a character's code, and its body, whose bytes hold only
   * until `onRecord` returns. False when it did not come to its end: what was told is then worth nothing. Rejects only
   * with what `onRecord` throws.
   */
  async read(onRecord: (type: number, body: Buffer) => void): Promise<boolean> {
    const { signal } = this.#run;
    const end = () => this.end();
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    try {
      const records = new Records(onRecord, this.#run.wipe ?? false);
      for await (const chunk of this.#child.stdout ?? []) {
        records.push(chunk);
        if (records.isDone) return !signal.aborted;
      }
      // It ended without its last word: it was killed, or it crashed.
      return false;
    } catch (error) {
      if (signal.aborted) return false;
      throw error;
    } finally {
      signal.removeEventListener("abort", end);
      end();
    }
  }

  /** One that hangs in a read of a dead file system does not die: it is not waited for. */
  end(): void {
    this.#child.kill("SIGKILL");
    this.#child.stdout?.destroy();
    this.#child.unref();
  }
}

/** Runs log-scan to its last word, as `ScanProcess.read` does. */
export async function runScan(run: ScanRun, onRecord: (type: number, body: Buffer) => void): Promise<boolean> {
  return run.signal.aborted ? false : await new ScanProcess(run).read(onRecord);
}

/** Records of this length are read without another buffer. */
const COMMON_LENGTH = 256 * 1024;

/** Cuts the program's output into its records. All numbers are little endian. */
class Records {
  readonly #onRecord: (type: number, body: Buffer) => void;
  readonly #wipe: boolean;
  /** What is not a whole record yet stands at its start. */
  #bytes = Buffer.alloc(COMMON_LENGTH);
  #length = 0;

  constructor(onRecord: (type: number, body: Buffer) => void, wipe: boolean) {
    this.#onRecord = onRecord;
    this.#wipe = wipe;
  }

  /** The last record was read. */
  isDone = false;

  push(chunk: Buffer): void {
    this.#append(chunk);
    const [bytes, length] = [this.#bytes, this.#length];
    let at = 0;
    while (at + HEAD_BYTES <= length) {
      const end = at + HEAD_BYTES + bytes.readUInt32LE(at + 4);
      if (end > length) break;
      const type = bytes[at] ?? LAST;
      if (type === LAST) this.isDone = true;
      else this.#onRecord(type, bytes.subarray(at + HEAD_BYTES, end));
      at = end;
    }
    bytes.copyWithin(0, at, length);
    this.#length = length - at;
    if (!this.#wipe) return;
    bytes.fill(0, this.#length, length);
    chunk.fill(0);
  }

  #append(chunk: Buffer): void {
    if (this.#length + chunk.length > this.#bytes.length) {
      const old = this.#bytes;
      this.#bytes = Buffer.alloc(2 * (this.#length + chunk.length));
      old.copy(this.#bytes, 0, 0, this.#length);
      if (this.#wipe) old.fill(0);
    }
    chunk.copy(this.#bytes, this.#length);
    this.#length += chunk.length;
  }
}

export function u64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 4294967296;
}

/** A text behind its length. */
export function textAt(bytes: Buffer, at: number): Buffer {
  return bytes.subarray(at + 4, at + 4 + bytes.readUInt32LE(at));
}
