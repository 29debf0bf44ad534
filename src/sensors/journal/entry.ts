import type { LogEntry } from "../log-reader.ts";
import { type EntryPosition, formatCursor } from "./cursor.ts";
import type { EntryFields } from "./match.ts";

const NO_MESSAGE = Buffer.alloc(0);

/** An entry of a journal file. The cursor is made when it is asked for: millions of entries are never shown. */
export class JournalEntry implements LogEntry, EntryPosition {
  readonly seqnumId: string;
  readonly seqnum: number;
  readonly bootId: string;
  readonly monotonic: number;
  readonly realtime: number;
  readonly pid: number | null;
  readonly invocationId: string | null;
  readonly fromManager: boolean;
  /** Set by the reader before the entry is handed on. Equal messages share one buffer: do not write to it. */
  message: Buffer = NO_MESSAGE;
  truncated = false;
  readonly folded?: number;
  readonly #hashHigh: number;
  readonly #hashLow: number;

  constructor(at: Omit<EntryPosition, "xorHash">, hashHigh: number, hashLow: number, fields: EntryFields, folded = 0) {
    this.seqnumId = at.seqnumId;
    this.seqnum = at.seqnum;
    this.bootId = at.bootId;
    this.monotonic = at.monotonic;
    this.realtime = at.realtime;
    this.#hashHigh = hashHigh >>> 0;
    this.#hashLow = hashLow >>> 0;
    this.pid = fields.pid;
    this.invocationId = fields.invocationId;
    this.fromManager = !fields.ofWorkload;
    if (folded > 0) this.folded = folded;
  }

  get at(): number {
    return Math.floor(this.realtime / 1000);
  }

  get xorHash(): string {
    return hashText(this.#hashHigh, this.#hashLow);
  }

  get locator(): string {
    return formatCursor(this);
  }

  /** The same entry, stored a second time (a writer that rotated, a journal copied beside itself). */
  isCopyOf(other: JournalEntry): boolean {
    return (
      this.realtime === other.realtime &&
      this.monotonic === other.monotonic &&
      this.#hashLow === other.#hashLow &&
      this.#hashHigh === other.#hashHigh &&
      this.bootId === other.bootId &&
      (this.seqnumId !== other.seqnumId || this.seqnum === other.seqnum)
    );
  }
}

/** A 64-bit hash as cursors print it. */
export function hashText(high: number, low: number): string {
  const lowText = (low >>> 0).toString(16);
  return high === 0 ? lowText : (high >>> 0).toString(16) + lowText.padStart(8, "0");
}
