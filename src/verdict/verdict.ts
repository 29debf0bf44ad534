import { causeOf } from "../checks/catalogue.ts";
import type { CauseId, Finding } from "../checks/finding.ts";
import { isRefutedByHost } from "../checks/host-correlation.ts";
import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import { type Hop, RUNGS, type Rung } from "../protocol/vocabulary.ts";
import { type HopVerdict, hopsOf } from "./hops.ts";
import { provenRung } from "./rungs.ts";
import { nextSteps, statementOf } from "./statement.ts";

export interface Verdict {
  /** null: nothing could be read that a verdict could rest on. */
  readonly rung: Rung | null;
  readonly statement: string;
  /** The host's own record shows the execution. Guest evidence does not prove so much. */
  readonly proven: boolean;
  /** Whose evidence the rung `executing` rests on; null below it. */
  readonly evidence: "guest" | "host" | null;
  readonly refuted: readonly Rung[];
  readonly hops: readonly HopVerdict[];
  readonly firstBrokenHop: Hop | null;
  readonly cause: CauseId | null;
  readonly next: readonly string[];
}

/**
 * The verdict on what was found. The rung is the highest whose evidence is complete, held down by what failed: a
 * cause names the highest rung that can hold beside it.
 */
export function judge(facts: Facts, findings: readonly Finding[]): Verdict {
  const primary = primaryFailure(findings);
  const proof = provenRung(facts, findings);
  const rung = proof === null ? null : lowest(proof.rung, capOf(findings, primary));
  const cause = primary?.cause ?? null;
  const firstBrokenHop = cause === null ? null : causeOf(cause).hop;
  const hops = hopsOf(facts, findings, firstBrokenHop, cause);
  const below = primary?.overcome === true ? [] : refutedRungs(rung, cause);
  const evidence = rung !== "executing" ? null : proof?.basis === "host" ? "host" : "guest";
  const refuted: readonly Rung[] = refutesExecution(facts, findings) ? [...below, "executing"] : below;
  return {
    rung,
    statement: statementOf({ facts, findings, rung, proof, primary }),
    proven: evidence === "host",
    evidence,
    refuted,
    hops,
    firstBrokenHop,
    cause,
    next: nextSteps(facts, findings, rung, cause),
  };
}

/** The failure that explains the others: the first in the checks' order that is no mere symptom. */
export function primaryFailure(findings: readonly Finding[]): Finding | undefined {
  const failures = findings.filter(({ outcome, cause }) => outcome === "fail" && cause !== null);
  return failures.find(({ cause }) => cause !== null && causeOf(cause).symptom !== true) ?? failures[0];
}

/**
 * Failures hold the rung down; warnings do so only where their cause says that something is not there at all. A
 * symptom of the primary failure adds nothing: a crash after an error of the host says nothing of the configuration.
 */
function capOf(findings: readonly Finding[], primary: Finding | undefined): Rung {
  const explained = primary?.cause != null && causeOf(primary.cause).symptom !== true;
  return findings
    .filter(({ outcome }) => outcome === "fail" || outcome === "warn")
    .flatMap(({ cause, outcome, overcome }) => {
      if (cause === null || overcome === true) return [];
      const { cap, severity, symptom } = causeOf(cause);
      if (explained && symptom === true) return [];
      // A cause that is a failure by nature and was softened here has been overcome since.
      return outcome === severity ? [cap] : [];
    })
    .reduce(lowest, "correct");
}

function lowest(a: Rung, b: Rung): Rung {
  return RUNGS.indexOf(a) < RUNGS.indexOf(b) ? a : b;
}

/**
 * A request was answered, every call was counted, and nothing was launched; or the host's record says so. What is wrong
 * with the host's mediator otherwise refutes nothing of these calls.
 */
function refutesExecution(facts: Facts, findings: readonly Finding[]): boolean {
  const match = valueIn(facts.hostMatch);
  const hostSays = match !== undefined && isRefutedByHost(match);
  return findings.some(
    ({ check, outcome, cause }) =>
      outcome === "fail" && (cause === "VG-O12" || (hostSays && check === "host-correlation")),
  );
}

/** A failure refutes the first rung that it keeps from holding; what is above was not reached and stays unproven. */
function refutedRungs(rung: Rung | null, cause: CauseId | null): Rung[] {
  if (rung === null || cause === null) return [];
  const next = RUNGS[RUNGS.indexOf(causeOf(cause).cap) + 1];
  return next !== undefined && RUNGS.indexOf(next) > RUNGS.indexOf(rung) && next !== "executing" && next !== "correct"
    ? [next]
    : [];
}
