import assert from "node:assert/strict";
import { test } from "node:test";
import { healthy, idle, NOW, registers } from "../../../test/fixtures/facts.ts";
import { VirtualClock } from "../../../test/fixtures/virtual-clock.ts";
import type { Check } from "../../checks/check.ts";
import { info, pass } from "../../checks/finding.ts";
import { CHECKS } from "../../checks/registry.ts";
import type { BarFacts } from "../../facts/device.ts";
import { notRead, type Reading, wasRead } from "../../facts/reading.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { FactsReader, mayHaveChanged, usesDevice, withKnownStatus } from "./facts-reader.ts";
import { judgeFacts } from "./judge-facts.ts";
import { RegisterGuard } from "./register-guard.ts";

const mostAgeMs = { light: 15_000, device: 90_000, status: 900_000, full: 1_800_000 };
const NO_LOG = notRead("skipped", "no log in this test");
const signal = new AbortController().signal;

function readerOf(clock: VirtualClock): FactsReader {
  return new FactsReader({
    fs: new RootFs("/"),
    unit: "no-such-unit-of-this-test.service",
    now: () => NOW,
    monotonic: clock.monotonic,
    guard: new RegisterGuard(clock.monotonic),
    log: () => ({ log: NO_LOG, ledger: NO_LOG }),
    mostAgeMs,
  });
}

test("a level reads its own sensors and leaves the others as they are", async () => {
  const clock = new VirtualClock();
  const reader = readerOf(clock);
  await reader.read("light", signal);
  assert.equal(reader.readAt("preload"), clock.now);
  assert.equal(reader.readAt("shimFiles"), null);
  assert.match(reader.facts().shimFiles.detail ?? "", /has not read it yet/);
  await reader.read("full", signal);
  const first = clock.now;
  clock.now += 10_000;
  await reader.read("light", signal);
  assert.equal(reader.readAt("preload"), clock.now);
  assert.equal(reader.readAt("shimFiles"), first);
  assert.equal(reader.facts().host.state, "read");
});

test("a reading that is older than its level allows is not handed on", async () => {
  const clock = new VirtualClock();
  const reader = readerOf(clock);
  await reader.read("full", signal);
  await reader.read("light", signal);
  clock.now += 100_000;
  const facts = reader.facts();
  assert.equal(facts.preload.state, "timed-out");
  assert.equal(facts.workload.state, "timed-out");
  assert.match(facts.workload.detail ?? "", /last read 100 s ago/);
  assert.equal(facts.self.state, "read");
  assert.equal(reader.readAt("workload"), null);
});

test("a sensor's trouble is a reading and ends nothing", async () => {
  const clock = new VirtualClock();
  const reader = readerOf(clock);
  await reader.read("device", AbortSignal.abort());
  assert.notEqual(reader.facts().workload.state, "skipped");
});

test("a check is as old as the oldest reading that it looks at", () => {
  const check = (name: string, judge: Check["judge"]): Check => ({
    name,
    title: name,
    hop: null,
    after: [],
    causes: [],
    judge,
  });
  const checks = [
    check("looks-at-two", (facts) => [pass(`${facts.pci.state} ${facts.shimFiles.state}`, [])]),
    check("looks-at-one", (facts) => [pass(facts.pci.state, [])]),
    check("looks-at-old", (facts) => [info(facts.self.state)]),
    check("looks-at-none", () => [info("nothing")]),
  ];
  const ages: Readonly<Record<string, number | null>> = { pci: 500, shimFiles: 100, self: null };
  const { findings, asOf } = judgeFacts(checks, healthy(), (name) => ages[name] ?? null);
  assert.equal(findings.length, 4);
  assert.deepEqual(
    [...asOf],
    [
      ["looks-at-two", 100],
      ["looks-at-one", 500],
    ],
  );
});

test("a check below one that failed was not judged", () => {
  const facts = { ...healthy(), pci: wasRead({ scanned: 3, unreadable: [], candidates: [], nvidiaModule: false }) };
  const { findings, asOf } = judgeFacts(CHECKS, facts, () => 1);
  const notRun = findings.filter(({ outcome }) => outcome === "not-run").map(({ check }) => check);
  assert.ok(notRun.length > 0);
  assert.deepEqual(
    notRun.filter((name) => asOf.has(name)),
    [],
  );
});

test("watched checks judge as the doctor's do", () => {
  const plain = judgeFacts(CHECKS, healthy(), () => 1).findings.map(({ check, outcome, cause }) => [
    check,
    outcome,
    cause,
  ]);
  assert.equal(plain.filter(([, outcome]) => outcome === "crashed" || outcome === "fail").length, 0);
  assert.ok(plain.length >= CHECKS.length);
});

const bars = (status: number | null, changes: Readonly<Record<string, number>>): Reading<BarFacts> => {
  const read = registers(changes);
  return wasRead(read.outcome === "read" ? { ...read, status } : read);
};
const statusOf = (reading: Reading<BarFacts>) =>
  reading.state === "read" && reading.value.outcome === "read" ? reading.value.status : undefined;

test("STATUS of an ended call stays known while no further call was made", () => {
  const call = { CUDA_SEQ: 7, CUDA_OP: 0x30, SCRATCH: 2044, CUDA_DATA_LEN: 16 };
  assert.equal(statusOf(withKnownStatus(bars(3, call), bars(null, call))), 3);
  assert.equal(statusOf(withKnownStatus(bars(3, call), bars(null, { ...call, CUDA_SEQ: 8 }))), null);
  assert.equal(statusOf(withKnownStatus(bars(1, call), bars(null, call))), null, "BUSY ends by itself");
  assert.equal(statusOf(withKnownStatus(bars(3, call), bars(2, call))), 2, "what was read is what counts");
  assert.equal(withKnownStatus(bars(3, call), notRead("absent", "gone")).state, "absent");
});

test("registers are looked at often only while a process has them mapped, or may have", () => {
  const { workload } = healthy();
  assert.ok(workload.state === "read");
  assert.equal(usesDevice(workload), true);
  assert.equal(usesDevice(idle().workload), false);
  assert.equal(usesDevice(notRead("denied", "/proc")), true);
  assert.equal(usesDevice(wasRead({ ...workload.value, processes: [], incomplete: ["hidden"] })), true);
  assert.equal(usesDevice(wasRead({ ...workload.value, processes: [], incomplete: [] })), false);
});

test("registers of an idle device are looked at again where the last look was not done in time", () => {
  const nobody = idle().workload;
  const known = bars(3, {});
  assert.equal(mayHaveChanged(known, nobody), false);
  assert.equal(mayHaveChanged(notRead("absent", "no PCI function here is a vGPU"), nobody), false);
  assert.equal(mayHaveChanged(wasRead({ outcome: "stalled", bdf: "00:05.0", afterMs: 2000 }), nobody), false);
  assert.equal(mayHaveChanged(notRead("timed-out", "not started within 5 s"), nobody), true);
  assert.equal(mayHaveChanged(known, healthy().workload), true);
});

test("no register is read right after a start, however often the agent starts", async () => {
  const clock = new VirtualClock();
  const reader = readerOf(clock);
  await reader.read("status", signal);
  assert.equal(reader.readAt("bars"), null);
  clock.now += 61_000;
  await reader.read("status", signal);
  assert.equal(reader.readAt("bars"), clock.now);
});
