import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { sipHash24 } from "../journal/hash.ts";
import { isSipHash } from "./bulk-hash.ts";

const bytes = (min: number, max: number) => fc.uint8Array({ minLength: min, maxLength: max });

it("the hash in 32-bit halves is the hash in 64-bit numbers", () => {
  fc.assert(
    fc.property(bytes(16, 16), bytes(0, 200), fc.integer({ min: 0, max: 9 }), (key, payload, before) => {
      const expected = sipHash24(Buffer.from(key), Buffer.from(payload));
      const padded = new Uint8Array(before + payload.length);
      padded.set(payload, before);
      const view = new DataView(padded.buffer);
      const keyView = new DataView(Uint8Array.from(key).buffer);
      const low = Number(expected & 0xffffffffn);
      const high = Number(expected >> 32n);
      assert.ok(isSipHash(keyView, view, before, payload.length, low, high));
      assert.ok(!isSipHash(keyView, view, before, payload.length, low ^ 1, high));
    }),
  );
});
