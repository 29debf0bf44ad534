import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DEFAULT_RATE_LIMIT, RateCap, type RateLimit } from "./rate-cap.ts";

const START = 1_767_225_600_000;
const LATER = START + 86_400_000;

interface Emitted {
  readonly at: number;
  /** Another unit begins to log then: journald forgets intervals that are over. */
  readonly forget: boolean;
}

interface Kept {
  readonly at: number;
  /** journald's record of what it dropped, in front of a line. */
  readonly record: number;
}

/** What journald keeps, as it does it (journald-rate-limit.c): the truth that the rule is measured against. */
function journald(lines: readonly Emitted[], { intervalMs, burst }: RateLimit, room: number) {
  const most = Math.floor((burst * room) / 4);
  const kept: Kept[] = [];
  let begin: number | null = null;
  let stored = 0;
  let suppressed = 0;
  let forgotten = 0;
  for (const { at, forget } of lines) {
    if (forget && begin !== null && begin + intervalMs < at) {
      forgotten += suppressed;
      begin = null;
      suppressed = 0;
    }
    if (begin === null || begin + intervalMs < at) {
      kept.push({ at, record: suppressed });
      begin = at;
      stored = 1;
      suppressed = 0;
    } else if (stored < most) {
      kept.push({ at, record: 0 });
      stored += 1;
    } else suppressed += 1;
  }
  return { kept, unreported: forgotten + suppressed };
}

function judge(kept: readonly Kept[], limit: RateLimit | null, now = LATER) {
  const cap = new RateCap(limit);
  for (const { at, record } of kept) {
    if (record > 0) cap.reported();
    cap.note(at, 1);
  }
  return cap.result(now);
}

const burstOf = (count: number, from = START, everyMs = 0.01) =>
  Array.from({ length: count }, (_, index) => ({ at: Math.floor(from + index * everyMs), forget: false }));

describe("journald's limit", () => {
  it("is seen in a burst of 100,000 lines of which the last was never followed by another", () => {
    const { kept, unreported } = journald(burstOf(100_000), DEFAULT_RATE_LIMIT, 15);
    assert.deepEqual([kept.length, unreported], [37_500, 62_500]);
    assert.deepEqual(judge(kept, DEFAULT_RATE_LIMIT), {
      intervals: 1,
      intervalMs: 30_000,
      lines: 37_500,
      exact: true,
    });
  });

  it("is nothing to flag where the record tells what was dropped", () => {
    const lines = [...burstOf(100_000), ...burstOf(3, START + 31_000)];
    const { kept, unreported } = journald(lines, DEFAULT_RATE_LIMIT, 15);
    assert.equal(unreported, 0);
    assert.equal(judge(kept, DEFAULT_RATE_LIMIT), null);
  });

  it("is flagged in the middle of a log when another unit made journald forget", () => {
    const lines = [...burstOf(50_000), { at: START + 40_000, forget: true }, ...burstOf(10, START + 40_001)];
    const { kept, unreported } = journald(lines, DEFAULT_RATE_LIMIT, 12);
    assert.deepEqual([kept.length, unreported], [30_011, 20_000]);
    assert.equal(judge(kept, DEFAULT_RATE_LIMIT)?.intervals, 1);
  });

  it("is possible when a burst of that size ends in silence, and not while lines still come", () => {
    const lines = burstOf(11_111, START, 0.5).map(({ at }) => ({ at, record: 0 }));
    assert.deepEqual(judge(lines, DEFAULT_RATE_LIMIT)?.exact, false);
    assert.equal(judge(lines, DEFAULT_RATE_LIMIT, START + 6000), null);
    const steady = burstOf(60_001, START, 2).map(({ at }) => ({ at, record: 0 }));
    assert.equal(judge(steady, DEFAULT_RATE_LIMIT, START + 120_100), null);
  });

  it("is not met by fewer lines than the burst, by more than any limit lets through, nor where there is none", () => {
    assert.equal(
      judge(
        burstOf(250_000).map(({ at }) => ({ at, record: 0 })),
        DEFAULT_RATE_LIMIT,
      ),
      null,
    );
    assert.equal(
      judge(
        burstOf(9999).map(({ at }) => ({ at, record: 0 })),
        DEFAULT_RATE_LIMIT,
      ),
      null,
    );
    const { kept } = journald(burstOf(100_000), DEFAULT_RATE_LIMIT, 15);
    assert.equal(judge(kept, null), null);
  });

  it("is found from counts of whole seconds, too", () => {
    const { kept } = journald(
      [0, 1, 2].flatMap((part) => burstOf(100_000, START + 700 + part * 40_000)),
      DEFAULT_RATE_LIMIT,
      15,
    );
    const cap = new RateCap(DEFAULT_RATE_LIMIT);
    const seconds = Map.groupBy(kept, ({ at }) => Math.floor(at / 1000) * 1000);
    for (const [at, lines] of seconds) {
      if (lines.some(({ record }) => record > 0)) cap.reported();
      cap.note(at, lines.length);
    }
    assert.deepEqual(cap.result(LATER), { intervals: 1, intervalMs: 30_000, lines: 37_500, exact: true });
  });

  it("is never missed: whatever was dropped without a record is flagged", () => {
    const limit = { intervalMs: 2000, burst: 40 };
    const part = fc.record({
      count: fc.integer({ min: 1, max: 400 }),
      everyMs: fc.constantFrom(0, 0.1, 1, 5),
      pauseMs: fc.integer({ min: 0, max: 6000 }),
      forget: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 8 }), fc.integer({ min: 4, max: 24 }), (parts, room) => {
        let at = START;
        const lines: Emitted[] = [];
        for (const { count, everyMs, pauseMs, forget } of parts) {
          at += pauseMs;
          for (const [index, one] of burstOf(count, at, everyMs).entries()) {
            lines.push({ at: one.at, forget: forget && index === 0 });
          }
          at = lines.at(-1)?.at ?? at;
        }
        const { kept, unreported } = journald(lines, limit, room);
        const found = judge(kept, limit);
        if (unreported > 0) assert.notEqual(found, null);
        if (kept.length < limit.burst) assert.equal(found, null);
      }),
      { numRuns: 2000 },
    );
  });

  it("survives clocks that are set back, and stays small", () => {
    const cap = new RateCap(DEFAULT_RATE_LIMIT);
    for (let index = 0; index < 200_000; index += 1) cap.note(START - index * 500, 3);
    assert.equal(cap.result(LATER), null);
  });
});
