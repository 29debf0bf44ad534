import type { Finding } from "../../checks/finding.ts";
import { severityOf } from "../../checks/finding.ts";
import { logSpace, mediatorContext, mediatorEnd, mediatorHeartbeat } from "./check-log.ts";
import { oldHandles } from "./check-old-handles.ts";
import { mediatorBinary, mediatorOutput, mediatorProcess, mediatorSockets } from "./check-process.ts";
import type { MediatorHealthFacts } from "./facts.ts";
import type { HealthCheck } from "./health-check.ts";

/** Causes before symptoms. */
export const HEALTH_CHECKS: readonly HealthCheck[] = [
  mediatorProcess,
  mediatorBinary,
  mediatorOutput,
  mediatorSockets,
  mediatorHeartbeat,
  mediatorContext,
  oldHandles,
  mediatorEnd,
  logSpace,
];

/** Judges the facts. A check that throws is a `crashed` finding, and the others still count. */
export function judgeHealth(facts: MediatorHealthFacts): readonly Finding[] {
  return HEALTH_CHECKS.flatMap((check): readonly Finding[] => {
    const about = { check: check.name, title: check.title, hop: "mediator", because: [], durationMs: 0 } as const;
    try {
      return check.judge(facts).map((judgement) => ({ ...about, ...judgement }));
    } catch (error) {
      const message = `the check crashed: ${error instanceof Error ? error.message : String(error)}`;
      return [{ ...about, outcome: "crashed", cause: null, message, evidence: [] }];
    }
  });
}

/** 3 a failure, 4 a warning or a bug of ours, 1 when nothing at all could be judged, 0 otherwise. */
export function exitCodeOfHealth(findings: readonly Finding[]): 0 | 1 | 3 | 4 {
  const worst = Math.max(...findings.map(({ outcome }) => severityOf(outcome)));
  if (worst >= severityOf("fail")) return 3;
  if (worst >= severityOf("warn")) return 4;
  return findings.every(({ outcome }) => outcome === "unknown") ? 1 : 0;
}
