import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { evidenceOf, healthy, life } from "../../test/fixtures/facts.ts";
import { hostMatch } from "../../test/fixtures/host-match.ts";
import { judged } from "../../test/fixtures/said.ts";
import { notRead, wasRead } from "../facts/reading.ts";

const verdictOf = (facts: Parameters<typeof judged>[0]) => judged(facts).verdict;

describe("the host's own record", () => {
  it("proves execution, on the host's evidence", () => {
    const { rung, proven, evidence, refuted, hops } = verdictOf(
      healthy({ hostMatch: wasRead(hostMatch("executing")) }),
    );
    assert.deepEqual([rung, proven, evidence, refuted], ["executing", true, "host", []]);
    assert.deepEqual(
      hops.slice(4).map(({ hop, state }) => [hop, state]),
      [
        ["mediator", "ok"],
        ["executor", "ok"],
        ["gpu", "ok"],
      ],
    );
  });

  it("proves execution for a log alone", () => {
    const verdict = verdictOf({ ...evidenceOf([life()]), hostMatch: wasRead(hostMatch("executing")) });
    assert.deepEqual([verdict.rung, verdict.proven], ["executing", true]);
  });

  it("refutes it, whatever the guest's evidence says", () => {
    const { rung, proven, refuted, cause } = verdictOf(healthy({ hostMatch: wasRead(hostMatch("refuted")) }));
    assert.deepEqual([rung, proven, cause], ["connected", false, "VG-O12"]);
    assert.ok(refuted.includes("executing"));
  });

  it("refutes it without a cause that the catalogue knows", () => {
    const match = hostMatch("refuted");
    const unnamed = { ...match, verdict: { ...match.verdict, cause: null } };
    const { findings, verdict } = judged(healthy({ hostMatch: wasRead(unnamed) }));
    assert.ok(verdict.refuted.includes("executing"));
    assert.equal(findings.find(({ check }) => check === "host-correlation")?.outcome, "fail");
  });

  it("that can say nothing changes nothing", () => {
    for (const reading of [wasRead(hostMatch("not known")), notRead("denied", "x"), notRead("absent", "x")]) {
      const { verdict, findings } = judged(healthy({ hostMatch: reading }));
      assert.deepEqual([verdict.rung, verdict.proven, verdict.refuted], ["connected", false, []]);
      assert.equal(findings.find(({ check }) => check === "host-correlation")?.outcome, "unknown");
    }
  });

  it("of operations that failed does not prove anything by being there", () => {
    const match = hostMatch("executing");
    const facts = healthy({ hostMatch: wasRead({ ...match, verdict: { ...match.verdict, state: "not known" } }) });
    assert.equal(verdictOf(facts).proven, false);
  });
});
