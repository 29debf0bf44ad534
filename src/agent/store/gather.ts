import type { EntryQueue, Queued } from "./entry-queue.ts";
import { bytesOf, HEAD_BYTES, type PlacedRecord, type RecordHead, streamOf } from "./record.ts";
import { documentOf, positionOf } from "./recover.ts";
import type { Segment } from "./segment.ts";
import type { HeldBatch, HeldEntry } from "./spool-types.ts";
import { StorageError } from "./storage-error.ts";
import type { Account, Stream } from "./stream.ts";

export interface GatherOptions {
  readonly stream: Stream;
  readonly segments: readonly Segment[];
  /** Entries that are in memory alone. */
  readonly queue: readonly Queued[];
  readonly isLive: (record: PlacedRecord) => boolean;
  /** Records up to this one were there when the process began. */
  readonly openOrdinal: number;
  readonly mostEntries: number;
  readonly mostBytes: number;
}

/** Faults of a disk that stay: what it does not give is damaged. Others (no more file descriptors) pass. */
const LASTING: readonly string[] = ["EIO", "ENOENT", "EISDIR", "EUCLEAN", "EBADMSG"];

/** One batch of this stream: accounts first, then entries in order; null: there is nothing. Rejects with StorageError. */
export async function gather(options: GatherOptions): Promise<HeldBatch | null> {
  const { stream, queue } = options;
  const batch = new Batch(options);
  // In the queue of a disk that works they are as good as written: they can be made again.
  for (const account of stream.accounts) {
    if (!batch.add(accountEntry(options, account))) break;
  }
  const key = streamOf(stream);
  for (const segment of options.segments) {
    if (batch.isFull) break;
    if (!segment.streams.has(key)) continue;
    const records = (await segment.index()).filter(
      (record) => record.kind !== "dropped" && streamOf(record) === key && options.isLive(record),
    );
    await fromSegment(options, batch, segment, records);
  }
  for (const { head, bytes } of queue) {
    if (batch.isFull) break;
    if (head.kind === "dropped" || streamOf(head) !== key || !stream.isLive(head.seq)) continue;
    batch.add(entryOf(options, { ...head, offset: 0 }, bytes.subarray(HEAD_BYTES)));
  }
  return batch.held.length === 0
    ? null
    : {
        agentId: stream.sentAs,
        bootId: stream.bootId,
        entries: batch.held.map(({ entry }) => entry),
        stream,
        held: batch.held,
      };
}

/** The lowest number of an entry that is to be sent, or the next one that will be. Rejects with StorageError. */
export async function firstLiveOf(stream: Stream, segments: readonly Segment[], queue: EntryQueue): Promise<number> {
  const key = streamOf(stream);
  for (const segment of segments) {
    if (!segment.streams.has(key)) continue;
    for (const record of await segment.index()) {
      if (record.kind !== "dropped" && streamOf(record) === key && stream.isLive(record.seq)) return record.seq;
    }
  }
  // With nothing awaited between the two: what is appended now is in the queue, or not numbered yet.
  const queued = queue.entries.find(({ head }) => head.kind !== "dropped" && streamOf(head) === key);
  return queued?.head.seq ?? stream.next;
}

class Batch {
  readonly held: HeldEntry[] = [];
  readonly #options: GatherOptions;
  #bytes = 0;
  isFull = false;

  constructor(options: GatherOptions) {
    this.#options = options;
  }

  /** How many of these fit, from the first on; at least one into an empty batch. */
  roomFor(records: readonly RecordHead[]): number {
    const { mostEntries, mostBytes } = this.#options;
    let bytes = this.#bytes;
    const count = records.findIndex((record, index) => {
      bytes += bytesOf(record);
      const before = this.held.length + index;
      return before > 0 && (before >= mostEntries || bytes > mostBytes);
    });
    return count === -1 ? records.length : count;
  }

  /** False: it does not fit, and nothing more is added. */
  add(entry: HeldEntry): boolean {
    const { mostEntries, mostBytes } = this.#options;
    const before = this.held.length;
    this.isFull ||= before > 0 && (before >= mostEntries || this.#bytes + entry.bytes > mostBytes);
    if (this.isFull) return false;
    this.held.push(entry);
    this.#bytes += entry.bytes;
    return true;
  }
}

async function fromSegment(
  options: GatherOptions,
  batch: Batch,
  segment: Segment,
  records: readonly PlacedRecord[],
): Promise<void> {
  const wanted = records.slice(0, batch.roomFor(records));
  const payloads = await segment.read(wanted).catch((error: unknown) => {
    if (error instanceof StorageError && LASTING.includes(error.code)) return [];
    throw error;
  });
  for (const [index, record] of wanted.entries()) {
    const payload = payloads[index] ?? null;
    if (payload !== null) {
      batch.add(entryOf(options, record, payload));
    } else {
      segment.ignore(record);
      options.stream.markDamaged(record.seq);
    }
  }
  // What comes next is not to overtake what did not fit.
  batch.isFull ||= wanted.length < records.length;
}

function entryOf({ stream, openOrdinal }: GatherOptions, record: PlacedRecord, payload: Buffer): HeldEntry {
  const { kind, seq, at, ordinal } = record;
  const value = positionOf(record, payload);
  return {
    entry: {
      kind,
      seq: seq - stream.offset,
      at,
      document: documentOf(record, payload),
      ordinal,
      restored: ordinal <= openOrdinal,
    },
    seq,
    bytes: bytesOf(record),
    position: value === null ? null : { ordinal, value },
    account: null,
  };
}

function accountEntry({ stream, openOrdinal }: GatherOptions, account: Account): HeldEntry {
  const { seq, ordinal, at, first, last, count, reason } = account;
  const document = { first: first - stream.offset, last: last - stream.offset, count, reason };
  return {
    entry: {
      kind: "dropped",
      seq: seq - stream.offset,
      at,
      document,
      ordinal,
      restored: ordinal <= openOrdinal,
    },
    seq,
    bytes: HEAD_BYTES + 100,
    position: null,
    account,
  };
}
