import assert from "node:assert/strict";
import { type Report, reportSchema } from "../../src/report/report.ts";
import type { Truth } from "./scenario.ts";

/** Reads a `--json` report and holds it against the truth. Everything that differs is shown at once. */
export function expectTruth(name: string, truth: Truth, stdout: string, exitCode: number | null): Report {
  assert.notEqual(stdout, "", `${name}: the doctor printed nothing (exit ${exitCode})`);
  const report = reportSchema.parse(JSON.parse(stdout));
  const { rung, first_broken_hop: hop, cause, evidence, refuted } = report.verdict;
  const named = report.findings.flatMap((finding) => finding.cause ?? []);
  const told = (truth.alsoNamed ?? []).filter((id) => named.includes(id));
  assert.deepEqual(
    { rung, hop, cause, exitCode, alsoNamed: told, evidence, refutesExecution: refuted.includes("executing") },
    {
      rung: truth.rung,
      hop: truth.hop,
      cause: truth.cause,
      exitCode: truth.exitCode,
      alsoNamed: truth.alsoNamed ?? [],
      evidence: truth.evidence ?? null,
      refutesExecution: truth.refutesExecution ?? false,
    },
    `${name}: ${report.verdict.statement}\n${summary(report)}`,
  );
  const crashed = report.findings.filter(({ outcome }) => outcome === "crashed");
  assert.deepEqual(crashed, [], `${name}: a check crashed`);
  assert.equal(report.verdict.proven, false, `${name}: nothing that a guest sees proves execution`);
  return report;
}

function summary(report: Report): string {
  return report.findings
    .filter(({ outcome }) => outcome !== "pass")
    .map(({ check, outcome, cause, message }) => `  ${outcome} ${check} ${cause ?? ""} ${message}`)
    .join("\n");
}
