import assert from "node:assert/strict";
import { test } from "node:test";
import {
  BDF,
  errorSeen,
  evidenceOf,
  healthy,
  idle,
  life,
  log,
  NOW,
  process,
  runner,
  running,
  seen,
  shimLog,
  silentLog,
  withShimLog,
} from "../../test/fixtures/facts.ts";
import { type Case, said, testCases, worst } from "../../test/fixtures/said.ts";
import type { Facts } from "../facts/facts.ts";
import type { ShimProcessLog } from "../facts/log.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { transportState } from "./transport-state.ts";

const UNMAPPED = wasRead({ libraries: [], bars: [], fileMappings: 40 });
/** A runner that has not mapped the device, with this log. */
const unmapped = (changes: Partial<ShimProcessLog>): Facts =>
  healthy({
    workload: running(process(), runner({ maps: UNMAPPED })),
    log: wasRead(log([life({ processes: [silentLog(changes)] })])),
  });
const because = (text: string, reason: string) => ({ ...seen(text), reason });
const denied = because("Cannot open BAR0 (Permission denied)", "Permission denied");
const init = (rc: number) => ({ ...seen(`CUDA_CALL_INIT non-fatal: rc=${rc}`), rc });
const connection = (changes: Partial<NonNullable<ShimProcessLog["connected"]>> = {}) => ({
  ...seen("Connected"),
  vmId: 11,
  dataPath: "BAR0-inline",
  statusFrom: "BAR0",
  ...changes,
});

const CASES: readonly Case[] = [
  ["the runner has the vGPU's BAR0 mapped", healthy(), "pass"],
  ["a log alone with a Connected line", evidenceOf([life()]), "pass"],
  ["the shim found no device", unmapped({ deviceMissing: seen("VGPU-STUB not found") }), "fail VG-P01"],
  [
    "BAR0 was gone when it was opened",
    unmapped({ bar0OpenFailed: because("x", "No such file or directory") }),
    "fail VG-P01",
  ],
  ["BAR0 may not be opened", unmapped({ bar0OpenFailed: denied }), "fail VG-B01"],
  [
    "BAR0 lies on a read-only file system",
    unmapped({ bar0OpenFailed: because("x", "Read-only file system") }),
    "fail VG-B03",
  ],
  [
    "BAR0 opens and may not be mapped",
    unmapped({ bar0MapFailed: because("x", "Operation not permitted") }),
    "fail VG-B02",
  ],
  [
    "BAR0 opens and mapping fails otherwise",
    unmapped({ bar0MapFailed: because("x", "Cannot allocate memory") }),
    "fail VG-B01",
  ],
  [
    "the VM's id reads as all ones",
    withShimLog({ connected: connection({ vmId: 0xffffffff }), answered: null }),
    "fail VG-P14",
  ],
  [
    "the first call failed in the transport and nothing says why",
    withShimLog({ initCallFailed: init(999), answered: null }),
    "fail VG-T02",
  ],
  [
    "an old shim's result 2 is not taken for the driver's",
    withShimLog({ initCallFailed: init(2), answered: null }),
    "fail VG-T02",
  ],
  [
    "BAR1 could not be mapped",
    withShimLog({ bar1Unavailable: seen("Cannot mmap BAR1"), connected: connection() }),
    "warn VG-B06",
  ],
  ["shared memory is not used", withShimLog({ shmemFallback: because("x", "pfn_hidden") }), "info VG-T06"],
  ["a model runner that never mapped the device", unmapped({}), "fail VG-L09"],
  [
    "a runner that has just started",
    healthy({
      workload: running(process(), runner({ maps: UNMAPPED, startedAt: NOW - 5000 })),
      log: wasRead(log([life({ processes: [] })])),
    }),
    "unknown",
  ],
  [
    "mappings that may not be read",
    healthy({ workload: running(process(), runner({ maps: notRead("denied", "x") })), log: notRead("denied", "x") }),
    "unknown",
  ],
  ["nothing uses the GPU", idle(), "info"],
  [
    "a program whose mappings may not be read",
    idle({ workload: running(process({ role: "program", maps: notRead("denied", "x") })) }),
    "unknown",
  ],
  [
    "neither processes nor a log",
    healthy({ workload: notRead("denied", "x"), log: notRead("denied", "x") }),
    "unknown",
  ],
];

testCases(transportState, CASES);

test("a first call that came back with the driver's own result is no failure of the transport", () => {
  const facts = withShimLog({ initCallFailed: init(700), answered: null });
  assert.ok(!said(transportState, facts).some((text) => text.startsWith("fail")));
});

test("a refused first call is left to the check that has the reason", () => {
  const facts = withShimLog({ initCallFailed: init(999), answered: null, transportErrors: [errorSeen(3, 1)] });
  assert.ok(!said(transportState, facts).some((text) => text.startsWith("fail")));
});

test("a mapping of the device disproves what the log said of opening it", () => {
  assert.equal(worst(transportState, withShimLog({ bar0OpenFailed: denied, connected: null })), "pass");
});

test("the last word of a log counts: a connection after a refusal, a refusal after a connection", () => {
  const refused = because("Cannot open BAR0", "Permission denied");
  const later = shimLog({ bar0OpenFailed: refused, connected: connection() });
  assert.equal(worst(transportState, evidenceOf([life({ processes: [later] })])), "pass");
  const before = shimLog({ answered: null, connected: connection() });
  const after = { ...before, bar0OpenFailed: because("Cannot open BAR0", "Permission denied") };
  assert.equal(worst(transportState, evidenceOf([life({ processes: [after] })])), "fail VG-B01");
});

test("BAR1 that works since is not told of", () => {
  const bar1Unavailable = seen("Cannot mmap BAR1");
  const facts = withShimLog({
    bar1Unavailable,
    connected: connection({ dataPath: "BAR1", statusFrom: "BAR1-status-mirror" }),
  });
  assert.deepEqual(said(transportState, facts), ["pass"]);
});

test("of several processes each is judged by its own log", () => {
  const second = runner({ pid: 1300, nsPid: 1300, maps: UNMAPPED });
  const logs = [shimLog(), silentLog({ pid: 1300, bar0OpenFailed: denied })];
  const facts = healthy({
    workload: running(process(), runner(), second),
    log: wasRead(log([life({ processes: logs })])),
  });
  assert.deepEqual(said(transportState, facts), ["fail VG-B01", "pass"]);
});

test("a mapping of another device's BAR0 is not the vGPU's", () => {
  const maps = wasRead({ libraries: [], bars: [{ bdf: "0000:00:09.0", bar: 0, perms: "rw-s" }], fileMappings: 40 });
  const facts = healthy({
    workload: running(process(), runner({ maps })),
    log: wasRead(log([life({ processes: [] })])),
  });
  assert.equal(worst(transportState, facts), "fail VG-L09");
  assert.notEqual(BDF, "0000:00:09.0");
});
