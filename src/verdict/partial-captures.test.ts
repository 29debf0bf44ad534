import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  BDF,
  errorSeen,
  healthy,
  life,
  log,
  process,
  runner,
  running,
  seen,
  shimLog,
  unit,
  withLife,
} from "../../test/fixtures/facts.ts";
import { judged } from "../../test/fixtures/said.ts";
import type { Facts } from "../facts/facts.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import type { Rung } from "../protocol/vocabulary.ts";

/** Captures that lack a part, and ends of a process. Rung, first broken hop, cause. */
type Scenario = readonly [story: string, facts: Facts, truth: readonly [Rung, string, string]];

const TREE = { ...healthy().scope, subject: "tree" as const, root: "/capture" };
const absent = notRead("absent", "not captured");
const exited = (code: string, status: string) => ({ ...seen("Main process exited"), code, status });
const inTree = (changes: Partial<Facts>) => healthy({ scope: TREE, bars: absent, ...changes });
/** Mappings as a capture shows them that has no library files. */
const mapsOfCapture = wasRead({
  libraries: [
    {
      path: "/opt/vgpu/lib/libcuda.so.1",
      inode: "08:01:111",
      deleted: false,
      kind: absent,
      buildId: null,
    },
  ],
  bars: [{ bdf: BDF, bar: 0, perms: "rw-s" }],
  fileMappings: 40,
});
/** The answers are of before the crash. */
const crashedRunner = () => {
  const processes = [shimLog()];
  const runnerCrash = seen("llama runner process has terminated: signal: segmentation fault (core dumped)");
  return { processes, runnerCrash, runnerFault: runnerCrash };
};

const SCENARIOS: readonly Scenario[] = [
  [
    "a unit that failed after an error of the host: how it is set up was sound",
    healthy({
      workload: running(),
      unit: wasRead(unit({ activeState: "failed", result: "exit-code" })),
      log: wasRead(
        log([
          life({
            processes: [shimLog({ hostErrors: [errorSeen(2, 0x30)] })],
            mainExited: exited("exited", "3/NOTIMPLEMENTED"),
          }),
        ]),
      ),
    }),
    ["configured", "gpu", "VG-H05"],
  ],
  [
    "a capture without library files: the runner's own lines tell of the shim",
    inTree({
      workload: running(process(), runner({ maps: mapsOfCapture })),
      log: wasRead(log([life({ processes: [shimLog({ answered: null, transportErrors: [errorSeen(3, 1)] })] })])),
    }),
    ["discovered", "mediator", "VG-C07"],
  ],
  [
    "a capture without devices and libraries, the runner gone: by the log it could open the device",
    inTree({
      pci: absent,
      shimFiles: absent,
      workload: running(process()),
      log: wasRead(log([life({ processes: [shimLog({ hostErrors: [errorSeen(2, 0x30)] })] })])),
    }),
    ["configured", "gpu", "VG-H05"],
  ],
  ["a runner that was ended by SIGSEGV", withLife(crashedRunner()), ["unconfigured", "shim", "VG-L06"]],
];

describe("the verdict on captures that lack a part, and on processes that ended", () => {
  for (const [story, facts, truth] of SCENARIOS) {
    it(story, () => {
      const { verdict } = judged(facts);
      assert.deepEqual([verdict.rung, verdict.firstBrokenHop, verdict.cause], truth);
    });
  }
});
