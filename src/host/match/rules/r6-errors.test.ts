import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { matchError } from "./r6-errors.ts";

const host = [
  { requestId: 237, callId: 0x50, status: 700 },
  { requestId: 238, callId: 0x26, status: 709 },
  { requestId: 247, callId: 0x30, status: 201 },
  { requestId: 250, callId: 0x30, status: 201 },
];
const guest = (call_id: number, status: number | null, foretold: number | null = null, applied = false) => ({
  call_id,
  status,
  foretold,
  applied,
});

describe("R6, errors", () => {
  it("is strong by the only record with this call and result", () => {
    assert.deepEqual(matchError(guest(0x50, 700), host), { level: "STRONG", error: host[0] });
  });

  it("is exact by the stub's word, or by the sequence number", () => {
    assert.equal(matchError(guest(0x50, 700, null, true), host).level, "EXACT");
    assert.deepEqual(matchError(guest(0x30, 201, 250), host), { level: "EXACT", error: host[3] });
  });

  it("does not choose between several", () => {
    assert.deepEqual(matchError(guest(0x30, 201), host), { level: "AMBIGUOUS", candidates: 2 });
  });

  it("does not take the transport's own failure for one of the host", () => {
    assert.deepEqual(matchError(guest(0x30, 999), host), { level: "NONE" });
  });
});
