import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RecordRing } from "./record-ring.ts";

test("a ring has the same records when many calls are given at once", () => {
  const steps = fc.array(fc.record({ skip: fc.nat(3), times: fc.integer({ min: 1, max: 700 }), callId: fc.nat(255) }));
  fc.assert(
    fc.property(steps, fc.constantFrom(512, 2048), (runs, most) => {
      const [one, other] = [new RecordRing(most), new RecordRing(most)];
      let next = 7;
      for (const { skip, times, callId } of runs) {
        next += skip;
        for (let id = next; id < next + times; id += 1) one.add(id, callId, 0, callId === 0 ? null : 48_000);
        other.addRun(next, times, callId, 0, callId === 0 ? null : 48_000);
        next += times;
      }
      assert.equal(other.oldest, one.oldest);
      for (let id = 0; id < next + 2; id += 1) assert.deepEqual(other.get(id), one.get(id));
    }),
  );
});
