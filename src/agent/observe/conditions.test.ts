import assert from "node:assert/strict";
import { test } from "node:test";
import { CHECKS } from "../../checks/registry.ts";
import { ruleOf } from "./condition-rules.ts";
import type { ProcessKey } from "./condition-state.ts";
import { BOOT, fail, OPTIONS, PASS, type Said, SERVER, short, Vm } from "./conditions-fixture.ts";

test("every check has a rule, and every rule is of a check", () => {
  for (const { name } of CHECKS) assert.ok(ruleOf(name, null).boundTo.length > 0, name);
  const unlisted = CHECKS.filter(({ name }) => ruleOf(name, null) === ruleOf("no-such-check", null));
  assert.deepEqual(unlisted, []);
});

test("a failure is a condition when it has held for its time, dated from when it was first seen", () => {
  const vm = new Vm();
  assert.deepEqual(vm.look(5, { "pci-device": [fail("VG-P01")] }), []);
  const first = vm.at;
  assert.deepEqual(vm.look(5, { "pci-device": [fail("VG-P01")] }), []);
  const [opened, ...more] = vm.look(5, { "pci-device": [fail("VG-P01")] });
  assert.deepEqual(more, []);
  assert.equal(opened?.since, first);
  assert.equal(opened?.at, vm.at);
  assert.equal(opened?.pid, null);
  assert.deepEqual(vm.for(600, { "pci-device": [fail("VG-P01")] }), []);
});

test("a failure that is over before its time is no condition", () => {
  const vm = new Vm();
  assert.deepEqual(vm.for(5, { "pci-device": [fail("VG-P01")] }), []);
  assert.deepEqual(vm.for(300, { "pci-device": [PASS] }), []);
});

test("it is over when the check has passed for the whole time-to-clear", () => {
  const vm = new Vm();
  vm.for(30, { "pci-device": [fail("VG-P01")] });
  assert.deepEqual(vm.for(60, { "pci-device": [PASS] }), []);
  assert.deepEqual(vm.for(10, { "pci-device": [PASS] }), ["closed pci-device/VG-P01/boot recovered"]);
});

test("unknown, a check that did not run, and a statement without evidence never clear", () => {
  for (const said of [
    { outcome: "unknown" },
    { outcome: "not-run" },
    { outcome: "crashed" },
    { outcome: "info", evidence: [] },
  ] as const) {
    const vm = new Vm();
    vm.for(30, { "pci-device": [fail("VG-P01")] });
    const closed = vm.for(600, { "pci-device": [said] }).filter((text) => text.startsWith("closed"));
    assert.deepEqual(closed, [], said.outcome);
  }
});

test("one unknown between passes makes the clearing begin again", () => {
  const vm = new Vm();
  vm.for(30, { "pci-device": [fail("VG-P01")] });
  for (let round = 0; round < 5; round += 1) {
    assert.deepEqual(vm.for(50, { "pci-device": [PASS] }), []);
    assert.deepEqual(vm.look(5, { "pci-device": [{ outcome: "unknown" }] }), []);
  }
});

test("a pass beside something unknown in the same check does not clear", () => {
  const vm = new Vm();
  vm.for(30, { discovery: [fail("VG-O01")] });
  assert.deepEqual(vm.for(300, { discovery: [PASS, { outcome: "unknown" }] }), []);
});

test("time in which nobody looked counts for nothing: a suspended VM, a parked level", () => {
  const vm = new Vm();
  vm.look(5, { "pci-device": [fail("VG-P01")] });
  assert.deepEqual(vm.look(3600, { "pci-device": [fail("VG-P01")] }), [], "not visible by one old and one new look");
  vm.for(30, { "pci-device": [fail("VG-P01")] });
  vm.look(5, { "pci-device": [PASS] });
  assert.deepEqual(vm.look(86_400, { "pci-device": [PASS] }), [], "not clear by one old and one new look");
});

test("looks that rest on the same reading are one look", () => {
  const vm = new Vm();
  const asOf = new Map([["shim-files", 1_000_000]]);
  for (let round = 0; round < 100; round += 1) {
    assert.deepEqual(vm.look(5, { "shim-files": [fail("VG-L14")] }, { asOf }), []);
  }
});

test("findings of a check whose facts are too old are not looked at", () => {
  const vm = new Vm();
  vm.for(30, { "pci-device": [fail("VG-P01")] });
  const asOf = new Map<string, number>();
  for (let round = 0; round < 100; round += 1) {
    assert.deepEqual(vm.look(5, { "pci-device": [PASS], lockdown: [fail("VG-B02")] }, { asOf }), []);
  }
});

test("a wall clock that jumps changes no duration", () => {
  const vm = new Vm();
  vm.look(5, { "pci-device": [fail("VG-P01")] });
  vm.at += 3_600_000;
  assert.deepEqual(vm.look(5, { "pci-device": [fail("VG-P01")] }), []);
  vm.at -= 7_200_000;
  assert.equal(vm.look(5, { "pci-device": [fail("VG-P01")] }).length, 1);
  vm.look(5, { "pci-device": [PASS] });
  vm.at += 10 * 3_600_000;
  assert.deepEqual(vm.look(5, { "pci-device": [PASS] }), []);
});

test("the end of a process closes what is bound to that process, and nothing else", () => {
  const vm = new Vm();
  const all = { discovery: [fail("VG-O01")], "pci-device": [fail("VG-P04")], "shim-files": [fail("VG-L14")] };
  assert.deepEqual(vm.for(30, all), [
    "open discovery/VG-O01/1187@4200 fail",
    "open pci-device/VG-P04/boot fail",
    "open shim-files/VG-L14/machine fail",
  ]);
  const next: ProcessKey = { pid: 1187, startTicks: 9900 };
  vm.processes = [next];
  vm.server = next;
  assert.deepEqual(vm.for(5, {}), ["closed discovery/VG-O01/1187@4200 process-ended"], "the pid alone is not enough");
  assert.deepEqual(vm.for(30, all), ["open discovery/VG-O01/1187@9900 fail"]);
});

test("a runner's condition ends with the runner, not with the server, and the other way round", () => {
  const vm = new Vm();
  const runner: ProcessKey = { pid: 2044, startTicks: 8000 };
  vm.processes = [SERVER, runner];
  const of = (pid: number) => ({ evidence: [{ source: "maps", locator: `pid ${pid}`, text: "", at: null }] });
  vm.for(30, { "loaded-libraries": [fail("VG-L09", of(2044))], discovery: [fail("VG-O01")] });
  vm.processes = [SERVER];
  assert.deepEqual(vm.for(5, {}), ["closed loaded-libraries/VG-L09/2044@8000 process-ended"]);
});

test("that the processes cannot be listed closes nothing", () => {
  const vm = new Vm();
  vm.for(30, { discovery: [fail("VG-O01")] });
  vm.processes = null;
  vm.server = null;
  assert.deepEqual(vm.for(600, {}), []);
});

test("old lines of a process that has ended open nothing", () => {
  const vm = new Vm();
  vm.for(30, { "transport-errors": [fail("VG-C07")] });
  vm.processes = [];
  vm.server = null;
  assert.deepEqual(vm.for(5, {}), ["closed transport-errors/VG-C07/1187@4200 process-ended"]);
  assert.deepEqual(vm.for(600, { "transport-errors": [fail("VG-C07")] }), []);
});

test("a reboot closes what is of the boot and of its processes; what lies on the disk goes on", () => {
  const vm = new Vm();
  vm.for(30, { discovery: [fail("VG-O01")], "pci-device": [fail("VG-P04")], "preload-file": [fail("VG-L01")] });
  vm.restart();
  vm.bootId = "b".repeat(32);
  vm.mono = 5000;
  vm.processes = [];
  vm.server = null;
  const said = vm.look(5, { "preload-file": [fail("VG-L01")] });
  assert.deepEqual(said.map(short), [
    "closed discovery/VG-O01/1187@4200 reboot",
    "closed pci-device/VG-P04/boot reboot",
  ]);
  assert.ok(
    said.every(({ boot_id }) => boot_id === BOOT),
    "it is named as it was opened",
  );
  assert.deepEqual(vm.for(300, { "preload-file": [fail("VG-L01")] }), [], "still open, not opened again");
  assert.deepEqual(vm.for(70, { "preload-file": [PASS] }), ["closed preload-file/VG-L01/machine recovered"]);
});

test("what is read from a log is over when later calls are answered, though its old lines stay", () => {
  const vm = new Vm();
  vm.for(30, { "transport-errors": [fail("VG-C05")] });
  const overcome: Said = { outcome: "warn", cause: "VG-C05", overcome: true };
  assert.deepEqual(vm.for(70, { "transport-errors": [overcome] }), [
    "closed transport-errors/VG-C05/1187@4200 recovered",
  ]);
  assert.deepEqual(vm.for(300, { "transport-errors": [overcome] }), []);
  assert.deepEqual(vm.for(30, { "transport-errors": [fail("VG-C05")] }), [
    "open transport-errors/VG-C05/1187@4200 fail",
  ]);
});

test("dropped lines are said at once, are over when no more are dropped, and open again with new ones only", () => {
  const vm = new Vm();
  const dropped = (count: number): Said => ({ outcome: "warn", cause: "VG-Z17", message: `${count} lines dropped` });
  assert.deepEqual(vm.for(5, { "log-sink": [dropped(5)] }), ["open log-sink/VG-Z17/1187@4200 warn"]);
  assert.deepEqual(vm.for(40, { "log-sink": [dropped(5)] }), []);
  assert.deepEqual(vm.for(5, { "log-sink": [dropped(9)] }), []);
  assert.deepEqual(vm.for(70, { "log-sink": [dropped(9)] }), ["closed log-sink/VG-Z17/1187@4200 recovered"]);
  assert.deepEqual(vm.for(600, { "log-sink": [dropped(9)] }), []);
  assert.deepEqual(vm.for(5, { "log-sink": [dropped(10)] }), ["open log-sink/VG-Z17/1187@4200 warn"]);
});

test("an outcome that becomes worse, and stays so, is said once more under the same id", () => {
  const vm = new Vm();
  const warn: Said = { outcome: "warn", cause: "VG-P07" };
  assert.deepEqual(vm.for(30, { "pci-device": [warn] }), ["open pci-device/VG-P07/boot warn"]);
  assert.deepEqual(vm.for(60, { "pci-device": [fail("VG-P07")] }), ["open pci-device/VG-P07/boot fail"]);
  assert.deepEqual(vm.for(60, { "pci-device": [warn] }), [], "a milder word is not an end");
});

test("what comes and goes is said, and then not closed at every good moment", () => {
  const vm = new Vm();
  const said: string[] = [];
  for (let round = 0; round < 20; round += 1) {
    said.push(...vm.for(5, { "bar-registers": [fail("VG-P13")] }), ...vm.for(5, { "bar-registers": [PASS] }));
  }
  assert.deepEqual(said, ["open bar-registers/VG-P13/boot fail"]);
  assert.deepEqual(vm.for(60, { "bar-registers": [PASS] }), [], "the first clear minute is not believed");
  assert.deepEqual(vm.for(900, { "bar-registers": [PASS] }), ["closed bar-registers/VG-P13/boot recovered"]);
});

test("a check that can no longer judge is a condition of its own after three minutes, and no recovery", () => {
  const vm = new Vm();
  vm.for(30, { "bar-registers": [fail("VG-P13")] });
  const blind = { "bar-registers": [{ outcome: "unknown" }] } as const;
  assert.deepEqual(vm.for(180, blind), []);
  assert.deepEqual(vm.for(10, blind), ["open bar-registers/blind/boot unknown"]);
  assert.deepEqual(vm.for(65, { "bar-registers": [PASS] }), [
    "closed bar-registers/VG-P13/boot recovered",
    "closed bar-registers/blind/boot recovered",
  ]);
});

test("checks that wait for somebody to ask are never blind", () => {
  const vm = new Vm();
  const unknown: Said = { outcome: "unknown" };
  assert.deepEqual(vm.for(900, { "live-calls": [unknown], "host-correlation": [unknown] }), []);
});

test("after the agent's own restart nothing is opened twice, and clearing begins anew", () => {
  const vm = new Vm();
  vm.for(30, { "pci-device": [fail("VG-P04")], "self-integrity": [fail("VG-Z01")] });
  vm.for(55, { "pci-device": [PASS] });
  vm.restart();
  vm.agent = { pid: 1500, startTicks: 77_000 };
  assert.deepEqual(vm.for(5, { "pci-device": [fail("VG-P04")] }), [
    "closed self-integrity/VG-Z01/900@100 process-ended",
  ]);
  assert.deepEqual(vm.for(60, { "pci-device": [PASS] }), []);
  assert.deepEqual(vm.for(10, { "pci-device": [PASS] }), ["closed pci-device/VG-P04/boot recovered"]);
});

test("what ended while the agent was away is closed for the right reason", () => {
  const vm = new Vm();
  vm.for(30, { discovery: [fail("VG-O01")] });
  vm.restart();
  vm.processes = [{ pid: 3000, startTicks: 99_000 }];
  vm.server = { pid: 3000, startTicks: 99_000 };
  assert.deepEqual(vm.for(5, { discovery: [PASS] }), ["closed discovery/VG-O01/1187@4200 process-ended"]);
});

test("a check that this version or its settings do not have ends its conditions", () => {
  const vm = new Vm();
  vm.for(30, { lockdown: [fail("VG-B02")], "pci-device": [fail("VG-P04")] });
  vm.options = { ...OPTIONS, checks: new Set(["pci-device"]) };
  vm.restart();
  assert.deepEqual(vm.for(5, {}), ["closed lockdown/VG-B02/boot no-longer-judged"]);
});

test("conditions are bounded, and those without room are counted", () => {
  const vm = new Vm();
  const many = Array.from({ length: 300 }, (_, index) => fail(`VG-P${index}`));
  vm.for(30, { "pci-device": many });
  assert.equal(vm.tracker.state().open.length, 256);
  assert.ok(vm.tracker.unlisted > 0);
});
