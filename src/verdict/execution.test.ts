import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { counted, request, trace, WINDOW, WORK } from "../../test/fixtures/calls.ts";
import {
  errorSeen,
  healthy,
  life,
  line,
  SERVER_START,
  shimLog,
  withLife,
  withShimLog,
} from "../../test/fixtures/facts.ts";
import { judged } from "../../test/fixtures/said.ts";
import { runChecks } from "../checks/engine.ts";
import { CHECKS } from "../checks/registry.ts";
import type { Facts } from "../facts/facts.ts";
import type { ServerLog } from "../facts/log.ts";
import { notRead } from "../facts/reading.ts";
import type { Rung } from "../protocol/vocabulary.ts";
import { judge } from "./verdict.ts";

/** The rung that rests on the kernel's own count of calls, and its refutation. */

/** rung, first broken hop, cause, refuted rungs. */
type Truth = readonly [Rung | null, string | null, string | null, ...Rung[]];

const denied = () => notRead("denied", "not permitted");
const [found] = life().discovery;
const cpu = { ...(found ?? assert.fail()), library: "cpu", sample: line("library=cpu", SERVER_START) };
const unlaunched = (changes: Partial<ServerLog>) => ({
  ...withLife({ requests: [request()], ...changes }),
  trace: trace([]),
});
const withFault = { ...withShimLog({ hostErrors: [errorSeen(700, 0x50)] }), trace: trace() };

const SCENARIOS: readonly (readonly [story: string, facts: Facts, truth: Truth])[] = [
  ["launches and copies came back with 0", healthy({ trace: trace() }), ["executing", null, null]],
  [
    "the same with debug off and no log at all",
    healthy({ trace: trace(), log: denied(), bars: denied() }),
    ["executing", null, null],
  ],
  [
    "a call came back with 0 and nothing was launched",
    healthy({ trace: trace([counted(0x3b, { 0: 2 })]), log: denied(), bars: denied() }),
    ["connected", null, null],
  ],
  [
    "a call of another program came back with 0",
    healthy({
      trace: trace([counted(0x3b, { 0: 2 })], {}, { workload: [1187], others: [1203] }),
      log: denied(),
      bars: denied(),
    }),
    ["discovered", null, null],
  ],
  ["a launch failed", healthy({ trace: trace([...WORK, counted(0x50, { 700: 1 })]) }), ["connected", "gpu", "VG-X02"]],
  ["launches worked and the log has a fault", withFault, ["connected", "gpu", "VG-X02"]],
  [
    "launches of a ledger that was read from a log",
    healthy({ trace: trace(WORK, { source: "journal" }) }),
    ["connected", null, null],
  ],
  ["requests were answered and nothing was launched", unlaunched({}), ["connected", "workload", "VG-O12", "executing"]],
  [
    "the same in a server that decided for the CPU: that is the cause",
    unlaunched({ discovery: [cpu] }),
    ["configured", "workload", "VG-O01", "discovered", "executing"],
  ],
  [
    "the same with a mediator that is gone",
    unlaunched({ processes: [shimLog({ answered: null, transportErrors: [errorSeen(3, 1)] })] }),
    ["discovered", "mediator", "VG-C07", "connected", "executing"],
  ],
];

describe("the verdict on calls that the kernel counted", () => {
  for (const [story, facts, [rung, hop, cause, ...refuted]] of SCENARIOS) {
    it(story, () => {
      const { verdict } = judged(facts);
      assert.deepEqual(
        { rung: verdict.rung, hop: verdict.firstBrokenHop, cause: verdict.cause, refuted: verdict.refuted },
        { rung, hop, cause, refuted },
      );
      assert.equal(verdict.proven, false, "the host's record is not seen from here");
      assert.equal(verdict.evidence, verdict.rung === "executing" ? "guest" : null);
      assert.ok(verdict.next.length > 0);
      const broken = verdict.hops.filter(({ state }) => state === "broken").map(({ hop: name }) => name);
      assert.equal(broken.length > 0, hop !== null);
      if (broken.length > 0) assert.ok(broken.some((name) => name === verdict.firstBrokenHop));
    });
  }

  it("says of guest evidence what is proven, and what is missing for more", () => {
    const { verdict } = judged(healthy({ trace: trace() }));
    assert.match(verdict.statement, /790 launches, 20 copies in and 10 copies out came back with 0 in 10\.0 s/);
    assert.match(verdict.statement, /takes the host's own record/);
    assert.ok(verdict.next[0]?.includes(new Date(WINDOW.from).toISOString()));
    const states = Object.fromEntries(verdict.hops.map(({ hop, state }) => [hop, state]));
    assert.deepEqual([states["mediator"], states["executor"], states["gpu"]], ["ok", "unknown", "unknown"]);
  });

  it("says below it what the count lacked, and how to count where nobody did", () => {
    const next = (facts: Facts) => judged(facts).verdict.next[0] ?? "";
    assert.match(next(healthy()), /^Run `vgpu-agent doctor --live 10` as root/);
    assert.match(next(healthy({ trace: denied() })), /^Run `vgpu-agent doctor --live 10` as root/);
    assert.match(next(healthy({ trace: trace([]) })), /^Count again .*: no launch of the workload in 10\.0 s/);
  });

  it("does not reach or refute execution when the check was left out", () => {
    for (const facts of [healthy({ trace: trace() }), unlaunched({})]) {
      const verdict = judge(facts, runChecks(CHECKS, facts, { only: [], skip: ["live-calls"] }));
      assert.deepEqual([verdict.rung, verdict.refuted], ["connected", []]);
    }
  });
});
