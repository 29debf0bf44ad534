import assert from "node:assert/strict";
import { test } from "node:test";
import { evidenceOf, healthy, idle, life, process, running, unit } from "../../test/fixtures/facts.ts";
import { type Case, said, testCases } from "../../test/fixtures/said.ts";
import type { Facts } from "../facts/facts.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import type { UnitFacts } from "../facts/workload.ts";
import { serviceIdentity } from "./service-identity.ts";

const stopped = (changes: Partial<UnitFacts>) => idle({ workload: running(), unit: wasRead(unit(changes)) });
const ended = (result: string, execMainStatus: number) =>
  stopped({ activeState: "failed", subState: "failed", result, execMainStatus });
const TREE: Facts["scope"] = {
  subject: "tree",
  root: "/x",
  unit: "ollama.service",
  pid: null,
  since: null,
  until: null,
};
const DELETED = process({ exe: wasRead({ path: "/usr/local/bin/ollama", deleted: true }) });

const CASES: readonly Case[] = [
  ["the unit's server runs", idle(), "pass"],
  ["the unit is stopped", stopped({ activeState: "inactive", subState: "dead" }), "warn VG-W10"],
  ["the unit is being started again", stopped({ activeState: "activating", nRestarts: 7 }), "warn VG-W10"],
  ["ended by a signal", ended("signal", 11), "fail VG-L06"],
  ["ended with a core dump", ended("core-dump", 6), "fail VG-L06"],
  ["exit 127: nothing was executed", ended("exit-code", 127), "fail VG-L04"],
  ["203: systemd could not execute it", ended("exit-code", 203), "fail VG-L04"],
  ["another exit status", ended("exit-code", 2), "fail VG-R01"],
  [
    "the unit's files changed since systemd read them",
    idle({ unit: wasRead(unit({ needDaemonReload: true })) }),
    "warn VG-L18",
  ],
  ["the executable was replaced under the process", idle({ workload: running(DELETED) }), "warn VG-L18"],
  ["no process and no unit", idle({ workload: running(), unit: notRead("absent", "x") }), "warn VG-W10"],
  [
    "a server outside the unit is told apart",
    idle({ workload: running(process({ unit: "user@1000.service" })) }),
    "info",
  ],
  [
    "a unit that is going down is not called running",
    idle({ unit: wasRead(unit({ activeState: "deactivating" })) }),
    "info",
  ],
  ["a captured tree without processes", idle({ workload: running(), scope: TREE }), "info"],
  ["only a log was given", evidenceOf([life()]), "unknown"],
  ["the processes were not read", idle({ workload: notRead("denied", "x") }), "unknown"],
];

testCases(serviceIdentity, CASES);

test("a program of the unit that has loaded no shim is the workload, not a stopped unit", () => {
  const program = process({ role: "program", comm: "python3" });
  assert.deepEqual(said(serviceIdentity, idle({ workload: running(program) })), ["pass"]);
});

test("restarts are told with the failure", () => {
  const [finding] = serviceIdentity.judge(stopped({ activeState: "failed", result: "signal", nRestarts: 12 }));
  assert.match(finding?.message ?? "", /restarted 12 times/);
  assert.equal(healthy().unit.state, "read");
});
