import type { Address } from "../../protocol/mediator-events.ts";

/**
 * Calls of one process that carried payload, of one direction: neighbours of the same size and result are kept as one
 * entry, so a copy of any size is one or two.
 */
export interface ChunkRun {
  readonly callId: number;
  /** Bytes of each. Null: the log does not tell. */
  readonly bytes: number | null;
  readonly times: number;
  /** Request ids from `first` on, without a hole. */
  readonly first: number;
  /** Sequence number of the first; null where the log does not tell. */
  readonly seq: number | null;
  /** Device address of the first, where told; the others follow it without a hole. */
  readonly address: Address | null;
  readonly failed: boolean;
  /** Which of the process's transports, counted from 0. */
  readonly transport: number;
}

export interface Chunk extends Omit<ChunkRun, "times" | "first"> {
  readonly requestId: number;
}

interface Growing extends Omit<ChunkRun, "times"> {
  times: number;
}

/** How many copies such calls were, at a guess from the log alone. */
export interface CopyTally {
  readonly copies: number;
  /** Of them. */
  readonly failed: number;
  /** Copies that failed and were tried again, of the same address and size, over a new connection. */
  readonly retried: number;
}

const MOST = 2048;
const NOTHING: CopyTally = { copies: 0, failed: 0, retried: 0 };

/** The newest of them, and what the older ones came to. */
export class ChunkList {
  #runs: Growing[] = [];
  #largest = 0;
  /** What was let go, and the newest of it. */
  #gone = NOTHING;
  #before: ChunkRun | null = null;
  #isWhole = true;

  /** `times`: as many of the same size, the first of which this is; each follows the one before in its numbers. */
  add(chunk: Chunk, times = 1): void {
    const last = this.#runs[this.#runs.length - 1];
    if (last !== undefined && continues(last, chunk)) {
      last.times += times;
      return;
    }
    const { callId, bytes, requestId: first, seq, address, failed, transport } = chunk;
    this.#push({ callId, bytes, times, first, seq, address, failed, transport });
  }

  /** Those of another process, behind what is here. */
  addAll(other: ChunkList): void {
    const listed = tallyOf(other.#runs, null, other.#largest);
    this.#gone = sum(this.#gone, other.tally, listed, -1);
    this.#isWhole &&= other.#isWhole;
    for (const run of other.#runs) this.#push({ ...run });
  }

  get runs(): readonly ChunkRun[] {
    return this.#runs;
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Of all, those that are no longer in the list too. */
  get tally(): CopyTally {
    return sum(this.#gone, tallyOf(this.#runs, this.#before, this.#largest));
  }

  #push(run: Growing): void {
    this.#largest = Math.max(this.#largest, run.bytes ?? 0);
    this.#runs.push(run);
    // Cut rarely, so that each call costs little.
    if (this.#runs.length < 2 * MOST) return;
    const gone = this.#runs.slice(0, MOST);
    this.#runs = this.#runs.slice(MOST);
    this.#gone = sum(this.#gone, tallyOf(gone, this.#before, this.#largest, this.#runs[0]));
    this.#before = gone[gone.length - 1] ?? null;
    this.#isWhole = false;
  }
}

/** One and another, less a third when `times` is -1. */
function sum(one: CopyTally, two: CopyTally, three: CopyTally = NOTHING, times = 1): CopyTally {
  return {
    copies: one.copies + two.copies + times * three.copies,
    failed: one.failed + two.failed + times * three.failed,
    retried: one.retried + two.retried + times * three.retried,
  };
}

function continues(run: Growing, chunk: Chunk): boolean {
  return (
    !run.failed &&
    !chunk.failed &&
    run.callId === chunk.callId &&
    run.bytes !== null &&
    run.bytes === chunk.bytes &&
    run.transport === chunk.transport &&
    run.first + run.times === chunk.requestId &&
    (run.seq === null ? chunk.seq === null : run.seq + run.times === chunk.seq) &&
    follows(run.address, run.times * run.bytes, chunk.address)
  );
}

/** Whether an address lies so many bytes behind another one; true where neither is told. */
export function follows(address: Address | null, bytes: number, next: Address | null): boolean {
  if (address === null || next === null) return address === next;
  if (typeof address === "number" && typeof next === "number") return address + bytes === next;
  return BigInt(address) + BigInt(bytes) === BigInt(next);
}

/** Chunk sizes of known builds: what is as large as one of these is part of a larger copy, or exactly fills a chunk. */
const CHUNK_SIZES: readonly number[] = [1024, 32_768, 65_536, 262_144, 1 << 20, 4 << 20, 8 << 20];

/**
 * A full chunk is followed by more of the same copy: two copies of exactly one chunk count as one. `last` and `next`: what
 * stands before and behind. `largest`: bytes of the largest chunk of the process.
 */
function tallyOf(runs: readonly ChunkRun[], last: ChunkRun | null, largest: number, next?: ChunkRun): CopyTally {
  const full = CHUNK_SIZES.includes(largest) ? largest : Number.POSITIVE_INFINITY;
  let [copies, failed, retried] = [0, 0, 0];
  let before = last;
  for (const [index, run] of runs.entries()) {
    const joined: boolean = before !== null && before.bytes === full && !before.failed && isNext(before, run);
    if (run.bytes === full) copies += joined ? 0 : 1;
    else copies += run.times - (joined ? 1 : 0);
    if (run.failed) failed += 1;
    if (run.failed && isRetry(run, runs[index + 1] ?? next)) retried += 1;
    before = run;
  }
  return { copies, failed, retried };
}

function isRetry(run: ChunkRun, next: ChunkRun | undefined): boolean {
  return next !== undefined && next.address === run.address && next.transport > run.transport;
}

function isNext(run: ChunkRun, next: ChunkRun): boolean {
  if (run.first + run.times !== next.first || run.callId !== next.callId) return false;
  return run.address === null || run.bytes === null || follows(run.address, run.times * run.bytes, next.address);
}
