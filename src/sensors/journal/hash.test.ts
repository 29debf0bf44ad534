import assert from "node:assert/strict";
import { it } from "node:test";
import { sipHash24 } from "./hash.ts";

it("SipHash-2-4 gives the values that its authors published", () => {
  const key = Buffer.from(Array.from({ length: 16 }, (_, index) => index));
  const published: readonly (readonly [length: number, hash: bigint])[] = [
    [0, 0x726fdb47dd0e0e31n],
    [8, 0x93f5f5799a932462n],
    [15, 0xa129ca6149be45e5n],
  ];
  for (const [length, hash] of published) {
    const message = Buffer.from(Array.from({ length }, (_, index) => index));
    assert.equal(sipHash24(key, message), hash);
  }
});
