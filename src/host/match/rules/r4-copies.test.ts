import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ChunkList } from "../chunk-list.ts";
import { alignCopies } from "./r4-copies.ts";

const CHUNK = 65_536;

interface Made {
  readonly list: ChunkList;
  next: number;
}

function copy(
  made: Made,
  bytes: number,
  options: { chunk?: number; address?: number; failsAt?: number; transport?: number } = {},
) {
  const { chunk = CHUNK, address, failsAt, transport = 0 } = options;
  const first = made.next;
  for (let offset = 0; offset < bytes; offset += chunk) {
    const failed = failsAt !== undefined && offset >= failsAt;
    made.list.add({
      callId: 0x32,
      bytes: Math.min(chunk, bytes - offset),
      requestId: made.next,
      seq: made.next,
      address: address === undefined ? null : address + offset,
      failed,
      transport,
    });
    made.next += 1;
    if (failed) break;
  }
  return [first, made.next - 1];
}

const start = (): Made => ({ list: new ChunkList(), next: 100 });

describe("R4, bulk copies", () => {
  it("finds the run of chunks of each copy, whatever their sizes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 600_000 }), { minLength: 1, maxLength: 20 }),
        fc.constantFrom(1024, 32_768, 65_536, 1 << 20),
        (sizes, chunk) => {
          const made = start();
          const truth = sizes.map((bytes) => {
            const range = copy(made, bytes, { chunk });
            made.next += bytes % 3;
            return range;
          });
          const { matches, allFound, leftover } = alignCopies(
            sizes.map((bytes) => ({ bytes })),
            made.list.runs,
          );
          assert.ok(allFound);
          assert.equal(leftover, 0);
          assert.deepEqual(
            matches.map(({ first, last }) => [first, last]),
            truth,
          );
          assert.ok(matches.every(({ level }) => level === "STRONG"));
        },
      ),
    );
  });

  it("is exact when the chunks' addresses follow one another", () => {
    const made = start();
    copy(made, 200_000, { address: 0x7f00_0000_0000 });
    const [match] = alignCopies([{ bytes: 200_000 }], made.list.runs).matches;
    assert.deepEqual([match?.level, match?.records], ["EXACT", 4]);
  });

  it("says at which byte a copy failed", () => {
    const made = start();
    copy(made, 200_000, { failsAt: 2 * CHUNK });
    copy(made, 10);
    const { matches, allFound } = alignCopies([{ bytes: 200_000 }, { bytes: 10 }], made.list.runs);
    assert.ok(allFound);
    assert.deepEqual(
      matches.map(({ failedAt }) => failedAt),
      [2 * CHUNK, null],
    );
  });

  it("takes a second try over a new connection for the same copy", () => {
    const made = start();
    copy(made, 100, { failsAt: 0 });
    made.next += 2;
    const range = copy(made, 100, { transport: 1 });
    const { matches, leftover } = alignCopies([{ bytes: 100 }], made.list.runs);
    assert.equal(leftover, 0);
    assert.deepEqual(
      matches.map(({ first, last, retries }) => [first, last, retries]),
      [[...range, 1]],
    );
  });

  it("never matches a large copy to one small call, and is sure of nothing behind a size that does not come out", () => {
    const made = start();
    copy(made, 100);
    copy(made, 4096);
    const { matches, allFound } = alignCopies([{ bytes: 100 }, { bytes: 545_947_648 }], made.list.runs);
    assert.equal(allFound, false);
    assert.deepEqual(
      matches.map(({ level }) => level),
      ["AMBIGUOUS"],
    );
  });

  it("holds a copy of any size in two entries", () => {
    const made = start();
    copy(made, 545_947_648);
    assert.deepEqual(
      made.list.runs.map(({ bytes, times }) => [bytes, times]),
      [
        [CHUNK, 8330],
        [32_768, 1],
      ],
    );
  });
});
