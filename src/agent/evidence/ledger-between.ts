import type { CallCount, Ledger } from "../../facts/ledger.ts";
import { isOfAMoment } from "../../sensors/trace/ledger.ts";

const ANEW = "the kernel's counts began anew in the window: what was counted before is missing";

/**
 * What a live ledger counted between two of its snapshots, as a ledger of that window. Calls that were under way when the
 * window began come back in it: then `returned` is more than `count`, by at most those. Processes that ended meanwhile
 * have their counts, as the kernel keeps them.
 *
 * `firstAt` of a call that was made before the window, too, is the window's beginning: it was not earlier in it.
 */
export function ledgerBetween(before: Ledger, after: Ledger): Ledger {
  // In silence the counts are the very same list.
  const isSilent = before.calls === after.calls;
  const isAnew =
    before.source !== after.source ||
    after.dropped < before.dropped ||
    (!isSilent && hasLost(before.calls, after.calls));
  const calls = isAnew ? after.calls : isSilent ? [] : callsBetween(before, after);
  const fresh = after.gaps.filter((gap) => !(isOfAMoment(gap) && before.gaps.includes(gap)));
  const gaps = isAnew ? [ANEW, ...fresh] : fresh;
  const dropped = isAnew ? after.dropped : after.dropped - before.dropped;
  const isWhole = gaps.length === 0 && dropped === 0;
  return {
    ...after,
    from: isAnew ? after.from : before.to,
    coverage: after.coverage === "none" ? "none" : isWhole ? "full" : "partial",
    gaps,
    dropped,
    calls,
  };
}

/** Whether some call was counted more often before. */
function hasLost(before: readonly CallCount[], after: readonly CallCount[]): boolean {
  const counts = new Map(after.map((call) => [keyOf(call), call.count]));
  return before.some((call) => (counts.get(keyOf(call)) ?? 0) < call.count);
}

function callsBetween(before: Ledger, after: Ledger): CallCount[] {
  const known = new Map(before.calls.map((call) => [keyOf(call), call]));
  return after.calls.flatMap((call) => callBetween(known.get(keyOf(call)), call, before.to) ?? []);
}

/** Null: nothing of it happened in between. */
function callBetween(then: CallCount | undefined, now: CallCount, from: number | null): CallCount | null {
  if (then === undefined) return now;
  const count = now.count - then.count;
  const returned = now.returned === null || then.returned === null ? null : now.returned - then.returned;
  if (count === 0 && (returned ?? 0) === 0) return null;
  return {
    ...now,
    count,
    returned,
    bytesToHost: now.bytesToHost - then.bytesToHost,
    bytesBack: now.bytesBack === null || then.bytesBack === null ? null : now.bytesBack - then.bytesBack,
    results: countsBetween(then.results, now.results),
    latency: countsBetween(then.latency, now.latency),
    firstAt: from,
    lastAt: count > 0 ? now.lastAt : from,
  };
}

type Counts = Readonly<Record<string, number>> | null;

function countsBetween(then: Counts, now: Counts): Counts {
  if (then === null || now === null) return null;
  const left = Object.entries(now).map(([key, value]): [string, number] => [key, value - (then[key] ?? 0)]);
  return Object.fromEntries(left.filter(([, value]) => value > 0));
}

const keyOf = ({ pid, callId }: CallCount): string => `${pid}/${callId}`;
