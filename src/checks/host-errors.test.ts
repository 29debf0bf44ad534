import assert from "node:assert/strict";
import { test } from "node:test";
import {
  errorSeen,
  healthy,
  idle,
  life,
  log,
  seen,
  shimLog,
  withLife,
  withShimLog,
} from "../../test/fixtures/facts.ts";
import { type Case, said, testCases, worst } from "../../test/fixtures/said.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { hostErrors } from "./host-errors.ts";

const errors = (...codes: (readonly [code: number, callId: number])[]) =>
  withShimLog({ hostErrors: codes.map(([code, callId]) => errorSeen(code, callId)) });
const init = (rc: number) => withShimLog({ answered: null, initCallFailed: { ...seen(`rc=${rc}`), rc } });

const CASES: readonly Case[] = [
  ["answers and no error", healthy(), "pass"],
  ["out of memory", errors([2, 0x30]), "fail VG-H05"],
  ["an invalid image", errors([200, 0x40]), "fail VG-X01"],
  ["no code for this GPU", errors([209, 0x40]), "fail VG-X01"],
  ["invalid PTX", errors([218, 0x40]), "fail VG-X16"],
  ["an illegal address, and what follows from it", errors([700, 0x50], [709, 0x26], [201, 0x30]), "fail VG-X02"],
  ["a misaligned address", errors([716, 0x50]), "fail VG-X03"],
  ["an address of the wrong space", errors([717, 0x50]), "fail VG-X03"],
  ["a context that something else broke", errors([201, 0x30], [709, 0x50]), "fail VG-H06"],
  ["a handle refused before a fault of its own makes no victim", errors([400, 0x44], [700, 0x50]), "fail VG-X02"],
  ["another error", errors([999, 0x30]), "fail VG-X17"],
  ["a call that is not supported", errors([801, 0x61]), "warn VG-X14"],
  ["a call that is not supported hides no fault after it", errors([801, 0x61], [700, 0x50]), "fail VG-X02"],
  ["the known harmless answer", errors([801, 0xbc], [1, 0xbc]), "info VG-C06"],
  ["another result of the same call is not harmless", errors([700, 0xbc]), "fail VG-X02"],
  ["the first call came back with the driver's result", init(700), "fail VG-X02"],
  ["the first call failed in the transport: the host answered nothing", init(999), "info"],
  ["nothing was asked", idle(), "info"],
  ["no error in a log that is not whole", healthy({ log: wasRead(log([life()], { coverage: "partial" })) }), "unknown"],
  ["no log", healthy({ log: notRead("denied", "x") }), "unknown"],
];

testCases(hostErrors, CASES);

test("only the first of a chain is a cause", () => {
  assert.deepEqual(said(hostErrors, errors([700, 0x50], [709, 0x26], [400, 0x44])), ["fail VG-X02"]);
});

test("an error of a process that is gone is a warning when a later one works", () => {
  const failed = shimLog({ pid: 900, hostErrors: [errorSeen(2, 0x30)] });
  const works = shimLog({ answered: seen("GPU info (live)") });
  assert.equal(worst(hostErrors, withLife({ processes: [failed, works] })), "warn VG-H05");
  assert.equal(hostErrors.judge(withLife({ processes: [failed, works] }))[0]?.overcome, true);
  const alsoFails = shimLog({ hostErrors: [errorSeen(201, 0x30)], answered: seen("STATUS_ERROR host-cuda") });
  assert.deepEqual(said(hostErrors, withLife({ processes: [failed, alsoFails] })), ["fail VG-H05", "fail VG-H06"]);
});

test("a process that goes on after its error is still told as failed", () => {
  const hostError = errorSeen(2, 0x30);
  const [finding] = hostErrors.judge(
    withShimLog({ hostErrors: [hostError], answered: seen("cuMemAlloc_v2() SUCCESS") }),
  );
  assert.equal(finding?.outcome, "fail");
  assert.match(finding?.message ?? "", /later calls succeeded/);
});
