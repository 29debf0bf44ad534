import type { EntryPosition } from "./cursor.ts";
import type { JournalEntry } from "./entry.ts";
import { FileScanner, type ScanOptions } from "./file-reader.ts";
import type { JournalFile } from "./journal-file.ts";

export type Head = Pick<EntryPosition, "seqnumId" | "seqnum" | "realtime" | "monotonic"> & {
  readonly bootId: string | null;
};

/**
 * Orders the next entries of two files: by sequence number within one sequence (a machine's journald counts on over
 * its files, whatever its clock does), by the monotonic clock within one boot, by the real-time clock otherwise.
 */
export function order(one: Head, other: Head): number {
  if (one.seqnumId === other.seqnumId) return one.seqnum - other.seqnum;
  if (one.bootId !== null && one.bootId === other.bootId) return one.monotonic - other.monotonic;
  return one.realtime - other.realtime;
}

/** A file of the merge: read, and given memory, only when its first entry may be the next. */
class Source {
  /** Before the first batch, what the file's header says of its first entry. */
  head: Head | null;
  scanner: FileScanner | null = null;
  readonly #file: JournalFile;
  readonly #options: ScanOptions;
  #batch: readonly JournalEntry[] = [];
  #at = 0;

  constructor(file: JournalFile, options: ScanOptions) {
    this.#file = file;
    this.#options = options;
    const { seqnumId, headSeqnum, headRealtime } = file.header;
    this.head = { seqnumId, seqnum: headSeqnum, realtime: headRealtime, monotonic: 0, bootId: null };
  }

  /** The entry at the head, once started. */
  get entry(): JournalEntry | undefined {
    return this.#batch[this.#at];
  }

  /** Moves on within the batch; false when a new one has to be read. */
  step(): boolean {
    this.#at += 1;
    const next = this.#batch[this.#at];
    if (next === undefined) return false;
    this.head = next;
    return true;
  }

  async refill(): Promise<void> {
    this.scanner ??= new FileScanner(this.#file, this.#options);
    this.#batch = (await this.scanner.next()) ?? [];
    this.#at = 0;
    this.head = this.#batch[0] ?? null;
  }
}

/**
 * Reads journal files as one journal, each file in its own order. Entries stored twice in two files are handed on
 * once. `afterFile` is called for every file that was begun, when it is done. Stops early when `signal` is aborted.
 */
export async function mergeJournals(
  files: readonly JournalFile[],
  options: ScanOptions,
  signal: AbortSignal,
  onEntry: (entry: JournalEntry) => void,
  afterFile: (scanner: FileScanner) => Promise<void>,
): Promise<void> {
  const open = new Set(files.map((file) => new Source(file, options)));
  let last: JournalEntry | null = null;
  let lastSource: Source | null = null;
  while (open.size > 0 && !signal.aborted) {
    const [best, next] = firstTwo(open);
    if (best === null) break;
    if (best.entry === undefined) await best.refill();
    // One file mostly has a long run before the next comes in: only the second best is looked at meanwhile.
    while (!signal.aborted && best.entry !== undefined && !isLater(best, next)) {
      const { entry } = best;
      if (lastSource === best || last === null || !entry.isCopyOf(last)) onEntry(entry);
      last = entry;
      lastSource = best;
      if (!best.step()) await best.refill();
    }
    if (best.head === null) {
      open.delete(best);
      if (best.scanner !== null) await afterFile(best.scanner);
    }
  }
  for (const { scanner } of open) if (scanner !== null) await afterFile(scanner);
}

function isLater(best: Source, next: Source | null): boolean {
  return best.head !== null && next !== null && next.head !== null && order(best.head, next.head) > 0;
}

function firstTwo(sources: Iterable<Source>): readonly [Source | null, Source | null] {
  let best: Source | null = null;
  let second: Source | null = null;
  for (const source of sources) {
    if (source.head === null) continue;
    if (best?.head == null || order(source.head, best.head) < 0) {
      second = best;
      best = source;
    } else if (second?.head == null || order(source.head, second.head) < 0) second = source;
  }
  return [best, second];
}
