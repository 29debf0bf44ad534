import type { WrittenBetween } from "../../protocol/mediator-events.ts";

/**
 * What is counted over time: records and operations by kind. A matrix product is a launch; doubtful: that may be another
 * process's, and nobody knows how it ended; whole: copies of which every chunk lies there.
 */
export type Amounts = Readonly<typeof NOTHING>;

const NOTHING = {
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
  wholeIn: 0,
  wholeOut: 0,
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

/** A stretch of time, for whoever adds to it later. */
export interface Bucket {
  /** No record of it was written before this moment, or after that one; milliseconds. */
  from: number;
  to: number;
  /** When the first of it had been read. */
  readonly first: number;
  readonly amounts: Record<keyof Amounts, number>;
  /** Copies that ended here and began earlier. */
  begun: Begun | null;
  /** The one that it was joined to. */
  into: Bucket | null;
}

type Whole = "wholeIn" | "wholeOut";

interface Begun extends Record<Whole, number> {
  /** None of them began before; milliseconds. */
  from: number;
}

const NEW = { begun: null, into: null } as const;
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
    this.#buckets.push({ from, to: when.notAfter, first: when.notAfter, amounts: { ...NOTHING, ...amounts }, ...NEW });
    if (this.#buckets.length > MOST) this.#coarsen();
  }

  /** Where the newest record was counted; null: nowhere. */
  get newest(): Bucket | null {
    return this.#buckets.at(-1) ?? null;
  }

  /** Counts a copy whose last chunk was counted in a bucket, and of which none was written before `from`; -1 takes it back. */
  addWhole(bucket: Bucket | null, from: number, which: Whole, times: 1 | -1): void {
    let place = bucket;
    while (place !== null && place.into !== null) place = place.into;
    if (place === null) return;
    if (from >= place.from) place.amounts[which] += times;
    else {
      place.begun ??= { wholeIn: 0, wholeOut: 0, from };
      place.begun[which] += times;
      place.begun.from = Math.min(place.begun.from, from);
    }
  }

  /** Adds those of another one. */
  absorb(other: TimeBuckets): void {
    if (other.#untimed) this.#untimed = true;
    const copies = other.#buckets.map((bucket) => ({
      ...bucket,
      amounts: { ...bucket.amounts },
      begun: bucket.begun === null ? null : { ...bucket.begun },
    }));
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
      if (bucket.from < innerFrom || bucket.to > innerTo) continue;
      include(least, bucket.amounts);
      if (bucket.begun !== null && bucket.begun.from >= innerFrom) addBegun(least, bucket.begun);
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
    if (two.begun !== null) {
      // What began in the one and ended in the other lies in their sum.
      if (two.begun.from >= one.from) addBegun(one.amounts, two.begun);
      else if (one.begun === null) one.begun = two.begun;
      else {
        one.begun.from = Math.min(one.begun.from, two.begun.from);
        addBegun(one.begun, two.begun);
      }
    }
    two.into = one;
    this.#buckets.splice(best + 1, 1);
  }
}

/** Of the same read, or of one so soon after it that nothing is lost. A pipe's reads do not tell since when they wait. */
function isNear(last: Bucket, from: number, to: number): boolean {
  if (from === last.from && to === last.to) return true;
  if (from === Number.NEGATIVE_INFINITY) return last.from === from && to - last.first < FINE_MS;
  return to - last.from < FINE_MS;
}

/** Each by its name: this is done for every record of a followed log, and a loop over names is slow. */
function include(all: Record<keyof Amounts, number>, more: Partial<Amounts>): void {
  all.records += more.records ?? 0;
  all.alloc += more.alloc ?? 0;
  all.allocFailed += more.allocFailed ?? 0;
  all.copyIn += more.copyIn ?? 0;
  all.copyInFailed += more.copyInFailed ?? 0;
  all.bytesIn += more.bytesIn ?? 0;
  all.launch += more.launch ?? 0;
  all.launchFailed += more.launchFailed ?? 0;
  all.launchUnknown += more.launchUnknown ?? 0;
  all.launchDoubtful += more.launchDoubtful ?? 0;
  all.copyOut += more.copyOut ?? 0;
  all.copyOutFailed += more.copyOutFailed ?? 0;
  all.bytesOut += more.bytesOut ?? 0;
  all.wholeIn += more.wholeIn ?? 0;
  all.wholeOut += more.wholeOut ?? 0;
}

function addBegun(all: Record<Whole, number>, { wholeIn, wholeOut }: Begun): void {
  all.wholeIn += wholeIn;
  all.wholeOut += wholeOut;
}
