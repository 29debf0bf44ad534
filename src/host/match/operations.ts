import type { CallTotals } from "./call-totals.ts";
import type { GuestProcess } from "./guest-evidence.ts";
import type { Identified } from "./identity.ts";
import { recordsOf, resultOf } from "./operation-result.ts";
import type { ProcessState } from "./process-state.ts";
import type { Confidence, OperationName, OperationResult, Side } from "./result.ts";
import { matchAllocations } from "./rules/r3-alloc.ts";
import { alignCopies } from "./rules/r4-copies.ts";
import type { Absence } from "./rules/r9-absence.ts";
import { fitOf, fitsWindow, isCopy, isOf, type WindowCounts, windowSide } from "./window-counts.ts";

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
  readonly inWindow: WindowCounts | null;
  /** Calls of the VM by id that no line gives to a process. */
  readonly unattributed: ReadonlyMap<number, CallTotals>;
}

/** What both sides have of an operation. */
export interface Sides {
  readonly operation: OperationName;
  readonly guest: Side | null;
  readonly host: Side | null;
  readonly pairs: readonly Pair[];
  /** Guest operations of which each was looked for one by one. */
  readonly asked: number | null;
  readonly rules: Confidence["rules"];
}

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
  const mine = calls.filter(({ call_id }) => isOf(operation, call_id));
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
    least: null,
  };
}

/** The kernel's counts are of the window, and a list of the log is of the process's life. */
function isCountedApart({ counted_by }: GuestProcess, counted: Side | null): boolean {
  return counted_by === "kernel" && counted !== null;
}

function allocSides(context: OperationContext): Sides {
  const { guest, identified, whole, ceiling } = context;
  const counted = countedSide(guest, "alloc");
  const listed = guest.allocations;
  const isListed =
    !guest.cut.allocations && (listed.length > 0 || (guest.counted_by === "lines" && guest.coverage !== "none"));
  const told: Side | null = isCountedApart(guest, counted)
    ? counted
    : isListed
      ? {
          count: listed.length,
          records: counted?.count ?? null,
          bytes: listed.reduce((sum, { bytes, failed }) => sum + (failed ? 0 : (bytes ?? 0)), 0),
          failed: listed.filter(({ failed }) => failed).length,
          least: null,
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
  const host = hostSide(process, "alloc", context, told, {
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
  const told: Side | null = isCountedApart(guest, counted)
    ? counted
    : isListed
      ? {
          count: listed.length,
          records: null,
          bytes: listed.reduce((sum, { bytes }) => sum + bytes, 0),
          // Its transport counts each try of a copy, and a copy that fails is tried twice.
          failed: counted?.failed === 0 ? 0 : null,
          least: null,
        }
      : counted;
  const process = identified.process;
  if (process === null) return { operation: "copy-in", guest: told, host: null, pairs: [], asked: null, rules: ["R4"] };
  const alignment = alignCopies(listed, process.copiesIn.runs);
  const estimate = process.copiesIn.tally;
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
  const host = hostSide(process, "copy-in", context, told, {
    count: isListed && alignment.allFound && alignment.leftover === 0 ? listed.length : estimate.copies,
    bytes: process.bytesIn,
    failed: isListed && alignment.allFound ? failedCopies : estimate.failed,
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
  const host = hostSide(process, operation, context, told, {
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
  const { copies, failed, retried } = process.copiesOut.tally;
  // A guest that counts its transport's calls has counted what was tried again, too.
  const again = told === null ? retried : 0;
  const pairs = tripPairs(context, operation);
  const host = hostSide(process, operation, context, told, {
    count: copies - again,
    bytes: process.bytesOut,
    failed: failed - again,
  });
  return { operation, guest: told, host, pairs, asked: null, rules: ["R4", "R7"] };
}

function hostSide(
  process: ProcessState,
  operation: OperationName,
  { guest, identified, absence, inWindow }: OperationContext,
  told: Side | null,
  life: { readonly count: number; readonly bytes: number | null; readonly failed: number },
): Side {
  const records = recordsOf(process.calls, operation);
  if (inWindow !== null) {
    const fits = told !== null && fitsWindow(guest, told, operation, inWindow);
    const isSure = absence.proven && ["EXACT", "STRONG"].includes(identified.confidence.level);
    const areChunks = isCopy(operation) && life.count < records;
    const fit = fits && areChunks ? fitOf(guest, told, operation, isSure) : null;
    return windowSide(told, operation, inWindow.bounds, fit);
  }
  return { count: life.count, records, bytes: life.bytes, failed: Math.max(0, life.failed), least: null };
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
    return request !== undefined && isOf(operation, trip.call_id) ? [{ index, request }] : [];
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
