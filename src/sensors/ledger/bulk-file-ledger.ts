import type { FileHandle } from "node:fs/promises";
import type { Ledger } from "../../facts/ledger.ts";
import { errnoOf } from "../../facts/reading.ts";
import { LogFileReader } from "../log-file.ts";
import { MESSAGE_LIMIT } from "../log-limits.ts";
import { LogTally } from "../log-summary.ts";
import { PREFIX_LIMIT, parseLinePrefix } from "../log-times.ts";
import type { RootFs } from "../root-fs.ts";
import type { BulkOptions } from "./bulk-ledger.ts";
import { Doubt } from "./bulk-offsets.ts";
import { NEEDLES } from "./bulk-text.ts";
import { failureOf, LogLedger, lineOf } from "./log-ledger.ts";

const WINDOW_BYTES = 1 << 20;
/** Kept in front of a window: the end of the one before, with the lines that name a process. */
const BEHIND_BYTES = 2 * MESSAGE_LIMIT;
const NEWLINE = 10;
const BRACKET = 91;
const CAPITAL_G = 71;
/** Different lines that are remembered: a file without times has the same few again and again. */
const MAX_REMEMBERED = 50_000;

interface Known {
  readonly message: Buffer;
  readonly at: number | null;
  readonly pid: number | null;
  readonly fromManager: boolean;
  /** A call in it is of the process that a line before it names. */
  readonly needsName: boolean;
}

/**
 * Counts the calls in a plain log file (`StandardError=append:`). The same as reading every line into a `LogLedger`, but
 * that only the lines with a call are looked at; they are found by Node's native search. A file with what makes lines
 * hard to tell (holes, lines that are cut, a window of time) is read line by line.
 */
export async function bulkFileLedger(fs: RootFs, path: string, options: BulkOptions): Promise<Ledger> {
  let handle: FileHandle | null = null;
  try {
    if (options.since !== null || options.until !== null) return await lineByLine(fs, path, options);
    handle = await fs.open(path);
    return await new FileCount(path, handle, options.signal).run();
  } catch (error) {
    if (!(error instanceof Doubt) && errnoOf(error) === undefined) throw error;
    return await lineByLine(fs, path, options);
  } finally {
    await handle?.close();
  }
}

async function lineByLine(fs: RootFs, path: string, options: BulkOptions): Promise<Ledger> {
  const ledger = new LogLedger();
  const reader = new LogFileReader(path, fs);
  return ledger.ledger([await reader.read((entry) => ledger.add(entry), { ...options, afterCursor: null })]);
}

class FileCount {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #signal: AbortSignal;
  readonly #ledger = new LogLedger();
  readonly #known = new Map<string, Known>();
  readonly #buffer = Buffer.from(new ArrayBuffer(BEHIND_BYTES + WINDOW_BYTES));
  /** Where in the file the buffer starts. */
  #start = 0;
  #modifiedAt = 0;
  #firstAt: number | null = null;
  #lastAt: number | null = null;

  constructor(path: string, handle: FileHandle, signal: AbortSignal) {
    this.#path = path;
    this.#handle = handle;
    this.#signal = signal;
  }

  async run(): Promise<Ledger> {
    const { size, mtimeMs } = await this.#handle.stat();
    const tally = new LogTally();
    this.#modifiedAt = mtimeMs;
    if (size === 0) tally.gaps.add(`${this.#path}: the file is empty`);
    let position = 0;
    /** Bytes of the buffer that are known, and the first of them that was not looked at: a line's start. */
    let filled = 0;
    let next = 0;
    while (position < size && !this.#signal.aborted) {
      const kept = Math.min(filled, Math.max(BEHIND_BYTES, filled - next));
      if (kept > BEHIND_BYTES) throw new Doubt("a line that is longer than is read");
      this.#buffer.copyWithin(0, filled - kept, filled);
      next -= filled - kept;
      this.#start += filled - kept;
      const wanted = Math.min(WINDOW_BYTES, size - position);
      const { bytesRead } = await this.#handle.read(this.#buffer, kept, wanted, position);
      if (bytesRead === 0) {
        tally.gaps.add(
          `${this.#path}: became shorter while it was read (${size} bytes, now ${position}): rotated or truncated`,
        );
        break;
      }
      position += bytesRead;
      filled = kept + bytesRead;
      const atEnd = position === size;
      const end = atEnd ? filled : this.#buffer.subarray(0, filled).lastIndexOf(NEWLINE) + 1;
      if (end > next) this.#lines(next, end);
      next = Math.max(next, end);
    }
    // What was not ended by a newline when the file became shorter is a line all the same.
    if (position < size && filled > next) this.#lines(next, filled);
    if (this.#signal.aborted) tally.stopped();
    const { size: now } = await this.#handle.stat();
    if (now < size && tally.gaps.list().length === 0) {
      tally.gaps.add(
        `${this.#path}: became shorter while it was read (${size} bytes, now ${now}): rotated or truncated`,
      );
    }
    const entries = position > 0 ? 1 : 0;
    const summary = { ...tally.summary("file", this.#path), entries, firstAt: this.#firstAt, lastAt: this.#lastAt };
    return this.#ledger.ledger([summary]);
  }

  /** The whole lines between two places of the buffer. */
  #lines(from: number, end: number): void {
    const bytes = this.#buffer.subarray(0, end);
    if (bytes.indexOf(0, from) >= 0) throw new Doubt("bytes that are not text");
    this.#checkLengths(bytes, from);
    this.#times(bytes, from);
    let looked = from;
    for (const hit of hitsIn(bytes, from)) {
      if (hit < looked) continue;
      const start = bytes.lastIndexOf(NEWLINE, hit) + 1;
      const newline = bytes.indexOf(NEWLINE, hit);
      const stop = newline < 0 ? end : newline;
      this.#line(bytes, start, stop, looked);
      looked = stop + 1;
    }
  }

  #checkLengths(bytes: Buffer, from: number): void {
    for (let start = from; bytes.length - start > MESSAGE_LIMIT; ) {
      const last = bytes.lastIndexOf(NEWLINE, start + MESSAGE_LIMIT);
      if (last < start) throw new Doubt("a line that is longer than is read");
      start = last + 1;
    }
  }

  #line(bytes: Buffer, start: number, stop: number, looked: number): void {
    const known = this.#lineAt(bytes, start, stop);
    if (known.needsName) this.#name(bytes, start, known.pid, looked);
    this.#ledger.add({ ...known, truncated: false, bootId: null, invocationId: null, locator: this.#path });
  }

  #lineAt(bytes: Buffer, start: number, stop: number): Known {
    const text = bytes.toString("latin1", start, stop);
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const { at, pid, ident } = parseLinePrefix(text.slice(0, PREFIX_LIMIT), this.#modifiedAt);
    const message = Buffer.from(text, "latin1");
    const made = { message, at, pid, fromManager: ident === "systemd" && pid === 1, needsName: needsName(text) };
    if (this.#known.size >= MAX_REMEMBERED) this.#known.clear();
    this.#known.set(text, made);
    return made;
  }

  /**
   * Hands the ledger the nearest line before `start`, of the same stream, that names a process. Lines before `looked` are
   * searched too: those between the lines that were handed on were not.
   */
  #name(bytes: Buffer, start: number, pid: number | null, looked: number): void {
    for (let end = start - 1; end >= 0; ) {
      const from = end === 0 ? 0 : bytes.lastIndexOf(NEWLINE, end - 1) + 1;
      if (from === 0 && this.#start > 0) throw new Doubt("a line whose process was named far before it");
      const line = this.#lineAt(bytes, from, end);
      const { events, names } = lineOf(line.message.toString("latin1"));
      if (line.pid === pid && !line.fromManager && (names !== null || events.some((event) => event.pid !== null))) {
        // One with a call was handed on already.
        const counted = events.some(({ event }) => event.kind === "call-invoked" || failureOf(event) !== null);
        if (!counted || from >= looked) {
          this.#ledger.add({ ...line, truncated: false, bootId: null, invocationId: null, locator: this.#path });
        }
        return;
      }
      end = from - 1;
    }
  }

  /** The first and the last time that lines of the file start with. */
  #times(bytes: Buffer, from: number): void {
    for (let start = from; this.#firstAt === null && start < bytes.length; ) {
      const newline = bytes.indexOf(NEWLINE, start);
      const stop = newline < 0 ? bytes.length : newline;
      this.#firstAt = this.#timeAt(bytes, start, stop);
      start = stop + 1;
    }
    for (let stop = bytes.at(-1) === NEWLINE ? bytes.length - 1 : bytes.length; stop > from; ) {
      const start = bytes.lastIndexOf(NEWLINE, stop - 1) + 1;
      const at = this.#timeAt(bytes, Math.max(start, from), stop);
      if (at !== null) {
        this.#lastAt = at;
        break;
      }
      stop = start - 1;
    }
  }

  #timeAt(bytes: Buffer, start: number, stop: number): number | null {
    // Most lines are the shim's: a bracket, and not Gin's.
    if (bytes[start] === BRACKET && bytes[start + 1] !== CAPITAL_G) return null;
    return parseLinePrefix(bytes.toString("latin1", start, Math.min(stop, start + PREFIX_LIMIT)), this.#modifiedAt).at;
  }
}

/** Where the needles are, in order. */
function hitsIn(bytes: Buffer, from: number): readonly number[] {
  const hits: number[] = [];
  for (const needle of NEEDLES) {
    for (let at = bytes.indexOf(needle, from); at >= 0; at = bytes.indexOf(needle, at + 1)) hits.push(at);
  }
  return hits.sort((one, other) => one - other);
}

/** Whether a counted event of the line stands before any pid that the line names. */
function needsName(text: string): boolean {
  for (const { event, pid } of lineOf(text).events) {
    if (pid !== null) return false;
    if (event.kind === "call-invoked" || failureOf(event) !== null) return true;
  }
  return false;
}
