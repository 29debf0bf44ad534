import assert from "node:assert/strict";
import { test } from "node:test";
import { BDF, healthy, registers } from "../../test/fixtures/facts.ts";
import { type Case, testCases } from "../../test/fixtures/said.ts";
import type { BarFacts } from "../facts/device.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { barRegisters } from "./bar-registers.ts";

const bars = (value: BarFacts) => healthy({ bars: wasRead(value) });
const failed = (step: "open" | "mmap", errno: string) =>
  bars({ outcome: "failed", bdf: BDF, step, errno, meaning: "as told" });

const CASES: readonly Case[] = [
  ["registers of the known protocol", healthy(), "pass"],
  ["another protocol", bars(registers({ PROTOCOL_VER: 0x00020000 })), "fail VG-P15"],
  ["every register all ones", bars({ outcome: "all-ones", bdf: BDF }), "fail VG-P14"],
  ["no answer within the limit", bars({ outcome: "stalled", bdf: BDF, afterMs: 2000 }), "fail VG-P13"],
  ["EPERM at mapping is lockdown", failed("mmap", "EPERM"), "fail VG-B02"],
  ["EINVAL at mapping is a driver's BAR", failed("mmap", "EINVAL"), "fail VG-P06"],
  ["EACCES is the agent's own lack of rights", failed("open", "EACCES"), "unknown"],
  ["EPERM at opening is not lockdown", failed("open", "EPERM"), "unknown"],
  ["a refusal to touch the device", bars({ outcome: "refused", bdf: BDF, reason: "a driver is bound" }), "unknown"],
  ["a reader that was killed", bars({ outcome: "crashed", bdf: BDF, signal: "SIGBUS" }), "unknown"],
  ["no pass at all", bars({ outcome: "read", bdf: BDF, passes: [], status: null }), "unknown"],
  ["not read", healthy({ bars: notRead("skipped", "x") }), "unknown"],
];

testCases(barRegisters, CASES);

test("a last call of a pid that is nobody's is told as information", () => {
  const told = barRegisters.judge(bars(registers({ SCRATCH: 4711 })));
  assert.deepEqual(
    told.map(({ outcome }) => outcome),
    ["pass", "info"],
  );
  assert.match(told[1]?.message ?? "", /4711/);
});

test("the registers' own vm_id is what is shown", () => {
  assert.match(barRegisters.judge(bars(registers({ VM_ID: 200 })))[0]?.message ?? "", /vm_id 200/);
});
