import { bytesOf, type Encoded, type SpoolKind } from "./record.ts";

/** What became of an entry: on the disk; in memory, as the disk cannot take it now; or dropped, as memory is full too. */
export type Kept = "disk" | "memory" | "lost";

export interface Queued extends Encoded {
  /** Told once. */
  readonly tell: (kept: Kept) => void;
  isWriting: boolean;
  /** The disk did not take it: it is here alone for now. */
  isInMemory: boolean;
}

/** What goes first when there is no room: detail, and last the accounts of what went. */
export const DROP_ORDER = ["report", "guest-evidence", "condition"] as const satisfies readonly SpoolKind[];

/** Entries that are not on the disk yet, bounded. */
export class EntryQueue {
  #entries: Queued[] = [];
  #bytes = 0;
  readonly #mostBytes: number;

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  get entries(): readonly Queued[] {
    return this.#entries;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds one, and gives those that had to go for it: the oldest of the least kind, which may be this one. */
  add(entry: Queued): readonly Queued[] {
    this.#entries.push(entry);
    this.#bytes += bytesOf(entry.head);
    const gone: Queued[] = [];
    for (const kind of DROP_ORDER) {
      for (const one of this.#entries) {
        if (this.#bytes <= this.#mostBytes) break;
        if (one.head.kind !== kind || one.isWriting) continue;
        gone.push(one);
        this.#bytes -= bytesOf(one.head);
      }
    }
    if (gone.length > 0) {
      const set = new Set(gone);
      this.#entries = this.#entries.filter((one) => !set.has(one));
    }
    return gone;
  }

  /** The oldest, as many as fit. At least one, if there is any. */
  take(mostBytes: number): readonly Queued[] {
    let bytes = 0;
    const end = this.#entries.findIndex(({ head }, index) => {
      bytes += bytesOf(head);
      return index > 0 && bytes > mostBytes;
    });
    return end === -1 ? [...this.#entries] : this.#entries.slice(0, end);
  }

  remove(isGone: (entry: Queued) => boolean): void {
    this.#entries = this.#entries.filter((entry) => {
      if (!isGone(entry)) return true;
      this.#bytes -= bytesOf(entry.head);
      return false;
    });
  }
}
