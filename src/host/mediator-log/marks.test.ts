import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Mark, Marks, MOST_MARKS } from "./marks.ts";

const MINUTE = 60_000;

/** The bounds of the byte at `offset`. */
const boundsOf = (marks: readonly Mark[], offset: number): Mark | undefined => marks.find(({ end }) => end > offset);

describe("marks of when a log was read", () => {
  it("are widened by thinning and never narrowed, whatever was read when", () => {
    const reading = fc.record({ bytes: fc.integer({ min: 1, max: 5000 }), ms: fc.integer({ min: 0, max: 30_000 }) });
    fc.assert(
      fc.property(fc.array(reading, { maxLength: 200 }), fc.integer({ min: 0, max: 3 * 60 * MINUTE }), (all, later) => {
        const marks = new Marks();
        const truth: Mark[] = [];
        let [end, now] = [0, 1000];
        for (const { bytes, ms } of all) {
          const notBefore = truth.length === 0 ? null : now;
          end += bytes;
          now += ms;
          truth.push({ end, notBefore, notAfter: now });
          marks.add(end, { notBefore, notAfter: now });
        }
        marks.thin(now + later);
        for (const mark of truth) {
          const kept = boundsOf(marks.all, mark.end - 1);
          assert.ok(kept !== undefined);
          assert.ok(kept.notAfter >= mark.notAfter);
          assert.ok(kept.notBefore === null || (mark.notBefore !== null && kept.notBefore <= mark.notBefore));
        }
        assert.equal(marks.all.at(-1)?.end, truth.at(-1)?.end);
      }),
    );
  });

  it("stay below a mediator's longest silence in width, and few", () => {
    const marks = new Marks();
    const step = 250;
    for (let index = 1; index <= 40_000; index += 1) {
      marks.add(index * 100, { notBefore: (index - 1) * step, notAfter: index * step });
    }
    marks.thin(40_000 * step);
    assert.ok(marks.all.length < MOST_MARKS, String(marks.all.length));
    assert.ok(marks.all.every(({ notBefore, notAfter }) => notBefore !== null && notAfter - notBefore <= 10_000));
  });

  it("have a limit that gives up the oldest times first", () => {
    const marks = new Marks();
    for (let index = 1; index <= 3 * MOST_MARKS; index += 1) {
      marks.add(index, { notBefore: index * 20_000 - 1, notAfter: index * 20_000 });
    }
    marks.thin(3 * MOST_MARKS * 20_000);
    assert.ok(marks.all.length <= MOST_MARKS);
    const newest = marks.all.at(-1);
    assert.deepEqual(newest, {
      end: 3 * MOST_MARKS,
      notBefore: 3 * MOST_MARKS * 20_000 - 1,
      notAfter: 3 * MOST_MARKS * 20_000,
    });
  });

  it("keep the first times of what is read twice", () => {
    const marks = new Marks([{ end: 100, notBefore: 1, notAfter: 2 }]);
    marks.add(100, { notBefore: 50, notAfter: 60 });
    marks.add(120, { notBefore: 50, notAfter: 60 });
    assert.deepEqual(marks.all, [
      { end: 100, notBefore: 1, notAfter: 2 },
      { end: 120, notBefore: 50, notAfter: 60 },
    ]);
  });
});
