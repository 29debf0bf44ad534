import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LostProcesses } from "./lost-processes.ts";
import { ProcessState } from "./process-state.ts";

const ended = (pid: number, at: number | null): ProcessState => {
  const process = new ProcessState(pid);
  process.lastAt = at === null ? null : { notBefore: at - 1, notAfter: at };
  return process;
};
const from = (moment: number) => ({ from: moment, to: moment + 100, innerFrom: moment, innerTo: moment + 100 });

describe("processes that are no longer held", () => {
  it("are rivals of a later one with their pid, but not in a window that began when they had ended", () => {
    const lost = new LostProcesses();
    lost.add(ended(7, 1000));
    assert.deepEqual(
      [lost.has(7, null), lost.has(7, from(900)), lost.has(7, from(1001)), lost.has(8, null)],
      [true, true, false, false],
    );
  });

  it("are rivals at any time where the log has none", () => {
    const lost = new LostProcesses();
    lost.add(ended(7, 1000));
    lost.add(ended(7, null));
    assert.equal(lost.has(7, from(5000)), true);
  });

  it("are remembered up to a bound, beyond which any pid may have been theirs", () => {
    const lost = new LostProcesses();
    for (let pid = 1; pid <= 4096; pid += 1) lost.add(ended(pid, pid));
    assert.equal(lost.has(99_999, null), false);
    lost.add(ended(4097, 4097));
    assert.deepEqual([lost.has(99_999, null), lost.has(99_999, from(2))], [true, false]);
  });
});
