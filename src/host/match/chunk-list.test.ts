import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ChunkList } from "./chunk-list.ts";

const CHUNK = 4 << 20;

interface Copies {
  readonly list: ChunkList;
  request: number;
}

/** A copy of so many whole chunks and the rest of one. */
function copy(to: Copies, chunks: number, rest: number, failed = false, transport = 0): void {
  const add = (bytes: number, address: number): void => {
    to.list.add({ callId: 0x33, bytes, requestId: to.request, seq: null, address, failed, transport });
    to.request += 1;
  };
  for (let index = 0; index < chunks; index += 1) add(CHUNK, index * CHUNK);
  if (rest > 0) add(rest, chunks * CHUNK);
}

const some = (count: number): Copies => {
  const copies = { list: new ChunkList(), request: 1 };
  for (let index = 0; index < count; index += 1) copy(copies, 2, 100 + index);
  return copies;
};

describe("a list of chunks", () => {
  test("counts a copy once, however many chunks it was", () => {
    const copies = some(3);
    copy(copies, 0, 7);
    copy(copies, 5, 0);
    assert.deepEqual(copies.list.tally, { copies: 5, failed: 0, retried: 0 });
    assert.ok(copies.list.isWhole);
  });

  test("counts those that it has let go, and cuts none in two", () => {
    for (const count of [2047, 2048, 2049, 5000, 20_001]) {
      const { list } = some(count);
      assert.equal(list.tally.copies, count);
      assert.equal(list.isWhole, list.runs.length === 2 * count);
      assert.ok(list.runs.length < 4096);
    }
  });

  test("counts failed ones, and those that were tried again, wherever the list was cut", () => {
    const copies = { list: new ChunkList(), request: 1 };
    for (let index = 0; index < 5001; index += 1) {
      copy(copies, 0, 4096, true, index);
      copy(copies, 0, 4096, false, index + 1);
      copy(copies, 0, 100, true, index + 1);
    }
    assert.deepEqual(copies.list.tally, { copies: 15_003, failed: 10_002, retried: 5001 });
  });

  test("counts those of several processes together", () => {
    const all = new ChunkList();
    for (const { list } of [some(10), some(7000), some(3000)]) all.addAll(list);
    assert.equal(all.tally.copies, 10_010);
    assert.ok(!all.isWhole);
  });
});
