import type { FileHandle } from "node:fs/promises";
import { notReadFromError } from "../facts/reading.ts";
import { counted, MESSAGE_LIMIT } from "./log-limits.ts";
import type { LogEntry, LogReader, LogReadOptions, LogReadSummary } from "./log-reader.ts";
import { LogTally } from "./log-summary.ts";
import { type LinePrefix, NO_PREFIX, PREFIX_LIMIT, parseLinePrefix } from "./log-times.ts";
import type { RootFs } from "./root-fs.ts";

const WINDOW_BYTES = 1 << 20;
const NEWLINE = 10;
const CARRIAGE_RETURN = 13;
const ZEROS = Buffer.alloc(WINDOW_BYTES);
const LOCATOR = /:(\d{1,15})$/;

/** One line of a plain file. The message is the whole line, its time prefix included. */
export class FileLine implements LogEntry {
  readonly at: number | null;
  readonly message: Buffer;
  readonly truncated: boolean;
  readonly pid: number | null;
  readonly bootId = null;
  readonly invocationId = null;
  readonly fromManager: boolean;
  readonly folded?: number;
  readonly #path: string;
  readonly #offset: number;

  constructor(path: string, offset: number, message: Buffer, truncated: boolean, prefix: LinePrefix, folded = 0) {
    if (folded > 0) this.folded = folded;
    this.at = prefix.at;
    this.message = message;
    this.truncated = truncated;
    this.pid = prefix.pid;
    this.fromManager = prefix.ident === "systemd" && prefix.pid === 1;
    this.#path = path;
    this.#offset = offset;
  }

  get locator(): string {
    return `${this.#path}:${this.#offset}`;
  }
}

/** What is known of the line that is being put together over several windows. */
interface OpenLine {
  /** Byte offset of its first byte that is kept. */
  offset: number;
  readonly kept: Buffer[];
  bytes: number;
  truncated: boolean;
}

/**
 * Reads a plain log file (the stderr of a unit with `StandardError=append:`) in windows: memory stays flat whatever
 * the file or one line of it is. Reads what is there at the start; lines appended meanwhile are for the next reading.
 */
export class LogFileReader implements LogReader {
  readonly fs: RootFs;
  readonly path: string;

  constructor(path: string, fs: RootFs) {
    this.fs = fs;
    this.path = path;
  }

  async read(onEntry: (entry: LogEntry) => void, options: LogReadOptions): Promise<LogReadSummary> {
    const tally = new LogTally();
    let handle: FileHandle | null = null;
    try {
      handle = await this.fs.open(this.path);
      await new FileRun(this.path, handle, tally, onEntry, options).run();
    } catch (error) {
      if (handle !== null && !isSystemError(error)) throw error;
      tally.gaps.add(notReadFromError(error, this.path).detail);
    } finally {
      await handle?.close();
    }
    return tally.summary("file", this.path);
  }
}

/** Errors of the consumer's callback are the caller's to see; errors of the file are gaps. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}

/** One reading of one file. */
class FileRun {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #tally: LogTally;
  readonly #onEntry: (entry: LogEntry) => void;
  readonly #options: LogReadOptions;
  #line: OpenLine = { offset: 0, kept: [], bytes: 0, truncated: false };
  #modifiedAt = 0;
  /** Time of the last line that had one. */
  #time: number | null = null;
  #cut = 0;
  #zeros = 0;
  #unplaced = 0;

  constructor(
    path: string,
    handle: FileHandle,
    tally: LogTally,
    onEntry: (entry: LogEntry) => void,
    options: LogReadOptions,
  ) {
    this.#path = path;
    this.#handle = handle;
    this.#tally = tally;
    this.#onEntry = onEntry;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { size, mtimeMs } = await this.#handle.stat();
    const { gaps } = this.#tally;
    this.#modifiedAt = mtimeMs;
    if (size === 0) gaps.add(`${this.#path}: the file is empty`);
    const start = this.#startAfter(size);
    let skipping = start !== null;
    let position = start ?? 0;
    this.#line.offset = position;
    const buffer = Buffer.allocUnsafe(Math.min(WINDOW_BYTES, Math.max(1, size)));
    while (position < size) {
      if (this.#options.signal.aborted) {
        this.#tally.stopped();
        return this.#report();
      }
      const { bytesRead } = await this.#handle.read(buffer, 0, Math.min(buffer.length, size - position), position);
      if (bytesRead === 0) {
        gaps.add(
          `${this.#path}: became shorter while it was read (${size} bytes, now ${position}): rotated or truncated`,
        );
        break;
      }
      this.#tally.bytes += bytesRead;
      let from = 0;
      if (skipping) {
        const newline = buffer.subarray(0, bytesRead).indexOf(NEWLINE);
        from = newline < 0 ? bytesRead : newline + 1;
        skipping = newline < 0;
        this.#line.offset = position + from;
      }
      this.#window(buffer.subarray(0, bytesRead), from, position);
      position += bytesRead;
    }
    if (this.#line.bytes > 0) this.#endLine(position);
    this.#report();
  }

  #report(): void {
    const { gaps } = this.#tally;
    if (this.#cut > 0) {
      gaps.add(
        `${this.#path}: ${counted(this.#cut, "line was", "lines were")} longer than ${MESSAGE_LIMIT} bytes and cut`,
      );
    }
    if (this.#zeros > 0) {
      gaps.add(
        `${this.#path}: ${this.#zeros} NUL bytes passed over: the file was truncated under its writer, what was there is lost`,
      );
    }
    if (this.#unplaced > 0) {
      gaps.add(
        `${this.#path}: ${counted(this.#unplaced, "line", "lines")} before the first time in the file: --since and --until were not applied to them`,
      );
    }
  }

  /** The offset of the line that the cursor names, to be passed over; null to start at the beginning. */
  #startAfter(size: number): number | null {
    const { afterCursor } = this.#options;
    if (afterCursor === null) return null;
    const offset = Number(LOCATOR.exec(afterCursor)?.[1] ?? Number.NaN);
    if (afterCursor.startsWith(`${this.#path}:`) && offset < size) return offset;
    this.#tally.gaps.add(`${this.#path}: the line of the cursor is not there any more; read from the start`);
    return null;
  }

  #window(bytes: Buffer, first: number, position: number): void {
    let from = first;
    while (from < bytes.length) {
      if (this.#line.bytes === 0) {
        const text = afterZeros(bytes, from);
        this.#zeros += text - from;
        from = text;
        this.#line.offset = position + from;
        if (from === bytes.length) return;
      }
      const newline = bytes.indexOf(NEWLINE, from);
      const end = newline < 0 ? bytes.length : newline;
      if (newline >= 0 && this.#line.bytes === 0) this.#whole(bytes, from, end);
      else {
        this.#part(bytes.subarray(from, end));
        if (newline >= 0) this.#endLine(position + end + 1);
      }
      from = end + 1;
      if (newline >= 0) this.#line.offset = position + from;
    }
  }

  /** A line that is wholly in the window: most are. */
  #whole(bytes: Buffer, from: number, newline: number): void {
    const end = newline > from && bytes[newline - 1] === CARRIAGE_RETURN ? newline - 1 : newline;
    const kept = Math.min(end, from + MESSAGE_LIMIT);
    this.#emit(Buffer.from(bytes.subarray(from, kept)), kept < end);
  }

  #part(piece: Buffer): void {
    const line = this.#line;
    // One byte more than the limit: it may be the carriage return of a line of exactly the limit.
    const room = Math.max(0, MESSAGE_LIMIT + 1 - line.bytes);
    if (room > 0) line.kept.push(Buffer.from(piece.subarray(0, room)));
    line.bytes += piece.length;
  }

  #endLine(next: number): void {
    const line = this.#line;
    const whole = Buffer.concat(line.kept);
    const isWhole = line.bytes === whole.length;
    const text = isWhole && whole.at(-1) === CARRIAGE_RETURN ? whole.subarray(0, -1) : whole;
    this.#emit(text.subarray(0, MESSAGE_LIMIT), !isWhole || text.length > MESSAGE_LIMIT);
    this.#line = { offset: next, kept: [], bytes: 0, truncated: false };
  }

  #emit(message: Buffer, truncated: boolean): void {
    this.#tally.scanned += 1;
    const prefix =
      message.length === 0
        ? NO_PREFIX
        : parseLinePrefix(message.toString("latin1", 0, Math.min(message.length, PREFIX_LIMIT)), this.#modifiedAt);
    if (prefix.at !== null) this.#time = prefix.at;
    if (!this.#inWindow()) return;
    if (truncated) this.#cut += 1;
    const entry = new FileLine(this.#path, this.#line.offset, message, truncated, prefix);
    this.#tally.count(entry);
    this.#onEntry(entry);
  }

  /** A line without a time is taken to be of the time of the last line that had one. */
  #inWindow(): boolean {
    const { since, until } = this.#options;
    if (since === null && until === null) return true;
    if (this.#time === null) {
      this.#unplaced += 1;
      return true;
    }
    return (since === null || this.#time >= since) && (until === null || this.#time <= until);
  }
}

/** The index of the first byte from `from` on that is not NUL. */
function afterZeros(bytes: Buffer, from: number): number {
  if (bytes[from] !== 0) return from;
  // A hole is megabytes long: compare it whole.
  if (ZEROS.compare(bytes, from, bytes.length, 0, bytes.length - from) === 0) return bytes.length;
  let at = from;
  while (at < bytes.length && bytes[at] === 0) at += 1;
  return at;
}
