import { causeOf } from "../checks/catalogue.ts";
import type { Finding } from "../checks/finding.ts";
import { isKernels } from "../checks/live-calls.ts";
import {
  answerOf,
  barMappedBy,
  currentLife,
  driverShimsOf,
  gpuProcessesOf,
  judgedByLog,
  judgedLogs,
  logOf,
  shimSpokeIn,
} from "../checks/view.ts";
import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import type { ProcessFacts } from "../facts/workload.ts";
import type { Rung } from "../protocol/vocabulary.ts";

/** STATUS register: the last call came back without an error. */
const STATUS_DONE = 2;

export interface RungProof {
  readonly rung: Rung;
  /** Epoch milliseconds of the last answer seen; null when the rung does not rest on one, or it has no time. */
  readonly answeredAt: number | null;
  /** What the rung rests on. */
  readonly basis: "processes" | "log" | "registers" | "trace" | "host";
  /** Why the next rung is not reached, in words. */
  readonly short: string;
}

/**
 * The highest rung whose evidence is complete, whatever failed beside it. A higher rung's evidence implies the lower
 * ones: a process with the BAR mapped could open the device. Null when there is no evidence of any kind.
 */
export function provenRung(facts: Facts, findings: readonly Finding[]): RungProof | null {
  return (
    hostProof(facts, findings) ??
    executingProof(facts, findings) ??
    connectedProof(facts) ??
    discoveredProof(facts, findings) ??
    configuredProof(facts, findings) ??
    lowestProof(findings)
  );
}

/** The host's own record shows the workload's operations (the check `host-correlation` says so). */
function hostProof(facts: Facts, findings: readonly Finding[]): RungProof | null {
  const match = valueIn(facts.hostMatch);
  // The host's own troubles stand beside it as findings of their own.
  const passed = findings.some(({ check, outcome }) => check === "host-correlation" && outcome === "pass");
  if (match === undefined || !passed) return null;
  return {
    rung: "executing",
    answeredAt: match.window.to,
    basis: "host",
    short: "that the results are right takes a run whose answer is known",
  };
}

/**
 * Launches and copies that the kernel saw come back with 0, in a process that has the device mapped (the check
 * `live-calls` says so). It rests on no line of a log: those can be forged.
 */
function executingProof(facts: Facts, findings: readonly Finding[]): RungProof | null {
  const trace = valueIn(facts.trace);
  if (trace === undefined || outcomeOf(findings, "live-calls") !== "pass") return null;
  return {
    rung: "executing",
    answeredAt: trace.ledger.to,
    basis: "trace",
    short: "the guest was told that its launches ran; that a GPU ran them takes the host's own record of them",
  };
}

/** A call of this process came back with 0 while the kernel counted. */
function traceShowsAnswer(facts: Facts, process: ProcessFacts): boolean {
  const trace = valueIn(facts.trace);
  if (trace === undefined || !isKernels(trace.ledger) || !trace.workload.includes(process.pid)) return false;
  return trace.ledger.calls.some(({ pid, results }) => pid === process.pid && (results?.["0"] ?? 0) > 0);
}

function connectedProof(facts: Facts): RungProof | null {
  const short =
    "the calls' answers do not say where they ran: that takes the host's own record, or a count of launches in this guest";
  const life = valueIn(currentLife(facts));
  for (const process of gpuProcessesOf(facts)) {
    if (barMappedBy(facts, process) === undefined) continue;
    const log = logOf(process, life);
    const answered = log === undefined ? null : answerOf(log);
    if (answered !== null) return { rung: "connected", answeredAt: answered.last.at, basis: "processes", short };
    if (registersShowAnswer(facts, process)) return { rung: "connected", answeredAt: null, basis: "registers", short };
    if (traceShowsAnswer(facts, process)) return { rung: "connected", answeredAt: null, basis: "trace", short };
  }
  if (!judgedByLog(facts)) return null;
  const last = judgedLogs(facts)
    .logs.flatMap((log) => answerOf(log) ?? [])
    .at(-1);
  return last === undefined ? null : { rung: "connected", answeredAt: last.last.at, basis: "log", short };
}

/**
 * The device's registers show a finished call of this very process: SCRATCH is its pid in both passes (so nothing is
 * being staged), RESPONSE_LEN is set by the host's answer, and STATUS is DONE. DONE alone is not enough: registering
 * shared memory sets it too.
 */
export function registersShowAnswer(facts: Facts, process: ProcessFacts): boolean {
  const bars = valueIn(facts.bars);
  if (bars?.outcome !== "read" || bars.bdf !== barMappedBy(facts, process)) return false;
  if (bars.status !== STATUS_DONE || bars.passes.length < 2) return false;
  return bars.passes.every(({ registers, timestampUs }) => {
    const answered = registers["RESPONSE_LEN"] === 1 && registers["ERROR_CODE"] === 0 && (timestampUs ?? 0) > 0;
    return answered && registers["SCRATCH"] === process.nsPid;
  });
}

function discoveredProof(facts: Facts, findings: readonly Finding[]): RungProof | null {
  const logs = judgedLogs(facts).logs;
  const life = valueIn(currentLife(facts));
  const loaded = gpuProcessesOf(facts).filter(
    (process) => driverShimsOf(process).length > 0 || shimSpokeIn(process, life),
  );
  const shimSeen = loaded.length > 0;
  // A shim maps the device that it has found, and no other: a mapping tells of discovery where no line does.
  const found =
    outcomeOf(findings, "discovery") === "pass" || loaded.some((process) => barMappedBy(facts, process) !== undefined);
  const shimSpoke =
    judgedByLog(facts) && logs.some(({ deviceFound, connected }) => deviceFound !== null || connected !== null);
  if (!(found && (shimSeen || shimSpoke))) return null;
  const mapped = gpuProcessesOf(facts).some((process) => barMappedBy(facts, process) !== undefined);
  const short =
    mapped || logs.some(({ connected }) => connected !== null)
      ? "the device is mapped and no call is seen to have come back"
      : "no process of the workload has mapped the device yet";
  return { rung: "discovered", answeredAt: null, basis: shimSeen ? "processes" : "log", short };
}

const CONFIGURING = ["pci-device", "bar-access", "service-identity", "shim-files"] as const;
/** What has to be sound as well; where a capture, or a kernel without securityfs, has no word of it, that is said. */
const BESIDE = ["lockdown", "preload-file", "live-environment"] as const;

function configuredProof(facts: Facts, findings: readonly Finding[]): RungProof | null {
  const life = valueIn(currentLife(facts));
  // On a live machine what is there now can be looked at; a capture may lack any part of it.
  const spoke =
    facts.scope.subject !== "live" &&
    gpuProcessesOf(facts).length === 0 &&
    life?.processes.some(({ connected, answered }) => connected !== null || answered !== null) === true;
  const isSound = (name: string) =>
    ["pass", "info", "warn"].includes(outcomeOf(findings, name)) || isExplainedEnd(findings, name);
  const open = openQuestions(facts, findings);
  const sound = CONFIGURING.every(isSound) && BESIDE.every((name) => isSound(name) || open.includes(name));
  if (!sound && !spoke) return null;
  return {
    rung: "configured",
    answeredAt: null,
    basis: sound ? "processes" : "log",
    short:
      gpuProcessesOf(facts).length === 0
        ? "no process of the workload has the shim loaded now: nothing is asked of the GPU"
        : "whether the process that computes found the GPU through the shim is not known",
  };
}

/** The service ended, for a reason that was found elsewhere: that says nothing of how it is set up. */
function isExplainedEnd(findings: readonly Finding[], check: string): boolean {
  const failed = findings.filter(({ outcome, cause }) => outcome === "fail" && cause !== null);
  const isSymptom = ({ cause }: Finding) => cause !== null && causeOf(cause).symptom === true;
  const own = failed.filter((finding) => finding.check === check);
  return own.length > 0 && own.every(isSymptom) && failed.some((finding) => !isSymptom(finding));
}

/** Checks beside the configuration's own that found nothing to look at where that is no fault of the looking. */
export function openQuestions(facts: Facts, findings: readonly Finding[]): string[] {
  return BESIDE.filter((name) => {
    const missing = facts.scope.subject === "tree" || (name === "lockdown" && facts.lockdown.state === "absent");
    return missing && outcomeOf(findings, name) === "unknown";
  });
}

/** The lowest rung says that something does not hold: that takes a failure. Not knowing is no verdict at all. */
function lowestProof(findings: readonly Finding[]): RungProof | null {
  if (!findings.some(({ outcome, cause }) => outcome === "fail" && cause !== null)) return null;
  return {
    rung: "unconfigured",
    answeredAt: null,
    basis: "processes",
    short: "the evidence for a sound configuration is not complete",
  };
}

/** The best-known outcome of a check: its findings are sorted worst first. */
function outcomeOf(findings: readonly Finding[], check: string): Finding["outcome"] {
  return findings.find((finding) => finding.check === check)?.outcome ?? "unknown";
}
