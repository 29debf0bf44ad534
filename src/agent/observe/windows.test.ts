import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { guestEvidenceSchema } from "../../host/match/guest-evidence-schema.ts";
import { JournalEntry } from "../../sensors/journal/entry.ts";
import { EntryFields } from "../../sensors/journal/match.ts";
import { FileLine } from "../../sensors/log-file.ts";
import { NO_PREFIX } from "../../sensors/log-times.ts";
import type { Followed } from "./log-follow.ts";
import { type LogPosition, logPositionsSchema } from "./log-position.ts";
import { type CutWindow, type ReadTime, WindowCutter } from "./windows.ts";

/** Epoch milliseconds at the boot of these tests. */
const T0 = Date.parse("2026-03-26T06:00:00Z");
const BOOT = "a".repeat(32);

interface Given {
  readonly text: string;
  /** Seconds since boot. */
  readonly s: number;
  readonly bootId?: string;
  readonly manager?: boolean;
  readonly pid?: number;
  /** Seconds that the wall clock is off. */
  readonly off?: number;
}

let seqnum = 0;
function journal({ text, s, bootId = BOOT, manager = false, pid = 1187, off = 0 }: Given): Followed {
  const fields = new EntryFields();
  fields.add({ says: manager ? 2 : 1, name: "pid", value: String(pid) });
  seqnum += 1;
  const position = {
    seqnumId: "f".repeat(32),
    seqnum,
    bootId,
    monotonic: s * 1e6,
    realtime: (T0 + (s + off) * 1000) * 1000,
  };
  const entry = new JournalEntry(position, 0, seqnum, fields);
  entry.message = Buffer.from(text, "latin1");
  return { kind: "line", entry, position: () => ({ kind: "journal", cursor: entry.locator }) };
}

const CALL = 0x0050;
const call = (seq: number, pid = 1203) =>
  `[cuda-transport] SENDING to VGPU-STUB: call_id=0x00${CALL.toString(16)} seq=${seq} args=4 data_len=88 (pid=${pid})`;
/** The line before a call is sent: without it nothing counts the call. */
const invoked = (sent: string) =>
  `[cuda-transport] cuda_transport_call() INVOKED: call_id=0x00${CALL.toString(16)} data_len=88 tp=0x1 bar0=0x2${/ \(pid=\d+\)/.exec(sent)?.[0] ?? ""}`;
const withInvoked = (one: Given): Given[] =>
  one.text.includes("SENDING") ? [{ ...one, text: invoked(one.text) }, one] : [one];
const gin = (status = 200) =>
  `[GIN] 2026/03/26 - 06:13:24 | ${status} |  1.204512345s |       127.0.0.1 | POST     "/api/generate"`;
const END = "ollama.service: Main process exited, code=dumped, status=11/SEGV";

class Bench {
  readonly windows: CutWindow[] = [];
  now = T0;
  readonly cutter = new WindowCutter({
    onWindow: (window) => this.windows.push(window),
    server: () => undefined,
    now: () => this.now,
  });

  give(...given: readonly Given[]): this {
    for (const one of given.flatMap(withInvoked)) this.take(journal(one));
    return this;
  }

  take(item: Followed, read: Partial<ReadTime> = {}): void {
    this.cutter.take("journal", item, { monotonic: 0, notBefore: null, notAfter: T0, ...read });
  }

  /** Sequence numbers by window. */
  get sequences(): number[][] {
    for (const { document, positions } of this.windows) {
      guestEvidenceSchema.parse(document);
      logPositionsSchema.parse(positions);
    }
    return this.windows.map(({ document }) =>
      document.processes.flatMap(({ sequence }) => sequence.map(({ seq }) => seq)),
    );
  }
}

test("a window ends some seconds after its request was answered; late lines are in it", () => {
  const bench = new Bench().give(
    { text: call(1), s: 10 },
    { text: call(2), s: 11 },
    { text: gin(), s: 12 },
    { text: call(3), s: 14 },
    { text: call(4), s: 16 },
  );
  assert.deepEqual(bench.sequences, [[1, 2, 3]]);
  assert.deepEqual(
    bench.windows[0]?.document.requests.map(({ status, duration_ms }) => [status, Math.round(duration_ms ?? 0)]),
    [[200, 1205]],
  );
  assert.deepEqual(bench.windows[0]?.document.window, { from: T0 + 10_000, to: T0 + 14_000 });
  assert.equal(bench.windows[0]?.document.boot_id, BOOT);
});

test("without another line it ends when its time is over, not before a line could still be on its way", () => {
  const bench = new Bench().give({ text: call(1), s: 10 }, { text: gin(), s: 12 });
  bench.cutter.tick(15_000);
  bench.cutter.tick(20_000);
  assert.equal(bench.windows.length, 0);
  bench.cutter.tick(21_001);
  assert.deepEqual(bench.sequences, [[1]]);
  bench.cutter.tick(100_000);
  assert.equal(bench.windows.length, 1);
});

test("silence ends a window, and five minutes do", () => {
  const silent = new Bench().give({ text: call(1), s: 10 }, { text: call(2), s: 45 });
  assert.deepEqual(silent.sequences, [[1]]);
  const busy = new Bench();
  for (let second = 0; second <= 700; second += 20) busy.give({ text: call(1 + second), s: second });
  assert.equal(busy.windows.length, 2);
});

test("the end of the workload ends its window, and its processes", () => {
  const bench = new Bench().give(
    { text: call(1), s: 10 },
    { text: END, s: 11, manager: true, pid: 1 },
    { text: call(2), s: 12 },
    { text: call(1), s: 20 },
  );
  assert.deepEqual(bench.sequences, [[1, 2]]);
  assert.deepEqual(
    bench.windows[0]?.document.processes.map(({ ended }) => ended),
    [true],
  );
});

test("a runner that was seen to end is marked, the others are not", () => {
  const bench = new Bench().give({ text: call(1, 1203), s: 10 }, { text: call(1, 1300), s: 10 });
  bench.cutter.processEnded(1203, 11_000);
  bench.cutter.tick(30_000);
  assert.deepEqual(
    bench.windows[0]?.document.processes.map(({ pid, ended }) => [pid, ended]),
    [
      [1203, true],
      [1300, null],
    ],
  );
});

test("a reboot ends a window, whatever the clocks of the two boots say", () => {
  const bench = new Bench().give(
    { text: call(1), s: 4000 },
    { text: call(7), s: 3, bootId: "b".repeat(32), off: -86_400 },
    { text: gin(), s: 4, bootId: "b".repeat(32), off: -86_400 },
    { text: call(9), s: 9, bootId: "b".repeat(32) },
  );
  assert.deepEqual(bench.sequences, [[1], [7]]);
  assert.deepEqual(
    bench.windows.map(({ document }) => document.boot_id),
    [BOOT, "b".repeat(32)],
  );
});

test("jumps of the wall clock cut nothing", () => {
  const bench = new Bench().give(
    { text: call(1), s: 10 },
    { text: call(2), s: 11, off: 86_400 },
    { text: call(3), s: 12, off: -86_400 },
    { text: gin(), s: 13 },
    { text: call(4), s: 17 },
  );
  assert.deepEqual(bench.sequences, [[1, 2, 3]]);
});

test("a gap is in a window, and opens one when there is none", () => {
  const bench = new Bench();
  bench.take({ kind: "gap", text: "entries 5 to 9 were gone" }, { monotonic: 1000 });
  bench.cutter.tick(60_000);
  assert.deepEqual(bench.windows[0]?.document.gaps, ["entries 5 to 9 were gone"]);
  bench.give({ text: call(1), s: 100 });
  bench.take({ kind: "gap", text: "journald dropped 7 lines of the unit" }, { monotonic: 100_500 });
  bench.cutter.tick(200_000);
  assert.deepEqual(bench.windows[1]?.document.gaps, ["journald dropped 7 lines of the unit"]);
  assert.equal(bench.windows[1]?.document.processes[0]?.cut.sequence, true);
  assert.notEqual(bench.windows[1]?.document.processes[0]?.coverage, "full");
});

test("lines that nobody can match make no window, and move the settled position", () => {
  const bench = new Bench().give(
    { text: "level=INFO msg=hello", s: 1 },
    { text: gin(200).replace("generate", "ps"), s: 2 },
  );
  bench.cutter.tick(1_000_000);
  assert.deepEqual(bench.windows, []);
  assert.notEqual(bench.cutter.settled.journal, undefined);
  const before = bench.cutter.settled;
  bench.give({ text: call(1), s: 3 }, { text: call(2), s: 4 });
  assert.deepEqual(bench.cutter.settled, before, "an open window is not settled");
});

test("a line without a pid is of the process that was named before it, over a cut too", () => {
  const [named, unnamed] = [call(1), call(2).replace(" (pid=1203)", "")];
  const bench = new Bench().give({ text: named, s: 10 }, { text: gin(), s: 11 }, { text: unnamed, s: 20 });
  bench.cutter.tick(1_000_000);
  assert.deepEqual(
    bench.windows.map(({ document }) => document.processes.map(({ pid }) => pid)),
    [[1203], [1203]],
  );
});

test("lines of a file without times have the reach of the looks that found them", () => {
  const bench = new Bench();
  const position: LogPosition = { kind: "file", path: "/var/log/x", sources: [] };
  const item = journal({ text: invoked(call(1)), s: 0 });
  assert.ok(item.kind === "line");
  const { message, truncated, pid, invocationId, fromManager } = item.entry;
  const entry = { at: null, message, truncated, pid, bootId: null, invocationId, fromManager, locator: "/var/log/x:0" };
  const read = { monotonic: 50_000, notBefore: T0 + 49_750, notAfter: T0 + 50_000 };
  bench.cutter.take("file", { kind: "line", entry, position: () => position }, read);
  bench.cutter.tick(200_000);
  assert.deepEqual(bench.windows[0]?.document.window, { from: T0 + 49_750, to: T0 + 50_000 });
  assert.deepEqual(bench.windows[0]?.positions.file, position);
});

test("a document that would be too large to travel leaves lists out and says so", () => {
  const bench = new Bench();
  for (let pid = 1; pid <= 8; pid += 1) {
    for (let seq = 1; seq <= 4096; seq += 1) bench.give({ text: call(seq, 1000 + pid), s: 10 });
  }
  bench.cutter.tick(1_000_000);
  const [window] = bench.windows;
  assert.ok(window !== undefined && JSON.stringify(window.document).length < 1024 * 1024);
  const cut = window.document.processes.filter(({ sequence }) => sequence.length === 0);
  assert.ok(cut.length > 0 && cut.length < 8);
  assert.ok(cut.every(({ cut: lists }) => lists.sequence));
});

const event = fc.record({
  text: fc.constantFrom(call(3), call(900), call(1, 1300), gin(), gin(500), "level=INFO msg=hello", END),
  after: fc.constantFrom(0, 0.1, 1, 2.9, 3.1, 29, 31, 200),
  tick: fc.boolean(),
});

test("read again from any window's position, the same lines make the same windows; every line is in one", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 80 }), (events) => {
      let s = 100;
      const items = events.flatMap(({ text, after, tick }) => {
        s += after;
        const manager = text === END;
        const lines = withInvoked({ text, s, manager, pid: manager ? 1 : 1187 });
        return lines.map((line, index) => ({ item: journal(line), s, tick: tick && index === 0 }));
      });
      const run = (from: number, ticks: boolean) => {
        const bench = new Bench();
        for (const { item, s: at, tick } of items.slice(from)) {
          // Up to now there was no line: as a service that runs sees it.
          if (ticks && tick) bench.cutter.tick(at * 1000 - 1);
          bench.take(item);
        }
        bench.cutter.tick(s * 1000 + 1_000_000);
        return bench.windows;
      };
      const cursorAt = (index: number) => {
        const item = items[index]?.item;
        return item?.kind === "line" ? item.entry.locator : "";
      };
      const whole = run(0, false);
      assert.deepEqual(run(0, true).map(shape), whole.map(shape), "looking while nothing comes changes nothing");
      const calls = whole.flatMap(({ document }) => document.processes.flatMap(({ sequence }) => sequence.length));
      const given = events.filter(({ text }) => text.startsWith("[cuda")).length;
      assert.equal(
        calls.reduce((sum, count) => sum + count, 0),
        given,
      );
      for (const [index, { positions }] of whole.entries()) {
        const at = items.findIndex((_, number) => cursorAt(number) === positions.journal?.cursor);
        assert.ok(at >= 0);
        assert.deepEqual(run(at + 1, false).map(shape), whole.slice(index + 1).map(shape), "again from there");
      }
    }),
    { numRuns: 300 },
  );
});

const shape = ({ document, positions }: CutWindow) => ({
  window: document.window,
  requests: document.requests,
  calls: document.processes.map(({ pid, sequence }) => [pid, sequence.map(({ seq }) => seq)]),
  positions,
});

test("the place where reading goes on is settled, also of a source that was never looked at", () => {
  const start = { journal: { kind: "journal", cursor: "s=1;i=5" } } as const;
  const windows: CutWindow[] = [];
  const cutter = new WindowCutter({
    start,
    onWindow: (one) => windows.push(one),
    server: () => undefined,
    now: () => T0,
  });
  assert.deepEqual(cutter.settled, start);
  const file = { kind: "file", path: "/var/log/x", sources: [] } as const;
  const line = journal({ text: invoked(call(1)), s: 10 });
  assert.ok(line.kind === "line");
  cutter.take(
    "file",
    { ...line, position: () => ({ ...file, sources: [] }) },
    { monotonic: 0, notBefore: null, notAfter: T0 },
  );
  cutter.tick(60_000);
  assert.deepEqual(windows[0]?.positions, { ...start, file });
});

test("a window says how the wall clock stood to the boot's clock over its lines, and that it was set", () => {
  const still = new Bench().give({ s: 10, text: call(1) }, { s: 11, text: gin() }, { s: 20, text: "later" });
  assert.deepEqual(still.windows[0]?.base, { least: T0, most: T0 });
  const set = new Bench().give({ s: 10, text: call(1) }, { s: 11, text: gin(), off: 3600 }, { s: 20, text: "later" });
  assert.deepEqual(set.windows[0]?.base, { least: T0, most: T0 + 3_600_000 });
});

const fileLine = (text: string) => new FileLine("/var/log/x", 0, Buffer.from(text, "latin1"), false, NO_PREFIX);

test("lines without a time of their own have the clocks of the look that read them, if the look before is not long ago", () => {
  const file: LogPosition = { kind: "file", path: "/var/log/x", sources: [] };
  const baseAfter = (sinceLast: number | null) => {
    const bench = new Bench();
    const line = (text: string, monotonic: number) => {
      const notAfter = T0 + monotonic + 500;
      const notBefore = sinceLast === null ? null : notAfter - sinceLast;
      bench.take({ kind: "line", entry: fileLine(text), position: () => file }, { monotonic, notBefore, notAfter });
    };
    line(invoked(call(1)), 10_000);
    line(call(1), 10_000);
    line(gin(), 10_000);
    bench.cutter.tick(60_000);
    return bench.windows[0]?.base;
  };
  assert.deepEqual(baseAfter(250), { least: T0 + 500, most: T0 + 500 });
  assert.equal(baseAfter(null), null, "whenever they were written");
  assert.equal(baseAfter(3_600_000), null);
  assert.equal(baseAfter(-3_600_000), null, "the clock was set back between the two looks");
});
