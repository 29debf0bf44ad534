import { readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import {
  ENTRY_BYTES,
  HASH_BYTES,
  HASH_ENTRY,
  type MediatorScanHandler,
  NEXT_ENTRY,
  NEXT_ENTRY_BYTES,
  readMediatorScan,
  ScanDoubt,
} from "../../native/mediator-scan.ts";
import type { CallEvent, MediatorEvent } from "../../protocol/mediator-events.ts";
import type { RepeatedCall } from "./assembler.ts";
import type { StartedBulk } from "./bulk-start.ts";
import { LogFeed } from "./feed.ts";
import type { ReadResult } from "./read.ts";

/** What is told of a log. */
export interface BulkSink {
  /** An event of the log, in order. It holds only until this returns: its object may be used again for the next one. */
  add(event: MediatorEvent): void;
  /**
   * As many calls more that differ from the one just added in place, request id and sequence number alone, of which the
   * last two grow by one with each. False: they were not taken, and are added one by one.
   */
  addRun?(call: CallEvent, more: number): boolean;
  /** Which kind of call this is to `addAgain`; 0: to none. Asked once of a call that may be told again and again. */
  kindOf?(call: CallEvent): number;
  /**
   * The same call as `kindOf` was asked of, with another request id and place alone, without an object for it. False: it
   * was not taken, and is added.
   */
  addAgain?(call: CallEvent, kind: number, requestId: number, terminatorAt: number): boolean;
  /** The log was read up to here. Called now and then. */
  reached?(offset: number): void;
}

/**
 * Reads a whole log once, as `readMediatorLog` does and with the same events, but several times faster: log-scan goes
 * over the file with all processors and tells of calls that differ in their numbers alone from one before; everything
 * else is read here, by the same parser. `started`: what `startBulk` gave for this file.
 *
 * Null: it could not be done, and what was told is worth nothing; the log has to be read in the other way. Rejects with
 * the error of the operating system when the file cannot be read, and with the signal's reason.
 */
export async function readMediatorLogInBulk(
  file: FileHandle,
  started: StartedBulk | null,
  sink: BulkSink,
): Promise<ReadResult | null> {
  if (started === null) return null;
  const { scan, size, signal } = started;
  const reader = new BulkReader(file.fd, sink);
  try {
    if (await readMediatorScan(scan, reader)) return { bytes: reader.finish(size) };
    signal.throwIfAborted();
    return null;
  } catch (error) {
    if (error instanceof ScanDoubt) return null;
    throw error;
  } finally {
    reader.close();
  }
}

/** Little of the file is read here, and in small pieces: a larger buffer would take longer to wipe than to fill. */
const CHUNK = 256 * 1024;

/** A call as it is told again. */
interface Repeated {
  readonly call: RepeatedCall;
  /** What the sink calls it. */
  readonly kind: number;
  readonly hasSeq: boolean;
  /** It shows its payload's hash: its only line is an asynchronous copy's. */
  readonly hasHash: boolean;
  /** Bytes of its terminator's line without the request id. */
  readonly terminatorBytes: number;
}

/** Null: what is like this call has to be read each time. */
type Shapes = (Repeated | null)[];

/** Puts together what log-scan tells. */
class BulkReader implements MediatorScanHandler {
  readonly #fd: number;
  readonly #sink: BulkSink;
  readonly #feed: LogFeed;
  readonly #tables: Shapes[] = [];
  #shapes: Shapes = [];
  /** Events that the parser told since it was last asked. */
  #events = 0;
  #newest: MediatorEvent | null = null;

  constructor(fd: number, sink: BulkSink) {
    this.#fd = fd;
    this.#sink = sink;
    let epochs = 0;
    const emit = (event: MediatorEvent): void => {
      this.#events += 1;
      this.#newest = event;
      sink.add(event);
    };
    this.#feed = new LogFeed({ log: 0, emit, nextEpoch: () => epochs++, chunkBytes: CHUNK });
  }

  stretch(offset: number, table: number, known: number): void {
    this.#expect(offset);
    this.#shapes = this.#tables[table] ?? [];
    this.#tables[table] = this.#shapes;
    this.#shapes.length = known;
  }

  raw(offset: number, length: number, bytes: Buffer | null): void {
    this.#expect(offset);
    if (bytes === null) this.#read(offset + length);
    else this.#feed.push(bytes);
  }

  shape(offset: number, bytes: Buffer): void {
    this.#expect(offset);
    this.#shapes.push(this.#learn(() => this.#feed.push(bytes)));
  }

  calls(offset: number, entries: Buffer): void {
    this.#expect(offset);
    const feed = this.#feed;
    // Between two calls that were told like this, and behind one, the feed is at rest.
    if (!feed.isAtRest) throw new ScanDoubt("a call stands where no call can begin");
    const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
    // Where the calls end that have to be read and were not yet: neighbours are read together.
    let unread = offset;
    let [requestId, count] = [0, 0];
    for (let at = 0; at < entries.length; ) {
      const head = view.getUint16(at, true);
      const index = head & ~(NEXT_ENTRY | HASH_ENTRY);
      const length = view.getUint16(at + 2, true);
      const shape = this.#shapes[index] ?? null;
      requestId += count;
      count = 1;
      let seq = 0;
      if ((head & NEXT_ENTRY) !== 0) {
        at += NEXT_ENTRY_BYTES;
        if (shape !== null && shape.kind !== 0 && unread <= feed.offset && this.#tell(shape, length, requestId))
          continue;
      } else {
        requestId = view.getUint32(at + 4, true);
        seq = view.getUint32(at + 8, true);
        count = view.getUint32(at + 12, true);
        at += ENTRY_BYTES;
      }
      const hashAt = at;
      if ((head & HASH_ENTRY) !== 0) at += HASH_BYTES;
      if (shape === null) {
        unread = Math.max(unread, feed.offset) + length * count;
        continue;
      }
      if (unread > feed.offset) this.#read(unread);
      if (shape.hasHash !== hashAt < at)
        throw new ScanDoubt("a call has a hash that the first one of its kind has not");
      if (shape.hasHash) showHash(shape.call, seq, view.getUint32(hashAt, true), view.getUint32(hashAt + 4, true));
      if (shape.call.epoch === feed.epoch) this.#again(shape, length, requestId, seq, count);
      else this.#afresh(index, length, requestId, seq, count);
    }
    if (unread > feed.offset) this.#read(unread);
    if (!feed.isAtRest) throw new ScanDoubt("a call does not end where it ends");
    this.#sink.reached?.(feed.offset);
  }

  /** Reads what was written since the program began, to the end of the log as it is now. */
  finish(from: number): number {
    this.#expect(from);
    this.#read(Number.POSITIVE_INFINITY);
    this.#feed.finish();
    return this.#feed.offset;
  }

  close(): void {
    this.#feed.close();
  }

  #expect(offset: number): void {
    if (this.#feed.offset !== offset) throw new ScanDoubt(`byte ${offset} was told at ${this.#feed.offset}`);
  }

  /** Tells a call without its object; false: it was not taken. */
  #tell({ call, kind, terminatorBytes }: Repeated, length: number, requestId: number): boolean {
    const feed = this.#feed;
    if (call.epoch !== feed.epoch) return false;
    const end = feed.offset + length;
    const terminatorAt = end - terminatorBytes - digitsOf(requestId);
    if (this.#sink.addAgain?.(call, kind, requestId, terminatorAt) !== true) return false;
    feed.again(end, 1);
    return true;
  }

  #again(shape: Repeated, length: number, requestId: number, seq: number, count: number): void {
    const feed = this.#feed;
    const { call, hasSeq, terminatorBytes } = shape;
    for (let told = 0; told < count; told += 1) {
      if (shape.kind !== 0 && this.#tell(shape, length, requestId + told)) continue;
      call.at = feed.offset;
      call.end = call.at + length;
      call.requestId = requestId + told;
      call.terminatorAt = call.end - terminatorBytes - digitsOf(call.requestId);
      if (hasSeq) call.seq = seq + told;
      feed.again(call.end, 1);
      this.#sink.add(call);
      const more = count - told - 1;
      if (told === 0 && more > 0 && this.#sink.addRun?.(call, more)) {
        feed.again(call.end + more * length, more);
        return;
      }
    }
  }

  /** The mediator was started anew since the shape was read: what it says is the new run's. */
  #afresh(index: number, length: number, requestId: number, seq: number, count: number): void {
    const shape = this.#learn(() => this.#read(this.#feed.offset + length));
    this.#shapes[index] = shape;
    if (shape === null) this.#read(this.#feed.offset + length * (count - 1));
    else this.#again(shape, length, requestId + 1, seq + 1, count - 1);
  }

  /** Reads from the file, up to `end` or to where the file ends. */
  #read(end: number): void {
    const feed = this.#feed;
    while (feed.offset < end) {
      const wanted = Math.min(feed.chunkBytes, end - feed.offset);
      const read = readSync(this.#fd, feed.buffer, feed.dataAt(0), wanted, feed.offset);
      if (read > 0) feed.filled(0, read);
      else if (end === Number.POSITIVE_INFINITY) return;
      else throw new ScanDoubt("the file became shorter");
    }
  }

  /**
   * Reads a call, and what it says if that can be told again: it is one call and nothing beside it, and its numbers
   * stand where log-scan leaves them out, and nowhere else.
   */
  #learn(read: () => void): Repeated | null {
    const feed = this.#feed;
    const [at, wasAtRest] = [feed.offset, feed.isAtRest];
    this.#events = 0;
    read();
    const call = this.#newest;
    if (!wasAtRest || !feed.isAtRest || this.#events !== 1 || call?.kind !== "call") return null;
    if (call.at !== at || call.end !== feed.offset) return null;
    // This line has the sequence number in it too, and the hash.
    const hasHash = call.lines.some(({ kind }) => kind === "copy-in-async");
    if (hasHash && call.lines.length > 1) return null;
    const terminatorBytes = call.end - call.terminatorAt - digitsOf(call.requestId);
    const kind = this.#sink.kindOf?.(call) ?? 0;
    return { call: { ...call }, kind, hasSeq: call.seq !== null, hasHash, terminatorBytes };
  }
}

/** Puts the numbers into the line of an asynchronous copy. */
function showHash(call: RepeatedCall, seq: number, low: number, high: number): void {
  const [line] = call.lines;
  if (line?.kind !== "copy-in-async") return;
  const value = high * 2 ** 32 + low;
  const hash = value <= Number.MAX_SAFE_INTEGER ? value : (BigInt(high) << 32n) | BigInt(low);
  call.lines = [{ ...line, seq, hash }];
}

/** Decimal digits of an unsigned 32-bit number. */
function digitsOf(value: number): number {
  let digits = 1;
  for (let bound = 10; value >= bound; bound *= 10) digits += 1;
  return digits;
}
