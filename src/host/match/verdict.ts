import { causeOf } from "../../checks/catalogue.ts";
import type { CauseId } from "../../checks/finding.ts";
import { causeOfResult } from "../../checks/host-errors.ts";
import { causeOfTransportError } from "../../checks/transport-errors.ts";
import { TRANSPORT_ERRORS } from "../../protocol/status.ts";
import { HOPS, type Hop } from "../../protocol/vocabulary.ts";
import { isCorroborated, UNCORROBORATED } from "./corroboration.ts";
import { TRANSPORT_FAILED } from "./failures.ts";
import { type OtherFault, otherFaultText } from "./fault-of-others.ts";
import type { FailureResult, JoinedVerdict, OperationName, OperationResult, ProcessResult } from "./result.ts";
import { countText, haveAllFailed, mayAllHaveFailed } from "./window-counts.ts";

export interface JudgedProcess {
  readonly result: ProcessResult;
  /** Request of its last launch that went well; -1: none did. */
  readonly lastGoodLaunch: number;
  /** Only a window of its life was compared, of a process whose start the log has or has not; null: all of it was. */
  readonly window: { readonly startsInLog: boolean } | null;
}

export interface VerdictInput {
  readonly processes: readonly JudgedProcess[];
  /** Requests that ran a model and were answered well, in the window. */
  readonly answered: number;
  /** The log would show every call of this VM in the window: what is not there was not made (R9). */
  readonly absence: { readonly proven: boolean; readonly why: string };
  /**
   * Allocations, copies in and launches that the host did for this VM in the window, at most, whoever's; null: not known.
   * A request may also just have loaded a model: only one without any of them was computed elsewhere.
   */
  readonly workOfVm: number | null;
  readonly isShared: boolean;
  /** Another VM's fault in the window, or in the lives of these processes. */
  readonly otherFault: OtherFault | null;
  /** The log has a call of this VM. */
  readonly isInLog: boolean;
}

const OTHER_TRANSPORT_ERROR: CauseId = "VG-C12";
const CPU_INSTEAD: CauseId = "VG-O12";
const BROKEN_CONTEXT: CauseId = "VG-H06";
const OWN_VM_ID = "Give each VM on the host a VM id of its own (the device's vm_id), and restart those VMs.";

type State = JoinedVerdict["state"];

interface ProcessVerdict {
  readonly state: State;
  readonly why: string;
  readonly failure: FailureResult | null;
}

/** The verdict of guest and host together. Executing is only said of operations that the host's records show. */
export function joinedVerdict(input: VerdictInput): JoinedVerdict {
  const judged = input.processes.map((one) => ({ process: one.result, ...judgeProcess(one) }));
  const executing = judged.find(({ state }) => state === "executing");
  const refuted = judged.find(({ state }) => state === "refuted");
  if (input.isShared) {
    const why = "two VMs use this VM id, so nobody can say whose calls these are";
    return verdict("not known", why, null, null, [], [OWN_VM_ID]);
  }
  const { otherFault } = input;
  if (executing !== undefined && refuted === undefined) {
    const alone =
      executing.process.counted_by === "none" ? " (by the host's log alone: nothing of the guest was given)" : "";
    const fault = otherFault === null ? "" : `; ${otherFaultText(otherFault)}`;
    return verdict(
      "executing",
      `the calls of this VM ran on the GPU: ${executing.why}${alone}${fault}`,
      null,
      null,
      doneHops(executing.process),
      otherFault?.isLast === true ? [causeOf(BROKEN_CONTEXT).remedy.text] : [],
    );
  }
  if (refuted !== undefined) {
    const others = executing === undefined ? "" : "; another process of this VM executes";
    return broken("refuted", `${refuted.why}${others}`, refuted.failure, refuted.process);
  }
  if (input.answered > 0 && input.workOfVm === 0 && input.absence.proven) {
    const why = `${input.answered} requests were answered, and the host did nothing for this VM: they were computed elsewhere, on the CPU`;
    return verdict("refuted", why, "workload", CPU_INSTEAD, []);
  }
  const [first] = judged;
  if (otherFault?.isLast === true && otherFault.stands && first?.failure == null) {
    const { hop, remedy } = causeOf(BROKEN_CONTEXT);
    const ok =
      first === undefined ? [] : doneHops(first.process).filter((done) => done !== "executor" && done !== "gpu");
    const why = `${first?.why ?? "no process of this VM called"}; ${otherFaultText(otherFault)}`;
    return verdict("not known", why, hop, BROKEN_CONTEXT, ok, [remedy.text]);
  }
  if (!input.isInLog && first?.failure == null) {
    return verdict("not known", "the mediator's log has no call of this VM", null, null, []);
  }
  if (first === undefined) {
    return verdict("not known", "the guest's evidence names no process that uses the GPU", null, null, []);
  }
  return broken("not known", first.why, first.failure, first.process);
}

function judgeProcess({ result: process, lastGoodLaunch, window }: JudgedProcess): ProcessVerdict {
  const failure = process.first_failure;
  const named = process.pid === null ? "this VM's processes" : `process ${process.pid}`;
  const [alloc, copyIn, launch, copyOut] = ["alloc", "copy-in", "launch", "copy-out"].map((name) =>
    operationOf(process, name),
  );
  const done = [alloc, copyIn, launch, copyOut].filter((operation) => operation !== undefined && isDone(operation));
  const earlier = window === null ? [] : [alloc, copyIn].filter((one) => one !== undefined && isEarlier(one, window));
  const isComplete = done.length === 4 || (isDone(launch) && isDone(copyOut) && done.length + earlier.length === 4);
  const launched = launch?.host ?? null;
  const goodLaunches = launch?.good ?? 0;
  const after = failure?.request_id != null && failure.request_id > lastGoodLaunch;
  if (isComplete && !after && !isCorroborated(process)) {
    return { state: "not known", why: `${named}: ${UNCORROBORATED}`, failure };
  }
  if (isComplete && !after) {
    const with_ = failure === null ? "" : `; ${failure.error} in between`;
    return { state: "executing", why: `${named}: ${shownBy(process, earlier)}${with_}`, failure };
  }
  if (launched !== null && haveAllFailed(launched, launch?.guest ?? null) && isSure(launch)) {
    return {
      state: "refuted",
      why: `${named}: ${countText(launched) === "1" ? "its only launch" : `each of its ${countText(launched)} launches`} failed on the host${failureText(failure)}`,
      failure,
    };
  }
  if (failure !== null && goodLaunches > 0 && after) {
    const when = failure.request_id === null ? "" : `, as request ${failure.request_id}`;
    return {
      state: "refuted",
      why: `${named}: ${goodLaunches} launches ran, and then ${failure.error}${when} ended it`,
      failure,
    };
  }
  if (failure !== null && done.length === 0 && (isNothing(process) || failure.seen_by === "guest")) {
    return {
      state: "refuted",
      why: `${named}: no operation came through: ${failure.error} in ${failure.name}`,
      failure,
    };
  }
  if (launch?.confidence.level === "ABSENT" && (launch.guest?.count ?? 0) > 0) {
    return {
      state: "refuted",
      why: `${named}: ${launch.guest?.count} launches in the guest, none on the host`,
      failure,
    };
  }
  if (failure !== null && launched !== null && mayAllHaveFailed(launched)) {
    return { state: "not known", why: `${named}: ${failure.error} in ${failure.name}`, failure };
  }
  if (failure !== null && (launched?.count ?? 0) === 0) {
    const then = failure.seen_by === "guest" ? "" : ", and it launched nothing";
    return { state: "not known", why: `${named}: ${failure.error} in ${failure.name}${then}`, failure };
  }
  const missing = [alloc, copyIn, launch, copyOut].find((operation) => operation !== undefined && !isDone(operation));
  const why =
    missing === undefined ? "not every operation is matched" : `${missing.operation}: ${missing.confidence.reason}`;
  return { state: "not known", why: `${named}: ${why}`, failure };
}

/** "; its first failure is CUDA_ERROR_ILLEGAL_ADDRESS in cuLaunchKernel (request 237)". */
function failureText(failure: FailureResult | null): string {
  if (failure === null) return "";
  const where = failure.request_id === null ? "" : ` (request ${failure.request_id})`;
  return `; its first failure is ${failure.error} in ${failure.name}${where}`;
}

function operationOf({ operations }: ProcessResult, name: string): OperationResult | undefined {
  return operations.find(({ operation }) => operation === (name satisfies string));
}

/** The host did at least one of it for this process, and well. */
export function isDone(operation: OperationResult | undefined): boolean {
  return isSure(operation) && (operation?.good ?? 0) > 0;
}

const isSure = (operation: OperationResult | undefined): boolean =>
  operation?.confidence.level === "EXACT" || operation?.confidence.level === "STRONG";

/**
 * A model that is loaded already takes no allocation and needs no copy in: they lie before the window, in the log or
 * before its start. Not when the guest made some in the window, which must be found there.
 */
function isEarlier(operation: OperationResult, { startsInLog }: { readonly startsInLog: boolean }): boolean {
  if ((operation.guest?.count ?? 0) > 0 || isDone(operation)) return false;
  return (operation.before ?? 0) > 0 || !startsInLog;
}

function shownBy({ identity }: ProcessResult, earlier: readonly (OperationResult | undefined)[]): string {
  const byVm = identity.rules.includes("R0") ? " (by the VM alone: this mediator names no process)" : "";
  if (earlier.length === 0) return `alloc, copy in, launch and copy out are in the host's log${byVm}`;
  const names = earlier.map((one) => (one?.operation === "alloc" ? "allocations" : "copies in")).join(" and ");
  const start = "launches and copies out of this window are in the host's log, and";
  return earlier.every((one) => (one?.before ?? 0) > 0)
    ? `${start} before it the ${names}${byVm}`
    : `${start} the ${names} lie before it, or before the log begins${byVm}`;
}

function isNothing({ operations }: ProcessResult): boolean {
  return operations.every(({ host }) => host === null || host.count <= (host.failed ?? 0));
}

function broken(state: State, why: string, failure: FailureResult | null, process: ProcessResult): JoinedVerdict {
  if (failure === null) return verdict(state, why, null, null, doneHops(process));
  const cause = causeOfFailure(failure);
  if (cause === null) return verdict(state, `${why}${originText(failure)}`, null, null, doneHops(process));
  const { hop, remedy } = causeOf(cause);
  return verdict(state, `${why}${originText(failure)}`, hop, cause, doneHops(process), [remedy.text]);
}

/** Who caused it, for a sentence. Another VM is only told to be one. */
export function originText({ origin, request_id }: FailureResult): string {
  switch (origin.by) {
    case "another-vm":
      return "; it follows from a fault of another VM, which broke the GPU context of all";
    case "this-vm":
      return `; it follows from ${origin.fault} of process ${origin.pid ?? "?"} of this VM (request ${origin.request_id})`;
    case "this-process":
      // What is its own cause has been named already.
      return origin.request_id === null || origin.request_id === request_id
        ? ""
        : `; the first of the chain is ${origin.fault} (request ${origin.request_id})`;
    case "host":
      return `; ${origin.why}`;
    default:
      return "";
  }
}

/** Null: that it was the transport is all that is known. */
export function causeOfFailure({ status, error, seen_by, origin }: FailureResult): CauseId | null {
  if (error === TRANSPORT_FAILED) return null;
  if (origin.by === "another-vm" || origin.by === "this-vm") return "VG-H06";
  const transport = TRANSPORT_ERRORS.find(({ name }) => name === error);
  const named = transport === undefined ? OTHER_TRANSPORT_ERROR : causeOfTransportError(transport.code);
  if (named !== OTHER_TRANSPORT_ERROR) return named;
  return origin.by === "host" && seen_by === "guest" ? OTHER_TRANSPORT_ERROR : causeOfResult(status ?? 0);
}

/** Which hops a process's records prove. */
function doneHops(process: ProcessResult): readonly Hop[] {
  const named = process.identity.level === "EXACT" || process.identity.level === "STRONG";
  if (!named || process.requests === null) return [];
  const worked = process.operations.some(isDone);
  const ran = process.operations.some(
    (operation) => operation.operation === ("launch" satisfies OperationName) && isDone(operation),
  );
  return [
    "workload",
    "shim",
    "transport",
    "device",
    "mediator",
    ...(worked ? ["executor" as const] : []),
    ...(ran ? ["gpu" as const] : []),
  ];
}

function verdict(
  state: State,
  statement: string,
  firstBroken: Hop | null,
  cause: CauseId | null,
  ok: readonly Hop[],
  next: readonly string[] = [],
): JoinedVerdict {
  const title = cause === null ? "" : causeOf(cause).title;
  return {
    state,
    statement,
    hops: HOPS.map((hop) => {
      if (hop === firstBroken) return { hop, state: "broken", why: title };
      if (ok.includes(hop)) return { hop, state: "ok", why: "the host's records of this VM show it" };
      return { hop, state: "unknown", why: "the two logs do not show it" };
    }),
    first_broken_hop: firstBroken,
    cause,
    next: [...(cause !== null && next.length === 0 ? [causeOf(cause).remedy.text] : next)],
  };
}
