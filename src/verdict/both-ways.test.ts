import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { trace } from "../../test/fixtures/calls.ts";
import {
  errorSeen,
  evidenceOf,
  healthy,
  idle,
  life,
  notMapped,
  process,
  registers,
  running,
  withLife,
  withShimLog,
} from "../../test/fixtures/facts.ts";
import { hostMatch } from "../../test/fixtures/host-match.ts";
import type { Check } from "../checks/check.ts";
import { runChecks } from "../checks/engine.ts";
import type { Finding } from "../checks/finding.ts";
import { CHECKS } from "../checks/registry.ts";
import type { Facts } from "../facts/facts.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { judge } from "./verdict.ts";

/** One for each kind of machine; the sources that are taken away make the others. */
const MACHINES: Readonly<Record<string, Facts>> = {
  healthy: healthy(),
  "counted live": healthy({ trace: trace() }),
  "a CPU runs it, by the host": healthy({ hostMatch: wasRead(hostMatch("refuted")) }),
  "the host shows it": healthy({ hostMatch: wasRead(hostMatch("executing")) }),
  idle: idle(),
  "a log alone": evidenceOf([life()]),
  "lives before": evidenceOf([life({ runnerCrash: errorSeen(0, 0) }), life()]),
  "no device": healthy({ pci: wasRead({ scanned: 3, unreadable: [], candidates: [], nvidiaModule: false }) }),
  "another protocol": healthy({ bars: wasRead(registers({ PROTOCOL_VER: 7 })) }),
  "a call that does not end": healthy({ bars: wasRead(registers({}, 1)) }),
  "transport errors": withShimLog({ answered: null, transportErrors: [errorSeen(3, 1)] }),
  "host errors": withShimLog({ hostErrors: [errorSeen(2, 0x30)] }),
  "nothing found": withLife({ discovery: [], zeroVram: errorSeen(0, 0) }),
  "a runner without the device": healthy({ workload: running(process(), notMapped()) }),
};
const SOURCES = ["pci", "bars", "unit", "workload", "shimFiles", "log", "trace", "stateFiles", "locks"] as const;

const machines = fc
  .record({ facts: fc.constantFrom(...Object.values(MACHINES)), missing: fc.subarray([...SOURCES], { maxLength: 3 }) })
  .map(({ facts, missing }): Facts => {
    const taken = missing.map((source) => [source, notRead("denied", "for the test")]);
    return { ...facts, ...Object.fromEntries(taken) };
  });

/** It makes the engine give each check a limit of its own. */
const ENDLESS: Check = {
  name: "endless",
  title: "Does it end?",
  hop: null,
  after: [],
  causes: [],
  limitMs: 30,
  judge: () => {
    for (;;);
  },
};

const untimed = (findings: readonly Finding[]) => findings.map((finding) => ({ ...finding, durationMs: 0 }));

function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) frozen(part);
  }
  return value;
}

describe("the checks are pure, which the engine relies on when it judges a second time", () => {
  for (const check of CHECKS) {
    it(`${check.name} says the same again, also after others, and changes no facts`, () => {
      fc.assert(
        fc.property(machines, machines, (given, other) => {
          const facts = frozen(structuredClone(given));
          const first = structuredClone(check.judge(facts));
          check.judge(other);
          assert.deepEqual(check.judge(facts), first);
          assert.deepEqual(check.judge(structuredClone(facts)), first);
        }),
        { numRuns: 60 },
      );
    });
  }
});

describe("a check that never ends", () => {
  for (const [story, facts] of Object.entries(MACHINES)) {
    it(`changes neither the others' findings nor the verdict: ${story}`, () => {
      const alone = runChecks(CHECKS, facts);
      // In the middle: half of the checks are judged twice.
      const half = CHECKS.length / 2;
      const all = runChecks([...CHECKS.slice(0, half), ENDLESS, ...CHECKS.slice(half)], facts);
      const others = all.filter(({ check }) => check !== ENDLESS.name);
      assert.deepEqual(
        all.filter(({ check }) => check === ENDLESS.name).map(({ outcome }) => outcome),
        ["crashed"],
      );
      assert.deepEqual(untimed(others), untimed(alone));
      assert.deepEqual(judge(facts, others), judge(facts, alone));
      const { rung, hops, firstBrokenHop, cause } = judge(facts, all);
      const verdict = judge(facts, alone);
      assert.deepEqual(
        { rung, hops, firstBrokenHop, cause },
        { rung: verdict.rung, hops: verdict.hops, firstBrokenHop: verdict.firstBrokenHop, cause: verdict.cause },
      );
    });
  }
});
