import { type ChunkRun, follows } from "../chunk-list.ts";

export interface CopyMatch {
  /** Index in the guest's list. */
  readonly guest: number;
  /** Request ids of its first and last chunk; those of a try before are not in it. */
  readonly first: number;
  readonly last: number;
  readonly records: number;
  /** Bytes that went through before a chunk failed; null: none failed. */
  readonly failedAt: number | null;
  /** Tries before this one that failed. */
  readonly retries: number;
  readonly level: "EXACT" | "STRONG" | "AMBIGUOUS";
}

export interface CopyAlignment {
  readonly matches: readonly CopyMatch[];
  /** Every copy of the guest found its chunks. */
  readonly allFound: boolean;
  /** Records of the host that no copy of the guest took. */
  readonly leftover: number;
}

/**
 * R4: a copy of n bytes is a run of calls without a hole in their request ids, of sizes c, c, …, r that add up to n. Both
 * lists are in order, so they are aligned from their starts; a size that does not come out ends the alignment, since
 * nothing behind it is certain. Strong when all comes out; exact when besides the device addresses show the chunks of
 * one copy following one another. A chunk that fails ends its copy, and the shim tries the whole copy again after it has
 * connected anew (docs/wire.md, "Shim lines: connecting").
 */
export function alignCopies(guest: readonly { readonly bytes: number }[], runs: readonly ChunkRun[]): CopyAlignment {
  const cursor = new Cursor(runs);
  const found: Found[] = [];
  let aligned = true;
  for (const [index, { bytes }] of guest.entries()) {
    if (bytes === 0) continue;
    const taken = takeCopy(cursor, bytes);
    if (taken === null) {
      aligned = false;
      break;
    }
    found.push({ ...taken, guest: index });
  }
  const leftover = cursor.left();
  const certain = aligned && leftover === 0;
  const matches = found.map(({ addressed, ...match }) => ({
    ...match,
    level: certain ? (addressed ? ("EXACT" as const) : ("STRONG" as const)) : ("AMBIGUOUS" as const),
  }));
  return { matches, allFound: aligned, leftover };
}

interface Taken extends Omit<CopyMatch, "level" | "guest"> {
  /** More than one chunk, and their addresses follow one another. */
  readonly addressed: boolean;
}

interface Found extends Taken {
  readonly guest: number;
}

/** The chunks of one copy, a try that failed before included. Null: the sizes do not come out. */
function takeCopy(cursor: Cursor, bytes: number): Taken | null {
  const taken = takeTry(cursor, bytes, 0);
  if (taken === null || taken.failedAt === null) return taken;
  const next = cursor.run;
  // The same transport goes on: the program was told of the failure, and this is its next copy. The shim tries once more.
  if (next === undefined || next.transport !== taken.transport + 1) return taken;
  return takeTry(cursor, bytes, 1);
}

function takeTry(cursor: Cursor, bytes: number, retries: number): (Taken & { readonly transport: number }) | null {
  const start = cursor.run;
  if (start === undefined || start.bytes === null) return null;
  const first = cursor.request;
  const { transport, callId, bytes: size } = start;
  let need = bytes;
  let records = 0;
  let addressed = start.address !== null;
  let [next, address] = [first, cursor.address];
  while (need > 0) {
    const run = cursor.run;
    if (run === undefined || run.bytes === null || run.bytes === 0 || run.bytes > need || run.bytes > size) return null;
    if (run.callId !== callId || run.transport !== transport || cursor.request !== next) return null;
    if (records > 0 && !follows(address, 0, cursor.address)) addressed = false;
    if (run.failed) {
      const request = cursor.request;
      cursor.take(1);
      const failedAt = bytes - need;
      return { first, last: request, records: records + 1, failedAt, retries, addressed: false, transport };
    }
    const times = Math.min(cursor.left1(), Math.floor(need / run.bytes));
    if (run.bytes < size && times * run.bytes !== need) return null;
    address = cursor.address === null ? null : BigInt(cursor.address) + BigInt(times * run.bytes);
    next = cursor.request + times;
    cursor.take(times);
    records += times;
    need -= times * run.bytes;
  }
  return { first, last: next - 1, records, failedAt: null, retries, addressed: addressed && records > 1, transport };
}

/** A place in the runs, down to the single call. */
class Cursor {
  readonly #runs: readonly ChunkRun[];
  #index = 0;
  #used = 0;

  constructor(runs: readonly ChunkRun[]) {
    this.#runs = runs;
  }

  get run(): ChunkRun | undefined {
    return this.#runs[this.#index];
  }

  get request(): number {
    return (this.run?.first ?? 0) + this.#used;
  }

  get address(): ChunkRun["address"] {
    const run = this.run;
    if (run === undefined || run.address === null || run.bytes === null) return null;
    return BigInt(run.address) + BigInt(this.#used * run.bytes);
  }

  /** Calls left in this run. */
  left1(): number {
    return (this.run?.times ?? 0) - this.#used;
  }

  take(times: number): void {
    this.#used += times;
    if (this.left1() > 0) return;
    this.#index += 1;
    this.#used = 0;
  }

  /** Calls that were not taken. */
  left(): number {
    const rest = this.#runs.slice(this.#index).reduce((sum, { times }) => sum + times, 0);
    return rest - this.#used;
  }
}
