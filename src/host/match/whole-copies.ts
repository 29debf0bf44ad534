import type { WrittenBetween } from "../../protocol/mediator-events.ts";
import { type Chunk, follows } from "./chunk-list.ts";
import type { Bucket, TimeBuckets } from "./time-buckets.ts";

type Part = Pick<Chunk, "callId" | "bytes" | "seq" | "address">;

/** A copy as far as its chunks have come; where the log cannot tell, it may be several that follow each other. */
interface Strand {
  readonly callId: number;
  /** Of the newest chunk. */
  bytes: number | null;
  address: Chunk["address"];
  /** Of the chunk that would continue it. */
  nextSeq: number | null;
  /** No chunk of it was written before; milliseconds. */
  readonly from: number;
  /** Of its newest chunk. */
  place: Bucket | null;
  isCounted: boolean;
}

/** How many are remembered: one that was counted is taken back when a chunk continues it after all. */
const MOST = 4;
const COPY_OUT = 0x33;

/**
 * Which copies of a process were made from their first chunk to their last between two moments. Each chunk is a call of its
 * own and no line says where a copy begins or ends (docs/wire.md, "Mediator log: framing"), so two copies are told apart only
 * where it is certain: by a sequence number or an address that does not follow, a chunk larger than the one before, a size
 * that only a last chunk has, or another call of the process. What may be one copy counts as one. The lock that a process holds
 * for the whole of a copy (docs/wire.md, "Lock files") keeps its own other calls out; where it was not to be had, a copy that goes
 * on behind them is taken back.
 */
export class WholeCopies {
  readonly #buckets: TimeBuckets;
  #strands: Strand[] = [];
  /** The process's newest record was not written before. */
  #newest = Number.NEGATIVE_INFINITY;

  constructor(buckets: TimeBuckets) {
    this.#buckets = buckets;
  }

  /**
   * The process's next record, which the buckets have already; `chunk` null: it is no part of a copy. `isHole`: between the
   * record before and this one others of it may have been lost.
   */
  add(chunk: Part | null, when: WrittenBetween, isHole: boolean): void {
    const certain = when.notBefore ?? Number.NEGATIVE_INFINITY;
    const from = isHole ? this.#newest : certain;
    this.#newest = certain;
    const last = this.#strands.at(-1);
    const going = last === undefined || last.isCounted ? null : last;
    if (chunk === null) {
      if (going !== null) this.#end(going, isHole);
      return;
    }
    const before = isHole && going !== null && mayContinue(going, chunk) ? going : this.#before(chunk);
    if (going !== null && going !== before) this.#end(going, isHole);
    const strand = before === null ? this.#begin(chunk, from) : this.#goOn(before, chunk);
    if (mayBeFull(chunk.bytes)) return;
    this.#count(strand, 1);
    this.#strands.pop();
  }

  #begin({ callId, bytes, address, seq }: Part, from: number): Strand {
    const nextSeq = seq === null ? null : seq + 1;
    const strand = { callId, bytes, address, nextSeq, from, place: this.#buckets.newest, isCounted: false };
    this.#strands.push(strand);
    if (this.#strands.length > MOST) this.#strands.shift();
    return strand;
  }

  #goOn(strand: Strand, { bytes, address, seq }: Part): Strand {
    if (strand.isCounted) this.#count(strand, -1);
    strand.bytes = bytes;
    strand.address = address;
    strand.nextSeq = seq === null ? null : seq + 1;
    strand.place = this.#buckets.newest;
    if (strand === this.#strands.at(-1)) return strand;
    this.#strands = [...this.#strands.filter((one) => one !== strand), strand];
    return strand;
  }

  /** The copy that a chunk surely or possibly continues; null: it begins one. */
  #before(chunk: Part): Strand | null {
    return this.#strands.findLast((strand) => mayContinue(strand, chunk) && isNext(strand, chunk)) ?? null;
  }

  /** Nothing more of it comes. Behind a hole nobody knows when it ended, but that it was before the newest record. */
  #end(strand: Strand, isHole: boolean): void {
    if (isHole) strand.place = this.#buckets.newest;
    this.#count(strand, 1);
  }

  #count(strand: Strand, times: 1 | -1): void {
    strand.isCounted = times > 0;
    const { place, from, callId } = strand;
    this.#buckets.addWhole(place, from, callId === COPY_OUT ? "wholeOut" : "wholeIn", times);
  }
}

/** Of the same kind, and no larger: only the last chunk of a copy is smaller than the others, and none is larger. */
function mayContinue(strand: Strand, { callId, bytes }: Part): boolean {
  return strand.callId === callId && (strand.bytes === null || bytes === null || bytes <= strand.bytes);
}

function isNext(strand: Strand, { seq, address }: Part): boolean {
  if (strand.nextSeq !== null && seq !== null && seq !== strand.nextSeq) return false;
  if (strand.address === null || address === null || strand.bytes === null) return true;
  return follows(strand.address, strand.bytes, address);
}

/**
 * Whether another chunk of the same copy can follow one of this size. A chunk is 1 KiB where the device has no other way, else
 * as large as a fixed size or half of the shared memory allow, which is whole pages, however few (VGPU_SHMEM_MIN_SPAN_KB).
 */
function mayBeFull(bytes: number | null): boolean {
  return bytes === null || bytes === 1024 || bytes % 2048 === 0;
}
