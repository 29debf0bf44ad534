import type { WrittenBetween } from "../../protocol/mediator-events.ts";

/** What is counted over time: operations by kind. */
export interface Amounts {
  readonly alloc: number;
  readonly copyIn: number;
  readonly bytesIn: number;
  readonly launch: number;
  readonly copyOut: number;
  readonly bytesOut: number;
  readonly failed: number;
  readonly records: number;
}

export const NOTHING: Amounts = {
  alloc: 0,
  copyIn: 0,
  bytesIn: 0,
  launch: 0,
  copyOut: 0,
  bytesOut: 0,
  failed: 0,
  records: 0,
};

/** Between how much and how much of something lies in a window: records at its edges may be on either side. */
export interface Bounds {
  readonly least: Amounts;
  readonly most: Amounts;
}

interface Bucket {
  /** No record of it was written before this moment, or after that one; milliseconds. */
  from: number;
  to: number;
  amounts: Amounts;
}

const FINE_MS = 1000;
const MOST = 96;

/**
 * Amounts over time in bounded memory: fine for what is young, coarser the older it is. Where the log had no times, it
 * is empty and `between` says so.
 */
export class TimeBuckets {
  #buckets: Bucket[] = [];
  #untimed = false;

  /** Something was written at no known time: from here on nothing is known of any window. */
  setUntimed(): void {
    this.#untimed = true;
  }

  add(when: WrittenBetween, amounts: Amounts): void {
    const from = when.notBefore ?? Number.NEGATIVE_INFINITY;
    const last = this.#buckets.at(-1);
    if (last !== undefined && when.notAfter - last.from < FINE_MS) {
      last.to = Math.max(last.to, when.notAfter);
      last.amounts = sum(last.amounts, amounts);
      return;
    }
    this.#buckets.push({ from, to: when.notAfter, amounts });
    if (this.#buckets.length > MOST) this.#coarsen();
  }

  /** Adds those of another one. */
  absorb(other: TimeBuckets): void {
    if (other.#untimed) this.#untimed = true;
    this.#buckets = [...this.#buckets, ...other.#buckets.map((bucket) => ({ ...bucket }))].sort((a, b) => a.to - b.to);
    while (this.#buckets.length > MOST) this.#coarsen();
  }

  /** What was written in a window; null when nothing here has a time. */
  between(from: number, to: number): Bounds | null {
    if (this.#untimed) return null;
    let [least, most] = [NOTHING, NOTHING];
    for (const bucket of this.#buckets) {
      if (bucket.to < from || bucket.from > to) continue;
      most = sum(most, bucket.amounts);
      if (bucket.from >= from && bucket.to <= to) least = sum(least, bucket.amounts);
    }
    return { least, most };
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
    this.#buckets.splice(best, 2, { from: one.from, to: two.to, amounts: sum(one.amounts, two.amounts) });
  }
}

export function sum(a: Amounts, b: Amounts): Amounts {
  return {
    alloc: a.alloc + b.alloc,
    copyIn: a.copyIn + b.copyIn,
    bytesIn: a.bytesIn + b.bytesIn,
    launch: a.launch + b.launch,
    copyOut: a.copyOut + b.copyOut,
    bytesOut: a.bytesOut + b.bytesOut,
    failed: a.failed + b.failed,
    records: a.records + b.records,
  };
}
