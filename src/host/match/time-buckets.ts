import type { WrittenBetween } from "../../protocol/mediator-events.ts";

const KEYS = [
  "records",
  "alloc",
  "allocFailed",
  "copyIn",
  "copyInFailed",
  "bytesIn",
  "launch",
  "launchFailed",
  "launchUnknown",
  "launchDoubtful",
  "copyOut",
  "copyOutFailed",
  "bytesOut",
] as const;

/** What is counted over time: records and operations by kind. A matrix product is a launch; doubtful: that
 * may be another process's, and nobody knows how it ended. */
export type Amounts = Readonly<Record<(typeof KEYS)[number], number>>;

export const NOTHING: Amounts = {
  records: 0,
  alloc: 0,
  allocFailed: 0,
  copyIn: 0,
  copyInFailed: 0,
  bytesIn: 0,
  launch: 0,
  launchFailed: 0,
  launchUnknown: 0,
  launchDoubtful: 0,
  copyOut: 0,
  copyOutFailed: 0,
  bytesOut: 0,
};

/** Between how much and how much of something lies in a window: records at its edges may be on either side. */
export interface Bounds {
  readonly least: Amounts;
  readonly most: Amounts;
}

/**
 * A window as far as it is known, milliseconds on the host's clock: it lies in the span from `from` to `to`, and holds the one
 * from `innerFrom` to `innerTo` (which is empty when the clocks differ by more than the window is long).
 */
export interface HostWindow {
  readonly from: number;
  readonly to: number;
  readonly innerFrom: number;
  readonly innerTo: number;
}

interface Bucket {
  /** No record of it was written before this moment, or after that one; milliseconds. */
  from: number;
  to: number;
  /** When the first of it had been read. */
  readonly first: number;
  readonly amounts: Record<keyof Amounts, number>;
}

const FINE_MS = 250;
const MOST = 192;

/**
 * Amounts over time in bounded memory: fine for what is young, coarser the older it is. Where the log had no times, it
 * is empty and `between` says so.
 *
 * INVARIANT: each record lies in one bucket, and was written between its `from` and its `to`.
 */
export class TimeBuckets {
  #buckets: Bucket[] = [];
  #untimed = false;

  /** Something was written at no known time: from here on nothing is known of any window. */
  setUntimed(): void {
    this.#untimed = true;
  }

  /** Null for `when`: at no known time. */
  add(when: WrittenBetween | null, amounts: Partial<Amounts>): void {
    if (when === null) {
      this.#untimed = true;
      return;
    }
    const from = when.notBefore ?? Number.NEGATIVE_INFINITY;
    const last = this.#buckets.at(-1);
    if (last !== undefined && isNear(last, from, when.notAfter)) {
      last.from = Math.min(last.from, from);
      last.to = Math.max(last.to, when.notAfter);
      include(last.amounts, amounts);
      return;
    }
    this.#buckets.push({ from, to: when.notAfter, first: when.notAfter, amounts: { ...NOTHING, ...amounts } });
    if (this.#buckets.length > MOST) this.#coarsen();
  }

  /** Adds those of another one. */
  absorb(other: TimeBuckets): void {
    if (other.#untimed) this.#untimed = true;
    const copies = other.#buckets.map((bucket) => ({ ...bucket, amounts: { ...bucket.amounts } }));
    this.#buckets = [...this.#buckets, ...copies].sort((a, b) => a.to - b.to);
    while (this.#buckets.length > MOST) this.#coarsen();
  }

  /** What was written in a window; null when something here has no time. */
  between({ from, to, innerFrom, innerTo }: HostWindow): Bounds | null {
    if (this.#untimed) return null;
    const [least, most] = [{ ...NOTHING }, { ...NOTHING }];
    for (const bucket of this.#buckets) {
      if (bucket.to < from || bucket.from > to) continue;
      include(most, bucket.amounts);
      if (bucket.from >= innerFrom && bucket.to <= innerTo) include(least, bucket.amounts);
    }
    return { least, most };
  }

  /** What was surely written before a moment; null when something here has no time. */
  before(moment: number): Amounts | null {
    if (this.#untimed) return null;
    const all = { ...NOTHING };
    for (const bucket of this.#buckets) if (bucket.to < moment) include(all, bucket.amounts);
    return all;
  }

  /** Joins the two neighbours of the older half that span the least time together. */
  #coarsen(): void {
    let best = 0;
    let span = Number.POSITIVE_INFINITY;
    for (let index = 0; index < MOST / 2; index += 1) {
      const [one, two] = [this.#buckets[index], this.#buckets[index + 1]];
      if (one === undefined || two === undefined || two.to - one.from >= span) continue;
      span = two.to - one.from;
      best = index;
    }
    const [one, two] = [this.#buckets[best], this.#buckets[best + 1]];
    if (one === undefined || two === undefined) return;
    include(one.amounts, two.amounts);
    one.from = Math.min(one.from, two.from);
    one.to = Math.max(one.to, two.to);
    this.#buckets.splice(best + 1, 1);
  }
}

/** Of the same read, or of one so soon after it that nothing is lost. A pipe's reads do not tell since when they wait. */
function isNear(last: Bucket, from: number, to: number): boolean {
  if (from === last.from && to === last.to) return true;
  if (from === Number.NEGATIVE_INFINITY) return last.from === from && to - last.first < FINE_MS;
  return to - last.from < FINE_MS;
}

function include(all: Record<keyof Amounts, number>, more: Partial<Amounts>): void {
  for (const key of KEYS) all[key] += more[key] ?? 0;
}
