import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RecordRing } from "../record-ring.ts";
import { alignDoorbells, type Doorbell } from "./r8-doorbells.ts";

const CALLS = [0x01, 0xf0, 0x30, 0x30, 0x40, 0x44, 0x32, 0x50, 0x26, 0x33, 0x31, 0xfe];
const ring = (callId: number, sent = true): Doorbell => ({ callId, seq: 1, sent, at: null });

function records(first: number, calls: readonly number[]) {
  const made = new RecordRing();
  calls.forEach((callId, index) => {
    made.add(first + index, callId, 0, null);
  });
  return (request: number) => made.get(request);
}

describe("R8, doorbells", () => {
  it("gives each doorbell that was sent the request id that it used up", () => {
    const rings = [ring(0x01, false), ...CALLS.map((callId) => ring(callId))];
    const { requests, aligned } = alignDoorbells(rings, 50, 61, records(50, CALLS));
    assert.equal(aligned, CALLS.length);
    assert.deepEqual(requests, [null, ...CALLS.map((_, index) => 50 + index)]);
  });

  it("ends where the logs differ", () => {
    const rings = CALLS.map((callId, index) => ring(index === 9 ? 0x99 : callId));
    const { requests, aligned } = alignDoorbells(rings, 50, 61, records(50, CALLS));
    assert.equal(aligned, 9);
    assert.equal(requests[10], null);
  });

  it("believes no place when two fit equally well", () => {
    const same = Array.from({ length: 20 }, () => 0x50);
    const rings = same.slice(0, 10).map((callId) => ring(callId));
    assert.equal(alignDoorbells(rings, 1, 20, records(1, same)).aligned, 0);
  });
});
