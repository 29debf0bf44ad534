import assert from "node:assert/strict";
import { test } from "node:test";
import { fail, Vm } from "./conditions-fixture.ts";
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
