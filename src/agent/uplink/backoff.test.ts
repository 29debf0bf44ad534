import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Backoff } from "./backoff.ts";

const LIMITS = { firstMs: 1000, mostMs: 300_000 };

test("the bound doubles with each failure up to the most, and begins anew after a success", () => {
  const backoff = new Backoff({ ...LIMITS, random: () => 0.5 });
  assert.deepEqual(
    Array.from({ length: 11 }, () => backoff.next()),
    [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000],
  );
  assert.equal(backoff.failures, 11);
  backoff.reset();
  assert.equal(backoff.next(), 500);
});

test("no wait is shorter than a tenth of a second or longer than the most, nor shorter than what the host asked", () => {
  const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(chance, fc.nat({ max: 2000 }), fc.option(fc.nat({ max: 10_000_000 })), (random, failures, asked) => {
      const backoff = new Backoff({ ...LIMITS, random: () => random });
      for (let failure = 0; failure < failures; failure += 1) backoff.next();
      const wait = backoff.next(asked);
      assert.ok(wait >= 100 && wait <= LIMITS.mostMs * 1.1);
      if (asked !== null) assert.ok(wait >= Math.min(asked, LIMITS.mostMs));
    }),
  );
});

test("a thousand guests that failed together do not come back together", () => {
  const waits = Array.from({ length: 1000 }, () => {
    const backoff = new Backoff({ ...LIMITS, random: Math.random });
    for (let failure = 0; failure < 5; failure += 1) backoff.next();
    return backoff.next(10_000);
  });
  const most = Math.max(...range(0, 40).map((second) => waits.filter((ms) => Math.floor(ms / 1000) === second).length));
  assert.ok(most < 500, `${most} in one second`);
});

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);
