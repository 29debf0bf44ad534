import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { comparePayloads } from "./r5-payload.ts";

const sent = (seq: number, hash: string) => ({ seq, bytes: 4096, hash: hash.padStart(16, "0") });
const got = (seq: number, hash: string, requestId: number) => ({ ...sent(seq, hash), requestId });

describe("R5, payloads", () => {
  it("finds a copy that arrived with other bytes", () => {
    const { equal, different } = comparePayloads([sent(7, "a"), sent(8, "b")], [got(7, "a", 70), got(8, "c", 80)]);
    assert.equal(equal, 1);
    assert.deepEqual(
      different.map(({ requestId }) => requestId),
      [80],
    );
  });

  it("accuses nobody where a sequence number occurs in several connections", () => {
    assert.deepEqual(comparePayloads([sent(7, "a"), sent(7, "b")], [got(7, "c", 70)]).different, []);
    assert.deepEqual(comparePayloads([sent(7, "a")], [got(7, "c", 70), got(7, "d", 90)]).different, []);
  });

  it("compares only copies of one length", () => {
    assert.deepEqual(comparePayloads([sent(7, "a")], [{ ...got(7, "c", 70), bytes: 10 }]), { equal: 0, different: [] });
  });
});
