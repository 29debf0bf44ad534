import assert from "node:assert/strict";
import { test } from "node:test";
import {
  errorSeen,
  evidenceOf,
  healthy,
  idle,
  life,
  notMapped,
  process,
  running,
  seen,
  shimLog,
  silentLog,
  vgpu,
  withShimLog,
} from "../../test/fixtures/facts.ts";
import { judged } from "../../test/fixtures/said.ts";
import type { Facts } from "../facts/facts.ts";
import { notRead, wasRead } from "../facts/reading.ts";

/** "workload:ok shim:ok …" without the hops that are unknown. */
const hops = (facts: Facts) =>
  judged(facts)
    .verdict.hops.filter(({ state }) => state !== "unknown")
    .map(({ hop, state }) => `${hop}:${state}`)
    .join(" ");

test("a runner at work: the four hops of the guest, and nothing of the host", () => {
  assert.equal(hops(healthy()), "workload:ok shim:ok transport:ok device:ok");
});

test("without a runner shim and transport are idle, not ok", () => {
  assert.equal(hops(idle()), "workload:ok shim:idle transport:idle device:ok");
});

test("an error of the host's driver shows that the mediator works", () => {
  const facts = withShimLog({ hostErrors: [errorSeen(201, 0x30)] });
  assert.equal(hops(facts), "workload:ok shim:ok transport:ok device:ok mediator:ok executor:broken");
  const byResult = withShimLog({ answered: null, initCallFailed: { ...seen("rc=700"), rc: 700 } });
  assert.equal(hops(byResult), "workload:ok shim:ok transport:ok device:ok mediator:ok gpu:broken");
});

test("a dead mediator breaks its own hop alone", () => {
  const facts = withShimLog({ answered: null, transportErrors: [errorSeen(3, 1)] });
  assert.equal(hops(facts), "workload:ok shim:ok transport:ok device:ok mediator:broken");
});

test("mappings that may not be read leave shim and transport unknown, never ok or idle", () => {
  const program = process({ role: "program", maps: notRead("denied", "x") });
  assert.equal(hops(idle({ workload: running(program) })), "workload:ok device:ok");
  assert.equal(
    hops(healthy({ workload: running(process(), notMapped({ maps: notRead("denied", "x") })) })),
    "workload:ok device:ok",
  );
});

test("a shim that is loaded and has mapped nothing leaves the transport unknown or broken", () => {
  const facts = healthy({ workload: running(process(), notMapped()), log: notRead("denied", "x") });
  assert.match(hops(facts), /shim:broken/);
});

test("processes that were not read leave the workload unknown on a live machine", () => {
  assert.doesNotMatch(hops(healthy({ workload: notRead("timed-out", "x") })), /workload|shim|transport/);
});

test("a device whose answering is not known is not ok by being listed", () => {
  const listed = vgpu({ config: notRead("denied", "x") });
  const pci = wasRead({ scanned: 6, unreadable: [], candidates: [listed], nvidiaModule: false });
  const facts = idle({ pci, bars: notRead("denied", "x") });
  assert.doesNotMatch(hops(facts), /device/);
});

test("a log alone tells of what wrote it", () => {
  assert.equal(hops(evidenceOf([life()])), "workload:ok shim:ok transport:ok device:ok");
  assert.equal(hops(evidenceOf([life({ processes: [], deactivated: seen("Deactivated") })])), "workload:idle");
  const missing = evidenceOf([life({ discovery: [], processes: [silentLog({ deviceMissing: seen("not found") })] })]);
  assert.equal(hops(missing), "workload:ok shim:ok device:broken");
  assert.equal(
    hops(evidenceOf([life({ processes: [shimLog({ answered: null })] })])),
    "workload:ok shim:ok transport:ok device:ok",
  );
});

test("every hop says why", () => {
  for (const facts of [healthy(), idle(), evidenceOf([life()]), idle({ pci: notRead("denied", "x") })]) {
    for (const { why } of judged(facts).verdict.hops) assert.notEqual(why, "");
  }
});
