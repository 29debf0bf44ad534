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
  vgpu,
  withLife,
  withShimLog,
} from "../../test/fixtures/facts.ts";
import { hostMatch } from "../../test/fixtures/host-match.ts";
import { judged, said, worst } from "../../test/fixtures/said.ts";
import type { Facts } from "../facts/facts.ts";
import { type NotRead, notRead, wasRead } from "../facts/reading.ts";
import { CHECKS } from "./registry.ts";

const STATES: readonly NotRead["state"][] = ["absent", "denied", "timed-out", "invalid", "skipped"];
const SOURCES = [
  "self",
  "pci",
  "bars",
  "lockdown",
  "unit",
  "workload",
  "preload",
  "preloadVariable",
  "shimFiles",
  "log",
  "ledger",
  "trace",
  "hostMatch",
  "stateFiles",
  "locks",
] as const;
type Source = (typeof SOURCES)[number];

/** What a pass of each check rests on: without any one of these it must not pass. Written from the checks' questions. */
const RESTS_ON: Readonly<Record<string, readonly Source[]>> = {
  "self-integrity": ["self"],
  "preload-file": ["preload"],
  "pci-device": ["pci"],
  lockdown: ["lockdown"],
  "bar-registers": ["bars"],
  "service-identity": ["workload"],
  "log-sink": ["log"],
  "bar-access": ["pci"],
  "live-environment": ["workload", "preloadVariable"],
  "shim-files": ["shimFiles"],
  "loaded-libraries": ["workload"],
  discovery: ["log"],
  "transport-state": ["workload"],
  "transport-errors": ["log"],
  "host-errors": ["log"],
  "state-files": ["stateFiles"],
  "call-in-flight": ["locks"],
  "live-calls": ["trace", "workload"],
  "host-correlation": ["hostMatch"],
  "workload-end": ["log"],
};

/** Facts that make each check say something worse than a pass. */
const BROKEN: Readonly<Record<string, Facts>> = {
  "self-integrity": healthy({ self: wasRead({ uid: 0, loaderVariables: [], shimsMapped: ["/x"] }) }),
  "preload-file": healthy({ preload: wasRead({ lines: [{ line: 1, kind: "shim" }] }) }),
  "pci-device": healthy({ pci: wasRead({ scanned: 3, unreadable: [], candidates: [], nvidiaModule: false }) }),
  lockdown: healthy({ lockdown: wasRead({ mode: "integrity", secureBoot: true }) }),
  "bar-registers": healthy({ bars: wasRead(registers({ PROTOCOL_VER: 7 })) }),
  "service-identity": idle({ workload: running(), unit: notRead("absent", "x") }),
  "log-sink": idle({ workload: running(process({ stderr: wasRead({ to: "null" }) })) }),
  "bar-access": idle({
    workload: running(process({ mounts: wasRead({ sysReadOnly: true, privateTmp: false, pciHidden: false }) })),
  }),
  "live-environment": idle({ workload: running(process({ env: wasRead({ CUDA_VISIBLE_DEVICES: "-1" }) })) }),
  "shim-files": idle({
    shimFiles: wasRead({
      searched: ["/a"],
      files: [{ path: "/a/libcuda.so.1", resolved: null, size: null, kind: notRead("absent", "x"), buildId: null }],
    }),
  }),
  "loaded-libraries": healthy({
    workload: running(process(), notMapped({ maps: wasRead({ libraries: [], bars: [], fileMappings: 9 }) })),
  }),
  discovery: withLife({ discovery: [], zeroVram: errorSeen(0, 0) }),
  "transport-state": healthy({ workload: running(process(), notMapped()), log: notRead("denied", "x") }),
  "transport-errors": withShimLog({ answered: null, transportErrors: [errorSeen(3, 1)] }),
  "host-errors": withShimLog({ hostErrors: [errorSeen(2, 0x30)] }),
  "state-files": healthy({ stateFiles: notRead("denied", "x") }),
  "call-in-flight": healthy({ bars: wasRead(registers({}, 1)) }),
  "live-calls": healthy({ trace: trace([]) }),
  "host-correlation": healthy({ hostMatch: wasRead(hostMatch("refuted")) }),
  "workload-end": withLife({ runnerCrash: errorSeen(0, 0) }),
};

const without = (facts: Facts, source: Source, state: NotRead["state"]): Facts => ({
  ...facts,
  [source]: notRead(state, "for the test"),
});
const nothingRead = (facts: Facts, state: NotRead["state"]): Facts =>
  SOURCES.reduce((less, source) => without(less, source, state), facts);

const bases: readonly (readonly [string, Facts])[] = [
  ["a healthy VM with a runner", healthy()],
  ["a healthy VM whose runner works, counted live", healthy({ trace: trace() })],
  ["a healthy VM whose calls the host shows", healthy({ hostMatch: wasRead(hostMatch("executing")) })],
  ["a healthy idle VM", idle()],
  ["a log alone", evidenceOf([life()])],
];

describe("a source that was not read", () => {
  for (const { name } of CHECKS) {
    it(`${name} does not pass without what it rests on`, () => {
      const check = CHECKS.find((one) => one.name === name) ?? assert.fail();
      const sources = RESTS_ON[name] ?? assert.fail(`${name} is not in the table of this test`);
      for (const [story, facts] of bases) {
        // What a log alone lacks anyway says nothing about it.
        for (const source of sources.filter((one) => facts[one].state === "read")) {
          for (const state of STATES) {
            assert.notEqual(worst(check, without(facts, source, state)), "pass", `${story}, ${source} ${state}`);
          }
        }
      }
    });
  }

  it("never makes any check fail, and crashes none", () => {
    fc.assert(
      fc.property(
        fc.subarray([...SOURCES]),
        fc.constantFrom(...STATES),
        fc.constantFrom(...bases),
        (sources, state, [, facts]) => {
          const less = sources.reduce((left, source) => without(left, source, state), facts);
          for (const { outcome, check, message } of judged(less).findings) {
            assert.ok(outcome !== "fail" && outcome !== "crashed", `${check}: ${message}`);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("leads to no verdict when none was read, and only the agent vouches for itself", () => {
    for (const state of STATES) {
      for (const self of [healthy().self, notRead(state, "x")]) {
        const facts: Facts = { ...nothingRead(healthy(), state), self };
        const { findings, verdict } = judged(facts);
        const passed = findings.filter(({ outcome }) => outcome === "pass").map(({ check }) => check);
        assert.deepEqual(passed, self.state === "read" ? ["self-integrity"] : []);
        assert.equal(verdict.rung, null);
        assert.equal(verdict.firstBrokenHop, null);
        assert.ok(verdict.hops.every(({ state: hop }) => hop === "unknown"));
      }
    }
  });

  it("never raises the rung", () => {
    const rungs = [null, "unconfigured", "configured", "discovered", "connected", "executing", "correct"];
    const height = (facts: Facts) => rungs.indexOf(judged(facts).verdict.rung);
    fc.assert(
      fc.property(
        fc.subarray([...SOURCES]),
        fc.constantFrom(...STATES),
        fc.constantFrom(...bases),
        (sources, state, [, facts]) => {
          if (facts.scope.subject === "live" && sources.includes("workload")) return;
          const less = sources.reduce((left, source) => without(left, source, state), facts);
          assert.ok(height(less) <= height(facts));
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("every check", () => {
  for (const check of CHECKS) {
    it(`${check.name} can say something other than pass`, () => {
      const facts = BROKEN[check.name] ?? assert.fail(`${check.name} is not in the table of this test`);
      assert.notEqual(worst(check, facts), "pass");
      assert.ok(said(check, facts).length > 0);
    });
  }

  it("is looked at by the tables of this test, and by no more", () => {
    const names = CHECKS.map(({ name }) => name).sort();
    assert.deepEqual(Object.keys(RESTS_ON).sort(), names);
    assert.deepEqual(Object.keys(BROKEN).sort(), names);
    assert.equal(vgpu().driver, null);
  });
});
