import assert from "node:assert/strict";
import { test } from "node:test";
import { parseGoDuration } from "./go-duration.ts";

test("durations are read as Go prints them", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["1.5s", 1500],
    ["  1.204512345s ", 1204.512345],
    ["1h11m3s", 4_263_000],
    ["1m0s", 60_000],
    ["38.456µs", 0.038456],
    ["12ms", 12],
    ["812ns", 0.000812],
    ["0s", 0],
  ];
  for (const [text, ms] of cases) {
    const parsed = parseGoDuration(text) ?? assert.fail(text);
    assert.ok(Math.abs(parsed - ms) < 1e-9, `${text}: ${parsed}`);
  }
});

test("anything else is no duration", () => {
  for (const text of ["", "s", "1", "-1s", "1.s", "1 s", "1s x", "1d", "1e9s", "1s".repeat(7), `${"9".repeat(13)}s`]) {
    assert.equal(parseGoDuration(text), null, text);
  }
});
