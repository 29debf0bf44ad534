import { z } from "zod";
import type { Checkpoint, OrderedPosition } from "./checkpoint.ts";
import { HEAD_BYTES, type PlacedRecord, type RecordHead, streamOf } from "./record.ts";
import type { Segment } from "./segment.ts";
import { type FoundSegment, Segments } from "./segments.ts";
import { StorageError } from "./storage-error.ts";
import { type Account, DROP_REASONS, Stream } from "./stream.ts";

/** What was found in the spool when it was opened. */
export interface Recovered {
  readonly streams: Map<string, Stream>;
  readonly ordinal: number;
  /** Stretches that were no whole records, and bytes of writes that were never finished. */
  readonly damagedPlaces: number;
  readonly cutBytes: number;
}

const accountSchema = z.object({
  first: z.number().int().positive(),
  last: z.number().int().positive(),
  count: z.number().int().positive(),
  reason: z.enum(DROP_REASONS),
});

/**
 * The files of a directory, and what is in them. Where they cannot be read, that is the trouble, and nothing is known: neither
 * files nor checkpoint may be written then, for what is in them may still be had later.
 */
export async function recoverIn(
  directory: string,
  segmentBytes: number,
  checkpoint: Checkpoint | null,
): Promise<{ readonly segments: Segments; readonly recovered: Recovered; readonly trouble: StorageError | null }> {
  try {
    const segments = await Segments.open(directory, segmentBytes);
    return { segments, recovered: await recover(segments.scan(), checkpoint), trouble: null };
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    const segments = Segments.none(directory, segmentBytes);
    return { segments, recovered: await recover(segments.scan(), null), trouble: error };
  }
}

/** What the scan of one stream has come to. */
interface Seen {
  last: number;
  /** How much damage had been met when its last record was. */
  damage: number;
}

/**
 * Puts the numbers together again from what the files hold and what the checkpoint says. Numbers of a stream only rise
 * along the files; one that does not is a copy that a crash left. A number that is missing where there was damage is
 * damaged, and else it was dropped because the spool was full: nothing else takes entries out.
 */
async function recover(found: AsyncIterable<FoundSegment>, checkpoint: Checkpoint | null): Promise<Recovered> {
  const streams = new Map<string, Stream>();
  for (const state of checkpoint?.streams ?? []) {
    streams.set(streamOf(state), new Stream(state.agentId, state.bootId, state));
  }
  const seen = new Map<string, Seen>();
  let ordinal = checkpoint?.ordinal ?? 0;
  let damage = 0;
  let cutBytes = 0;
  let lastStream: string | null = null;
  const seenOf = (key: string): Seen => {
    const known = seen.get(key) ?? { last: 0, damage: 0 };
    seen.set(key, known);
    return known;
  };
  const meet = (head: RecordHead, isWhole: boolean): boolean => {
    const key = streamOf(head);
    const stream = streams.get(key) ?? new Stream(head.agentId, head.bootId);
    streams.set(key, stream);
    const before = seenOf(key);
    if (head.seq <= before.last) return false;
    // Without a checkpoint: files are removed when what is in them is settled, so what came before was.
    if (checkpoint === null && before.last === 0 && damage === 0 && head.seq > 1) stream.markDone(1, head.seq - 1);
    if (before.damage !== damage) markMissing(stream, before.last + 1, head.seq - 1);
    if (!isWhole) markMissing(stream, head.seq, head.seq);
    seen.set(key, { last: head.seq, damage });
    stream.keep(head.seq);
    ordinal = Math.max(ordinal, head.ordinal);
    lastStream = key;
    return true;
  };
  const isLive = (record: RecordHead) => streams.get(streamOf(record))?.isLive(record.seq) ?? false;
  let files = 0;
  let places = 0;
  for await (const { segment, scan, isLast } of found) {
    files += 1;
    places += scan.damage.length;
    const broken = [...scan.damage];
    for (const [index, record] of scan.records.entries()) {
      while (broken[0] !== undefined && broken[0].before <= index) {
        const { head } = broken[0];
        if (head !== null) meet(head, false);
        else damage += 1;
        broken.shift();
      }
      if (!meet(record, true)) segment.ignore(record);
      else if (record.kind === "dropped") await addAccount(streams.get(streamOf(record)), segment, record);
    }
    for (const { head, bytes } of broken) {
      if (head !== null) meet(head, false);
      else {
        damage += 1;
        // Whatever numbers were in it may have been sent: they are not given again.
        const stream = isLast && lastStream !== null ? streams.get(lastStream) : undefined;
        if (stream !== undefined) skip(stream, Math.max(1, Math.floor(bytes / HEAD_BYTES)));
      }
    }
    cutBytes += scan.cutBytes;
    // A file that is not the last was whole once: what is cut off it was promised.
    if (scan.cutBytes > 0 && !isLast) damage += 1;
    segment.count(isLive);
    segment.unload();
  }
  for (const [key, stream] of streams) {
    const { last, damage: then } = seenOf(key);
    if (then !== damage || files === 0) markMissing(stream, last + 1, stream.next - 1);
  }
  return { streams, ordinal, damagedPlaces: places, cutBytes };
}

function markMissing(stream: Stream, first: number, last: number): void {
  const from = Math.max(first, stream.done[0]?.[0] === 1 ? stream.done[0][1] + 1 : 1);
  stream.markDamaged(from, last);
}

function skip(stream: Stream, numbers: number): void {
  const last = stream.next + numbers - 1;
  stream.markDamaged(stream.next, last);
  stream.keep(last);
}

async function addAccount(stream: Stream | undefined, segment: Segment, record: PlacedRecord): Promise<void> {
  const [payload] = await segment.read([record]);
  const parsed = accountSchema.safeParse(documentOf(record, payload ?? Buffer.alloc(0)));
  const { seq, ordinal, at } = record;
  if (parsed.success) stream?.addAccount({ seq, ordinal, at, ...parsed.data } satisfies Account);
}

/** The last place in the log that a record of the spool covers; null: none of them does. */
export async function lastPosition(list: readonly Segment[]): Promise<OrderedPosition | null> {
  for (const segment of list.toReversed()) {
    for (const record of (await segment.index()).toReversed()) {
      if (record.payloadBytes === record.documentBytes) continue;
      const [payload] = await segment.read([record]);
      if (payload === null || payload === undefined) continue;
      return { ordinal: record.ordinal, value: positionOf(record, payload) };
    }
    segment.unload();
  }
  return null;
}

export function documentOf(head: RecordHead, payload: Buffer): unknown {
  return jsonOf(payload.subarray(0, head.documentBytes));
}

/** Null: the record covers nothing of the log. */
export function positionOf(head: RecordHead, payload: Buffer): unknown {
  return head.payloadBytes === head.documentBytes ? null : jsonOf(payload.subarray(head.documentBytes));
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return null;
  }
}
