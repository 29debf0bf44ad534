import { causeOf } from "../../checks/catalogue.ts";
import type { CauseId } from "../../checks/finding.ts";
import { causeOfResult } from "../../checks/host-errors.ts";
import { causeOfTransportError } from "../../checks/transport-errors.ts";
import { TRANSPORT_ERRORS } from "../../protocol/status.ts";
import { HOPS, type Hop } from "../../protocol/vocabulary.ts";
import type { FailureResult, JoinedVerdict, OperationName, OperationResult, ProcessResult } from "./result.ts";

export interface JudgedProcess {
  readonly result: ProcessResult;
  /** Request of its last launch that went well; -1: none did. */
  readonly lastGoodLaunch: number;
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
  /** The log has a call of this VM. */
  readonly isInLog: boolean;
}

const OTHER_TRANSPORT_ERROR: CauseId = "VG-C12";
const CPU_INSTEAD: CauseId = "VG-O12";

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
  if (input.isShared)
    return verdict("not known", "two VMs use this VM id, so nobody can say whose calls these are", null, null, []);
  if (executing !== undefined && refuted === undefined) {
    const alone =
      executing.process.counted_by === "none" ? " (by the host's log alone: nothing of the guest was given)" : "";
    return verdict(
      "executing",
      `the calls of this VM ran on the GPU: ${executing.why}${alone}`,
      null,
      null,
      doneHops(executing.process),
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
  if (!input.isInLog && first?.failure == null) {
    return verdict("not known", "the mediator's log has no call of this VM", null, null, []);
  }
  if (first === undefined) {
    return verdict("not known", "the guest's evidence names no process that uses the GPU", null, null, []);
  }
  return broken("not known", first.why, first.failure, first.process);
}

function judgeProcess({ result: process, lastGoodLaunch }: JudgedProcess): ProcessVerdict {
  const failure = process.first_failure;
  const named = process.pid === null ? "this VM's processes" : `process ${process.pid}`;
  const [alloc, copyIn, launch, copyOut] = ["alloc", "copy-in", "launch", "copy-out"].map((name) =>
    operationOf(process, name),
  );
  const done = [alloc, copyIn, launch, copyOut].filter((operation) => operation !== undefined && isDone(operation));
  const launched = launch?.host ?? null;
  const goodLaunches = (launched?.count ?? 0) - (launched?.failed ?? 0);
  const after = failure?.request_id != null && failure.request_id > lastGoodLaunch;
  if (done.length === 4 && goodLaunches > 0 && !after && !isCorroborated(process)) {
    const why =
      "the host's records name its pid, and nothing that the guest tells shows that they are not an earlier process's";
    return { state: "not known", why: `${named}: ${why}`, failure };
  }
  if (done.length === 4 && goodLaunches > 0 && !after) {
    const with_ = failure === null ? "" : `; ${failure.error} in between`;
    return {
      state: "executing",
      why: `${named}: alloc, copy in, launch and copy out are in the host's log${with_}`,
      failure,
    };
  }
  if (launched !== null && launched.count > 0 && goodLaunches === 0) {
    return {
      state: "refuted",
      why: `${named}: ${launched.count === 1 ? "its only launch" : `each of its ${launched.count} launches`} failed on the host${failureText(failure)}`,
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
  if (failure !== null && goodLaunches === 0) {
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

/**
 * Whether something that the guest itself tells fits the host's records. A pid alone does not: pids come again, and the
 * log has no times.
 */
function isCorroborated({ identity, operations, counted_by }: ProcessResult): boolean {
  // Nothing of the guest was given: the host's log is asked alone, and the statement says so.
  if (counted_by === "none") return true;
  const fits = ({ guest, confidence }: OperationResult) =>
    guest !== null && guest.count > 0 && (confidence.level === "EXACT" || confidence.level === "STRONG");
  return identity.level === "EXACT" || operations.some(fits);
}

function operationOf({ operations }: ProcessResult, name: string): OperationResult | undefined {
  return operations.find(({ operation }) => operation === (name satisfies string));
}

/** The host did at least one of it for this process, and well. */
export function isDone({ host, confidence }: OperationResult): boolean {
  return (
    (confidence.level === "EXACT" || confidence.level === "STRONG") && host !== null && host.count > (host.failed ?? 0)
  );
}

function isNothing({ operations }: ProcessResult): boolean {
  return operations.every(({ host }) => host === null || host.count <= (host.failed ?? 0));
}

function broken(state: State, why: string, failure: FailureResult | null, process: ProcessResult): JoinedVerdict {
  if (failure === null) return verdict(state, why, null, null, doneHops(process));
  const cause = causeOfFailure(failure);
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

export function causeOfFailure({ status, error, seen_by, origin }: FailureResult): CauseId {
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
