import type { CallEvent, WrittenBetween } from "../../protocol/mediator-events.ts";
import { amountsOf, gemmAmounts, NOT_DONE } from "./amounts.ts";
import { addOne, addTo, type CallTotals } from "./call-totals.ts";
import type { GemmTally, HostFailure, ProcessState } from "./process-state.ts";
import type { Fault } from "./rules/r12-poison.ts";
import { gemmOutcome, isGemm } from "./rules/r13-cublas.ts";
import { type Amounts, TimeBuckets } from "./time-buckets.ts";

const MOST_FAILURES = 128;
const MOST_TIMES = 64;
const NO_GEMMS = { ok: 0, failed: 0, unknown: 0, doubtful: 0 };

export type Timed = GemmTally["times"][number];

/** Calls that nobody can be given, because they stand between calls of two processes. */
export interface Unattributed {
  readonly totals: Map<number, CallTotals>;
  readonly times: TimeBuckets;
}

export const nobodys = (): Unattributed => ({ totals: new Map(), times: new TimeBuckets() });

/** Calls that name nobody, until it is known between whose calls they stand. */
export class Waiting {
  readonly #totals = new Map<number, CallTotals>();
  #gemms: GemmTally | null = null;
  #failures: HostFailure[] = [];
  #times: Timed[] = [];

  add(call: CallEvent, root: Fault | null): void {
    const { requestId, callId, status, log, epoch, terminatorAt: at, when } = call;
    addOne(this.#totals, callId, status !== 0);
    if (isGemm(callId)) {
      const outcome = gemmOutcome(call);
      this.#gemms ??= { ...NO_GEMMS, first: requestId, last: requestId, log, epoch, at, times: [] };
      this.#gemms[outcome] += 1;
      this.#gemms.last = requestId;
      note(this.#gemms.times, when, gemmAmounts(outcome));
      note(this.#times, when, gemmAmounts(outcome));
    } else note(this.#times, when, amountsOf(callId, status === 0 ? 0 : NOT_DONE));
    if (status !== 0 && this.#failures.length < MOST_FAILURES) {
      this.#failures.push({ requestId, callId, status, root, log, epoch, at, when });
    }
  }

  /**
   * `process`: whose calls stand on both sides; null: those of two. `doubtful` is given where other processes of the VM
   * live: they may have made these calls all the same.
   */
  giveTo(process: ProcessState | null, unattributed: Unattributed, doubtful: Unattributed | null): void {
    if (this.#totals.size === 0) return;
    if (process === null) this.#addTo(unattributed);
    else {
      for (const [callId, totals] of this.#totals) process.addBetween(callId, totals);
      if (this.#gemms !== null) process.addGemms(doubtful === null ? this.#gemms : doubted(this.#gemms));
      if (doubtful === null) for (const failure of this.#failures) process.noteFailure(failure);
      else this.#addTo(doubtful);
    }
    this.#totals.clear();
    this.#gemms = null;
    if (this.#failures.length > 0) this.#failures = [];
    if (this.#times.length > 0) this.#times = [];
  }

  /** Those that wait still, and what was never given to anybody, or with doubt: a copy. */
  with(...others: readonly Unattributed[]): Unattributed {
    const all = nobodys();
    for (const { totals, times } of others) {
      for (const [callId, count] of totals) addTo(all.totals, callId, count);
      all.times.absorb(times);
    }
    this.#addTo(all);
    return all;
  }

  #addTo(all: Unattributed): void {
    for (const [callId, totals] of this.#totals) addTo(all.totals, callId, totals);
    for (const { when, amounts } of this.#times) all.times.add(when, amounts);
  }
}

/** Matrix products that another process may have made. */
function doubted(tally: GemmTally): GemmTally {
  const doubtful = tally.ok + tally.failed + tally.unknown;
  const times = tally.times.map(({ when, amounts: { records = 0, launch = 0 } }) => {
    return { when, amounts: { records, launch, launchDoubtful: launch } };
  });
  return { ...tally, ok: 0, failed: 0, unknown: doubtful, doubtful, times };
}

/** Few entries, however many calls: those of one read are one, and when there are many the last one takes in the next. */
function note(times: Timed[], when: WrittenBetween | null, more: Partial<Amounts>): void {
  const last = times[times.length - 1];
  // Of what has no time, nobody asks how much it was.
  if (when === null && last !== undefined && last.when === null) return;
  if (last !== undefined && (last.when === when || times.length >= MOST_TIMES)) {
    last.when =
      last.when === null || when === null ? null : { notBefore: last.when.notBefore, notAfter: when.notAfter };
    add(last.amounts, more);
  } else times.push({ when, amounts: { ...more } });
}

function add(all: Record<string, number | undefined>, more: Partial<Amounts>): void {
  for (const [key, amount] of Object.entries(more)) all[key] = (all[key] ?? 0) + amount;
}
