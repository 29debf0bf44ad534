import { mkdir, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { bytesOf, type Encoded, type PlacedRecord, type Scan, type SpoolKind } from "./record.ts";
import { Segment } from "./segment.ts";
import { asStorageError } from "./storage-error.ts";

const NAME = /^(\d{10})\.seg$/;
const LEFT_OVER = /^\d{10}\.seg\.new$/;
const MODE = 0o700;

/** A file of the spool as it is met at the start, one after the other: their indexes are not held together. */
export interface FoundSegment {
  readonly segment: Segment;
  readonly scan: Scan;
  readonly isLast: boolean;
}

/** The files of a spool, oldest first; only the last one is written to. */
export class Segments {
  readonly #directory: string;
  readonly segmentBytes: number;
  readonly #found: readonly number[];
  #list: readonly Segment[] = [];
  #lastNumber: number;

  private constructor(directory: string, segmentBytes: number, found: readonly number[]) {
    this.#directory = directory;
    this.segmentBytes = segmentBytes;
    this.#found = found;
    this.#lastNumber = found.at(-1) ?? 0;
  }

  /** None, in a directory that may not be there. */
  static none(directory: string, segmentBytes: number): Segments {
    return new Segments(directory, segmentBytes, []);
  }

  /** Makes the directory where it is missing. The files are to be taken in by `scan` next. Rejects with StorageError. */
  static async open(directory: string, segmentBytes: number): Promise<Segments> {
    const numbers: number[] = [];
    for (const name of await namesIn(directory)) {
      const number = Number(NAME.exec(name)?.[1] ?? 0);
      if (number > 0) numbers.push(number);
      // A smaller copy that was not finished: the original is there.
      else if (LEFT_OVER.test(name)) await unlink(join(directory, name)).catch(() => {});
    }
    return new Segments(directory, segmentBytes, numbers);
  }

  /** Reads the files that were there, oldest first. Rejects with StorageError. */
  async *scan(): AsyncGenerator<FoundSegment> {
    for (const [index, number] of this.#found.entries()) {
      const { segment, scan } = await Segment.open(this.#pathOf(number), number);
      this.#list = [...this.#list, segment];
      const isLast = index === this.#found.length - 1;
      // The rest of a write that was never finished: behind it no later start could tell it from damage. On a disk that
      // does not take this now, one may call it so.
      if (isLast && scan.cutBytes > 0) await segment.trim().catch(() => {});
      yield { segment, scan, isLast };
    }
  }

  /** How many files were there. */
  get found(): number {
    return this.#found.length;
  }

  get list(): readonly Segment[] {
    return this.#list;
  }

  get bytes(): number {
    return this.#list.reduce((sum, { size }) => sum + size, 0);
  }

  /** On the disk when it resolves, all of them or none. Rejects with StorageError. */
  async append(records: readonly Encoded[], isLive: (record: PlacedRecord) => boolean): Promise<void> {
    const bytes = records.reduce((sum, { head }) => sum + bytesOf(head), 0);
    let last = this.#list.at(-1);
    if (last === undefined || !last.isOpen || last.size + bytes > this.segmentBytes) {
      await last?.seal();
      // The directory may have been removed, or could not be made when we started.
      if (this.#list.length === 0) await makeDirectory(this.#directory);
      last = await Segment.create(this.#pathOf(this.#lastNumber + 1), this.#lastNumber + 1);
      this.#lastNumber += 1;
      this.#list = [...this.#list, last];
    }
    await last.append(records);
    last.count(isLive);
  }

  /** Removes sealed files with nothing live. Rejects with StorageError. */
  async removeSettled(): Promise<void> {
    for (const segment of this.#list) {
      if (segment.isOpen || segment.liveRecords !== 0) continue;
      await segment.remove();
      this.#list = this.#list.filter((one) => one !== segment);
    }
  }

  /** The oldest with live entries of this kind. */
  oldestWith(kind: SpoolKind): Segment | null {
    return this.#list.find(({ live }) => live.has(kind)) ?? null;
  }

  /**
   * Takes out of a file what is not kept; what is, is live. What is left goes behind the file before it where that one has room, so that
   * small remains do not become many files. Rejects with StorageError.
   */
  async shrink(segment: Segment, isKept: (record: PlacedRecord) => boolean): Promise<void> {
    await segment.seal();
    const kept = (await segment.index()).filter(isKept).reduce((sum, record) => sum + bytesOf(record), 0);
    if (kept === 0) {
      await segment.remove();
      this.#list = this.#list.filter((one) => one !== segment);
      return;
    }
    const before = this.#list[this.#list.indexOf(segment) - 1];
    const isRoom = before !== undefined && before.size + kept <= this.segmentBytes;
    const fresh = await Segment.rewrite(isRoom ? [before, segment] : [segment], isKept);
    if (fresh === null) return;
    fresh.count(isKept);
    this.#list = this.#list
      .filter((one) => one !== (isRoom ? before : null))
      .map((one) => (one === segment ? fresh : one));
    if (isRoom) await segment.remove();
  }

  /** Gives up the indexes of all but the first file and the one that is written. */
  unload(): void {
    for (const segment of this.#list.slice(1)) segment.unload();
  }

  async close(): Promise<void> {
    await this.#list.at(-1)?.seal();
  }

  #pathOf(number: number): string {
    return join(this.#directory, `${String(number).padStart(10, "0")}.seg`);
  }
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: MODE });
  } catch (error) {
    throw asStorageError(error, directory, "cannot be made");
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  await makeDirectory(directory);
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    throw asStorageError(error, directory, "cannot be read");
  }
}
