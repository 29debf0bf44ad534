import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bestOf, offsetOf, spanning } from "./clock.ts";

test("the true offset lies within the bound, however long each way took", () => {
  const span = fc.double({ min: 0, max: 30_000, noNaN: true });
  const offset = fc.double({ min: -1e9, max: 1e9, noNaN: true });
  fc.assert(
    fc.property(
      span,
      span,
      span,
      offset,
      fc.double({ min: 0, max: 1, noNaN: true }),
      (there, work, back, ahead, part) => {
        const start = 1_800_000_000_000 + part;
        const exchange = {
          sentAt: Math.floor(start + ahead),
          receivedAt: Math.floor(start + there + work + back + ahead),
          tookMs: there + work + back,
          host: { received_at: Math.floor(start + there), sent_at: Math.floor(start + there + work) },
        };
        const found = offsetOf(exchange);
        assert.ok(found !== null);
        assert.ok(Math.abs(found.offsetMs - ahead) <= found.errorMs + 1e-6, JSON.stringify({ found, ahead }));
        assert.ok(found.errorMs <= (there + back) / 2 + 2);
      },
    ),
  );
});

test("a clock that was set in the middle tells nothing", () => {
  const host = { received_at: 1000, sent_at: 1010 };
  assert.equal(offsetOf({ sentAt: 0, receivedAt: 20, tookMs: 500, host }), null);
  assert.equal(offsetOf({ sentAt: 0, receivedAt: -900, tookMs: 20, host }), null);
  assert.equal(offsetOf({ sentAt: 0, receivedAt: 20, tookMs: 20, host: { received_at: 1000, sent_at: 900 } }), null);
  assert.equal(offsetOf({ sentAt: 0, receivedAt: 20, tookMs: 20, host: { received_at: 1000, sent_at: 9000 } }), null);
});

test("the best has the smallest error, and two together hold both", () => {
  const one = { offsetMs: 10, errorMs: 4 };
  const other = { offsetMs: 100, errorMs: 2 };
  assert.equal(bestOf([null, one, other]), other);
  assert.equal(bestOf([null]), null);
  assert.deepEqual(spanning(one, other), { offsetMs: 54, errorMs: 48 });
});
