import type { CallTotals } from "./call-totals.ts";
import type { OperationContext, Sides } from "./operations.ts";
import type { Confidence, OperationName, OperationResult } from "./result.ts";
import { countText, fitsWindow, goodOf, isOf, nobodysOf, openOf, recordsIn } from "./window-counts.ts";

/** Calls of an operation among the calls by id. */
export function recordsOf(calls: ReadonlyMap<number, CallTotals>, operation: OperationName): number {
  return [...calls].reduce((sum, [callId, { count }]) => sum + (isOf(operation, callId) ? count : 0), 0);
}

/** Both sides, with how sure it is that they are the same calls. */
export function resultOf(sides: Sides, context: OperationContext): OperationResult {
  const { operation, guest, host, pairs } = sides;
  const span = context.identified.process?.spans.get(operation);
  const ops = pairs.filter(({ of }) => of !== "trip" || operation === "launch");
  const trips = new Set(pairs.map(({ first }) => first)).size;
  const matched =
    operation === "copy-out"
      ? Math.min(guest?.count ?? trips, trips)
      : Math.max(new Set(ops.map(({ first }) => first)).size, 0);
  const ok = context.inWindow === null;
  const known = guest !== null && host !== null && ok;
  return {
    operation,
    guest,
    host,
    matched,
    unmatched_guest: known && context.absence.proven ? Math.max(0, guest.count - host.count) : null,
    unmatched_host: known && context.guest.coverage === "full" ? Math.max(0, host.count - guest.count) : null,
    good: goodRecords(sides, context),
    before: context.inWindow?.before == null ? null : goodOf(context.inWindow.before, operation),
    requests: span === undefined || span.first < 0 ? null : { first: span.first, last: span.last },
    confidence: confidenceOf(sides, context, matched),
    first: span === undefined ? null : { log: span.log, epoch: span.epoch, at: span.at },
  };
}

/** The host's records that surely went well, and in the window. */
function goodRecords({ operation, host }: Sides, { inWindow, identified }: OperationContext): number | null {
  if (host === null) return null;
  if (inWindow !== null) return goodOf(inWindow.bounds.least, operation);
  const unknown = operation === "launch" ? (identified.process?.gemmsUnknown ?? 0) : 0;
  return Math.max(0, host.count - (host.failed ?? 0) - unknown);
}

function confidenceOf(sides: Sides, context: OperationContext, matched: number): Confidence {
  const { guest, host, pairs, asked, rules } = sides;
  const { identified, absence, inWindow } = context;
  const say = (
    level: Confidence["level"],
    reason: string,
    more: Confidence["rules"] = [],
    candidates: number | null = null,
  ) => ({
    level,
    candidates,
    rules: [...new Set([...rules, ...more])],
    reason,
  });
  const isNone = host === null || host.count === 0;
  if (isNone) {
    const what = (guest?.count ?? 0) > 0 ? `the guest has ${guest?.count}, ` : "";
    const doubt = whyNotAbsent(sides, context);
    if (doubt !== null) return say("UNKNOWN", `${what}the log shows none: ${doubt}`, ["R9"]);
    if (absence.proven) {
      const asked = guest?.count === 0 ? "neither side has any" : `${what}the host has none`;
      return say("ABSENT", `${asked}: ${absence.by}`, ["R9"]);
    }
    return say("UNKNOWN", `${what}the log shows none: ${absence.why}`, ["R9"]);
  }
  const { level, candidates, reason } = identified.confidence;
  if (level === "AMBIGUOUS" || level === "UNKNOWN") return say(level, reason, ["R2"], candidates);
  const everyExact = pairs.length > 0 && pairs.some((pair) => pair.level === "EXACT") && inWindow === null;
  const exact = new Set(pairs.filter((pair) => pair.level === "EXACT").map(({ first }) => first)).size;
  const wanted = asked ?? guest?.count ?? null;
  const failed = host.failed ?? 0;
  if (
    everyExact &&
    wanted !== null &&
    wanted > 0 &&
    matched >= wanted &&
    exact >= wanted &&
    host.count - failed <= Math.max(matched, guest?.count ?? 0)
  ) {
    return say(
      "EXACT",
      wanted === 1 ? "it has its own record" : `each of ${wanted} has its own record`,
      identified.confidence.rules,
    );
  }
  const doubtful = doubtfulOf(sides, context);
  if (doubtful > 0 && doubtful >= host.count) {
    return say(
      "AMBIGUOUS",
      `the host's ${countText(host)} name nobody, and other processes of this VM lived`,
      ["R13"],
      host.count,
    );
  }
  if (guest === null)
    return say("STRONG", "the host's records name this process; the guest's log does not tell of them", ["R2"]);
  if (inWindow !== null) {
    const { least, most } = recordsIn(inWindow.bounds, sides.operation);
    const has = `the host has ${least === most ? most : `between ${least} and ${most}`} records in this window`;
    return fitsWindow(context.guest, guest, sides.operation, inWindow)
      ? say("STRONG", has)
      : say("AMBIGUOUS", `${guest.count} in the guest, and ${has}`, [], Math.max(most, guest.count));
  }
  const sameBytes = guest.bytes === null || host.bytes === null || guest.bytes === host.bytes || failed > 0;
  const sameCount =
    guest.count === host.count ||
    (host.records !== null && guest.records === host.records) ||
    guest.count === host.records;
  if (sameCount && sameBytes) {
    return say(
      "STRONG",
      guest.bytes !== null && host.bytes !== null
        ? "as many on both sides, and as many bytes"
        : "as many on both sides",
    );
  }
  if (guest.bytes !== null && host.bytes !== null && guest.bytes === host.bytes)
    return say("STRONG", "as many bytes on both sides");
  if (context.guest.coverage !== "full" && host.count > guest.count) {
    return say("STRONG", "the host has more; the guest's evidence is not whole", ["R2"]);
  }
  if (context.guest.counted_by === "kernel" && level === "EXACT" && host.count > guest.count) {
    return say("STRONG", "the host has more of this process; the guest counted a window alone", ["R2"]);
  }
  return say(
    "AMBIGUOUS",
    `${guest.count} in the guest, ${host.count} on the host`,
    [],
    Math.max(host.count, guest.count),
  );
}

/** Of the host's records at most, those that may be another process's. */
function doubtfulOf({ operation }: Sides, { inWindow, identified }: OperationContext): number {
  if (operation !== "launch") return 0;
  return inWindow === null ? (identified.process?.gemmsDoubtful ?? 0) : inWindow.bounds.most.launchDoubtful;
}

/** Why a log without a record does not say that there was none, although it covers the window. */
function whyNotAbsent(
  { operation, guest }: Sides,
  { guest: process, identified, inWindow, unattributed }: OperationContext,
): string | null {
  const { level, reason } = identified.confidence;
  if (level === "AMBIGUOUS") return reason;
  const nobodys = inWindow === null ? recordsOf(unattributed, operation) : nobodysOf(inWindow.nobodys, operation);
  if (nobodys > 0) return `${nobodys} such calls of this VM stand between two processes, and name none`;
  const open = openOf(process, operation);
  return open > 0 && open >= (guest?.count ?? 0) ? "those of the guest had not come back" : null;
}
