import { constants } from "node:fs";
import { type FileHandle, open, readFile, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { syncDirectory } from "./durable-file.ts";
import {
  bytesOf,
  type Encoded,
  HEAD_BYTES,
  isPayload,
  type PlacedRecord,
  type RecordHead,
  type Scan,
  type SpoolKind,
  scanRecords,
  streamOf,
} from "./record.ts";
import { asStorageError } from "./storage-error.ts";

/** What every segment begins with: its format and version. */
const FILE_MAGIC = Buffer.from("VGSPOOL1");
const MODE = 0o600;
const { O_WRONLY, O_CREAT, O_EXCL, O_RDONLY, O_NOFOLLOW, O_TRUNC } = constants;

/** Live records of a segment by kind: bytes. */
export type LiveBytes = ReadonlyMap<SpoolKind, number>;

/**
 * One file of the spool: records one behind the other, only ever added to. Its index (where which record is) is kept while
 * it is written or sent, and is read again from the file when it is needed.
 */
export class Segment {
  readonly path: string;
  readonly number: number;
  /** Up to here everything in it was written and flushed, or scanned. */
  size: number;
  live: LiveBytes = new Map();
  /** Null until it was counted. */
  liveRecords: number | null = null;
  /** Streams that have live entries in it, accounts aside. */
  streams: ReadonlySet<string> = new Set();
  /** Streams that have records in it, whatever became of them. */
  mentioned: ReadonlySet<string> = new Set();
  /** Ordinals of its first and last record; 0 and 0 of an empty one. */
  #firstOrdinal = 0;
  #lastOrdinal = 0;
  /** Offsets of records that count for nothing: copies, and what cannot be read. */
  readonly #ignored = new Set<number>();
  #file: FileHandle | null = null;
  #index: PlacedRecord[] | null;

  private constructor(path: string, number: number, size: number, index: PlacedRecord[] | null) {
    this.path = path;
    this.number = number;
    this.size = size;
    this.#index = index;
    this.#noteOrdinals(index ?? []);
  }

  /** A new one, open to be written. Rejects with StorageError; then there is none. */
  static async create(path: string, number: number): Promise<Segment> {
    try {
      const file = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, MODE);
      const segment = new Segment(path, number, FILE_MAGIC.length, []);
      segment.#file = file;
      try {
        await writeAll(file, FILE_MAGIC, 0);
        await file.datasync();
        await syncDirectory(dirname(path));
      } catch (error) {
        await segment.seal();
        await unlink(path).catch(() => {});
        throw error;
      }
      return segment;
    } catch (error) {
      throw asStorageError(error, path, "cannot be made");
    }
  }

  /** One that is there, with what is whole in it and what is not. Rejects with StorageError. */
  static async open(path: string, number: number): Promise<{ readonly segment: Segment; readonly scan: Scan }> {
    const { bytes, scan } = await scanFile(path);
    return { segment: new Segment(path, number, bytes, [...scan.records]), scan };
  }

  get isOpen(): boolean {
    return this.#file !== null;
  }

  /**
   * Adds records; on the disk when it resolves. Rejects with StorageError: then nothing more is written to this file, for
   * after a failed flush the kernel takes the pages for written.
   */
  async append(records: readonly Encoded[]): Promise<void> {
    const file = this.#file;
    if (file === null) throw new Error("the segment is sealed");
    try {
      await writeAll(file, Buffer.concat(records.map(({ bytes }) => bytes)), this.size);
      await file.datasync();
    } catch (error) {
      // What is left behind the end would be found whole at the next start, at worst: it has the same numbers and content.
      await file.truncate(this.size).catch(() => {});
      await this.seal();
      throw asStorageError(error, this.path, "cannot be written");
    }
    for (const { head } of records) {
      this.#index?.push({ ...head, offset: this.size });
      this.size += bytesOf(head);
    }
    this.#noteOrdinals(records.map(({ head }) => head));
  }

  /** Whether a record with this ordinal would be in it. */
  spans(ordinal: number): boolean {
    return ordinal >= this.#firstOrdinal && ordinal <= this.#lastOrdinal;
  }

  #noteOrdinals(heads: readonly RecordHead[]): void {
    if (this.#firstOrdinal === 0) this.#firstOrdinal = heads[0]?.ordinal ?? 0;
    this.#lastOrdinal = heads.at(-1)?.ordinal ?? this.#lastOrdinal;
  }

  async seal(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close().catch(() => {});
  }

  /** Its records in order. Rejects with StorageError. */
  async index(): Promise<readonly PlacedRecord[]> {
    if (this.#index === null) {
      const { records } = (await scanFile(this.path)).scan;
      this.#index = records.filter(({ offset }) => offset < this.size && !this.#ignored.has(offset));
    }
    return this.#index;
  }

  /** Gives the index up, unless it is still written to. */
  unload(): void {
    if (!this.isOpen) this.#index = null;
  }

  /** One record counts for nothing from now on. */
  ignore(record: PlacedRecord): void {
    this.#ignored.add(record.offset);
    this.#index = this.#index?.filter((one) => one.offset !== record.offset) ?? null;
  }

  /** Counts anew what is live in it. Does nothing while its index is not loaded. */
  count(isLive: (record: PlacedRecord) => boolean): void {
    if (this.#index === null) return;
    const live = new Map<SpoolKind, number>();
    const streams = new Set<string>();
    let liveRecords = 0;
    for (const record of this.#index) {
      if (!isLive(record)) continue;
      liveRecords += 1;
      live.set(record.kind, (live.get(record.kind) ?? 0) + bytesOf(record));
      if (record.kind !== "dropped") streams.add(streamOf(record));
    }
    this.live = live;
    this.liveRecords = liveRecords;
    this.streams = streams;
    this.mentioned = new Set(this.#index.map(streamOf));
  }

  /** Payloads, in order; null for one that is not what was written. Rejects with StorageError. */
  async read(records: readonly PlacedRecord[]): Promise<readonly (Buffer | null)[]> {
    const payloads: (Buffer | null)[] = [];
    try {
      const file = await open(this.path, O_RDONLY | O_NOFOLLOW);
      try {
        for (const record of records) {
          const payload = Buffer.alloc(record.payloadBytes);
          const { bytesRead } = await file.read(payload, 0, payload.length, record.offset + HEAD_BYTES);
          payloads.push(bytesRead === payload.length && isPayload(record, payload) ? payload : null);
        }
      } finally {
        await file.close();
      }
    } catch (error) {
      throw asStorageError(error, this.path, "cannot be read");
    }
    return payloads;
  }

  /** Takes off what is behind the last record of a file that is not written to any more. Rejects with StorageError. */
  async trim(): Promise<void> {
    try {
      const file = await open(this.path, O_WRONLY | O_NOFOLLOW);
      try {
        await file.truncate(this.size);
        await file.datasync();
      } finally {
        await file.close();
      }
    } catch (error) {
      throw asStorageError(error, this.path, "cannot be made shorter");
    }
  }

  async remove(): Promise<void> {
    await this.seal();
    try {
      await unlink(this.path);
    } catch (error) {
      throw asStorageError(error, this.path, "cannot be removed");
    }
  }

  /**
   * Puts what is to be kept of some segments, oldest first, in the place of the first of them; the others stay, and are for
   * the caller to remove: until then their records are there twice, which a start sees by their numbers.
   */
  static async rewrite(
    sources: readonly Segment[],
    isKept: (record: PlacedRecord) => boolean,
  ): Promise<Segment | null> {
    const [first] = sources;
    if (first === undefined) return null;
    const fresh = `${first.path}.new`;
    try {
      const parts: Buffer[] = [FILE_MAGIC];
      const index: PlacedRecord[] = [];
      let size = FILE_MAGIC.length;
      for (const source of sources) {
        const bytes = await readFile(source.path);
        for (const record of (await source.index()).filter(isKept)) {
          parts.push(bytes.subarray(record.offset, record.offset + bytesOf(record)));
          index.push({ ...record, offset: size });
          size += bytesOf(record);
        }
      }
      const file = await open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, MODE);
      try {
        await writeAll(file, Buffer.concat(parts), 0);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(fresh, first.path);
      await syncDirectory(dirname(first.path));
      return new Segment(first.path, first.number, size, index);
    } catch (error) {
      await unlink(fresh).catch(() => {});
      throw asStorageError(error, first.path, "cannot be made smaller");
    }
  }
}

async function scanFile(path: string): Promise<{ readonly bytes: number; readonly scan: Scan }> {
  try {
    const bytes = await readFile(path);
    const isOurs = bytes.subarray(0, FILE_MAGIC.length).equals(FILE_MAGIC);
    // A cut head is the file's only content; a changed one is damage like any other.
    const start = isOurs || bytes.length < FILE_MAGIC.length ? Math.min(bytes.length, FILE_MAGIC.length) : 0;
    const scan = scanRecords(bytes, start);
    return { bytes: bytes.length - scan.cutBytes, scan };
  } catch (error) {
    throw asStorageError(error, path, "cannot be read");
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}
