import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { bucketsOf, percentileOf } from "./latency.ts";

describe("percentiles of a histogram of powers of two", () => {
  it("are null when nothing was counted", () => {
    assert.equal(percentileOf({}, 0.5), null);
    assert.equal(percentileOf({ 10: 0 }, 0.5), null);
  });

  it("lie in the bucket that holds the call", () => {
    const histogram = { 10: 98, 20: 2 };
    const p50 = percentileOf(histogram, 0.5) ?? 0;
    const p99 = percentileOf(histogram, 0.99) ?? 0;
    assert.ok(p50 >= 2 ** 10 && p50 < 2 ** 11, `${p50}`);
    assert.ok(p99 >= 2 ** 20 && p99 < 2 ** 21, `${p99}`);
  });

  it("pass over keys that are no exponents", () => {
    assert.deepEqual(bucketsOf({ "3": 1, x: 5, "-1": 2, "99": 1 }), [[3, 1]]);
  });

  it("are within a factor of 2 of the true ones, and rise with the share", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 2 ** 40 }), { minLength: 1, maxLength: 200 }), (latencies) => {
        const histogram: Record<string, number> = {};
        for (const ns of latencies) {
          const key = String(Math.floor(Math.log2(ns)));
          histogram[key] = (histogram[key] ?? 0) + 1;
        }
        const sorted = [...latencies].sort((a, b) => a - b);
        let last = 0;
        for (const share of [0.1, 0.5, 0.9, 0.99, 1]) {
          const found = percentileOf(histogram, share) ?? Number.NaN;
          const truth = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
          assert.ok(found >= truth / 2 && found <= truth * 2.0001, `${share}: ${found} for ${truth}`);
          assert.ok(found >= last);
          last = found;
        }
      }),
    );
  });
});
