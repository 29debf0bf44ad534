import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bytesOf, grouped, rangeOf, rateOf, spanOf } from "./quantities.ts";

test("numbers are grouped by thousands", () => {
  assert.deepEqual([0, 999, 9375, 1_400_000].map(grouped), ["0", "999", "9,375", "1,400,000"]);
  assert.deepEqual([0.04, 67.32, 99.96, 12345.6].map(rateOf), ["0.0", "67.3", "100.0", "12,346"]);
});

test("spans keep two digits or three, and their unit", () => {
  assert.deepEqual([0.4, 9.96, 999.6, 2500, 9960, 999_600, 10e6, 119e6, 3600e6, 7200e6].map(spanOf), [
    "0.4µs",
    "10µs",
    "1.0ms",
    "2.5ms",
    "10ms",
    "1.0s",
    "10s",
    "119s",
    "60min",
    "2.0h",
  ]);
});

test("bytes never take more than seven characters below a petabyte", () => {
  assert.deepEqual([0, 999, 1000, 1024, 1_048_000, 3 * 2 ** 30].map(bytesOf), [
    "0B",
    "999B",
    "1.0KiB",
    "1.0KiB",
    "1.0MiB",
    "3.0GiB",
  ]);
  fc.assert(fc.property(fc.nat(2 ** 31), fc.nat(18), (n, shift) => assert.ok(bytesOf(n * 2 ** shift).length <= 7)));
});

test("a range names a unit once, and is one number where both ends read the same", () => {
  assert.deepEqual([rangeOf(139, 182), rangeOf(0, 1200), rangeOf(7, 7)], ["139–182", "0–1,200", "7"]);
  const sizes = [
    [204_800, 286_720],
    [0, 88],
    [900, 2048],
    [2048, 2049],
  ] as const;
  assert.deepEqual(
    sizes.map(([least, most]) => rangeOf(least, most, bytesOf)),
    ["200–280KiB", "0–88B", "900B–2.0KiB", "2.0KiB"],
  );
});
