import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Effort } from "../effort.ts";
import type { GuestRoundTrip } from "../guest-evidence.ts";
import { RecordRing } from "../record-ring.ts";
import { alignSequence } from "./r7-sequence.ts";
import type { HostSequence } from "./r7-trips.ts";

const PID = 500;
const trip = (seq: number, call_id: number, status: number | null = 0, transport = 0): GuestRoundTrip => ({
  transport,
  seq,
  call_id,
  bytes: null,
  status,
  at: null,
  answered_at: null,
});

const NAMED = [0x01, 0x30, 0x50];

/** Records from request 101 on: call ids, negative for those of another process, none for a hole. */
function host(
  calls: readonly (number | null)[],
  offsets: readonly number[] = [],
  alone = true,
  missingBefore = 0,
): HostSequence {
  const ring = new RecordRing();
  calls.forEach((callId, index) => {
    if (callId === null) return;
    const id = Math.abs(callId);
    ring.add(101 + index, id, 0, callId < 0 ? PID + 1 : NAMED.includes(id) ? PID : null);
  });
  return {
    pid: PID,
    first: 101,
    last: 100 + calls.length,
    missingBefore,
    anchors: offsets.map((offset) => ({ offset, firstSeq: 1, lastSeq: 1 })),
    inits: calls.flatMap((callId, index) => (callId === 0x01 ? [101 + index] : [])),
    isAlone: () => alone,
    recordOf: (request) => ring.get(request),
  };
}

function requests(sequence: readonly GuestRoundTrip[], of: HostSequence, fromStart = true): (number | null)[] | string {
  const alignment = alignSequence(sequence, fromStart, of, new Effort());
  return alignment.level === "EXACT" ? sequence.map((one) => alignment.requests.get(one) ?? null) : alignment.level;
}

describe("R7, sequences", () => {
  it("lays the calls of a process over its records, also when another process's stand between", () => {
    const sequence = [trip(1, 0x01), trip(2, 0xf0), trip(3, 0x30), trip(4, 0x50), trip(5, 0x26)];
    assert.deepEqual(requests(sequence, host([0x01, 0xf0, -0x30, 0x30, -0x50, -0x50, 0x50])), [
      101,
      102,
      104,
      107,
      null,
    ]);
  });

  it("gives a call that no line names to a process only when nobody else can have made it", () => {
    const sequence = [trip(1, 0x01), trip(2, 0x26), trip(3, 0x50)];
    assert.deepEqual(requests(sequence, host([0x01, 0x26, 0x50])), [101, 102, 103]);
    assert.deepEqual(requests(sequence, host([0x01, 0x26, 0x26, 0x50])), [101, null, 104]);
  });

  it("foretells the records of a part by the offset that the host's lines show", () => {
    const part = [trip(3, 0x30), trip(4, 0x26), trip(5, 0x50)];
    assert.deepEqual(requests(part, host([0x01, 0xf0, 0x30, 0x26, 0x50, 0x50], [100])), [103, 104, 105]);
    assert.equal(requests(part, host([0x01, 0xf0, 0x30, 0x26, 0x50, 0x50], [])), "NONE");
  });

  it("foretells nothing while another process may call, but for what stands between lines that show the offset", () => {
    const part = [trip(3, 0x32), trip(4, 0x50), trip(5, 0x32), trip(6, 0x50)];
    const shared = host([0x01, 0xf0, 0x32, 0x50, 0x32, 0x50], [], false);
    assert.equal(requests(part, shared, false), "NONE");
    const shown = { ...shared, anchors: [{ offset: 100, firstSeq: 2, lastSeq: 9 }] };
    assert.deepEqual(requests(part, shown, false), [103, 104, 105, null]);
  });

  it("does not choose between two places that fit equally well", () => {
    const part = [trip(3, 0x50), trip(4, 0x50)];
    assert.equal(requests(part, host([0x01, 0x50, 0x50, 0x50, 0x50, 0x50], [99, 101])), "AMBIGUOUS");
  });

  it("sees by the calls behind it that a lost doorbell used up no request id", () => {
    const sequence = [trip(3, 0x30), trip(4, 0x50, 999), trip(5, 0x30), trip(6, 0x50)];
    assert.deepEqual(requests(sequence, host([0x01, 0x26, 0x30, 0x30, 0x50, 0x50], [100])), [103, null, 104, 105]);
  });

  it("foretells no call behind a sequence number that is left out: it may be another process's with this pid", () => {
    const sequence = [trip(1, 0x01), trip(2, 0x30), trip(5, 0x30)];
    assert.deepEqual(requests(sequence, host([0x01, 0x30, 0x30, 0x30, 0x30])), [101, 102, null]);
  });

  it("follows one connection after the other", () => {
    const sequence = [trip(1, 0x01), trip(2, 0x30), trip(1, 0x01, 0, 1), trip(2, 0x50, 0, 1)];
    assert.deepEqual(requests(sequence, host([0x01, 0x30, 0x01, 0x50, 0x50])), [101, 102, 103, 104]);
  });

  it("gives nothing behind a hole where the calls would fit one later as well", () => {
    const alike = [trip(1, 0x01), trip(2, 0x30), trip(3, 0x30), trip(4, 0x30)];
    // The second allocation's line may be the one that is missing, and the last one a call that the guest had not told.
    assert.deepEqual(requests(alike, host([0x01, 0x30, null, 0x30, 0x30], [], false)), [101, 102, null, null]);
    const unlike = [trip(1, 0x01), trip(2, 0x30), trip(3, 0x50), trip(4, 0x30), trip(5, 0x50)];
    const all = host([0x01, 0x30, null, 0x50, 0x30, 0x50], [], false);
    assert.deepEqual(requests(unlike, all), [101, 102, 104, 105, 106]);
  });

  it("gives no call that names nobody where a request between its neighbours has no record", () => {
    const sequence = [trip(1, 0x01), trip(2, 0x26), trip(3, 0x50), trip(4, 0x30)];
    assert.deepEqual(requests(sequence, host([0x01, 0x26, 0x50, 0x30], [], false)), [101, 102, 103, 104]);
    assert.deepEqual(requests(sequence, host([0x01, null, 0x26, 0x50, 0x30], [], false)), [101, null, 104, 105]);
  });

  it("does not take a connection for the first one when as many requests are missing before it", () => {
    const sequence = [trip(1, 0x01), trip(2, 0x30), trip(3, 0x50)];
    assert.deepEqual(requests(sequence, host([0x01, 0x30, 0x50], [], false, 2)), [101, 102, 103]);
    assert.equal(requests(sequence, host([0x01, 0x30, 0x50], [], false, 3)), "UNKNOWN");
  });

  it("says nothing where a call or its result differs", () => {
    assert.equal(requests([trip(1, 0x01), trip(2, 0x50, 700)], host([0x01, 0x50], [100])), "NONE");
    assert.equal(requests([trip(1, 0x01), trip(2, 0x30)], host([0x01, 0x50], [100])), "NONE");
    assert.equal(requests([], host([0x01])), "NONE");
  });
});
