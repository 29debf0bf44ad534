import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { counted, trace } from "../../../test/fixtures/calls.ts";
import type { Ledger, LedgerProcess, TraceFacts } from "../../facts/ledger.ts";
import { LiveWindows } from "./live-windows.ts";

const T0 = 1_800_000_000_000;
const UNIT = "ollama.service";
const LATE = "/opt/libcuda.so.1 was mapped while counting: calls in up to 900 ms before it was seen are missing";

/** A kernel whose counts a test sets. */
class Bench {
  now = T0;
  /** pid → launches since the counting began. */
  readonly launches = new Map<number, number>();
  processes: readonly LedgerProcess[] = [];
  gaps: readonly string[] = [];
  open: Ledger["open"] = [];
  readonly windows = new LiveWindows({ unit: UNIT, snapshot: () => this.ledger() });

  ledger(): Ledger {
    const calls = [...this.launches].map(([pid, count]) => counted(0x50, { 0: count }, pid));
    const { gaps, open, processes } = this;
    const coverage = gaps.length > 0 ? "partial" : "full";
    const read = trace(calls, { from: T0, to: this.now, gaps, open, processes, coverage });
    assert.ok(read.state === "read");
    return read.value.ledger;
  }

  launch(pid: number, count: number): void {
    this.launches.set(pid, (this.launches.get(pid) ?? 0) + count);
  }

  /** Each second; the first window that ends. */
  until(seconds: number, act: (second: number) => void = () => {}, hasLogWindow = false): TraceFacts | null {
    for (let second = 0; second < seconds; second += 1) {
      this.now += 1000;
      act(second);
      const window = this.windows.tick(hasLogWindow);
      if (window !== null) return window;
    }
    return null;
  }
}

const countOf = (window: TraceFacts | null) =>
  window?.ledger.calls.reduce((sum, { count }) => sum + count, 0) ?? assert.fail("no window");

describe("windows of what the kernel counts", () => {
  it("are none while nothing happens", () => {
    assert.equal(new Bench().until(600), null);
  });

  it("end after a minute while calls happen, and leave nothing out", () => {
    const bench = new Bench();
    bench.windows.saw([7]);
    assert.equal(bench.until(30), null);
    const first = bench.until(100, () => bench.launch(7, 10));
    assert.equal(bench.now, T0 + 90_000);
    assert.deepEqual([first?.ledger.from, first?.ledger.to], [T0 + 30_000, T0 + 90_000]);
    const second = bench.until(100, () => bench.launch(7, 10));
    assert.equal(second?.ledger.from, first?.ledger.to);
    assert.equal(countOf(first) + countOf(second), bench.launches.get(7));
    assert.deepEqual([first?.workload, first?.ledger.coverage], [[7], "full"]);
  });

  it("end in silence, and have a process that ended", () => {
    const bench = new Bench();
    bench.until(5);
    bench.windows.saw([], [7]);
    const window = bench.until(60, (second) => second === 0 && bench.launch(7, 3));
    assert.equal(bench.now, T0 + 16_000);
    assert.deepEqual([countOf(window), window?.workload], [3, [7]]);
  });

  it("wait for the log's window, and begin in the silence before its request", () => {
    const bench = new Bench();
    bench.windows.saw([7]);
    bench.until(20);
    bench.until(5, () => bench.launch(7, 10), true);
    const window = bench.windows.cut({ from: T0 + 21_000, to: T0 + 24_000 }, T0 + 12_000);
    assert.deepEqual([window?.ledger.from, window?.ledger.to], [T0 + 11_000, T0 + 25_000]);
    assert.equal(countOf(window), 50);
    assert.equal(bench.until(60), null, "all of it was in that window");
  });

  it("are not joined with lines from before the counting, and keep their calls for the next", () => {
    const bench = new Bench();
    bench.windows.saw([7]);
    bench.until(5, () => bench.launch(7, 1), true);
    assert.equal(bench.windows.cut({ from: T0 - 50_000, to: T0 + 3000 }, null), null);
    assert.equal(bench.windows.cut({ from: null, to: T0 + 3000 }, null), null);
    assert.equal(countOf(bench.windows.cut({ from: T0, to: T0 + 4000 }, null)), 5);
  });

  it("have no calls of other programs, which begin no window either", () => {
    const bench = new Bench();
    bench.windows.saw([7]);
    bench.processes = [{ pid: 99, comm: "python3", libraries: [], unit: "other.service", group: null, ppid: 1 }];
    assert.equal(
      bench.until(120, () => bench.launch(99, 5)),
      null,
    );
    const window = bench.until(120, () => {
      bench.launch(7, 1);
      bench.launch(99, 5);
    });
    assert.deepEqual([window?.ledger.calls.map(({ pid }) => pid), window?.others], [[7], [99]]);
  });

  it("have no calls of programs that ended at once, when the kernel saw them call from elsewhere", () => {
    const bench = new Bench();
    bench.windows.saw([7]);
    const brief = { pid: 99, comm: "", libraries: [], unit: null, group: null, ppid: null };
    bench.processes = [{ ...brief, group: "/user.slice" }];
    assert.equal(
      bench.until(120, () => bench.launch(99, 5)),
      null,
    );
    bench.processes = [brief];
    assert.equal(countOf(bench.until(120, () => bench.launch(99, 5))), 300, "it may be the workload's");
  });

  it("have the calls of whoever has a pid at last", () => {
    const bench = new Bench();
    const runner = { pid: 7, comm: "ollama", libraries: [], unit: UNIT, group: `/system.slice/${UNIT}`, ppid: 1 };
    bench.processes = [runner];
    bench.until(3, () => bench.launch(7, 1));
    assert.equal(countOf(bench.windows.rest()), 3);
    bench.windows.saw([], [7]);
    bench.processes = [{ ...runner, unit: "cron.service", group: "/system.slice/cron.service" }];
    bench.until(3, () => bench.launch(7, 1));
    assert.equal(bench.windows.rest(), null);
    bench.processes = [runner];
    bench.until(3, () => bench.launch(7, 1));
    assert.equal(countOf(bench.windows.rest()), 3);
  });

  it("begin in a silence in which another program hangs in a call", () => {
    const bench = new Bench();
    bench.windows.saw([7]);
    bench.processes = [{ pid: 99, comm: "python3", libraries: [], unit: null, group: null, ppid: 1 }];
    bench.open = [{ pid: 99, tid: 99, callId: 0x33, ageMs: 10 }];
    bench.until(100);
    const window = bench.until(60, (second) => second === 0 && bench.launch(7, 1));
    assert.deepEqual([window?.ledger.from, window?.ledger.open], [T0 + 100_000, []]);
  });

  it("say what was missed where it was missed, and not ever after", () => {
    const bench = new Bench();
    bench.windows.saw([7]);
    bench.until(10);
    bench.gaps = [LATE];
    const first = bench.until(70, () => bench.launch(7, 1));
    const second = bench.until(70, () => bench.launch(7, 1));
    assert.deepEqual([first?.ledger.coverage, second?.ledger.coverage], ["partial", "full"]);
  });

  it("have a call that hangs in them as open", () => {
    const bench = new Bench();
    bench.windows.saw([7]);
    bench.until(3);
    bench.open = [{ pid: 7, tid: 7, callId: 0x33, ageMs: 10 }];
    const window = bench.until(60, (second) => second === 0 && bench.launch(7, 1));
    assert.equal(window?.ledger.open.length, 1);
  });

  it("give what is left when nobody waits for their end", () => {
    const bench = new Bench();
    bench.windows.saw([7]);
    assert.equal(bench.windows.rest(), null);
    bench.until(3, () => bench.launch(7, 1));
    assert.equal(countOf(bench.windows.rest()), 3);
    assert.equal(bench.windows.rest(), null);
  });
});
