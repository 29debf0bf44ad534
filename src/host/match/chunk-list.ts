import type { Address } from "../../protocol/mediator-events.ts";
import { BoundedList } from "./bounded-list.ts";

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

const MOST = 2048;

export class ChunkList {
  readonly #runs = new BoundedList<Growing>(MOST);

  /** `times`: as many of the same size, the first of which this is; each follows the one before in its numbers. */
  add(chunk: Chunk, times = 1): void {
    const last = this.#runs.last();
    if (last !== undefined && continues(last, chunk)) {
      last.times += times;
      return;
    }
    const { requestId, ...rest } = chunk;
    this.#runs.push({ ...rest, first: requestId, times });
  }

  /** Those of another process, behind what is here. */
  addRuns(runs: readonly ChunkRun[]): void {
    for (const run of runs) this.#runs.push({ ...run });
  }

  get runs(): readonly ChunkRun[] {
    return this.#runs.items;
  }

  get isWhole(): boolean {
    return this.#runs.isWhole;
  }
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
 * How many copies such calls were, at a guess from the log alone: a full chunk is followed by more of the same copy. Two
 * copies of exactly one chunk count as one.
 */
export function estimateCopies(runs: readonly ChunkRun[]): number {
  const largest = runs.reduce((most, { bytes }) => Math.max(most, bytes ?? 0), 0);
  const full = CHUNK_SIZES.includes(largest) ? largest : Number.POSITIVE_INFINITY;
  let copies = 0;
  let before: ChunkRun | null = null;
  for (const run of runs) {
    const joined: boolean = before !== null && before.bytes === full && !before.failed && isNext(before, run);
    if (run.bytes === full) copies += joined ? 0 : 1;
    else copies += run.times - (joined ? 1 : 0);
    before = run;
  }
  return copies;
}

function isNext(run: ChunkRun, next: ChunkRun): boolean {
  if (run.first + run.times !== next.first || run.callId !== next.callId) return false;
  return run.address === null || run.bytes === null || follows(run.address, run.times * run.bytes, next.address);
}
