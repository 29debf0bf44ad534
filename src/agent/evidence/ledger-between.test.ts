import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { counted, trace } from "../../../test/fixtures/calls.ts";
import type { CallCount, Ledger } from "../../facts/ledger.ts";
import { ledgerBetween } from "./ledger-between.ts";

const [T0, T1, T2] = [1_800_000_000_000, 1_800_000_060_000, 1_800_000_120_000];

function ledger(to: number, calls: readonly CallCount[], changes: Partial<Ledger> = {}): Ledger {
  const read = trace(calls, { from: T0, to, ...changes });
  assert.ok(read.state === "read");
  return read.value.ledger;
}

const LATE = "/opt/libcuda.so.1 was mapped while counting: calls in up to 900 ms before it was seen are missing";

describe("what was counted between two looks", () => {
  it("is the difference, with the window between them", () => {
    const before = ledger(T1, [counted(0x50, { 0: 700, 700: 1 })]);
    const now = { ...counted(0x50, { 0: 900, 700: 1, 999: 2 }), bytesToHost: 95_000, lastAt: T2 - 5 };
    const { from, to, calls, coverage } = ledgerBetween(before, ledger(T2, [now, counted(0x33, { 0: 3 })]));
    assert.deepEqual([from, to, coverage], [T1, T2, "full"]);
    const [launches, copies] = calls;
    assert.ok(launches !== undefined);
    assert.deepEqual(launches.results, { 0: 200, 999: 2 });
    assert.deepEqual([launches.count, launches.returned], [202, 202]);
    assert.equal(launches.bytesToHost, 95_000 - 70_100);
    assert.deepEqual([launches.firstAt, launches.lastAt], [T1, T2 - 5]);
    assert.equal(copies?.count, 3);
  });

  it("leaves out what did not happen, and keeps a call that only came back", () => {
    const open = { ...counted(0x33, { 0: 5 }), returned: 4, results: { 0: 4 } };
    const before = ledger(T1, [counted(0x50, { 0: 7 }), open]);
    const after = ledger(T2, [counted(0x50, { 0: 7 }), counted(0x33, { 0: 5 })]);
    const { calls } = ledgerBetween(before, after);
    assert.deepEqual(
      calls.map(({ callId, count, returned, results }) => [callId, count, returned, results]),
      [[0x33, 0, 1, { 0: 1 }]],
    );
  });

  it("has a process that began and ended in between", () => {
    const { calls } = ledgerBetween(ledger(T1, []), ledger(T2, [counted(0x50, { 0: 9 }, 4242)]));
    assert.deepEqual(
      calls.map(({ pid, count }) => [pid, count]),
      [[4242, 9]],
    );
  });

  it("has the gaps of its own time, and those that last; not those of a moment before it", () => {
    const lasting = "the libraries of process 7 may not be read";
    const before = ledger(T1, [], { coverage: "partial", gaps: [LATE] });
    assert.equal(ledgerBetween(before, ledger(T2, [], { coverage: "partial", gaps: [LATE] })).coverage, "full");
    const fresh = ledgerBetween(ledger(T1, []), ledger(T2, [], { coverage: "partial", gaps: [LATE] }));
    assert.deepEqual([fresh.coverage, fresh.gaps], ["partial", [LATE]]);
    const both = { coverage: "partial", gaps: [lasting] } as const;
    assert.deepEqual(ledgerBetween(ledger(T1, [], both), ledger(T2, [], both)).gaps, [lasting]);
    assert.equal(ledgerBetween(ledger(T1, [], { dropped: 3 }), ledger(T2, [], { dropped: 4 })).coverage, "partial");
    assert.equal(ledgerBetween(ledger(T1, []), ledger(T2, [], { coverage: "none" })).coverage, "none");
  });

  it("says that counts began anew, and takes them as they are", () => {
    const before = ledger(T1, [counted(0x50, { 0: 700 })]);
    const after = ledger(T2, [counted(0x50, { 0: 20 })], { from: T1 + 500 });
    const { from, calls, coverage, gaps } = ledgerBetween(before, after);
    assert.deepEqual([from, calls[0]?.count, coverage], [T1 + 500, 20, "partial"]);
    assert.match(gaps[0] ?? "", /began anew/);
  });

  it("adds up: windows one after the other have what one over all of them has", () => {
    const growth = fc.array(fc.array(fc.nat(50), { minLength: 4, maxLength: 4 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(growth, (steps) => {
        const totals = [0, 0, 0, 0];
        const states = steps.map((step) => {
          for (const [index, more] of step.entries()) totals[index] = (totals[index] ?? 0) + more;
          return totals.flatMap((total, index) =>
            total === 0 ? [] : [counted(0x50 + (index % 2), { 0: total }, 100 + Math.floor(index / 2))],
          );
        });
        const looks = [[], ...states].map((calls, index) => ledger(T1 + index, calls));
        const sum = (windows: readonly Ledger[]) =>
          windows.flatMap(({ calls }) => calls).reduce((all, { count }) => all + count, 0);
        const windows = looks.slice(1).map((after, index) => ledgerBetween(looks[index] ?? after, after));
        const whole = ledgerBetween(looks[0] ?? ledger(T0, []), looks.at(-1) ?? ledger(T0, []));
        assert.equal(sum(windows), sum([whole]));
        assert.ok(windows.every(({ calls }) => calls.every(({ count }) => count > 0)));
      }),
    );
  });
});
