import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { healthy } from "../../test/fixtures/facts.ts";
import { hostMatch } from "../../test/fixtures/host-match.ts";
import { judged } from "../../test/fixtures/said.ts";
import type { HostFinding, HostHealth, HostMatch } from "../facts/host-match.ts";
import { notRead, wasRead } from "../facts/reading.ts";

const ANSWERED = 1_800_000_000_000;

function health(findings: readonly HostFinding[] = [], log: Partial<HostHealth["log"]> = {}): HostHealth {
  const followed = { state: "followed", read_at: ANSWERED - 200, behind_bytes: 0, watched_since: 0 } as const;
  return { checked_at: ANSWERED - 1000, findings, log: { ...followed, ...log } };
}

const finding = (check: string, outcome: HostFinding["outcome"], cause: string | null): HostFinding => ({
  check,
  outcome,
  cause,
  message: `the host says ${check}`,
});

function fromHost(state: HostMatch["verdict"]["state"], more: Partial<HostMatch> = {}) {
  const source = { kind: "host", name: "https://10.0.0.1:8443" } as const;
  const match = hostMatch(state, {
    source,
    answered_at: ANSWERED,
    joined_at: ANSWERED - 100,
    health: health(),
    ...more,
  });
  const { verdict, findings } = judged(healthy({ hostMatch: wasRead(match) }));
  const own = findings.filter(({ check }) => check === "host-correlation");
  return { verdict, own, said: own.map(({ outcome, cause }) => [outcome, cause]) };
}

describe("the host's record, from the host itself", () => {
  it("is proof when it is fresh and the host found nothing", () => {
    const { verdict, said } = fromHost("executing");
    assert.deepEqual([verdict.rung, verdict.proven, verdict.evidence], ["executing", true, "host"]);
    assert.deepEqual(said, [["pass", null]]);
  });

  it("is no proof when two mediators run, and that refutes nothing", () => {
    const { verdict, said } = fromHost("executing", {
      health: health([finding("mediator-process", "fail", "VG-H02")]),
    });
    assert.deepEqual(said, [
      ["fail", "VG-H02"],
      ["unknown", null],
    ]);
    assert.deepEqual([verdict.proven, verdict.cause], [false, "VG-H02"]);
    assert.ok(!verdict.refuted.includes("executing"));
    assert.equal(verdict.rung, "connected", "the guest's own evidence stands");
  });

  it("is no proof when its executable was deleted, which holds no rung down", () => {
    const { verdict, said } = fromHost("executing", {
      health: health([finding("mediator-binary", "warn", "VG-H02")]),
    });
    assert.deepEqual(said, [
      ["warn", "VG-H02"],
      ["unknown", null],
    ]);
    assert.deepEqual([verdict.rung, verdict.proven, verdict.cause], ["connected", false, null]);
  });

  it("is no proof when nobody listens for this VM", () => {
    const { verdict, said } = fromHost("executing", {
      health: health([finding("mediator-sockets", "fail", "VG-H03")]),
    });
    assert.deepEqual(said[0], ["fail", "VG-H03"]);
    assert.equal(verdict.proven, false);
  });

  it("stays proof beside other warnings of the host, which are shown", () => {
    const { verdict, said, own } = fromHost("executing", {
      health: health([finding("log-space", "warn", "VG-H10"), finding("mediator-output", "warn", "VG-H11")]),
    });
    assert.deepEqual([verdict.rung, verdict.proven], ["executing", true]);
    assert.deepEqual(said, [
      ["warn", "VG-H10"],
      ["warn", "VG-H11"],
      ["pass", null],
    ]);
    assert.match(own[0]?.message ?? "", /^on the host: the host says log-space$/);
  });

  it("stays beside a failure that came after it, which holds the rung down", () => {
    const { verdict, said } = fromHost("executing", {
      health: health([finding("mediator-context", "fail", "VG-H14")]),
    });
    assert.deepEqual(said, [
      ["fail", "VG-H14"],
      ["pass", null],
    ]);
    assert.deepEqual([verdict.rung, verdict.proven, verdict.firstBrokenHop], ["connected", false, "executor"]);
    assert.ok(!verdict.refuted.includes("executing"));
  });

  for (const [name, log] of [
    ["its end was read a minute before", { read_at: ANSWERED - 60_000 }],
    ["its end was read after the answer: the clock was set", { read_at: ANSWERED + 5000 }],
    ["its end was never reached", { read_at: null }],
    ["nobody follows it", { state: "unreadable", read_at: ANSWERED - 1 }],
    ["the host knows no log", { state: "none", read_at: ANSWERED - 1 }],
  ] as const) {
    it(`is no proof when ${name}`, () => {
      const { verdict, said } = fromHost("executing", { health: health([], log) });
      assert.deepEqual(said, [["unknown", null]]);
      assert.equal(verdict.proven, false);
    });
  }

  it("of a host that looked at nothing is judged by when it was joined, and that is said", () => {
    const fresh = fromHost("executing", { health: null });
    assert.deepEqual(fresh.said, [
      ["info", null],
      ["pass", null],
    ]);
    assert.equal(fresh.verdict.proven, true);
    const old = fromHost("executing", { health: null, joined_at: ANSWERED - 61_000 });
    assert.deepEqual([old.said[0], old.verdict.proven], [["unknown", null], false]);
  });

  it("says what the host could not judge of what its record rests on", () => {
    const { own, verdict } = fromHost("executing", {
      health: health([finding("mediator-process", "unknown", null), finding("old-handles", "unknown", null)]),
    });
    assert.ok(own.some(({ outcome, message }) => outcome === "info" && /mediator-process$/.test(message)));
    assert.equal(verdict.proven, true);
  });

  it("refutes execution by the calls alone, with the host's findings beside", () => {
    const { verdict, said } = fromHost("refuted", { health: health([finding("log-space", "warn", "VG-H10")]) });
    assert.ok(verdict.refuted.includes("executing"));
    assert.deepEqual(said, [
      ["fail", "VG-O12"],
      ["warn", "VG-H10"],
    ]);
  });

  it("refutes nothing by what another mediator's log may have, and what failed on the host all the same", () => {
    const twoRun = health([finding("mediator-process", "fail", "VG-H02")]);
    const absent = fromHost("refuted", { health: twoRun });
    assert.ok(!absent.verdict.refuted.includes("executing"));
    assert.deepEqual(absent.said, [
      ["fail", "VG-H02"],
      ["unknown", null],
    ]);
    const stale = fromHost("refuted", { health: health([], { read_at: ANSWERED - 90_000 }) });
    assert.deepEqual([stale.said, stale.verdict.refuted], [[["unknown", null]], []]);
    const side = { count: 9, bytes: null, failed: 9, least: null };
    const operations = hostMatch("refuted").operations.map((one) => ({ ...one, host: side }));
    const failed = fromHost("refuted", { health: twoRun, operations });
    assert.ok(failed.verdict.refuted.includes("executing"));
  });

  it("names no cause that the catalogue does not have, and does not tell without end", () => {
    const many = Array.from({ length: 64 }, (_, index) => finding(`x${index}`, "warn", "VG-Q99"));
    const { own } = fromHost("executing", { health: health(many) });
    assert.ok(own.every(({ cause }) => cause === null));
    assert.ok(own.length < 20);
    assert.ok(own.some(({ message }) => /48 more findings/.test(message)));
  });
});

describe("a host that cannot be asked", () => {
  it("is away: that is its own cause, and no failure", () => {
    const { verdict, findings } = judged(healthy({ hostMatch: notRead("timed-out", "https://h:1: nothing listens") }));
    const own = findings.filter(({ check }) => check === "host-correlation");
    assert.deepEqual(
      own.map(({ outcome, cause }) => [outcome, cause]),
      [["unknown", "VG-P12"]],
    );
    assert.match(own[0]?.message ?? "", /nothing listens.*nothing of the GPU/);
    assert.deepEqual([verdict.rung, verdict.cause, verdict.firstBrokenHop], ["connected", null, null]);
    assert.ok(verdict.next.some((step) => /ask the host again/i.test(step)));
  });
});
