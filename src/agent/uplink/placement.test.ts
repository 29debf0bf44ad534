import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { evidenceDocument } from "../../../test/support/host-client.ts";
import { guestEvidenceSchema } from "../../host/match/guest-evidence-schema.ts";
import { type ReportBatch, reportBatchSchema } from "../../report/wire/batch.ts";
import {
  baseOfCount,
  isCurrent,
  isFresh,
  isWaiting,
  type Measured,
  offsetIn,
  placedBatch,
  placedNow,
} from "./placement.ts";

/** The wall clock minus CLOCK_MONOTONIC: when the boot was. */
const BOOTED = 1_780_000_000_000;
const BASE = { least: BOOTED, most: BOOTED };
const HOUR = 3_600_000;

const windowAt = (monotonic: number, base = BOOTED) => ({
  from: base + monotonic - 1000,
  to: base + monotonic,
});
const evidence = (window: { from: number; to: number }) =>
  guestEvidenceSchema.parse(evidenceDocument(11, window.from, window.to));

/** Compared at this monotonic time, with the guest's clock so far ahead of the host's. */
const compared = (at: number, offsetMs: number, base = BOOTED): Measured => ({
  offset: { offsetMs, errorMs: 2 },
  base,
  at,
});

function batchOf(...documents: readonly object[]): ReportBatch {
  return reportBatchSchema.parse({
    schema: "vgpu-agent/report-batch/1",
    agent_id: "6f1c1c4e-2f43-4d0a-9a55-0d3a6c1d8e01",
    boot_id: "c7a3f5de-90d1-4f6e-9a2b-1d2e3f4a5b6c",
    vm_id: 11,
    sent_at: BOOTED,
    entries: documents.map((document, index) => ({ kind: "guest-evidence", seq: index + 1, at: BOOTED, document })),
  });
}

test("a window that waits for the first comparison of the clocks is placed by it when it is sent", () => {
  const waiting = placedNow(evidence(windowAt(10_000)), BASE, null);
  assert.equal(waiting.clock_offset_ms, null);
  const batch = batchOf(waiting);
  assert.ok(isWaiting(batch));
  const [sent] = placedBatch(batch, compared(HOUR, 750)).entries;
  const document = guestEvidenceSchema.parse(sent?.document);
  assert.equal(document.clock_offset_ms, 750);
  // An hour in which the guest's clock may have been slewed.
  assert.ok((document.clock_error_ms ?? 0) >= 1000 && (document.clock_error_ms ?? 0) < 2500);
});

test("a clock that was set between the window and the comparison leaves the offset unknown", () => {
  for (const step of [-HOUR, -2000, 2000, HOUR]) {
    const batch = batchOf(placedNow(evidence(windowAt(10_000)), BASE, null));
    const [sent] = placedBatch(batch, compared(HOUR, 750 + step, BOOTED + step)).entries;
    const document = guestEvidenceSchema.parse(sent?.document);
    assert.deepEqual([document.clock_offset_ms, document.clock_error_ms], [null, null], `${step}`);
  }
});

test("a window that was cut after the clock was set waits for the next comparison, which places it", () => {
  const base = BOOTED + HOUR;
  const before = compared(10_000, 750);
  assert.equal(isCurrent(before, 12_000, BOOTED), true);
  assert.equal(isCurrent(before, 12_000, base), false);
  const batch = batchOf(placedNow(evidence(windowAt(12_000, base)), { least: base, most: base }, before));
  assert.ok(isWaiting(batch));
  const [sent] = placedBatch(batch, compared(13_000, 750 + HOUR, base)).entries;
  assert.equal(guestEvidenceSchema.parse(sent?.document).clock_offset_ms, 750 + HOUR);
});

test("a clock that was set within the window leaves the offset unknown, a small step makes it less certain", () => {
  const window = windowAt(10_000);
  assert.equal(offsetIn(window, { least: BOOTED, most: BOOTED + 5000 }, compared(11_000, 0)), null);
  const small = offsetIn(window, { least: BOOTED, most: BOOTED + 400 }, compared(11_000, 0));
  assert.ok(small !== null);
  assert.ok(small.offsetMs - small.errorMs <= 0 && small.offsetMs + small.errorMs >= 400);
});

test("the true offset of the window is within what is said, whatever the clock did that is not a sleep", () => {
  const ms = fc.integer({ min: -5000, max: 5000 });
  fc.assert(
    fc.property(
      ms,
      fc.integer({ min: -3000, max: 3000 }),
      fc.integer({ min: 0, max: 4 * HOUR }),
      (ahead, step, later) => {
        // The offset in the window is `ahead`; then the guest's clock is set by `step`, and compared.
        const said = offsetIn(windowAt(20_000), BASE, compared(20_000 + later, ahead + step, BOOTED + step));
        if (said === null) return Math.abs(step) > 1000;
        return Math.abs(ahead - said.offsetMs) <= said.errorMs;
      },
    ),
  );
});

test("a window whose lines have no time of this boot is sent without an offset", () => {
  assert.deepEqual(placedNow(evidence(windowAt(10_000)), null, compared(11_000, 750)), evidence(windowAt(10_000)));
});

test("a batch of an earlier boot, or one that nothing could be compared for, is sent as the wire has it", () => {
  const batch = batchOf(placedNow(evidence(windowAt(10_000)), BASE, null));
  const [sent] = placedBatch(batch, null).entries;
  assert.deepEqual(guestEvidenceSchema.parse(sent?.document), evidence(windowAt(10_000)));
});

test("what the disk has in place of a base is left out, and places nothing", () => {
  for (const base of [null, "yes", { least: 1 }, { least: BOOTED, most: "late" }]) {
    const [sent] = placedBatch(batchOf({ ...evidence(windowAt(10_000)), clock_base: base }), compared(0, 1)).entries;
    assert.deepEqual(guestEvidenceSchema.parse(sent?.document), evidence(windowAt(10_000)));
  }
});

test("clocks that were compared a while ago are compared again", () => {
  assert.equal(isFresh(null, 0), false);
  assert.equal(isFresh(compared(1000, 0), 61_000), true);
  assert.equal(isFresh(compared(1000, 0), HOUR), false);
});

test("a count's edges are uncertain by as long as probes take", () => {
  const said = offsetIn(windowAt(10_000), baseOfCount(BOOTED, null), compared(10_000, 0));
  assert.ok(said !== null && said.errorMs >= 252 && said.errorMs < 260);
  assert.equal(
    offsetIn(windowAt(10_000), baseOfCount(BOOTED, { least: BOOTED - HOUR, most: BOOTED }), compared(1, 0)),
    null,
  );
});
