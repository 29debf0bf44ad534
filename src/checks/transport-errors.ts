import type { Facts } from "../facts/facts.ts";
import type { ErrorSeen, ShimProcessLog } from "../facts/log.ts";
import { valueIn } from "../facts/reading.ts";
import { callName } from "../protocol/call-ids.ts";
import { transportErrorName } from "../protocol/status.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type CauseId, evidence, info, type Judgement, pass, seenEvidence, unknown } from "./finding.ts";
import { answerOf, coverageEvidence, coverageGap, currentLife, gpuProcessesOf, isAfter, logCovers } from "./view.ts";

/** The host's own CUDA error: the transport did its work. Judged by host-errors. */
const CUDA_ERROR = 0x05;
const TIMEOUT = 0x04;
/** STATUS register value after a refused call. */
const STATUS_ERROR = 3;
/** A few refusals for rate are an operator's limit doing its work. */
const TOLERATED_REFUSALS = 5;

/** By code (docs/wire.md, "Transport error codes"). */
const CAUSE_OF_ERROR: Readonly<Record<number, CauseId>> = {
  3: "VG-C07",
  4: "VG-C05",
  7: "VG-C08",
  10: "VG-C08",
  11: "VG-C08",
};

/** The cause that one of the transport's error codes stands for. */
export function causeOfTransportError(code: number): CauseId {
  return CAUSE_OF_ERROR[code] ?? "VG-C12";
}

/** Did calls fail between the shim and the host's answer? Such lines are printed without VGPU_DEBUG too. */
export const transportErrors: Check = {
  name: "transport-errors",
  title: "Do calls reach the host and come back?",
  hop: "mediator",
  after: ["transport-state"],
  causes: ["VG-C05", "VG-C07", "VG-C08", "VG-C12"],
  judge(facts) {
    const life = currentLife(facts);
    const logs = life.state === "read" ? life.value.processes : [];
    const errors = logs.flatMap(failuresOf);
    if (errors.length > 0) return judgeErrors(errors, logs);
    const register = judgeRegister(facts);
    if (register?.outcome === "fail") return [register];
    const told = register === undefined ? [] : [register];
    if (life.state !== "read") return [unknown(`whether calls failed is not known: ${life.detail}`), ...told];
    if (!logCovers(facts)) return [unknown(`no transport error was seen, but ${coverageGap(facts)}`), ...told];
    if (told.length > 0) return told;
    if (logs.length === 0) return [info("the shim wrote no line: nothing was asked of the transport")];
    return [pass("no transport error in this life of the workload", coverageEvidence(facts))];
  },
};

function failuresOf(log: ShimProcessLog): ErrorSeen[] {
  const timeouts = log.timeouts.map((seen) => ({ ...seen, code: TIMEOUT }));
  return [...log.transportErrors.filter(({ code }) => code !== CUDA_ERROR), ...timeouts];
}

function judgeErrors(errors: readonly ErrorSeen[], logs: readonly ShimProcessLog[]): Judgement[] {
  const answers = logs.flatMap((log) => answerOf(log)?.last ?? []);
  const codes = [...new Set(errors.map(({ code }) => code))];
  return codes.map((code) => {
    const group = errors.filter((error) => error.code === code).sort((a, b) => a.last.ordinal - b.last.ordinal);
    const count = group.reduce((sum, error) => sum + error.count, 0);
    const last = group.at(-1);
    if (last === undefined) return unknown("an error without a line");
    const over = answers.some((answer) => isAfter(answer, last.last));
    const first = group.reduce((earliest, error) => (error.first.ordinal < earliest.first.ordinal ? error : earliest));
    const shown = [...seenEvidence({ count, first: first.first, last: last.last })];
    const values = {
      name: transportErrorName(code),
      count: String(count),
      call: callName(last.callId),
      earlier: over
        ? "; calls were answered since"
        : answers.length > 0
          ? "; earlier calls of this life were answered"
          : "",
    };
    const cause = causeOfTransportError(code);
    // A request that the device does not accept fails again, whatever other calls do; many refusals are not a limit at work.
    const stays = cause === "VG-C12" || (cause === "VG-C08" && count >= TOLERATED_REFUSALS);
    const judged = problem(cause, values, shown, over && !stays ? "warn" : "fail");
    return over ? { ...judged, overcome: true } : judged;
  });
}

/**
 * The device's own registers: the end of the last call, where the log tells of none. They keep it until the next call,
 * so it is a failure of now only when the process that made the call still lives.
 */
function judgeRegister(facts: Facts): Judgement | undefined {
  const bars = valueIn(facts.bars);
  if (bars?.outcome !== "read" || bars.status !== STATUS_ERROR) return undefined;
  const registers = bars.passes.at(-1)?.registers ?? {};
  const code = registers["ERROR_CODE"];
  if (code === undefined || code === 0 || code === CUDA_ERROR) return undefined;
  const name = transportErrorName(code);
  const call = callName(registers["CUDA_OP"] ?? 0);
  const pid = registers["SCRATCH"] ?? 0;
  const shown = [
    evidence("BAR0", `${bars.bdf} 0x014`, `ERROR_CODE ${name}, STATUS ERROR, last call ${call}, pid ${pid}`),
  ];
  if (!gpuProcessesOf(facts).some(({ nsPid }) => nsPid === pid)) {
    return info(`the last call on the device, ${call} of pid ${pid} which is gone, ended with ${name}`, shown);
  }
  return problem(causeOfTransportError(code), { name, count: "at least 1", call, earlier: "" }, shown);
}
