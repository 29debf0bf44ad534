import assert from "node:assert/strict";
import { test } from "node:test";
import { connected, evidenceOnly, idle, mediatorGone, noDevice } from "../../test/fixtures/reports.ts";
import type { Outcome, Rung } from "../protocol/vocabulary.ts";
import type { Report } from "./report.ts";
import { counts, exitCodeOf, headline, refutedRungs, troubles, unjudged } from "./words.ts";

function withOutcomes(...outcomes: readonly Outcome[]): Report {
  const [pattern] = connected.findings;
  assert.ok(pattern);
  return { ...connected, findings: outcomes.map((outcome, n) => ({ ...pattern, check: `check-${n}`, outcome })) };
}

function withVerdict(verdict: Partial<Report["verdict"]>): Report {
  return { ...connected, verdict: { ...connected.verdict, ...verdict } };
}

test("exit 0 needs a verdict and nothing worse than info", () => {
  assert.equal(exitCodeOf(connected), 0);
  assert.equal(exitCodeOf(withOutcomes("pass", "info", "unknown", "not-run")), 0);
});

test("a warning is exit 4 and a failure is exit 3, whatever else there is", () => {
  assert.equal(exitCodeOf(idle), 4);
  assert.equal(exitCodeOf(withOutcomes("pass", "warn")), 4);
  assert.equal(exitCodeOf(withOutcomes("warn", "fail", "crashed")), 3);
  assert.equal(exitCodeOf(noDevice), 3);
});

test("a crashed check is neither healthy nor a fault of the VM", () => {
  assert.equal(exitCodeOf(withOutcomes("pass", "crashed")), 4);
});

test("no verdict is exit 1 even beside failures", () => {
  assert.equal(exitCodeOf({ ...withOutcomes("fail"), verdict: { ...connected.verdict, rung: null } }), 1);
});

test("a broken hop is exit 3 even when no finding says so", () => {
  assert.equal(exitCodeOf(withVerdict({ first_broken_hop: "mediator" })), 3);
});

test("a machine of which not even the set-up could be seen does not exit 0", () => {
  assert.equal(exitCodeOf(evidenceOnly), 4);
});

test("below executing the headline says that GPU execution is not proven", () => {
  for (const rung of ["unconfigured", "configured", "discovered", "connected", null] as const) {
    for (const proven of [false, true]) {
      assert.match(headline(withVerdict({ rung, proven }).verdict), /— GPU execution not proven$/);
    }
  }
});

test("guest evidence is named as such, and a refutation takes it back", () => {
  const said = { rung: "executing", proven: false, evidence: "guest" } as const;
  assert.equal(headline(withVerdict(said).verdict), "EXECUTING (guest evidence)");
  assert.equal(headline(withVerdict({ ...said, refuted: ["executing"] }).verdict), "EXECUTING — GPU execution refuted");
  assert.match(headline(withVerdict({ ...said, rung: "connected" }).verdict), /not proven$/);
});

test("execution counts as proven only where rung and flag agree", () => {
  for (const rung of ["executing", "correct"] satisfies Rung[]) {
    assert.equal(headline(withVerdict({ rung, proven: true }).verdict), rung.toUpperCase());
    assert.equal(
      headline(withVerdict({ rung, proven: false }).verdict),
      `${rung.toUpperCase()} — GPU execution not proven`,
    );
  }
});

test("a refuted execution is said to be refuted, not unproven", () => {
  const { verdict } = withVerdict({ refuted: ["executing"] });
  assert.equal(headline(verdict), "CONNECTED — GPU execution refuted");
  assert.equal(refutedRungs(verdict), "");
  assert.equal(refutedRungs({ ...verdict, refuted: ["correct", "connected"] }), "Refuted: connected, correct");
});

test("a check with several findings counts once, by the worst", () => {
  const report = withOutcomes("pass", "warn", "fail", "not-run");
  const again = report.findings.map((finding) => ({ ...finding, outcome: "info" as const }));
  assert.equal(
    counts({ ...report, findings: [...report.findings, ...again] }),
    "4 checks: 1 info, 1 warn, 1 fail, 1 not run",
  );
  assert.equal(counts({ ...report, findings: [] }), "0 checks");
});

test("failures come first, those of the verdict's cause before the others", () => {
  const outcomes = troubles(withOutcomes("warn", "unknown", "fail", "crashed", "info")).map(({ outcome }) => outcome);
  assert.deepEqual(outcomes, ["fail", "crashed", "warn"]);
  const { findings, verdict } = noDevice;
  const reversed = { ...noDevice, findings: [...findings].reverse() };
  assert.equal(troubles(reversed)[0]?.cause, verdict.cause);
});

test("whatever was not judged is named, in groups by why", () => {
  assert.deepEqual(unjudged(noDevice), [
    {
      label: "Not run because of VG-P01",
      checks: ["bar-access", "loaded-libraries", "transport-state", "transport-errors"],
    },
  ]);
  assert.deepEqual(unjudged(mediatorGone), [{ label: "Could not be judged", checks: ["transport-state"] }]);
});
