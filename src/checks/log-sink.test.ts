import assert from "node:assert/strict";
import { test } from "node:test";
import { evidenceOf, idle, life, log, process, running } from "../../test/fixtures/facts.ts";
import { type Case, said, testCases } from "../../test/fixtures/said.ts";
import type { LogSourceFacts } from "../facts/log.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import type { SinkTarget } from "../facts/workload.ts";
import { logSink } from "./log-sink.ts";

const FILE: SinkTarget = { to: "file", path: "/var/log/o.log", deleted: false, size: 9, readable: true };
const stderr = (target: SinkTarget) => ({ workload: running(process({ stderr: wasRead(target) })) });
const source = (changes: Partial<LogSourceFacts>) =>
  log([life()], { sources: [{ ...(log().sources[0] ?? assert.fail()), ...changes }] });
const PRIVATE = process({ mounts: wasRead({ sysReadOnly: false, privateTmp: true, pciHidden: false }) });

const CASES: readonly Case[] = [
  ["stderr goes to the journal, which was read whole", idle(), "pass"],
  [
    "stderr goes to a file, which was read",
    idle({ ...stderr(FILE), log: wasRead(source({ kind: "file", path: "/var/log/o.log" })) }),
    "info VG-Z02",
  ],
  ["stderr goes to a file, which was not read", idle(stderr(FILE)), "unknown"],
  ["stderr goes to a file that may not be read", idle(stderr({ ...FILE, readable: false })), "unknown"],
  ["stderr goes to a deleted file", idle(stderr({ ...FILE, deleted: true })), "warn VG-Z02"],
  ["stderr goes to /dev/null", idle(stderr({ to: "null" })), "warn VG-Z02"],
  ["stderr goes to a pipe", idle({ ...stderr({ to: "pipe", detail: "pipe:[9]" }) }), "info"],
  [
    "journald dropped lines",
    idle({ log: wasRead({ ...source({ suppressed: 9 }), coverage: "partial" }) }),
    "warn VG-Z17",
  ],
  ["the unit has a /tmp of its own", idle({ workload: running(PRIVATE) }), "info VG-Z04"],
  [
    "lines are missing for another reason",
    idle({ log: wasRead({ ...source({ gaps: ["cut"] }), coverage: "partial" }) }),
    "unknown",
  ],
  ["a log without one line of the workload", idle({ log: wasRead(log([])) }), "unknown"],
  ["an empty source", idle({ log: wasRead(log([], { coverage: "none" })) }), "unknown"],
  ["a log that was not read", idle({ log: notRead("denied", "x") }), "unknown"],
  ["a log alone, whole", evidenceOf([life()]), "pass"],
  [
    "where stderr goes could not be read",
    idle({ workload: running(process({ stderr: notRead("denied", "x") })) }),
    "unknown",
  ],
];

testCases(logSink, CASES);

test("a pass for the sink is never the worst word when the log itself was not read", () => {
  for (const state of ["absent", "denied", "timed-out", "invalid", "skipped"] as const) {
    assert.equal(said(logSink, idle({ log: notRead(state, "x") }))[0], "unknown");
  }
});
