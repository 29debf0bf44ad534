import type { EntryPosition } from "../../sensors/journal/cursor.ts";
import type { JournalEntry } from "../../sensors/journal/entry.ts";
import { DamagedIndex } from "../../sensors/journal/entry-index.ts";
import type { JournalFileTail } from "../../sensors/journal/file-tail.ts";
import type { Head } from "../../sensors/journal/merge.ts";

/** An entry that was looked at: null where it is of another unit, and only says how far the file was read. */
export interface Looked {
  readonly position: EntryPosition;
  readonly entry: JournalEntry | null;
}

export interface FillReport {
  readonly suppressed: number;
  readonly damaged: number;
  /** Why the rest of the file cannot be read; null: it can. */
  readonly problem: string | null;
}

const NOTHING: FillReport = { suppressed: 0, damaged: 0, problem: null };

/** One journal file and what was read of it ahead. */
export class TailQueue {
  readonly tail: JournalFileTail;
  /** Nobody writes to it any more: it is closed when it was read. */
  archived: boolean;
  /** Monotonic milliseconds when it was last seen to grow. */
  grewAt: number;
  #begun: boolean;
  #looked: readonly Looked[] = [];
  #at = 0;

  constructor(tail: JournalFileTail, archived: boolean, now: number) {
    this.tail = tail;
    this.archived = archived;
    this.grewAt = now;
    this.#begun = !tail.untouched || tail.unread === 0;
  }

  get isBegun(): boolean {
    return this.#begun;
  }

  /** The next entry; of a file that was not begun, what its header says of the first. Null: none is ready. */
  get head(): Head | null {
    const next = this.#looked[this.#at];
    if (next !== undefined) return next.position;
    if (this.#begun) return null;
    const { seqnumId, headSeqnum, headRealtime } = this.tail.header;
    return { seqnumId, seqnum: headSeqnum, realtime: headRealtime, monotonic: 0, bootId: null };
  }

  take(): Looked | null {
    const next = this.#looked[this.#at] ?? null;
    if (next === null) return null;
    this.#at += 1;
    // What was handed on need not wait in memory for the next look.
    if (this.#at === this.#looked.length) [this.#looked, this.#at] = [[], 0];
    return next;
  }

  async begin(bound: number): Promise<FillReport> {
    this.#begun = true;
    return await this.fill(bound);
  }

  /** Reads on, up to the entry numbered `bound`. */
  async fill(bound: number): Promise<FillReport> {
    if (this.tail.unread === 0) return NOTHING;
    try {
      const { entries, last, suppressed, damaged } = await this.tail.next(bound);
      const looked: Looked[] = entries.map((entry) => ({ position: entry, entry }));
      if (last !== null && entries.at(-1)?.seqnum !== last.seqnum) looked.push({ position: last, entry: null });
      this.#looked = looked;
      this.#at = 0;
      return { suppressed, damaged, problem: null };
    } catch (error) {
      if (!(error instanceof DamagedIndex)) throw error;
      this.tail.skipAll();
      return { ...NOTHING, problem: error.message };
    }
  }
}
