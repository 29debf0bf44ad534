import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type HostAllocation, matchAllocations } from "./r3-alloc.ts";

const guest = (bytes: number | null, ptr: string | null, failed = false) => ({ bytes, ptr, failed, at: null });
const host = (requestId: number, bytes: number, ptr: number | null): HostAllocation => ({
  requestId,
  bytes,
  ptr,
  failed: ptr === null,
  transport: 0,
});
const found = (matches: ReturnType<typeof matchAllocations>) =>
  matches.map(({ guest: index, host: { requestId }, level, candidates }) => [index, requestId, level, candidates]);

describe("R3, allocations", () => {
  it("is exact by size and pointer", () => {
    const matches = matchAllocations([guest(16_384, "0xa000")], [host(3, 4096, 0xa000), host(4, 16_384, 0xa000)], true);
    assert.deepEqual(found(matches), [[0, 4, "EXACT", 1]]);
  });

  it("tells uses of one pointer apart by their order, where both sides have equally many", () => {
    const matches = matchAllocations([guest(64, "0xa"), guest(64, "0xa")], [host(7, 64, 0xa), host(9, 64, 0xa)], true);
    assert.deepEqual(found(matches), [
      [0, 7, "EXACT", 1],
      [1, 9, "EXACT", 1],
    ]);
  });

  it("does not choose when the host gave a pointer out more often than the guest tells", () => {
    const matches = matchAllocations([guest(64, "0xa")], [host(7, 64, 0xa), host(9, 64, 0xa)], true);
    assert.deepEqual(found(matches), [[0, 7, "AMBIGUOUS", 2]]);
  });

  it("is strong at most when records may be missing", () => {
    assert.deepEqual(found(matchAllocations([guest(64, "0xa")], [host(7, 64, 0xa)], false)), [[0, 7, "STRONG", 1]]);
  });

  it("is strong by a size that occurs once, without a pointer, and ambiguous by one that does not", () => {
    assert.deepEqual(found(matchAllocations([guest(64, null)], [host(7, 64, 0xa)], true)), [[0, 7, "STRONG", 1]]);
    const several = matchAllocations([guest(64, null)], [host(7, 64, 0xa), host(8, 64, 0xb)], true);
    assert.deepEqual(found(several), [[0, 7, "AMBIGUOUS", 2]]);
  });

  it("matches no allocation that failed, on either side", () => {
    assert.deepEqual(matchAllocations([guest(null, null, true)], [host(7, 64, null)], true), []);
  });
});
