import { isIn } from "./coverage.ts";
import type { Effort } from "./effort.ts";
import type { GuestProcess } from "./guest-evidence.ts";
import { ProcessState } from "./process-state.ts";
import type { Confidence } from "./result.ts";
import { allocationKey } from "./rules/r3-alloc.ts";
import { mayBegin } from "./rules/r7-names.ts";
import { alignSequence, type SequenceAlignment, TOO_MUCH } from "./rules/r7-sequence.ts";
import type { HostSequence } from "./rules/r7-trips.ts";
import type { HostWindow } from "./time-buckets.ts";
import type { VmState } from "./vm-state.ts";

/** The host's records that are a guest process's, and how sure that is. */
export interface Identified {
  readonly process: ProcessState | null;
  readonly alignment: SequenceAlignment;
  readonly confidence: Confidence;
}

export interface IdentityOptions {
  /** What the log's builds allow at best (R0). */
  readonly ceiling: "EXACT" | "STRONG";
  readonly hasOwner: boolean;
  /** Processes that the guest tells of. */
  readonly guestProcesses: readonly GuestProcess[];
  /** Only processes with records in this span count, on the host's clock; null: all. */
  readonly window: HostWindow | null;
  /** What laying sequences side by side may cost, for all processes of the evidence together. */
  readonly effort: Effort;
  /** What was found out about each of the guest's processes, while all of them are identified. */
  readonly selections: Map<GuestProcess, Selection>;
}

/** The host's processes that a guest's may be, and the one that it is most likely, if there is one. */
export interface Selection {
  /** Those with its pid. */
  readonly found: readonly ProcessState[];
  /** Those of them that it may be. */
  readonly tried: readonly Tried[];
  readonly best: Tried | undefined;
}

const SOLE = "its pid, which only one process of this VM had in this log";
const REMAINS = "its pid, and the other processes that had it got other pointers";
const LOST = "an earlier process with this pid is no longer held";
const NAMESAKE = "another process of the guest had this pid, and these may be its records";
const NOT_ALIGNED: SequenceAlignment = { level: "NONE", why: "no process of the host to align with" };

const confidence = (
  level: Confidence["level"],
  rules: Confidence["rules"],
  reason: string,
  candidates: number | null = null,
): Confidence => ({ level, candidates, rules, reason });

/**
 * R2 with R3 and R7: which of the host's processes a guest process is. A pid alone is strong; one that was used again is
 * told apart by pointers and sequence numbers, which make it exact.
 */
export function identify(guest: GuestProcess, vm: VmState | undefined, options: IdentityOptions): Identified {
  const none = (reason: string): Identified => ({
    process: null,
    alignment: NOT_ALIGNED,
    confidence: confidence("UNKNOWN", ["R2"], reason),
  });
  if (vm === undefined) return none("the host's log has no call of this VM");
  const { found, tried, best } = select(guest, vm, options);
  if (found.length === 0) return none("no record of the host names this process");
  if (tried.length === 0) return none("the host gave the process of this pid other pointers: it is an earlier one");
  if (vm.isShared) return ambiguous(best ?? tried[0], 2, "two VMs use this VM id");
  if (best === undefined) {
    const isCut = tried.some(({ alignment }) => alignment === TOO_MUCH);
    const reason = `${tried.length} processes of this VM had this pid${isCut ? `; ${TOO_MUCH.why}` : ""}`;
    return ambiguous(tried[0], tried.length, reason);
  }
  if (guest.pid === null && options.hasOwner) {
    const reason =
      best.process.pid === null
        ? "all processes of this VM together: the guest does not tell them apart"
        : "the only process of this VM";
    return { ...best, confidence: confidence("STRONG", ["R2"], reason) };
  }
  if (best.process.pid === null && options.hasOwner)
    return {
      ...best,
      confidence: confidence("STRONG", ["R2"], "the processes that had its pid in this window, one after the other"),
    };
  if (!options.hasOwner) return { ...best, confidence: withoutPid(options) };
  if (best.process.pid !== null && vm.lost.has(best.process.pid, options.window)) return withDoubt(best, LOST);
  if (isNamesakes(best, guest, vm, options)) return withDoubt(best, NAMESAKE);
  if (options.ceiling === "EXACT" && best.alignment.level === "EXACT") {
    return {
      ...best,
      confidence: confidence("EXACT", ["R2", "R7"], "its pid, and each call where its sequence number foretells it"),
    };
  }
  if (options.ceiling === "EXACT" && best.anchors > 0) {
    return {
      ...best,
      confidence: confidence("EXACT", ["R2", "R3"], `its pid, and ${best.anchors} pointers that the host gave out`),
    };
  }
  const reason = found.length === 1 ? SOLE : REMAINS;
  const isCut = best.alignment === TOO_MUCH;
  return { ...best, confidence: confidence("STRONG", ["R2"], isCut ? `${reason}; ${TOO_MUCH.why}` : reason) };
}

function select(guest: GuestProcess, vm: VmState, options: IdentityOptions): Selection {
  const known = options.selections.get(guest);
  if (known !== undefined) return known;
  const found = candidatesOf(guest, vm, options);
  const tried = found.map((process) => tryOn(guest, process, vm, options.effort)).filter(({ isOther }) => !isOther);
  const best = unique(tried) ?? onlyByCalls(tried) ?? unique(withMost(tried));
  const selection = { found, tried, best };
  options.selections.set(guest, selection);
  return selection;
}

/**
 * Another process of the guest had this pid, and the records may be its own: the log may have ended, or lost some, before
 * the two began to differ.
 */
function isNamesakes({ process }: Tried, guest: GuestProcess, vm: VmState, options: IdentityOptions): boolean {
  return options.guestProcesses.some((other) => {
    if (other === guest || other.pid !== guest.pid) return false;
    const { tried, best } = select(other, vm, options);
    if (best !== undefined && best.process !== process && fits(best)) return false;
    const { sequence, cut } = other;
    return (
      tried.some((one) => one.process === process) &&
      (sequence.length === 0 || cut.sequence || mayBegin(sequence, hostSequence(process, vm), options.effort))
    );
  });
}

const fits = ({ alignment, anchors }: Tried): boolean => alignment.level === "EXACT" || anchors > 0;

/** Nothing that fits can rule out another one that cannot be compared, or fits as well. */
function withDoubt(best: Tried, doubt: string): Identified {
  if (!fits(best)) return ambiguous(best, 2, doubt);
  const reason = `its pid, and its calls or pointers fit; ${doubt}`;
  // One by one they are this process's only if it is the right one.
  return { ...best, alignment: NOT_ALIGNED, confidence: confidence("STRONG", ["R2"], reason) };
}

export interface Tried {
  readonly process: ProcessState;
  readonly alignment: SequenceAlignment;
  readonly anchors: number;
  /** It cannot be the guest's process: the log has its start, and none of the pointers that the guest got from its own. */
  readonly isOther: boolean;
  /** Its calls or its pointers are others, and all that could be the guest's is held. */
  readonly isRuledOut: boolean;
}

function tryOn(guest: GuestProcess, process: ProcessState, vm: VmState, effort: Effort): Tried {
  const anchors = anchorsOf(guest, process);
  // A pointer that the host never gave to this process is another life's, whatever the calls look like.
  const isUnlike = anchors < guest.allocations.filter(({ ptr }) => ptr !== null).length && process.allocations.isWhole;
  const alignment: SequenceAlignment = isUnlike
    ? { level: "NONE", why: "the host gave this process other pointers" }
    : align(guest, process, vm, effort);
  return {
    process,
    alignment,
    anchors,
    isOther: anchors === 0 && startedUnlike(guest, process),
    isRuledOut: startsInLog(process) && (isUnlike || (alignment.level === "NONE" && isHeld(process, vm))),
  };
}

/** The only one that the guest's calls fit, when no other one that they may fit is left. */
function onlyByCalls(tried: readonly Tried[]): Tried | undefined {
  const left = unique(tried.filter(({ isRuledOut }) => !isRuledOut));
  return left?.alignment.level === "EXACT" && startsInLog(left.process) ? left : undefined;
}

const startsInLog = ({ inits, firstRequest }: ProcessState): boolean => inits[0] === firstRequest;

/** Each call of it can be looked up still, and each place that its lines show. */
function isHeld({ firstRequest, anchors }: ProcessState, { records }: VmState): boolean {
  return firstRequest >= (records.oldest ?? Number.POSITIVE_INFINITY) && anchors.isWhole;
}

/** Both sides have the process's first allocations, and they are not the same. */
function startedUnlike({ allocations, cut }: GuestProcess, process: ProcessState): boolean {
  const { pid, allocations: given } = process;
  const told = allocations.some(({ ptr, failed }) => ptr !== null && !failed);
  const isWhole = pid !== null && startsInLog(process) && given.isWhole;
  return told && !cut.allocations && isWhole && given.items.some(({ ptr }) => ptr !== null);
}

function ambiguous(shown: Tried | undefined, candidates: number, reason: string): Identified {
  return {
    process: shown?.process ?? null,
    alignment: NOT_ALIGNED,
    confidence: confidence("AMBIGUOUS", ["R2"], reason, candidates),
  };
}

function withoutPid({ guestProcesses }: IdentityOptions): Confidence {
  if (guestProcesses.length > 1) {
    const candidates = guestProcesses.length;
    return confidence("AMBIGUOUS", ["R0", "R2"], "this log does not tell the VM's processes apart", candidates);
  }
  return confidence("STRONG", ["R0", "R2"], "the only process that the guest tells of; this log names none");
}

function candidatesOf(
  guest: GuestProcess,
  vm: VmState,
  { hasOwner, window }: IdentityOptions,
): readonly ProcessState[] {
  if (!hasOwner) return vm.whole.records > 0 ? [vm.whole] : [];
  const all = guest.pid === null ? vm.processes : vm.processesOf(guest.pid);
  const inWindow = window === null ? all : all.filter(isIn(window));
  // Who does not tell processes apart is compared with all of them together: a report, or counts by pid in a window.
  const isOfSeveral = guest.pid === null || (guest.counted_by === "kernel" && window !== null);
  return isOfSeveral && inWindow.length > 1 ? [ProcessState.together(inWindow)] : inWindow;
}

function align(guest: GuestProcess, process: ProcessState, vm: VmState, effort: Effort): SequenceAlignment {
  if (process.pid === null) return { level: "NONE", why: "this log names no process" };
  return alignSequence(guest.sequence, !guest.cut.sequence, hostSequence(process, vm), effort);
}

function hostSequence(process: ProcessState, vm: VmState): HostSequence {
  // What is no longer held need not be looked for.
  const first = Math.max(process.firstRequest, vm.records.oldest ?? 0);
  return {
    pid: process.pid ?? Number.NaN,
    first,
    last: process.lastRequest,
    missingBefore: first > process.firstRequest ? Number.POSITIVE_INFINITY : missingBefore(first, vm),
    anchors: process.anchors.items,
    inits: process.inits,
    isAlone: (from: number, to: number) => vm.isAlone(process, from, to),
    recordOf: (requestId: number) => vm.records.get(requestId),
  };
}

/** Requests of the VM without a record, up to a request. */
function missingBefore(request: number, { gaps }: VmState): number {
  if (!gaps.isWhole) return Number.POSITIVE_INFINITY;
  return gaps.items.filter(({ after }) => after < request).reduce((sum, { missing }) => sum + missing, 0);
}

/** Allocations of the guest whose size and pointer the host gave to this process. */
function anchorsOf(guest: GuestProcess, process: ProcessState): number {
  const given = new Set(process.allocations.items.map(({ bytes, ptr }) => allocationKey(bytes, ptr)));
  return guest.allocations.filter(({ bytes, ptr }) => ptr !== null && given.has(allocationKey(bytes, ptr))).length;
}

function withMost(tried: readonly Tried[]): readonly Tried[] {
  const most = Math.max(...tried.map(({ anchors }) => anchors));
  return most === 0 ? [] : tried.filter(({ anchors }) => anchors === most);
}

function unique<T>(items: readonly T[]): T | undefined {
  return items.length === 1 ? items[0] : undefined;
}
