import type { HostMatch, HostOperation, HostSide } from "../facts/host-match.ts";
import type { Check } from "./check.ts";
import { type CauseId, type Evidence, evidence, info, type Judgement, pass, unknown } from "./finding.ts";

/** What the joined verdict can name: no launch at all, a broken context, the transport's errors, the driver's. */
const CAUSES: readonly CauseId[] = [
  "VG-O12",
  "VG-H06",
  "VG-C05",
  "VG-C07",
  "VG-C08",
  "VG-C12",
  "VG-X01",
  "VG-X02",
  "VG-X03",
  "VG-X14",
  "VG-X16",
  "VG-X17",
];

/**
 * Does the host's own record show the workload's calls? The one check that proves where they ran: its pass reaches the
 * rung `executing` on the host's evidence, and its failure refutes it.
 */
export const hostCorrelation: Check = {
  name: "host-correlation",
  title: "Does the host's own record show the workload's calls?",
  hop: "gpu",
  after: [],
  causes: CAUSES,
  judge(facts) {
    const { hostMatch } = facts;
    if (hostMatch.state === "skipped") return [info(`not compared: ${hostMatch.detail}`)];
    if (hostMatch.state !== "read") return [unknown(`the host's record could not be compared: ${hostMatch.detail}`)];
    return [judgementOf(hostMatch.value)];
  },
};

function judgementOf(match: HostMatch): Judgement {
  const { state, statement, cause } = match.verdict;
  const shown = match.operations.map(evidenceOf);
  if (state === "executing") return pass(statement, shown);
  if (state !== "refuted") return unknown(statement, shown);
  return {
    outcome: "fail",
    cause: CAUSES.find((known) => known === cause) ?? null,
    message: statement,
    evidence: shown,
  };
}

function evidenceOf({ operation, guest, host, confidence }: HostOperation): Evidence {
  const said = `guest ${sideOf(guest)}, host ${sideOf(host)}; ${confidence.level}: ${confidence.reason}`;
  return evidence("mediator's log", operation, said);
}

function sideOf(side: HostSide | null): string {
  if (side === null) return "cannot tell";
  return `${side.count}${side.failed === null || side.failed === 0 ? "" : ` (${side.failed} failed)`}`;
}
