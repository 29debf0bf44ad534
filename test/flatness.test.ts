import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { flatnessOf } from "../bench/agent-cost/flatness.ts";

/** Garbage up to `amplitude` MiB that is collected each `period` seconds, over 90 MiB that grow by `growth` MiB a minute. */
function samplesOf(heap: { amplitude: number; period: number; phase: number; growth: number; seconds: number }) {
  const { amplitude, period, phase, growth, seconds } = heap;
  return Array.from({ length: seconds / 2 }, (_, index) => {
    const at = 2 * (index + 1);
    return { at, rss: 90 + amplitude * (((at + phase) / period) % 1) + (growth * at) / 60 };
  });
}

const garbage = fc.record({
  amplitude: fc.double({ min: 0, max: 5, noNaN: true }),
  period: fc.double({ min: 15, max: 32, noNaN: true }),
  phase: fc.double({ min: 0, max: 32, noNaN: true }),
});

test("a heap that fills and is collected is flat, whenever that happens to be", () => {
  fc.assert(
    fc.property(garbage, (heap) => {
      assert.equal(flatnessOf(samplesOf({ ...heap, growth: 0, seconds: 600 }))?.isFlat, true);
    }),
  );
});

test("what grows by a slab of 64 KiB each 5 s is not flat, whatever is collected beside it", () => {
  fc.assert(
    fc.property(garbage, (heap) => {
      assert.equal(flatnessOf(samplesOf({ ...heap, growth: 0.75, seconds: 600 }))?.isFlat, false);
    }),
  );
});

test("below six minutes nothing is said", () => {
  const heap = { amplitude: 4, period: 23, phase: 0, growth: 1 };
  assert.equal(flatnessOf(samplesOf({ ...heap, seconds: 358 })), null);
  assert.notEqual(flatnessOf(samplesOf({ ...heap, seconds: 360 })), null);
});
