import assert from "node:assert/strict";
import { test } from "node:test";
import { counted, trace, WINDOW } from "../../test/fixtures/calls.ts";
import { healthy, logLedger } from "../../test/fixtures/facts.ts";
import { executing } from "../../test/fixtures/reports.ts";
import type { Facts } from "../facts/facts.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { activityOf, activityText } from "./activity.ts";

const LOGGED = wasRead(
  logLedger({ coverage: "partial", calls: [{ ...counted(0x50, { 700: 2 }), count: 9, returned: null }] }),
);

test("calls that the kernel counted are the workload's alone, one row a call id, most frequent first", () => {
  const calls = [
    counted(0x32, { 0: 5 }),
    counted(0x50, { 0: 20, 700: 1 }),
    counted(0x50, { 0: 4 }, 1187),
    counted(0x50, { 0: 900 }, 4711),
  ];
  const activity = activityOf(healthy({ trace: trace(calls), ledger: LOGGED }));
  assert.deepEqual(activity.calls, [
    { call_id: "0x0050", name: "cuLaunchKernel", count: 25, bytes: 25 * 110, errors: 1 },
    { call_id: "0x0032", name: "cuMemcpyHtoD", count: 5, bytes: 5 * 110, errors: 0 },
  ]);
  assert.deepEqual([activity.source, activity.coverage], ["uprobe", "full"]);
  assert.equal(activity.window.from, new Date(WINDOW.from).toISOString());
});

test("returns that were not seen are no errors and no successes", () => {
  const blind = { ...counted(0x50, {}), count: 3, returned: null, results: null, bytesBack: null };
  assert.deepEqual(activityOf(healthy({ trace: trace([blind]) })).calls, [
    { call_id: "0x0050", name: "cuLaunchKernel", count: 3, bytes: 0, errors: null },
  ]);
});

test("without a count of the kernel's the log's per-call lines are shown, whyever there is none", () => {
  for (const missing of [notRead("skipped", "not asked"), notRead("denied", "it takes root")]) {
    const activity = activityOf(healthy({ trace: missing, ledger: LOGGED }));
    assert.deepEqual([activity.source, activity.coverage], ["log", "partial"]);
    assert.deepEqual(
      activity.calls.map(({ count, errors }) => [count, errors]),
      [[9, 2]],
    );
  }
});

test("what counts no call is no source", () => {
  const none: readonly Facts[] = [
    healthy(),
    healthy({ ledger: notRead("denied", "x") }),
    healthy({ trace: trace([], { coverage: "none" }), ledger: LOGGED }),
  ];
  for (const facts of none) {
    const activity = activityOf(facts);
    assert.deepEqual([activity.source, activity.coverage, activity.calls], ["none", "none", []]);
    assert.equal(activityText({ ...executing, activity }, 5), null);
  }
});

test("people read how many there were, in what time, and how they were counted", () => {
  const said = activityText(executing, 2) ?? assert.fail();
  assert.equal(said.head, "Calls of the workload: 92,857 in 10s, counted by the kernel, coverage full");
  assert.equal(said.brief, "92,857 calls in 10s (uprobe, full): cuLaunchKernel 88,123, cuCtxSynchronize 2,110");
  assert.deepEqual([said.rows.length, said.left], [2, 5]);
});
