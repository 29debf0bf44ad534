import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { FileLine } from "../../sensors/log-file.ts";
import { MESSAGE_LIMIT } from "../../sensors/log-limits.ts";
import { NO_PREFIX, PREFIX_LIMIT, parseLinePrefix } from "../../sensors/log-times.ts";
import type { FileSourcePosition } from "./log-position.ts";

/** Bytes before the place of reading that are compared at each read: they change when a file is truncated and grows again. */
const TAIL = 256;
const CHUNK = 256 << 10;
const NEWLINE = 10;
const RETURN = 13;

export interface FileLineRead {
  readonly entry: FileLine;
  /** Behind the line. */
  readonly position: () => FileSourcePosition;
}

export interface FileRead {
  readonly lines: readonly FileLineRead[];
  readonly gaps: readonly string[];
  readonly more: boolean;
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** One open file that is read as it grows, from where an earlier reader stopped. */
export class FollowedFile {
  readonly path: string;
  readonly dev: string;
  readonly ino: string;
  readonly handle: FileHandle;
  /** Another file has the name now. */
  retired = false;
  /** Monotonic milliseconds when it last grew. */
  grewAt: number;
  #offset = 0;
  #midLine = false;
  #tail: Buffer = Buffer.alloc(0);
  readonly #buffer = Buffer.allocUnsafe(CHUNK + TAIL);

  constructor(path: string, handle: FileHandle, id: { readonly dev: string; readonly ino: string }, now: number) {
    this.path = path;
    this.handle = handle;
    this.dev = id.dev;
    this.ino = id.ino;
    this.grewAt = now;
  }

  /** Goes to a kept position. False: the file is not the one of that position any more. */
  async resume(at: FileSourcePosition): Promise<boolean> {
    const tail = Buffer.alloc(at.tailBytes);
    const { bytesRead } = await this.handle.read(tail, 0, tail.length, at.offset - tail.length);
    if (bytesRead < tail.length || sha256(tail) !== at.tail) return false;
    this.#offset = at.offset;
    this.#midLine = at.midLine;
    this.#tail = tail;
    return true;
  }

  /** Behind everything that was handed on. */
  position(): FileSourcePosition {
    return this.#positionAt(this.#offset, this.#midLine, this.#tail);
  }

  #positionAt(offset: number, midLine: boolean, tail: Buffer): FileSourcePosition {
    const { dev, ino } = this;
    return { dev, ino, offset, midLine, tail: sha256(tail), tailBytes: tail.length };
  }

  /** Reads the next chunk of whole lines. `isLast`: what has no newline yet is a line, since nobody writes any more. */
  async read(modifiedAt: number, now: number, isLast: boolean): Promise<FileRead> {
    const tailBytes = this.#tail.length;
    const from = this.#offset - tailBytes;
    const { bytesRead } = await this.handle.read(this.#buffer, 0, CHUNK + tailBytes, from);
    if (bytesRead < tailBytes || this.#buffer.compare(this.#tail, 0, tailBytes, 0, tailBytes) !== 0) {
      const lost = `${this.path}: was truncated at byte ${this.#offset} or before; what was not read until then is lost`;
      this.#offset = 0;
      this.#midLine = false;
      this.#tail = Buffer.alloc(0);
      return { lines: [], gaps: [lost], more: true };
    }
    if (bytesRead > tailBytes) this.grewAt = now;
    const full = bytesRead === CHUNK + tailBytes;
    // The lines keep the bytes: the next reading must not change them.
    const bytes = Buffer.from(this.#buffer.subarray(0, bytesRead));
    const { lines, gaps, used } = this.#lines(bytes, tailBytes, modifiedAt, isLast && !full);
    this.#tail = Buffer.from(bytes.subarray(Math.max(0, used - TAIL), used));
    this.#offset = from + used;
    return { lines, gaps, more: full && used > tailBytes };
  }

  /** The lines of `bytes` from `start` on, and up to where they go. */
  #lines(
    bytes: Buffer,
    start: number,
    modifiedAt: number,
    isLast: boolean,
  ): Omit<FileRead, "more"> & { readonly used: number } {
    const lines: FileLineRead[] = [];
    const gaps: string[] = [];
    const from = this.#offset - start;
    let used = start;
    while (used < bytes.length) {
      const text = afterZeros(bytes, used);
      if (text > used) {
        const zeros = `${text - used} NUL bytes passed over`;
        gaps.push(`${this.path}: ${zeros}: it was truncated under its writer, what was there is lost`);
        used = text;
        continue;
      }
      const newline = bytes.indexOf(NEWLINE, used);
      const end = newline < 0 ? bytes.length : newline;
      const tooLong = newline < 0 && end - used > MESSAGE_LIMIT;
      if (newline < 0 && !tooLong && !isLast) break;
      const next = newline < 0 ? end : newline + 1;
      if (this.#midLine) this.#midLine = newline < 0;
      else {
        const stop = newline > used && bytes[newline - 1] === RETURN ? newline - 1 : end;
        const kept = Math.min(stop, used + MESSAGE_LIMIT);
        if (kept < stop) gaps.push(`${this.path}: a line was longer than ${MESSAGE_LIMIT} bytes and cut`);
        const entry = this.#entry(bytes.subarray(used, kept), from + used, kept < stop, modifiedAt);
        const tail = bytes.subarray(Math.max(0, next - TAIL), next);
        lines.push({ entry, position: () => this.#positionAt(from + next, tooLong, tail) });
        this.#midLine = tooLong;
      }
      used = next;
    }
    return { lines, gaps, used };
  }

  #entry(message: Buffer, offset: number, truncated: boolean, modifiedAt: number): FileLine {
    const start = message.toString("latin1", 0, Math.min(message.length, PREFIX_LIMIT));
    const prefix = message.length === 0 ? NO_PREFIX : parseLinePrefix(start, modifiedAt);
    return new FileLine(this.path, offset, message, truncated, prefix);
  }
}

/** The index of the first byte from `from` on that is not NUL. */
function afterZeros(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && bytes[at] === 0) at += 1;
  return at;
}
