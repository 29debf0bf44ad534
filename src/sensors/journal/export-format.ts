import type { FileHandle } from "node:fs/promises";
import { errnoOf, notReadFromError } from "../../facts/reading.ts";
import { counted, MESSAGE_LIMIT } from "../log-limits.ts";
import type { LogEntry, LogReader, LogReadOptions, LogReadSummary } from "../log-reader.ts";
import { LogTally } from "../log-summary.ts";
import type { RootFs } from "../root-fs.ts";
import { compareToCursor, type EntryPosition, parseCursor } from "./cursor.ts";
import { type ExportHandler, ExportParser } from "./export-parser.ts";
import { EntryFields, FIELD_LIMIT, mayBeKnownField, UnitMatch } from "./match.ts";

const WINDOW_BYTES = 1 << 20;
const FIRST_FIELD = /^(?:__CURSOR|__REALTIME_TIMESTAMP|__MONOTONIC_TIMESTAMP|__SEQNUM|_BOOT_ID)=/;

/** First four bytes of the address fields, as little-endian numbers. */
const ADDRESS_STARTS: ReadonlySet<number> = new Set(
  ["__CU", "__RE", "__MO", "_BOO"].map((start) => Buffer.from(start, "latin1").readUInt32LE(0)),
);

/** Whether a file that starts with these bytes is in Journal Export Format: its address fields come first. */
export function isExportFormat(start: Buffer): boolean {
  const text = start.toString("latin1");
  return FIRST_FIELD.test(text) && text.includes("__REALTIME_TIMESTAMP=");
}

/** Takes the entries of one export stream that match. */
class ExportRun implements ExportHandler {
  readonly tally = new LogTally();
  cursorSeen = false;
  readonly #path: string;
  readonly #options: LogReadOptions;
  readonly #onEntry: (entry: LogEntry) => void;
  readonly #match: UnitMatch;
  readonly #cursor: EntryPosition | null;
  readonly #fields = new EntryFields();
  #message: Buffer | null = null;
  #truncated = false;
  #realtime: number | null = null;
  #monotonic = 0;
  #bootId: string | null = null;
  #entryCursor: string | null = null;
  #cut = 0;
  #damaged = 0;
  #damagedAt: number | null = null;

  constructor(path: string, options: LogReadOptions, cursor: EntryPosition | null, onEntry: (entry: LogEntry) => void) {
    this.#path = path;
    this.#options = options;
    this.#cursor = cursor;
    this.#onEntry = onEntry;
    this.#match = new UnitMatch(options.unit);
  }

  wants(firstFourBytes: number): boolean {
    return ADDRESS_STARTS.has(firstFourBytes) || mayBeKnownField(firstFourBytes);
  }

  field(name: string, value: Buffer, truncated: boolean): void {
    if (name === "MESSAGE") {
      if (this.#message !== null) return;
      this.#message = Buffer.from(value.subarray(0, MESSAGE_LIMIT));
      this.#truncated = truncated || value.length > MESSAGE_LIMIT;
      return;
    }
    if (value.length > FIELD_LIMIT) return;
    const text = value.toString("latin1");
    if (name === "__REALTIME_TIMESTAMP") this.#realtime = microseconds(text);
    else if (name === "__MONOTONIC_TIMESTAMP") this.#monotonic = microseconds(text) ?? 0;
    else if (name === "__CURSOR") this.#entryCursor = text;
    else if (name === "_BOOT_ID") this.#bootId = text;
    else {
      const field = this.#match.field(`${name}=${text}`);
      if (field !== null) this.#fields.add(field);
    }
  }

  damage(offset: number): void {
    this.#damagedAt ??= offset;
  }

  entry(start: number, state: "whole" | "damaged" | "unterminated"): void {
    this.tally.scanned += 1;
    // The last entry of a stream that was cut between two fields is good for what it says, if it says something.
    if (state === "damaged" || (state === "unterminated" && this.#message === null) || this.#realtime === null) {
      this.#damaged += 1;
      this.#damagedAt ??= start;
    } else this.#take(start, this.#realtime);
    this.#fields.clear();
    this.#message = null;
    this.#truncated = false;
    this.#realtime = null;
    this.#monotonic = 0;
    this.#bootId = null;
    this.#entryCursor = null;
  }

  #take(start: number, realtime: number): void {
    const fields = this.#fields;
    if (fields.machineId !== null) this.tally.machine(fields.machineId);
    if (this.#cursor !== null && !this.#isLater(realtime, this.#cursor)) return;
    if (!fields.ofWorkload && !fields.aboutUnit) return;
    const at = Math.floor(realtime / 1000);
    const { since, until } = this.#options;
    if ((since !== null && at < since) || (until !== null && at > until)) return;
    this.tally.suppressed += fields.suppressed;
    if (this.#truncated) this.#cut += 1;
    const entry: LogEntry = {
      at,
      message: this.#message ?? Buffer.alloc(0),
      truncated: this.#truncated,
      pid: fields.pid,
      bootId: this.#bootId,
      invocationId: fields.invocationId,
      fromManager: !fields.ofWorkload,
      locator: this.#entryCursor ?? `${this.#path}:${start}`,
    };
    this.tally.count(entry);
    this.#onEntry(entry);
  }

  #isLater(realtime: number, cursor: EntryPosition): boolean {
    const unknown = { seqnumId: "", seqnum: 0, bootId: this.#bootId ?? "", monotonic: this.#monotonic, xorHash: "" };
    const own = this.#entryCursor === null ? null : parseCursor(this.#entryCursor);
    const order = compareToCursor(own ?? { ...unknown, realtime }, cursor);
    if (order === 0) this.cursorSeen = true;
    return order > 0;
  }

  finish(ending: ReturnType<ExportParser["end"]>): void {
    const { gaps } = this.tally;
    if (ending.end === "cut") {
      gaps.add(`${this.#path}: cut off inside the entry at byte ${ending.at}; it is missing, with all after it`);
    }
    if (ending.end === "unterminated") {
      gaps.add(`${this.#path}: ends inside or right after the entry at byte ${ending.at}; more may be missing`);
    }
    if (this.#damagedAt !== null) {
      const entries = counted(this.#damaged, "entry is", "entries are");
      gaps.add(`${this.#path}: damaged at byte ${this.#damagedAt}; ${entries} missing`);
    }
    if (this.#cut > 0) {
      gaps.add(
        `${this.#path}: ${counted(this.#cut, "message was", "messages were")} longer than ${MESSAGE_LIMIT} bytes and cut`,
      );
    }
    if (this.tally.scanned === 0) gaps.add(`${this.#path}: the export has no entries`);
  }
}

function microseconds(text: string): number | null {
  const value = Number(text);
  return text !== "" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

/** A reader of a file in Journal Export Format (`journalctl -o export`), in the order of the file. */
export function journalOfExport(fs: RootFs, path: string): LogReader {
  return { read: (onEntry, options) => readExport(fs, path, onEntry, options) };
}

async function readExport(
  fs: RootFs,
  path: string,
  onEntry: (entry: LogEntry) => void,
  options: LogReadOptions,
): Promise<LogReadSummary> {
  const cursor = options.afterCursor === null ? null : parseCursor(options.afterCursor);
  const run = new ExportRun(path, options, cursor, onEntry);
  const { tally } = run;
  if (options.afterCursor !== null && cursor === null) {
    tally.gaps.add(`not a journal cursor: "${options.afterCursor.slice(0, 200)}"; read from the start`);
  }
  let handle: FileHandle;
  try {
    handle = await fs.open(path);
  } catch (error) {
    tally.gaps.add(notReadFromError(error, path).detail);
    return tally.summary("journal", path);
  }
  try {
    const parser = new ExportParser(run);
    const { size } = await handle.stat();
    while (tally.bytes < size && !options.signal.aborted) {
      const window = Buffer.allocUnsafe(Math.min(WINDOW_BYTES, size - tally.bytes));
      const { bytesRead } = await handle.read(window, 0, window.length, tally.bytes).catch((error: unknown) => {
        tally.gaps.add(`${path}: reading failed at byte ${tally.bytes} (${errnoOf(error) ?? String(error)})`);
        return { bytesRead: -1 };
      });
      if (bytesRead === 0)
        tally.gaps.add(`${path}: became shorter while it was read (${size} bytes, now ${tally.bytes})`);
      if (bytesRead <= 0) break;
      tally.bytes += bytesRead;
      parser.push(window.subarray(0, bytesRead));
    }
    if (options.signal.aborted) tally.stopped();
    else {
      run.finish(parser.end());
      if (cursor !== null && !run.cursorSeen) {
        tally.gaps.add(
          `${path}: the entry of the cursor is not there any more; started at the first one later than it`,
        );
      }
    }
  } finally {
    await handle.close();
  }
  return tally.summary("journal", path);
}
