import { isIn } from "./coverage.ts";
import type { GuestProcess } from "./guest-evidence.ts";
import { ProcessState } from "./process-state.ts";
import type { Confidence } from "./result.ts";
import { allocationKey } from "./rules/r3-alloc.ts";
import { alignSequence, type SequenceAlignment } from "./rules/r7-sequence.ts";
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
  readonly guestProcesses: number;
  /** Only processes with records in this span count, on the host's clock; null: all. */
  readonly window: { readonly from: number; readonly to: number } | null;
}

const SOLE = "its pid, which only one process of this VM had in this log";
const REMAINS = "its pid, and the other processes that had it got other pointers";
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
  const found = candidatesOf(guest, vm, options);
  if (found.length === 0) return none("no record of the host names this process");
  const tried = found.map((process) => tryOn(guest, process, vm)).filter(({ isOther }) => !isOther);
  if (tried.length === 0) return none("the host gave the process of this pid other pointers: it is an earlier one");
  const sole = tried.length === 1 ? tried[0] : undefined;
  const aligned = tried.filter(({ alignment }) => alignment.level === "EXACT");
  // A life whose start is not in the log cannot be ruled out by its calls.
  const isTold = found.every(({ inits, firstRequest }) => inits[0] === firstRequest);
  const best = sole ?? (isTold ? unique(aligned) : undefined) ?? unique(withMost(tried));
  if (vm.isShared) return ambiguous(best ?? tried[0], 2, "two VMs use this VM id");
  if (best === undefined) return ambiguous(tried[0], tried.length, `${tried.length} processes of this VM had this pid`);
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
  return {
    ...best,
    confidence: confidence("STRONG", ["R2"], found.length === 1 ? SOLE : REMAINS),
  };
}

interface Tried {
  readonly process: ProcessState;
  readonly alignment: SequenceAlignment;
  readonly anchors: number;
  /** It cannot be the guest's process: the log has its start, and none of the pointers that the guest got from its own. */
  readonly isOther: boolean;
}

function tryOn(guest: GuestProcess, process: ProcessState, vm: VmState): Tried {
  const anchors = anchorsOf(guest, process);
  // A pointer that the host never gave to this process is another life's, whatever the calls look like.
  const isUnlike = anchors < guest.allocations.filter(({ ptr }) => ptr !== null).length && process.allocations.isWhole;
  const alignment: SequenceAlignment = isUnlike
    ? { level: "NONE", why: "the host gave this process other pointers" }
    : align(guest, process, vm);
  return { process, alignment, anchors, isOther: anchors === 0 && startedUnlike(guest, process) };
}

/** Both sides have the process's first allocations, and they are not the same. */
function startedUnlike(
  { allocations, cut }: GuestProcess,
  { pid, inits, firstRequest, allocations: given }: ProcessState,
): boolean {
  const told = allocations.some(({ ptr, failed }) => ptr !== null && !failed);
  const startsInLog = pid !== null && inits[0] === firstRequest && given.isWhole;
  return told && !cut.allocations && startsInLog && given.items.some(({ ptr }) => ptr !== null);
}

function ambiguous(shown: Tried | undefined, candidates: number, reason: string): Identified {
  return {
    process: shown?.process ?? null,
    alignment: NOT_ALIGNED,
    confidence: confidence("AMBIGUOUS", ["R2"], reason, candidates),
  };
}

function withoutPid({ guestProcesses }: IdentityOptions): Confidence {
  if (guestProcesses > 1) {
    return confidence("AMBIGUOUS", ["R0", "R2"], "this log does not tell the VM's processes apart", guestProcesses);
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

function align(guest: GuestProcess, process: ProcessState, vm: VmState): SequenceAlignment {
  if (process.pid === null) return { level: "NONE", why: "this log names no process" };
  return alignSequence(guest.sequence, !guest.cut.sequence, {
    pid: process.pid,
    first: process.firstRequest,
    last: process.lastRequest,
    anchors: process.anchors.items,
    inits: process.inits,
    isAlone: (from, to) => vm.isAlone(process, from, to),
    recordOf: (requestId) => vm.records.get(requestId),
  });
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
