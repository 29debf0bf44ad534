import assert from "node:assert/strict";
import { test } from "node:test";
import { BDF, healthy, registers } from "../../test/fixtures/facts.ts";
import { type Case, testCases } from "../../test/fixtures/said.ts";
import type { BarFacts } from "../facts/device.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { callInFlight } from "./call-in-flight.ts";

const BUSY = 1;
const holders = (...inFlight: number[]) =>
  healthy({ locks: wasRead({ inFlight, waiting: [], shmemOwner: null, transportLocks: {} }) });
const busy = (first: number, last: number): BarFacts => {
  const pass = (atMs: number, seq: number) => ({
    atMs,
    timestampUs: 1,
    registers: { CUDA_SEQ: seq, CUDA_OP: 0x50, SCRATCH: 1203 },
  });
  return { outcome: "read", bdf: BDF, status: BUSY, passes: [pass(0, first), pass(60, last)] };
};

const CASES: readonly Case[] = [
  ["no lock is held and the device is not busy", healthy(), "pass"],
  ["a process holds the transport lock", holders(1203), "info"],
  ["the same call in both looks at a busy device", healthy({ bars: wasRead(busy(42, 42)) }), "info VG-C01"],
  ["another call in the second look", healthy({ bars: wasRead(busy(42, 43)) }), "info"],
  ["the locks were not read", healthy({ locks: notRead("denied", "x") }), "unknown"],
  [
    "the locks were not read, and the device is busy all the same",
    healthy({ locks: notRead("denied", "x"), bars: wasRead(busy(1, 1)) }),
    "info VG-C01",
  ],
];

testCases(callInFlight, CASES);

test("a call in flight is named with its pid, and never as a failure", () => {
  const [finding] = callInFlight.judge(healthy({ bars: wasRead(busy(42, 42)) }));
  assert.match(finding?.message ?? "", /pid 1203.*cuLaunchKernel/);
  const registered = registers({}, BUSY);
  assert.ok(callInFlight.judge(healthy({ bars: wasRead(registered) })).every(({ outcome }) => outcome === "info"));
});
