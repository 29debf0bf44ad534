import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { heldUpTo, highestHeld, holds, type Pieces, parsePieces, withNumbers } from "./held-numbers.ts";

test("pieces hold exactly what was added, in order, with a gap between each two", () => {
  const span = fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 8 }));
  fc.assert(
    fc.property(fc.array(span, { maxLength: 30 }), (spans) => {
      const truth = new Set<number>();
      let pieces: Pieces = [];
      for (const [first, more] of spans) {
        pieces = withNumbers(pieces, first, first + more);
        for (let number = first; number <= first + more; number += 1) truth.add(number);
      }
      for (let number = 0; number <= 80; number += 1) assert.equal(holds(pieces, number), truth.has(number));
      for (const [index, [first, last]] of pieces.entries()) {
        assert.ok(first <= last);
        assert.ok(index === 0 || first > (pieces[index - 1]?.[1] ?? 0) + 1);
      }
      let upTo = 0;
      while (truth.has(upTo + 1)) upTo += 1;
      assert.equal(heldUpTo(pieces), upTo);
      assert.equal(highestHeld(pieces), Math.max(0, ...truth));
      assert.deepEqual(parsePieces(JSON.stringify(pieces)), pieces);
    }),
  );
});
