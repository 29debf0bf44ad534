import { isCall } from "../../protocol/call-ids.ts";
import { type ChunkRun, estimateCopies } from "./chunk-list.ts";
import type { GuestProcess } from "./guest-evidence.ts";
import type { Identified } from "./identity.ts";
import type { ProcessState } from "./process-state.ts";
import type { Confidence, OperationName, OperationResult, Side } from "./result.ts";
import { matchAllocations } from "./rules/r3-alloc.ts";
import { alignCopies } from "./rules/r4-copies.ts";
import type { Absence } from "./rules/r9-absence.ts";
import type { Bounds } from "./time-buckets.ts";

/** One operation of the guest and the request ids of its record, for tests and for whoever wants each of them. */
export interface Pair {
  readonly operation: OperationName;
  /** Index in the guest's list of allocations or copies, or in its sequence. */
  readonly of: "allocation" | "copy" | "trip";
  readonly guest: number;
  readonly first: number;
  readonly last: number;
  readonly level: "EXACT" | "STRONG" | "AMBIGUOUS";
}

export interface OperationContext {
  readonly guest: GuestProcess;
  readonly identified: Identified;
  readonly absence: Absence;
  /** Nothing of this process can be missing on either side (R3). */
  readonly whole: boolean;
  readonly ceiling: "EXACT" | "STRONG";
  /** What the host did in the window, when only a part of the process's life is asked for; null: all of it. */
  readonly bounds: Bounds | null;
}

interface Sides {
  readonly operation: OperationName;
  readonly guest: Side | null;
  readonly host: Side | null;
  readonly pairs: readonly Pair[];
  /** Guest operations of which each was looked for one by one. */
  readonly asked: number | null;
  readonly rules: Confidence["rules"];
}

const GROUPS = {
  alloc: ["alloc"],
  "copy-in": ["copy-in"],
  launch: ["launch", "gemm"],
  "copy-out": ["copy-out"],
} as const;

/** The four operations of a process, guest and host side by side, and their records where they can be told one by one. */
export function matchOperations(context: OperationContext): {
  readonly operations: OperationResult[];
  readonly pairs: readonly Pair[];
} {
  const all = [allocSides(context), copyInSides(context), launchSides(context), copyOutSides(context)];
  return { operations: all.map((sides) => resultOf(sides, context)), pairs: all.flatMap(({ pairs }) => pairs) };
}

/** What the guest's calls by id say of an operation; null where it does not count calls. */
function countedSide({ calls, counted_by, coverage }: GuestProcess, operation: OperationName): Side | null {
  const mine = calls.filter(({ call_id }) => isCall(call_id, ...GROUPS[operation]));
  if (mine.length === 0 && (counted_by === "lines" || coverage !== "full")) return null;
  if (counted_by === "lines") return null;
  const sumOf = (pick: (call: (typeof mine)[number]) => number | null): number | null =>
    mine.some((call) => pick(call) === null) ? null : mine.reduce((sum, call) => sum + (pick(call) ?? 0), 0);
  const count = mine.reduce((sum, call) => sum + call.count, 0);
  const bytes = operation === "copy-out" ? sumOf((call) => call.bytes_back) : sumOf((call) => call.bytes_to_host);
  return {
    count,
    records: null,
    bytes: operation === "alloc" || operation === "launch" ? null : bytes,
    failed: sumOf((call) => call.failed),
  };
}

function allocSides(context: OperationContext): Sides {
  const { guest, identified, whole, ceiling } = context;
  const counted = countedSide(guest, "alloc");
  const listed = guest.allocations;
  const isListed =
    !guest.cut.allocations && (listed.length > 0 || (guest.counted_by === "lines" && guest.coverage !== "none"));
  const told: Side | null = isListed
    ? {
        count: listed.length,
        records: counted?.count ?? null,
        bytes: listed.reduce((sum, { bytes, failed }) => sum + (failed ? 0 : (bytes ?? 0)), 0),
        failed: listed.filter(({ failed }) => failed).length,
      }
    : counted;
  const process = identified.process;
  if (process === null) return { operation: "alloc", guest: told, host: null, pairs: [], asked: null, rules: ["R3"] };
  const matches = matchAllocations(listed, process.allocations.items, whole && process.allocations.isWhole);
  const pairs = matches.flatMap(({ guest: index, host, level }): Pair[] => {
    if (host.requestId === null) return [];
    return [
      {
        operation: "alloc",
        of: "allocation",
        guest: index,
        first: host.requestId,
        last: host.requestId,
        level: atMost(level, ceiling),
      },
    ];
  });
  const host = hostSide(process, "alloc", context, {
    count: opsOf(process),
    bytes: process.bytesAllocated,
    failed: process.allocations.items.filter(({ failed }) => failed).length - retriesOf(process),
  });
  const asked = isListed ? listed.filter(({ failed }) => !failed).length : null;
  return {
    operation: "alloc",
    guest: told,
    host,
    pairs: [...pairs, ...tripPairs(context, "alloc")],
    asked,
    rules: ["R3"],
  };
}

/** Allocations that failed and were tried again over a new connection: one operation of the guest. */
function retriesOf({ allocations }: ProcessState): number {
  const list = allocations.items;
  return list.filter((one, index) => {
    const next = list[index + 1];
    return one.failed && next !== undefined && next.bytes === one.bytes && next.transport > one.transport;
  }).length;
}

function opsOf(process: ProcessState): number {
  return (process.calls.get(0x30)?.count ?? 0) - retriesOf(process);
}

function copyInSides(context: OperationContext): Sides {
  const { guest, identified, ceiling, whole } = context;
  const counted = countedSide(guest, "copy-in");
  const listed = guest.copies_in.filter(({ bytes }) => bytes > 0);
  const isListed = !guest.cut.copies && listed.length > 0;
  const told: Side | null = isListed
    ? {
        count: listed.length,
        records: null,
        bytes: listed.reduce((sum, { bytes }) => sum + bytes, 0),
        // Its transport counts each try of a copy, and a copy that fails is tried twice.
        failed: counted?.failed === 0 ? 0 : null,
      }
    : counted;
  const process = identified.process;
  if (process === null) return { operation: "copy-in", guest: told, host: null, pairs: [], asked: null, rules: ["R4"] };
  const alignment = alignCopies(listed, process.copiesIn.runs);
  const trips = exactTrips(context, "copy-in");
  const records = (process.calls.get(0x32)?.count ?? 0) + (process.calls.get(0x3c)?.count ?? 0);
  // Each chunk lies where its sequence number foretells it, and no other chunk of the process is left.
  const foretold = trips.length > 0 && trips.length === records && alignment.allFound && alignment.leftover === 0;
  const certain = whole && process.copiesIn.isWhole;
  const pairs = alignment.matches.map(({ guest: index, first, last, level }): Pair => {
    const best = foretold ? "EXACT" : level === "EXACT" && !certain ? "STRONG" : level;
    return { operation: "copy-in", of: "copy", guest: index, first, last, level: atMost(best, ceiling) };
  });
  const failedCopies = alignment.matches.filter(({ failedAt }) => failedAt !== null).length;
  const host = hostSide(process, "copy-in", context, {
    count:
      isListed && alignment.allFound && alignment.leftover === 0
        ? listed.length
        : estimateCopies(process.copiesIn.runs),
    bytes: process.bytesIn,
    failed: isListed && alignment.allFound ? failedCopies : process.copiesIn.runs.filter(({ failed }) => failed).length,
  });
  return { operation: "copy-in", guest: told, host, pairs, asked: isListed ? listed.length : null, rules: ["R4"] };
}

function launchSides(context: OperationContext): Sides {
  const { identified } = context;
  const told = countedSide(context.guest, "launch");
  const process = identified.process;
  const operation = "launch" as const;
  if (process === null) return { operation, guest: told, host: null, pairs: [], asked: null, rules: ["R7"] };
  const pairs = tripPairs(context, operation);
  const host = hostSide(process, operation, context, {
    count: process.launches + process.gemms,
    bytes: null,
    failed: process.launchesFailed + process.gemmsFailed,
  });
  const rules: Confidence["rules"] = process.gemms > 0 ? ["R7", "R13"] : ["R7"];
  return { operation, guest: told, host, pairs, asked: pairs.length > 0 ? pairs.length : null, rules };
}

function copyOutSides(context: OperationContext): Sides {
  const { identified } = context;
  const told = countedSide(context.guest, "copy-out");
  const process = identified.process;
  const operation = "copy-out" as const;
  if (process === null) return { operation, guest: told, host: null, pairs: [], asked: null, rules: ["R4"] };
  const runs = process.copiesOut.runs;
  const pairs = tripPairs(context, operation);
  const host = hostSide(process, operation, context, {
    // A guest that counts its transport's calls has counted what was tried again, too.
    count: estimateCopies(runs) - (told === null ? retriesOfRuns(runs) : 0),
    bytes: process.bytesOut,
    failed: runs.filter(({ failed }) => failed).length - (told === null ? retriesOfRuns(runs) : 0),
  });
  return { operation, guest: told, host, pairs, asked: null, rules: ["R4", "R7"] };
}

/** Copies that failed and were tried again, of the same address and size, over a new connection. */
function retriesOfRuns(runs: readonly ChunkRun[]): number {
  return runs.filter((run, index) => {
    const next = runs[index + 1];
    return run.failed && next !== undefined && next.address === run.address && next.transport > run.transport;
  }).length;
}

const AMOUNT = { alloc: "alloc", "copy-in": "copyIn", launch: "launch", "copy-out": "copyOut" } as const;

function hostSide(
  process: ProcessState,
  operation: OperationName,
  { bounds }: OperationContext,
  life: { readonly count: number; readonly bytes: number | null; readonly failed: number },
): Side {
  const records = [...process.calls].reduce(
    (sum, [callId, { count }]) => sum + (isCall(callId, ...GROUPS[operation]) ? count : 0),
    0,
  );
  if (bounds === null) return { count: life.count, records, bytes: life.bytes, failed: Math.max(0, life.failed) };
  const { most } = bounds;
  const bytes = operation === "copy-in" ? most.bytesIn : operation === "copy-out" ? most.bytesOut : null;
  const count = most[AMOUNT[operation]];
  return { count, records: count, bytes, failed: null };
}

/** Round trips of an operation that lie where their sequence numbers foretell them. */
function exactTrips(
  { guest, identified }: OperationContext,
  operation: OperationName,
): { index: number; request: number }[] {
  const { alignment } = identified;
  if (alignment.level !== "EXACT") return [];
  const { requests } = alignment;
  return guest.sequence.flatMap((trip, index) => {
    const request = requests.get(trip);
    return request !== undefined && isCall(trip.call_id, ...GROUPS[operation]) ? [{ index, request }] : [];
  });
}

function tripPairs(context: OperationContext, operation: OperationName): Pair[] {
  return exactTrips(context, operation).map(({ index, request }): Pair => {
    return {
      operation,
      of: "trip",
      guest: index,
      first: request,
      last: request,
      level: atMost("EXACT", context.ceiling),
    };
  });
}

function atMost(level: Pair["level"], ceiling: "EXACT" | "STRONG"): Pair["level"] {
  return level === "EXACT" ? ceiling : level;
}

function resultOf(sides: Sides, context: OperationContext): OperationResult {
  const { operation, guest, host, pairs } = sides;
  const span = context.identified.process?.spans.get(operation);
  const ops = pairs.filter(({ of }) => of !== "trip" || operation === "launch");
  const trips = new Set(pairs.map(({ first }) => first)).size;
  const matched =
    operation === "copy-out"
      ? Math.min(guest?.count ?? trips, trips)
      : Math.max(new Set(ops.map(({ first }) => first)).size, 0);
  const ok = context.bounds === null;
  const known = guest !== null && host !== null && ok;
  return {
    operation,
    guest,
    host,
    matched,
    unmatched_guest: known && context.absence.proven ? Math.max(0, guest.count - host.count) : null,
    unmatched_host: known && context.guest.coverage === "full" ? Math.max(0, host.count - guest.count) : null,
    requests: span === undefined || span.first < 0 ? null : { first: span.first, last: span.last },
    confidence: confidenceOf(sides, context, matched),
    first: span === undefined ? null : { log: span.log, epoch: span.epoch, at: span.at },
  };
}

function confidenceOf(sides: Sides, context: OperationContext, matched: number): Confidence {
  const { guest, host, pairs, asked, rules } = sides;
  const { identified, absence, bounds } = context;
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
    if (absence.proven) {
      const asked = guest?.count === 0 ? "neither side has any" : `${what}the host has none`;
      return say("ABSENT", `${asked}: ${absence.by}`, ["R9"]);
    }
    return say("UNKNOWN", `${what}the log shows none: ${absence.why}`, ["R9"]);
  }
  const { level, candidates, reason } = identified.confidence;
  if (level === "AMBIGUOUS" || level === "UNKNOWN") return say(level, reason, ["R2"], candidates);
  const everyExact = pairs.length > 0 && pairs.some((pair) => pair.level === "EXACT") && bounds === null;
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
  if (guest === null)
    return say("STRONG", "the host's records name this process; the guest's log does not tell of them", ["R2"]);
  if (bounds !== null) {
    const [least, most] = [bounds.least[AMOUNT[sides.operation]], host.count];
    return guest.count >= least && guest.count <= most
      ? say("STRONG", `the host has between ${least} and ${most} in this window`)
      : say("AMBIGUOUS", `the host has between ${least} and ${most} in this window`, [], most);
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
  return say(
    "AMBIGUOUS",
    `${guest.count} in the guest, ${host.count} on the host`,
    [],
    Math.max(host.count, guest.count),
  );
}
