import { isCall } from "../../protocol/call-ids.ts";
import { TRANSPORT_FAILED_RESULT } from "../../protocol/status.ts";
import { rangeOf } from "../../report/quantities.ts";
import type { GuestProcess } from "./guest-evidence.ts";
import { LIMITS } from "./guest-limits.ts";
import type { OperationName, Side } from "./result.ts";
import type { Amounts, Bounds } from "./time-buckets.ts";

/** What the host did for a process in a window that is only a part of the process's life. */
export interface WindowCounts {
  readonly bounds: Bounds;
  /** What it surely did until the window's end; null where something of it has no time. */
  readonly before: Amounts | null;
  /** Calls of the VM in the window, at most, that no line gives to a process. */
  readonly nobodys: Amounts;
}

interface Range {
  readonly least: number;
  readonly most: number;
}

export const CALL_GROUPS = {
  alloc: ["alloc"],
  "copy-in": ["copy-in"],
  launch: ["launch", "gemm"],
  "copy-out": ["copy-out"],
} as const;

const COUNT = { alloc: "alloc", "copy-in": "copyIn", launch: "launch", "copy-out": "copyOut" } as const;
/** Copies that lie in the window from their first chunk to their last, as far as the log alone tells. */
const WHOLE = { "copy-in": "wholeIn", "copy-out": "wholeOut" } as const;
const FAILED = {
  alloc: "allocFailed",
  "copy-in": "copyInFailed",
  launch: "launchFailed",
  "copy-out": "copyOutFailed",
} as const;

export const isOf = (operation: OperationName, callId: number): boolean => isCall(callId, ...CALL_GROUPS[operation]);

/** Records of an operation: between how many and how many lie in the window. */
export function recordsIn({ least, most }: Bounds, operation: OperationName): Range {
  const doubtful = operation === "launch" ? least.launchDoubtful : 0;
  return { least: least[COUNT[operation]] - doubtful, most: most[COUNT[operation]] };
}

/** Records that went well. A matrix product whose result nobody can tell is none. */
export function goodOf(amounts: Amounts, operation: OperationName): number {
  const unknown = operation === "launch" ? amounts.launchUnknown + amounts.launchDoubtful : 0;
  return Math.max(0, amounts[COUNT[operation]] - amounts[FAILED[operation]] - unknown);
}

/** Calls that nobody can be given, of an operation. */
export const nobodysOf = (amounts: Amounts, operation: OperationName): number => amounts[COUNT[operation]];

/** The guest's copies of a window, where they fit the host's records of it. */
export interface Fit {
  /** As many began in it, were over when it ended, and have all their records in the log; and as many touched it. */
  readonly copies: Range;
}

/**
 * The host's side at most, and at least where that is less. `fit` is given where the records are parts of copies, and fit
 * the guest's: then they are as many copies as the guest made. A copy surely lies in the window when all of its records do,
 * and may where one of them may.
 */
export function windowSide(guest: Side | null, operation: OperationName, bounds: Bounds, fit: Fit | null): Side {
  const { least: surely, most: records } = recordsIn(bounds, operation);
  const most = amountsOf(bounds.most, operation);
  const { bytes, failed } = amountsOf(bounds.least, operation);
  const count = fit === null ? records : copiesAtMost(records, guest?.count ?? 0, fit);
  const sure = isCopy(operation) ? Math.min(count, surely, surelyWhole(operation, bounds, fit)) : surely;
  const least = { count: sure, bytes, failed: failed === null ? null : Math.min(failed, sure) };
  const isRange = least.count < count || bytes !== most.bytes || least.failed !== most.failed;
  return { count, ...most, records, least: isRange ? least : null };
}

type Copy = keyof typeof WHOLE;

export const isCopy = (operation: OperationName): operation is Copy => operation in WHOLE;

function copiesAtMost(records: number, told: number, { copies: { most } }: Fit): number {
  const all = Number.isFinite(most) ? most : told;
  return all === 0 ? records : Math.min(records, all);
}

/** Of the guest's copies, each one that does not surely lie in the window has a record that may lie outside. */
function surelyWhole(operation: Copy, bounds: Bounds, fit: Fit | null): number {
  const { least, most } = recordsIn(bounds, operation);
  const told = fit === null ? 0 : fit.copies.least - (most - least);
  return Math.max(0, bounds.least[WHOLE[operation]], told);
}

/** Whatever may lie in the window failed. */
export const mayAllHaveFailed = ({ count, failed }: Side): boolean => count > 0 && (failed ?? 0) >= count;

/** And one of it surely lies in it, or the guest made one there: what failed before a window says nothing of it. */
export const haveAllFailed = (host: Side, guest: Side | null): boolean =>
  mayAllHaveFailed(host) && (((host.least ?? host).failed ?? 0) > 0 || (guest?.count ?? 0) > 0);

/** Its operations for a sentence: "182", or "139–182" where that is as much as is known. */
export const countText = ({ count, least }: Side): string => rangeOf(least?.count ?? count, count, String);

/** Those that failed, the same way; "" where none did. */
export function failedText({ failed, least }: Side): string {
  return failed === null || failed === 0 ? "" : `, ${rangeOf(least?.failed ?? failed, failed, String)} failed`;
}

function amountsOf(
  amounts: Amounts,
  operation: OperationName,
): { readonly bytes: number | null; readonly failed: number } {
  const bytes = operation === "copy-in" ? amounts.bytesIn : operation === "copy-out" ? amounts.bytesOut : null;
  return { bytes, failed: amounts[FAILED[operation]] };
}

/**
 * Whether the guest's counts of a window can be what the host's records of it are: the guest's edges are the calls that
 * were under way when it began and ended, the host's are the records that may lie on either side.
 */
export function fitsWindow(
  process: GuestProcess,
  guest: Side,
  operation: OperationName,
  { bounds, nobodys }: WindowCounts,
): boolean {
  const calls = callsIn(process, guest, operation);
  const { least, most } = recordsIn(bounds, operation);
  const failed = bounds.most[FAILED[operation]];
  if (operation === "alloc" || operation === "launch") {
    // What failed may have been tried again over a new connection: one call of the guest.
    return calls.least <= most + nobodys[COUNT[operation]] && calls.most + failed >= least;
  }
  // Each copy takes a record at least.
  if (calls.least > most) return false;
  const [low, high] = operation === "copy-in" ? inBytes(bounds) : outBytes(bounds);
  if (guest.bytes === null) return calls.most > 0 || least === 0;
  const isWhole = calls.least === guest.count && failed === 0;
  const isClosed = calls.most === guest.count;
  return (isWhole ? guest.bytes : 0) <= high && (isClosed ? guest.bytes : Number.POSITIVE_INFINITY) >= low;
}

const inBytes = ({ least, most }: Bounds): readonly [number, number] => [least.bytesIn, most.bytesIn];
const outBytes = ({ least, most }: Bounds): readonly [number, number] => [least.bytesOut, most.bytesOut];

/** `isSure`: the process is this one, and no record of it is missing. Else the guest's word says nothing of the log. */
export function fitOf(process: GuestProcess, guest: Side, operation: OperationName, isSure: boolean): Fit {
  const { least, most } = callsIn(process, guest, operation);
  const { coverage, open, failures } = process;
  const isTold = coverage === "full" && open.length < LIMITS.open && failures.length < LIMITS.failures;
  const returned = process.calls
    .filter(({ call_id }) => isOf(operation, call_id))
    .reduce((sum, call) => sum + (call.returned ?? 0), 0);
  return { copies: { least: isSure && isTold ? Math.min(least, returned) : 0, most } };
}

/** Calls of the window that have a record: those under way at its edges may have theirs on either side. */
function callsIn(process: GuestProcess, { count }: Side, operation: OperationName): Range {
  const mine = process.calls.filter(({ call_id }) => isOf(operation, call_id));
  const lost = process.failures
    .filter(
      ({ call_id, status, timeout }) => isOf(operation, call_id) && (timeout || status === TRANSPORT_FAILED_RESULT),
    )
    .reduce((sum, failure) => sum + failure.count, 0);
  const open = openOf(process, operation);
  // One call at a time goes through a transport; where returns are not seen one may have been under way.
  const underWay = mine.reduce(
    (sum, { call_id, count: entered, returned }) =>
      sum + (returned === null ? 1 : Math.max(0, returned - entered + openOf(process, operation, call_id))),
    0,
  );
  return {
    least: Math.max(0, count - Math.max(open, process.counted_by === "kernel" ? 0 : 1) - lost),
    most: process.coverage === "full" ? count + underWay : Number.POSITIVE_INFINITY,
  };
}

/** Calls of an operation that had not come back when the window ended. */
export function openOf({ open }: GuestProcess, operation: OperationName, callId: number | null = null): number {
  return open.filter(({ call_id }) => isOf(operation, call_id) && (callId === null || call_id === callId)).length;
}
