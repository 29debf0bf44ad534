import type { ErrorSeen, LogSample, ShimProcessLog } from "../facts/log.ts";
import { callName } from "../protocol/call-ids.ts";
import { isDriverResult } from "../protocol/status.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type CauseId, info, type Judgement, pass, seenEvidence, unknown } from "./finding.ts";
import { answerOf, coverageEvidence, coverageGap, currentLife, isAfter, logCovers } from "./view.ts";

const CALL_INIT = 0x0001;
const FUNC_GET_PARAM_INFO = 0x00bc;
/**
 * CUresult values with which cuFuncGetParamInfo answers on healthy runs of older drivers. 1 is also what a poisoned
 * mediator says: it is harmless only in a process without any other error.
 */
const HARMLESS_FOR_PARAM_INFO = [801, 1];
const AMBIGUOUS_RESULT = 1;

/** CUresult → cause. What is not listed is VG-X17. */
const CAUSE_OF_STATUS: Readonly<Record<number, CauseId>> = {
  2: "VG-H05",
  200: "VG-X01",
  209: "VG-X01",
  218: "VG-X16",
  700: "VG-X02",
  716: "VG-X03",
  717: "VG-X03",
  801: "VG-X14",
};
/** Answers of a context that something else broke: never a first fault of their own. */
const FOLLOW_UPS = [201, 400, 709];
/** Faults of a kernel, which break the context for all that follows. */
const FAULTS = [700, 716, 717, 719];
/** A call that the host does not have: programs try it and go on. */
const NOT_SUPPORTED = 801;

/** What the host's driver answered. Only the first error of a process is a cause; what follows follows from it. */
export const hostErrors: Check = {
  name: "host-errors",
  title: "Does the host's driver accept the calls?",
  hop: "executor",
  after: ["transport-state"],
  causes: ["VG-H05", "VG-H06", "VG-X01", "VG-X02", "VG-X03", "VG-X14", "VG-X16", "VG-X17", "VG-C06"],
  judge(facts) {
    const life = currentLife(facts);
    if (life.state !== "read") return [unknown(`what the host answered is not known: ${life.detail}`)];
    const logs = life.value.processes;
    const found = logs.flatMap((log) => judgeProcess(log, logs));
    if (found.length > 0) return found;
    if (!logCovers(facts)) return [unknown(`no CUDA error of the host was seen, but ${coverageGap(facts)}`)];
    if (logs.every((log) => answerOf(log) === null)) return [info("the host has answered no call yet")];
    return [pass("no CUDA error of the host in this life of the workload", coverageEvidence(facts))];
  },
};

/** The cause that a CUresult of the host names when it is the first of its process. */
export function causeOfResult(code: number): CauseId {
  return FOLLOW_UPS.includes(code) ? "VG-H06" : (CAUSE_OF_STATUS[code] ?? "VG-X17");
}

/**
 * Of CUDA results whose order is not known the one that tells most: a kernel's fault, then what is no answer of an
 * already broken context. Undefined for none.
 */
export function mostTelling(codes: readonly number[]): number | undefined {
  return codes.find((code) => FAULTS.includes(code)) ?? codes.find((code) => !FOLLOW_UPS.includes(code)) ?? codes[0];
}

/** The host's results, with the one of the first call that came back without an error of the transport. */
function errorsOf(log: ShimProcessLog): ErrorSeen[] {
  const init = log.initCallFailed;
  const told = log.hostErrors.some(({ callId }) => callId === CALL_INIT);
  const ofInit =
    init !== null && !told && isDriverResult(init.rc) ? [{ ...init, code: init.rc, callId: CALL_INIT }] : [];
  return [...log.hostErrors, ...ofInit].sort((a, b) => a.first.ordinal - b.first.ordinal);
}

/** Whether an error of a process is known to be harmless, which takes all that the process met. */
function isHarmless({ callId, code }: ErrorSeen, all: readonly ErrorSeen[]): boolean {
  if (callId !== FUNC_GET_PARAM_INFO || !HARMLESS_FOR_PARAM_INFO.includes(code)) return false;
  return code !== AMBIGUOUS_RESULT || all.every((other) => other.callId === FUNC_GET_PARAM_INFO);
}

function judgeProcess(log: ShimProcessLog, logs: readonly ShimProcessLog[]): Judgement[] {
  const all = errorsOf(log);
  const found = all
    .filter((error) => isHarmless(error, all))
    .map((error) => problem("VG-C06", { count: String(error.count) }, seenEvidence(error)));
  const errors = all.filter((error) => !isHarmless(error, all));
  const unsupported = errors.filter(({ code }) => code === NOT_SUPPORTED);
  found.push(...unsupported.map((error) => problem("VG-X14", valuesOf(error, ""), seenEvidence(error))));
  const chain = errors.filter(({ code }) => code !== NOT_SUPPORTED);
  const [earliest] = chain;
  if (earliest === undefined) return found;
  // A process with a fault of its own is no victim, even if a handle of its was refused before.
  const fault = FOLLOW_UPS.includes(earliest.code) ? chain.find(({ code }) => FAULTS.includes(code)) : undefined;
  const first = fault ?? earliest;
  const end = chain.reduce((last, { last: next }) => (isAfter(next, last) ? next : last), earliest.last);
  const wentOn = log.answered !== null && isAfter(log.answered.last, end);
  const replaced = logs.some((other) => other !== log && worksAfter(other, end));
  const rest = chain.length > 1 ? `; ${chain.length - 1} other kinds of error came with it` : "";
  const after = replaced ? "; a later process works" : wentOn ? "; later calls succeeded" : "";
  const values = valuesOf(first, `${rest}${after}`);
  const judged = problem(causeOfResult(first.code), values, seenEvidence(first), replaced ? "warn" : "fail");
  return [replaced ? { ...judged, overcome: true } : judged, ...found];
}

function valuesOf(error: ErrorSeen, later: string) {
  return { call: callName(error.callId), status: String(error.code), count: String(error.count), later };
}

/** A later process had answers and no error: whatever broke the earlier one is over. */
function worksAfter(log: ShimProcessLog, end: LogSample): boolean {
  const all = errorsOf(log);
  const failed = all.some((error) => !isHarmless(error, all) && error.code !== NOT_SUPPORTED);
  return !failed && log.answered !== null && isAfter(log.answered.last, end);
}
