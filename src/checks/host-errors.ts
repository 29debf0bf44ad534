import type { ErrorSeen, ShimProcessLog } from "../facts/log.ts";
import { callName } from "../protocol/call-ids.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type CauseId, info, type Judgement, pass, seenEvidence, unknown } from "./finding.ts";
import { coverageEvidence, coverageGap, currentLife, lastOrdinal, logCovers } from "./view.ts";

const FUNC_GET_PARAM_INFO = 0x00bc;
/** CUresult values with which cuFuncGetParamInfo answers on healthy runs of older drivers. */
const HARMLESS_FOR_PARAM_INFO = [801, 1];

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
    const found = logs.flatMap(judgeProcess);
    if (found.length > 0) return found;
    if (!logCovers(facts)) return [unknown(`no CUDA error of the host was seen, but ${coverageGap(facts)}`)];
    if (logs.every(({ answered }) => answered === null)) return [info("the host has answered no call yet")];
    return [pass("no CUDA error of the host in this life of the workload", coverageEvidence(facts))];
  },
};

function isHarmless({ callId, code }: ErrorSeen): boolean {
  return callId === FUNC_GET_PARAM_INFO && HARMLESS_FOR_PARAM_INFO.includes(code);
}

function judgeProcess(log: ShimProcessLog): Judgement[] {
  const harmless = log.hostErrors.filter(isHarmless);
  const errors = log.hostErrors.filter((error) => !isHarmless(error));
  const found = harmless.map((error) => problem("VG-C06", { count: String(error.count) }, seenEvidence(error)));
  const inOrder = [...errors].sort((a, b) => a.first.ordinal - b.first.ordinal);
  const [first, ...later] = inOrder;
  if (first === undefined) return found;
  const answers = log.hostErrors.map(({ last }) => last.ordinal);
  const wentOn = lastOrdinal([log.answered]) > Math.max(...answers);
  const rest = later.length > 0 ? `; ${later.length} other kinds of error followed` : "";
  const values = {
    call: callName(first.callId),
    status: String(first.code),
    count: String(first.count),
    later: `${rest}${wentOn ? "; later calls succeeded" : ""}`,
  };
  const cause = FOLLOW_UPS.includes(first.code) ? "VG-H06" : (CAUSE_OF_STATUS[first.code] ?? "VG-X17");
  return [problem(cause, values, seenEvidence(first)), ...found];
}
