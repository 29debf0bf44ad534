import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LogPositions } from "../observe/log-position.ts";
import { type Covered, coveredOf, NOTHING_COVERED, type Reading, readingFrom } from "./reading-place.ts";

const at = (place: number): LogPositions => ({ journal: { kind: "journal", cursor: `s=1;i=${place}` } });
const covered = (place: number): Covered => ({ log: at(place), told: 0 });
const saved = (base: LogPositions, place: number, isDelivered = true): Reading => ({
  base,
  settled: at(place),
  since: null,
  isDelivered,
});

describe("where reading goes on", () => {
  it("is behind the last window, where nothing else was saved or it cannot be understood", () => {
    assert.deepEqual(readingFrom(covered(5), null), at(5));
    for (const strange of [{}, { settled: at(9) }, "x", { base: at(5), settled: { journal: 7 }, isDelivered: true }]) {
      assert.deepEqual(readingFrom(covered(5), strange), at(5));
    }
  });

  it("is further, where no window has come since that was saved", () => {
    assert.deepEqual(readingFrom(covered(5), saved(at(5), 9)), at(9));
    assert.deepEqual(readingFrom(covered(5), saved(at(5), 9, false)), at(9), "what waits for the host lies before");
    assert.deepEqual(readingFrom(NOTHING_COVERED, saved({}, 9, false)), at(9), "there was no window yet");
  });

  it("is behind the last window, where that came after it was saved", () => {
    assert.deepEqual(readingFrom(covered(12), saved(at(5), 9)), at(12));
  });

  it("is where the checkpoint says, where the spool is lost with windows that the host does not have", () => {
    assert.deepEqual(readingFrom(covered(5), saved(at(12), 15, false)), at(5));
  });

  it("is where it was saved, where spool and checkpoint are lost and the host had everything by then", () => {
    assert.deepEqual(readingFrom(null, saved(at(12), 15)), at(15));
    assert.deepEqual(readingFrom(null, saved({}, 3, false)), at(3));
  });

  it("is not known, where spool and checkpoint are lost and the host had not everything", () => {
    assert.equal(readingFrom(null, saved(at(12), 15, false)), null);
    assert.equal(readingFrom(null, null), null);
  });

  it("takes from the spool only what it wrote itself", () => {
    assert.deepEqual(coveredOf({ log: at(5), told: 3 }), { log: at(5), told: 3 });
    for (const strange of [null, at(5), { log: at(5) }, { log: at(5), told: -1 }, 7]) {
      assert.equal(coveredOf(strange), null);
    }
  });
});
