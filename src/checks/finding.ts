import type { LogSample, Seen } from "../facts/log.ts";
import type { Hop, Outcome } from "../protocol/vocabulary.ts";

/** What a judgement rests on: something that was read, where, and when it was written. */
export interface Evidence {
  readonly source: string;
  readonly locator: string;
  readonly text: string;
  /** Epoch milliseconds, or null where the source has no time. */
  readonly at: number | null;
}

export type CauseId = `VG-${string}`;

/** What a check says. One check may say several things; the worst is its outcome. */
export interface Judgement {
  readonly outcome: Exclude<Outcome, "not-run" | "crashed">;
  readonly cause: CauseId | null;
  readonly message: string;
  readonly evidence: readonly Evidence[];
  /** What failed has worked since: the failure is told, and holds no rung down. */
  readonly overcome?: boolean;
}

/** A judgement with what the engine adds: whose it is, and why a check did not run. */
export interface Finding {
  readonly check: string;
  readonly title: string;
  readonly hop: Hop | null;
  readonly outcome: Outcome;
  readonly cause: CauseId | null;
  readonly message: string;
  readonly evidence: readonly Evidence[];
  /** Causes of the failed ancestors: why this check is `not-run`. */
  readonly because: readonly CauseId[];
  readonly durationMs: number;
  /** As in the judgement; absent is false. */
  readonly overcome?: boolean;
}

/** Worst last. `unknown` is worse than `info` and better than `warn`: it is no fault, and no health either. */
const SEVERITY: readonly Outcome[] = ["pass", "info", "not-run", "unknown", "warn", "crashed", "fail"];

export function severityOf(outcome: Outcome): number {
  return SEVERITY.indexOf(outcome);
}

export function worstOf(outcomes: readonly Outcome[]): Outcome {
  return outcomes.reduce((worst, next) => (severityOf(next) > severityOf(worst) ? next : worst), "pass");
}

export function pass(message: string, evidence: readonly Evidence[]): Judgement {
  return { outcome: "pass", cause: null, message, evidence };
}

export function info(message: string, evidence: readonly Evidence[] = []): Judgement {
  return { outcome: "info", cause: null, message, evidence };
}

/** What could not be judged, and why: a missing source is never a pass. */
export function unknown(message: string, evidence: readonly Evidence[] = []): Judgement {
  return { outcome: "unknown", cause: null, message, evidence };
}

export function evidence(source: string, locator: string, text: string, at: number | null = null): Evidence {
  return { source, locator, text: text.length > 300 ? `${text.slice(0, 299)}…` : text, at };
}

/** A log line as evidence. */
export function logEvidence(sample: LogSample): Evidence {
  return evidence("log", sample.locator, sample.text, sample.at);
}

/** First and last line of something seen more than once, else the one line. */
export function seenEvidence(seen: Seen): Evidence[] {
  if (seen.count === 1) return [logEvidence(seen.first)];
  return [logEvidence(seen.first), logEvidence(seen.last)];
}
