import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TimeBuckets } from "./time-buckets.ts";
import { WholeCopies } from "./whole-copies.ts";

const CHUNK = 65_536;
const COPY_IN = 0x32;

class Process {
  readonly buckets = new TimeBuckets();
  readonly #copies = new WholeCopies(this.buckets);

  /** A chunk that was written between two moments. */
  chunk(seq: number, at: number, bytes = CHUNK, isHole = false): void {
    const when = { notBefore: at - 10, notAfter: at };
    this.buckets.add(when, { records: 1, copyIn: 1 });
    this.#copies.add({ callId: COPY_IN, bytes, seq, address: null }, when, isHole);
  }

  other(at: number, isHole = false): void {
    const when = { notBefore: at - 10, notAfter: at };
    this.buckets.add(when, { records: 1 });
    this.#copies.add(null, when, isHole);
  }

  whole(from: number, to: number): number {
    return this.buckets.between({ from, to, innerFrom: from, innerTo: to })?.least.wholeIn ?? Number.NaN;
  }
}

describe("whole copies", () => {
  it("lie where their first and their last chunk do, wherever the bucket between them ends", () => {
    const process = new Process();
    process.other(1000);
    for (let seq = 1; seq < 10; seq += 1) process.chunk(seq, 2000 + 400 * seq);
    process.chunk(10, 6400, 100);
    assert.deepEqual([process.whole(2390, 6400), process.whole(2391, 6400), process.whole(2390, 6399)], [1, 0, 0]);
  });

  it("that end with a full chunk end there, when the next call shows that nothing followed", () => {
    const process = new Process();
    process.other(1000);
    process.chunk(1, 2000);
    process.chunk(2, 3000);
    assert.equal(process.whole(1500, 3500), 0);
    process.other(9000);
    assert.equal(process.whole(1500, 3500), 1);
    process.chunk(3, 9500);
    assert.equal(process.whole(1500, 3500), 0, "it went on after all");
  });

  it("are told apart by a larger chunk and by a sequence number that does not follow", () => {
    const process = new Process();
    process.other(1000);
    for (const [seq, bytes] of [
      [1, 32_768],
      [2, CHUNK],
      [4, CHUNK],
      [5, 4100],
      [6, 4100],
    ] as const) {
      process.chunk(seq, 2000 + seq, bytes);
    }
    assert.equal(process.whole(1500, 3000), 4);
  });

  it("have chunks as small as half of a small shared memory", () => {
    for (const bytes of [16_384, 2048, 1024]) {
      const process = new Process();
      process.other(1000);
      for (let seq = 1; seq <= 9; seq += 1) process.chunk(seq, 2000 + seq, bytes);
      assert.equal(process.whole(1500, 3000), 0, "more of it may come");
      process.chunk(10, 2010, 77);
      assert.equal(process.whole(1500, 3000), 1);
    }
  });

  it("are what they were when old buckets are joined", () => {
    const steps = fc.array(
      fc.record({
        chunks: fc.integer({ min: 1, max: 6 }),
        pause: fc.integer({ min: 0, max: 1500 }),
        isFull: fc.boolean(),
        isSilent: fc.boolean(),
      }),
      { minLength: 200, maxLength: 400 },
    );
    const share = fc.integer({ min: 0, max: 100 });
    fc.assert(
      fc.property(steps, share, share, (copies, a, b) => {
        const process = new Process();
        const spans: [number, number][] = [];
        let [now, seq] = [1000, 0];
        process.other(now);
        for (const { chunks, pause, isFull, isSilent } of copies) {
          const first = now + 20 + pause;
          for (let index = 1; index <= chunks; index += 1) {
            now += 20 + pause;
            seq += 1;
            process.chunk(seq, now, index === chunks && !isFull ? 100 : CHUNK);
          }
          spans.push([first - 10, now]);
          // A call between two full copies: seen, or known by the sequence number alone.
          if (isFull) seq += 1;
          if (!isFull || isSilent) continue;
          now += 20;
          process.other(now);
        }
        process.other(now + 20);
        const length = now - 1000;
        const from = 1000 + Math.floor((length * Math.min(a, b)) / 100);
        const to = 1000 + Math.ceil((length * Math.max(a, b)) / 100);
        const truth = spans.filter(([first, last]) => first >= from && last <= to).length;
        assert.ok(process.whole(from, to) <= truth);
        assert.equal(process.whole(0, now + 100), spans.length);
      }),
      { numRuns: 60 },
    );
  });
});
