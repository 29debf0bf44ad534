import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BDF,
  errorSeen,
  evidenceOf,
  healthy,
  idle,
  life,
  NOW,
  registers,
  SERVER_START,
  VM_ID,
  vgpu,
  withShimLog,
} from "../../test/fixtures/facts.ts";
import { judged } from "../../test/fixtures/said.ts";
import type { Facts } from "../facts/facts.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { buildReport } from "./build.ts";
import { exitCodeOf } from "./format.ts";
import { reportSchema } from "./report.ts";

const RUN = { runId: "7f3a9c", toolVersion: "0.0.0", startedAt: NOW, durationMs: 12 };
const report = (facts: Facts) => {
  const { findings, verdict } = judged(facts);
  return buildReport(facts, findings, verdict, RUN);
};

test("every report is of the published shape", () => {
  const wild = idle({
    pci: wasRead({ scanned: 0, unreadable: ["0000:00:01.0"], candidates: [vgpu(), vgpu()], nvidiaModule: null }),
  });
  for (const facts of [
    healthy(),
    idle(),
    evidenceOf([]),
    evidenceOf([life()]),
    wild,
    withShimLog({ hostErrors: [errorSeen(2, 0x30)] }),
  ]) {
    const built = report(facts);
    assert.deepEqual(reportSchema.parse(built), built);
  }
});

test("the subject is named from what was read", () => {
  const { subject } = report(healthy());
  assert.deepEqual(subject, {
    kind: "live",
    hostname: "test-10",
    machine_id: "9c6843288f7e45b0b7b78fa4afe06c4e",
    boot_id: "d3d818e1354542a596def3f9ad702934",
    vm_id: VM_ID,
    bdf: BDF,
    unit: "ollama.service",
    pid: 1187,
    up_ms: NOW - SERVER_START,
  });
});

test("the device's own vm_id goes before what the log says, and without either it is not invented", () => {
  assert.equal(report(healthy({ bars: wasRead(registers({ VM_ID: 200 })) })).subject.vm_id, 200);
  assert.equal(report(evidenceOf([life()])).subject.vm_id, VM_ID);
  assert.equal(report(evidenceOf([life({ processes: [] })])).subject.vm_id, null);
});

test("a device that only an old line names is not the subject's when the bus was read", () => {
  const none = healthy({ pci: wasRead({ scanned: 3, unreadable: [], candidates: [], nvidiaModule: false }) });
  assert.equal(report(none).subject.bdf, null);
  assert.equal(report(evidenceOf([life()])).subject.bdf, BDF);
});

test("a process that started after the moment judged has no negative age", () => {
  assert.equal(report(healthy({ collectedAt: SERVER_START - 5000 })).subject.up_ms, 0);
});

test("every source is told of, with its state and why, and gaps of the log with it", () => {
  const facts = idle({ bars: notRead("denied", "run as root") });
  const { sources } = report(facts);
  assert.deepEqual(
    sources.find(({ name }) => name === "BAR registers"),
    { name: "BAR registers", state: "denied", detail: "run as root" },
  );
  assert.equal(sources.length, 15);
  const gap = report(
    evidenceOf([life()], {
      log: wasRead({
        sources: [
          {
            kind: "file",
            path: "/l",
            entries: 1,
            bytes: 1,
            firstAt: null,
            lastAt: null,
            suppressed: 0,
            gaps: ["cut at 1 MiB"],
            machineIds: [],
          },
        ],
        coverage: "partial",
        servers: [life()],
        serversDropped: 0,
      }),
    }),
  );
  assert.ok(
    gap.sources.some(({ name, state, detail }) => name === "/l" && state === "invalid" && detail === "cut at 1 MiB"),
  );
});

test("a remedy's commands have no placeholder left, and one that cannot be filled is left out", () => {
  for (const facts of [
    healthy({ lockdown: wasRead({ mode: "integrity", secureBoot: true }) }),
    idle({ pci: wasRead({ scanned: 1, unreadable: [], candidates: [], nvidiaModule: false }) }),
  ]) {
    for (const { remedy } of report(facts).findings)
      for (const command of remedy?.commands ?? []) assert.doesNotMatch(command, /[{}]/);
  }
});

test("a time that is none is null, not a crash", () => {
  const [first] = report(
    healthy({
      log: wasRead({
        sources: [],
        coverage: "full",
        servers: [life({ firstAt: Number.NaN, lastAt: 1e300 })],
        serversDropped: 0,
      }),
    }),
  ).findings;
  assert.notEqual(first, undefined);
});

test("exit code 1 without a verdict, 3 with a failure, 4 with a warning, 0 without either", () => {
  const nothing = evidenceOf([], { log: notRead("denied", "x"), self: notRead("denied", "x") });
  assert.equal(report(nothing).verdict.rung, null);
  assert.equal(exitCodeOf(report(nothing)), 1);
  assert.equal(exitCodeOf(report(idle({ pci: notRead("timed-out", "x") }))), 1);
  assert.equal(exitCodeOf(report(healthy({ lockdown: wasRead({ mode: "integrity", secureBoot: true }) }))), 3);
  assert.equal(
    exitCodeOf(report(idle({ self: wasRead({ uid: 0, loaderVariables: ["LD_PRELOAD"], shimsMapped: [] }) }))),
    4,
  );
  assert.equal(exitCodeOf(report(healthy())), 0);
  assert.equal(exitCodeOf(report(idle())), 0);
});
