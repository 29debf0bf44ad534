import assert from "node:assert/strict";
import { test } from "node:test";
import { killSoak } from "./kill-soak.ts";

/** `node test/soak/run.ts 1000` is the same at length. */
test("guest and counterpart killed again and again: every event arrives once, and no number is unexplained", async () => {
  const result = await killSoak({ kills: 36, killsPerBoot: 9 });
  assert.deepEqual(result.lost, []);
  assert.deepEqual(result.doubled, []);
  assert.deepEqual(result.holes, []);
  assert.deepEqual(result.dropped, []);
  assert.ok(result.boots === 4 && result.delivered >= 40, JSON.stringify(result));
});
