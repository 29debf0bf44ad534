import assert from "node:assert/strict";
import { test } from "node:test";
import { fail, PASS, SERVER, T0, Vm } from "./conditions-fixture.ts";
import type { MediatorRun } from "./mediator-run.ts";

const BEHIND = { "transport-errors": [fail("VG-C07")], "host-errors": [fail("VG-H06")] };
const SERIES = "0123456789abcdef";
const CLOSED = [
  "closed transport-errors/VG-C07/1187@4200 mediator-restarted",
  "closed host-errors/VG-H06/1187@4200 mediator-restarted",
];

test("a new mediator closes what lies behind the device, and nothing else", () => {
  const vm = new Vm();
  const first: MediatorRun = { series: SERIES, run: 1, beganAt: null };
  vm.mediator = first;
  const all = { ...BEHIND, discovery: [fail("VG-O01")] };
  vm.for(30, all);
  vm.mediator = null;
  assert.deepEqual(vm.for(5, {}), [], "not knowing the mediator is not a new one");
  vm.mediator = first;
  assert.deepEqual(vm.for(5, {}), []);
  vm.mediator = { series: SERIES, run: 2, beganAt: vm.mono };
  assert.deepEqual(vm.for(5, {}), CLOSED);
  assert.deepEqual(vm.for(300, all), [], "the same old lines are of the old mediator");
  const again = fail("VG-C07", { message: "one more of them" });
  assert.deepEqual(vm.for(30, { ...all, "transport-errors": [again] }), [
    "open transport-errors/VG-C07/1187@4200 fail",
  ]);
});

test("a mediator that is seen for the first time closes nothing, nor does one of another host's counting", () => {
  const vm = new Vm();
  vm.for(30, BEHIND);
  vm.mediator = { series: SERIES, run: 7, beganAt: vm.mono };
  assert.deepEqual(vm.for(30, BEHIND), [], "it may have been this one all the time");
  vm.restart();
  assert.deepEqual(vm.for(30, BEHIND), [], "the agent knows it again");
  vm.mediator = { series: "fedcba9876543210", run: 9, beganAt: vm.mono };
  assert.deepEqual(vm.for(30, BEHIND), [], "the host lost its count");
  vm.mediator = { series: "fedcba9876543210", run: 8, beganAt: vm.mono };
  assert.deepEqual(vm.for(30, BEHIND), [], "the host was put back to an earlier state");
  vm.mediator = { series: "fedcba9876543210", run: 9, beganAt: null };
  assert.deepEqual(vm.for(30, BEHIND), [], "when it began is not known");
});

test("a mediator that began while the agent was away closes what was open before", () => {
  const vm = new Vm();
  vm.mediator = { series: SERIES, run: 1, beganAt: null };
  vm.for(30, BEHIND);
  vm.mediator = null;
  vm.restart();
  vm.mono += 60_000;
  assert.deepEqual(vm.for(5, {}), [], "not told yet");
  vm.mediator = { series: SERIES, run: 2, beganAt: vm.mono - 30_000 };
  assert.deepEqual(vm.for(5, {}), CLOSED);
});

test("what was seen since the new mediator began is its own, although it is told of it only later", () => {
  const vm = new Vm();
  vm.mediator = { series: SERIES, run: 1, beganAt: null };
  vm.for(30, { "host-errors": BEHIND["host-errors"] });
  const beganAt = vm.mono + 1000;
  const news = [fail("VG-H06", { message: "and another one" })];
  assert.deepEqual(vm.for(30, { ...BEHIND, "host-errors": news }), ["open transport-errors/VG-C07/1187@4200 fail"]);
  vm.restart();
  vm.mediator = { series: SERIES, run: 2, beganAt };
  assert.deepEqual(vm.for(30, { ...BEHIND, "host-errors": news }), []);
  vm.mediator = { series: SERIES, run: 3, beganAt: vm.mono + 1000 };
  assert.deepEqual(vm.for(5, {}), [CLOSED[1], CLOSED[0]]);
});

test("what had not held for its time when the mediator ended does not open with the same old lines", () => {
  const vm = new Vm();
  vm.mediator = { series: SERIES, run: 1, beganAt: null };
  assert.deepEqual(vm.for(5, BEHIND), []);
  vm.mediator = { series: SERIES, run: 2, beganAt: vm.mono + 1 };
  assert.deepEqual(vm.for(300, BEHIND), []);
});

/** A failure in the words that each one has, told by a line of the log that was written at `at`. */
const broken = (at: number | null, locator = "s=1;i=1") =>
  fail("VG-H06", {
    message: "cuLaunchKernel came back with CUDA error 400 as the first error of this process",
    evidence: [{ source: "log", locator, text: "CUDA error 400", at }],
  });
const H06 = "host-errors/VG-H06/1187@4200";

/** In the second run of the mediator, with a condition of the first one closed; its line was written at T0. */
function afterRestart(first: ReturnType<typeof broken>): Vm {
  const vm = new Vm();
  vm.mediator = { series: SERIES, run: 1, beganAt: null };
  assert.deepEqual(vm.for(30, { "host-errors": [first] }), [`open ${H06} fail`]);
  vm.mediator = { series: SERIES, run: 2, beganAt: vm.mono };
  assert.deepEqual(vm.for(5, { "host-errors": [first] }), [`closed ${H06} mediator-restarted`]);
  assert.deepEqual(vm.for(60, { "host-errors": [first] }), [], "the same old line");
  return vm;
}

test("the same words by a later line are of the new mediator, and told after their time", () => {
  const vm = afterRestart(broken(T0));
  const again = broken(T0 + 90_000, "s=1;i=2");
  assert.deepEqual(vm.for(10, { "host-errors": [again] }), []);
  assert.deepEqual(vm.for(10, { "host-errors": [again] }), [`open ${H06} fail`]);
  assert.deepEqual(vm.for(60, { "host-errors": [again] }), [], "once");
});

test("the same words by a later line of a file without times are of the new mediator, too", () => {
  const vm = afterRestart(broken(null, "/var/log/ollama.log:4000"));
  const moved = broken(null, "/var/log/ollama.log.1:4000");
  assert.deepEqual(vm.for(60, { "host-errors": [moved] }), [], "the same line, in a file that was moved away");
  const again = broken(null, "/var/log/ollama.log:9000");
  assert.deepEqual(vm.for(20, { "host-errors": [again] }), [`open ${H06} fail`]);
});

test("the same words of another process are of the new mediator, beside the old ones", () => {
  const old = broken(T0);
  const vm = afterRestart(old);
  const again = broken(T0 + 90_000, "s=1;i=2");
  assert.deepEqual(vm.for(20, { "host-errors": [old, again] }), [`open ${H06} fail`]);
});

test("what was well in between is told again although word and line are the same", () => {
  const vm = afterRestart(broken(T0));
  const registers = { ...broken(null), evidence: [{ source: "BAR0", locator: "x", text: "STATUS ERROR", at: null }] };
  for (const first of [broken(T0), registers]) {
    vm.for(30, { "host-errors": [PASS] });
    assert.deepEqual(vm.for(20, { "host-errors": [first] }), [`open ${H06} fail`]);
    assert.deepEqual(vm.for(600, { "host-errors": [PASS] }), [`closed ${H06} recovered`]);
  }
});

test("what was not judged in between was not well", () => {
  const vm = afterRestart(broken(T0));
  vm.for(30, { "host-errors": [{ outcome: "unknown" }] });
  vm.for(30, { "host-errors": [{ outcome: "not-run" }] });
  vm.for(30, {});
  assert.deepEqual(vm.for(60, { "host-errors": [broken(T0)] }), []);
});

test("not to know for a moment which processes live makes an old line no newer", () => {
  const vm = afterRestart(broken(T0));
  vm.processes = null;
  vm.server = null;
  assert.deepEqual(vm.for(5, { "host-errors": [broken(T0)] }), []);
  vm.processes = [SERVER];
  vm.server = SERVER;
  assert.deepEqual(vm.for(60, { "host-errors": [broken(T0)] }), []);
});

test("an agent that is started anew knows which line was of the earlier mediator", () => {
  const vm = afterRestart(broken(T0));
  vm.restart();
  assert.deepEqual(vm.for(60, { "host-errors": [broken(T0)] }), []);
  assert.deepEqual(vm.for(20, { "host-errors": [broken(T0 + 90_000)] }), [`open ${H06} fail`]);
});

test("what had only begun under the earlier mediator is told by a later line, not by the old one", () => {
  const vm = new Vm();
  vm.mediator = { series: SERIES, run: 1, beganAt: null };
  vm.for(5, { "host-errors": [broken(T0)] });
  vm.mediator = { series: SERIES, run: 2, beganAt: vm.mono + 1 };
  assert.deepEqual(vm.for(60, { "host-errors": [broken(T0)] }), []);
  assert.deepEqual(vm.for(20, { "host-errors": [broken(T0 + 90_000)] }), [`open ${H06} fail`]);
});

test("a later line of the same words keeps a condition open over the mediator's restart, as its own", () => {
  const vm = new Vm();
  vm.mediator = { series: SERIES, run: 1, beganAt: null };
  vm.for(30, { "host-errors": [broken(T0)] });
  const beganAt = vm.mono + 1000;
  vm.for(10, { "host-errors": [broken(T0 + 40_000)] });
  vm.mediator = { series: SERIES, run: 2, beganAt };
  assert.deepEqual(vm.for(60, { "host-errors": [broken(T0 + 40_000)] }), []);
});
