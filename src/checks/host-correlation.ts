import type { HostFinding, HostMatch, HostOperation, HostSide } from "../facts/host-match.ts";
import { MEDIATOR_CAUSES } from "./catalogue/host.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type CauseId, type Evidence, evidence, info, type Judgement, pass, unknown } from "./finding.ts";

/** What the joined verdict can name: no launch at all, a broken context, the transport's errors, the driver's. */
const MATCH_CAUSES: readonly CauseId[] = [
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
/** What the host can name of its mediator. */
const HEALTH_CAUSES: readonly CauseId[] = MEDIATOR_CAUSES.map(({ id }) => id);
const HOST_AWAY: CauseId = "VG-P12";

/** Checks of the host without which its record is no proof: whose log it is, of which program, for which VMs. */
const BASIC: readonly string[] = ["mediator-process", "mediator-binary", "mediator-sockets"];
/** A record is fresh when the log's end was read this long before the answer at most, by the host's own clock. */
const FRESH_MS = 60_000;
const MOST_TOLD = 16;
const NOT_JUDGED: readonly HostFinding["outcome"][] = ["unknown", "not-run", "crashed"];

/**
 * Does the host's own record show the workload's calls? The one check that proves where they ran: its pass reaches the
 * rung `executing` on the host's evidence, and its failure refutes it. The pass takes a record that is fresh, and a host
 * that found nothing wrong with what the record rests on. What else the host found of its mediator is told beside it.
 */
export const hostCorrelation: Check = {
  name: "host-correlation",
  title: "Does the host's own record show the workload's calls?",
  hop: "gpu",
  after: [],
  causes: [...MATCH_CAUSES, ...HEALTH_CAUSES, HOST_AWAY],
  judge(facts) {
    const { hostMatch } = facts;
    switch (hostMatch.state) {
      case "read":
        return judgementsOf(hostMatch.value);
      case "skipped":
        return [info(`not compared: ${hostMatch.detail}`)];
      case "timed-out":
        // Says nothing of the GPU, nor of this VM.
        return [problem(HOST_AWAY, { what: hostMatch.detail }, [], "unknown")];
      default:
        return [unknown(`the host's record could not be compared: ${hostMatch.detail}`)];
    }
  },
};

function judgementsOf(match: HostMatch): readonly Judgement[] {
  const main = judgementOf(match);
  const doubt = main.outcome === "pass" || restsOnAbsence(match) ? doubtOf(match) : null;
  const judged =
    doubt === null || main.outcome === "unknown"
      ? main
      : unknown(`${match.verdict.statement}. That is not certain: ${doubt}`, main.evidence);
  return [judged, ...suspicionsOf(match), ...healthOf(match)];
}

/** Each is a warning beside what the record shows: it holds no rung down, and is never silent. */
function suspicionsOf({ suspicions }: HostMatch): readonly Judgement[] {
  return suspicions.slice(0, MOST_TOLD).map(({ what, text }) => ({
    outcome: "warn",
    cause: null,
    message: text,
    evidence: [evidence("mediator's log", what, text)],
    overcome: true,
  }));
}

/** Whether the host's record refutes execution, and nothing that the host found takes that back. */
export function isRefutedByHost(match: HostMatch): boolean {
  return match.verdict.state === "refuted" && (!restsOnAbsence(match) || doubtOf(match) === null);
}

/** Refuted by what is not in the record: another mediator, or a later line, may have it. */
function restsOnAbsence({ verdict, operations }: HostMatch): boolean {
  return verdict.state === "refuted" && operations.every(({ host }) => host === null || host.count === 0);
}

function judgementOf(match: HostMatch): Judgement {
  const { state, statement, cause } = match.verdict;
  const shown = match.operations.map(evidenceOf);
  if (state === "executing") return pass(statement, shown);
  if (state !== "refuted") return unknown(statement, shown);
  return {
    outcome: "fail",
    cause: MATCH_CAUSES.find((known) => known === cause) ?? null,
    message: statement,
    evidence: shown,
  };
}

/** Why a record that shows the calls is not taken for proof; null when it is. */
function doubtOf(match: HostMatch): string | null {
  const broken = match.health?.findings.find((finding) => BASIC.includes(finding.check) && isTrouble(finding));
  if (broken !== undefined) return broken.message;
  return staleness(match);
}

function staleness({ source, joined_at, answered_at, health }: HostMatch): string | null {
  // A file is read to its end for the comparison.
  if (source.kind === "log") return null;
  if (health === null) {
    // A host joins when it has reached the end of its log, and not before.
    return isFresh(joined_at, answered_at) ? null : "the host compared too long ago";
  }
  const { state, read_at } = health.log;
  if (state !== "followed") return "the host does not follow the mediator's log";
  if (read_at === null) return "the host has not reached the end of the mediator's log yet";
  if (isFresh(read_at, answered_at)) return null;
  const seconds = Math.round(Math.abs(answered_at - read_at) / 1000);
  return read_at > answered_at
    ? `the host says that it read its log ${seconds} s after it answered: its clock was set`
    : `the host reached the end of the mediator's log ${seconds} s before it answered: its record is not fresh`;
}

/** By the host's clock alone; one that was set back meanwhile makes nothing fresh. */
const isFresh = (at: number, answered: number): boolean => at <= answered && answered - at < FRESH_MS;

/** What the host found of its mediator, each with the host's own outcome; it is not judged anew here. */
function healthOf({ health, verdict, source }: HostMatch): readonly Judgement[] {
  if (source.kind === "log") return [];
  if (health === null) return [info("the host did not look at its mediator: whether exactly one runs is not known")];
  const troubles = health.findings.filter(isTrouble);
  // What its record rests on; of the rest nothing follows for this VM.
  const open = health.findings.filter(({ check, outcome }) => BASIC.includes(check) && NOT_JUDGED.includes(outcome));
  const told = troubles.slice(0, MOST_TOLD).map((finding) => troubleOf(finding, verdict.state === "executing"));
  const more = troubles.length - told.length;
  return [
    ...told,
    ...(more > 0 ? [info(`the host has ${more} more findings of its mediator`)] : []),
    ...(open.length === 0
      ? []
      : [info(`the host could not judge: ${[...new Set(open.map(({ check }) => check))].join(", ")}`)]),
  ];
}

const isTrouble = ({ outcome }: HostFinding): boolean => outcome === "warn" || outcome === "fail";

/**
 * A warning of the host holds no rung of this VM down, and neither does a doubt about which mediator serves it when calls
 * of this VM were served: the proof is withheld, and that is all.
 */
function troubleOf({ check, outcome, cause, message }: HostFinding, isServed: boolean): Judgement {
  const known = HEALTH_CAUSES.find((one) => one === cause) ?? null;
  const overcome = outcome === "warn" || (isServed && BASIC.includes(check));
  return {
    outcome: outcome === "fail" ? "fail" : "warn",
    cause: known,
    message: `on the host: ${message}`,
    evidence: [evidence("host's health", check, message)],
    ...(overcome ? { overcome } : {}),
  };
}

function evidenceOf({ operation, guest, host, confidence }: HostOperation): Evidence {
  const said = `guest ${sideOf(guest)}, host ${sideOf(host)}; ${confidence.level}: ${confidence.reason}`;
  return evidence("mediator's log", operation, said);
}

function sideOf(side: HostSide | null): string {
  if (side === null) return "cannot tell";
  const least = side.least ?? side;
  const failed =
    side.failed === null || side.failed === 0 ? "" : ` (${rangeOf(least.failed ?? 0, side.failed)} failed)`;
  return `${rangeOf(least.count, side.count)}${failed}`;
}

/** "139–182": from what is sure to what may be. */
const rangeOf = (least: number, most: number): string => (least === most ? `${most}` : `${least}–${most}`);
