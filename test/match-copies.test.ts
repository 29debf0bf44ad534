import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { emptyProcess, type GuestEvidence, noEvidence } from "../src/host/match/guest-evidence.ts";
import { match } from "../src/host/match/matcher.ts";
import type { OperationName, Side } from "../src/host/match/result.ts";
import { evidenceOfTrace } from "../src/host/match/trace-evidence.ts";
import { type CopiesOptions, copiesScenario } from "./fixtures/match-copies.ts";
import { device, Stage } from "./fixtures/match-stage.ts";
import { followed, isIn, START, type TimedOperation, type TimedScenario, traceOf } from "./fixtures/match-windows.ts";
import type { GuestProcess } from "./fixtures/mediator-vm.ts";

const VM = 9;
const CHUNK = 65_536;
const OFFSET = 34_567;
const COPIES = ["copy-in", "copy-out"] as const;
const KINDS = { "copy-in": ["copy-in", "copy-in-async"], "copy-out": ["copy-out"] } as const;

/** What surely lies in the window: the figure itself, where it is no range. */
const surely = ({ count, least }: Side): number => (least ?? { count }).count;

describe("copies in chunks at a window's edges", () => {
  const PID = 500;
  const FROM = 1_010_000;
  const TO = 1_020_000;
  const INSIDE = FROM + 3000;
  const LATER = FROM + 5000;
  const BEFORE = FROM - 1000;
  const AFTER = TO + 1000;

  interface Case {
    readonly stage: Stage;
    readonly device: ReturnType<typeof device>;
    readonly process: GuestProcess;
    readonly ptr: number;
    /** One chunk of a copy in, or several, at a moment. */
    readonly into: (now: number, bytes?: number, of?: GuestProcess) => void;
    readonly outOf: (now: number, chunk: number, bytes?: number) => void;
    readonly launch: (now: number) => void;
  }

  function begun(): Case {
    const stage = new Stage(BEFORE - 5000);
    stage.log.start([VM]);
    const dev = device(VM);
    const process = stage.process(dev, PID);
    const ptr = process.alloc(64 * CHUNK) ?? assert.fail();
    const at = (now: number, act: () => void): void => {
      stage.now = now;
      act();
    };
    return {
      stage,
      device: dev,
      process,
      ptr,
      into: (now, bytes = CHUNK, of = process) => at(now, () => of.copyIn(ptr, bytes)),
      outOf: (now, chunk, bytes = CHUNK) => at(now, () => process.copyOut(ptr + chunk * CHUNK, bytes)),
      launch: (now) => at(now, () => process.launch("mul_mat")),
    };
  }

  const call = (call_id: number, count: number, returned: number) => ({
    call_id,
    count,
    returned,
    bytes_to_host: null,
    bytes_back: null,
    failed: 0,
    first_at: null,
    last_at: null,
  });

  /** The host's side of a process; `told`: the copies that the guest entered in the window, and those that came back; of those, open ones at its end. */
  function sideOf(
    { stage }: Case,
    told: readonly [entered: number, returned: number, open?: number] = [0, 0],
    operation: OperationName = "copy-in",
    pid = PID,
  ): Side {
    for (const now of [AFTER + 100, AFTER + 8000]) {
      stage.now = now;
      stage.log.heartbeat();
    }
    const call_id = operation === "copy-in" ? 0x32 : 0x33;
    const [entered, returned, opened = Math.max(0, entered - returned)] = told;
    const open = Array.from({ length: opened }, () => ({ call_id, age_ms: 10 }));
    const calls = [call(call_id, entered, returned)];
    const of = { counted_by: "kernel" as const, coverage: "full" as const, calls, open };
    const process = { ...emptyProcess(pid), ...of };
    const window = { from: FROM, to: TO };
    const evidence: GuestEvidence = {
      ...noEvidence(VM),
      clock_offset_ms: 0,
      clock_error_ms: 100,
      window,
      processes: [process],
    };
    const { result } = match(evidence, VM, stage.host);
    const found = result.processes[0]?.operations.find((one) => one.operation === operation);
    return found?.host ?? assert.fail();
  }

  it("count a copy whose chunks all lie in the window, whatever ends it", () => {
    const ends: readonly ((it: Case) => void)[] = [
      ({ into }) => into(LATER, 100),
      ({ launch }) => launch(LATER),
      // Its last chunk is where it ended, however late the next call comes.
      ({ launch }) => launch(AFTER),
      ({ stage, process }) => {
        stage.now = AFTER;
        process.cleanup();
      },
    ];
    for (const end of ends) {
      const it = begun();
      for (let index = 0; index < 10; index += 1) it.into(INSIDE + 100 * index);
      end(it);
      assert.equal(surely(sideOf(it)), 1);
    }
  });

  it("do not count one that began before, and may count it", () => {
    const it = begun();
    it.into(BEFORE);
    it.into(INSIDE);
    it.into(LATER, 100);
    const { count, least, bytes, records } = sideOf(it, [0, 1]);
    assert.deepEqual([count, least, bytes, records], [1, { count: 0, bytes: CHUNK + 100, failed: 0 }, CHUNK + 100, 2]);
  });

  it("do not count one that ends after, and may count it", () => {
    const it = begun();
    it.into(INSIDE);
    it.into(LATER);
    it.into(AFTER, 100);
    const { count, least } = sideOf(it, [1, 0]);
    assert.deepEqual([count, least?.count], [1, 0]);
  });

  it("do not count one that began before and ends after, nor one at an edge that the clocks do not tell", () => {
    const around = begun();
    for (const now of [BEFORE, INSIDE, AFTER]) around.into(now);
    around.launch(AFTER);
    assert.deepEqual(surely(sideOf(around, [0, 0])), 0);
    for (const edge of [FROM - 50, FROM + 50, TO - 50, TO + 50]) {
      const it = begun();
      const moments = edge < INSIDE ? [edge, INSIDE] : [INSIDE, edge];
      for (const now of moments) it.into(now);
      it.launch(AFTER);
      const { count, least } = sideOf(it, [1, 1]);
      assert.deepEqual([count, least?.count], [1, 0], String(edge - FROM));
    }
  });

  it("count those between one that began before and one that ends after", () => {
    const it = begun();
    it.into(BEFORE);
    it.into(INSIDE, 100);
    for (let copy = 0; copy < 5; copy += 1) {
      for (let chunk = 0; chunk < 20; chunk += 1) it.into(LATER + 200 * copy + 5 * chunk);
      it.into(LATER + 200 * copy + 150, 300);
    }
    it.into(TO - 500);
    it.into(AFTER, 100);
    const { count, least } = sideOf(it, [6, 6, 1]);
    assert.deepEqual([count, least?.count], [7, 5]);
  });

  it("count as one what may be one, as long as the guest does not tell", () => {
    const it = begun();
    for (let chunk = 0; chunk < 12; chunk += 1) it.into(INSIDE + 10 * chunk);
    it.launch(LATER);
    assert.equal(surely(sideOf(it)), 1);
    // Three copies of four chunks each, which the guest saw beginning and coming back.
    const { count, least } = sideOf(it, [3, 3]);
    assert.deepEqual([count, least], [3, null]);
  });

  it("do not take the guest's word for copies that it lost, or whose records may be lost", () => {
    const it = begun();
    for (let chunk = 0; chunk < 4; chunk += 1) it.into(INSIDE + 10 * chunk);
    it.device.requestId += 4;
    it.launch(LATER);
    assert.equal(surely(sideOf(it, [2, 2])), 1);
    assert.equal(surely(sideOf(it, [2, 1])), 1);
  });

  it("do not count an unfinished copy at the end of the log", () => {
    const it = begun();
    for (let chunk = 0; chunk < 4; chunk += 1) it.into(INSIDE + 10 * chunk);
    const { count, least } = sideOf(it, [1, 0]);
    assert.deepEqual([count, least?.count], [1, 0]);
  });

  it("follow each of two processes whose chunks stand between each other", () => {
    const it = begun();
    const other = it.stage.process(it.device, PID + 1);
    it.into(BEFORE);
    it.into(INSIDE, CHUNK, other);
    it.into(INSIDE + 10);
    it.into(INSIDE + 20, CHUNK, other);
    it.into(LATER, 100);
    it.into(LATER + 10, 100, other);
    assert.equal(surely(sideOf(it)), 0);
    assert.equal(surely(sideOf(it, [0, 0], "copy-in", PID + 1)), 1);
  });

  it("do not give what a process began to the next one with its pid", () => {
    for (const isCleaned of [true, false]) {
      const it = begun();
      it.into(BEFORE);
      it.into(BEFORE + 10);
      if (isCleaned) it.process.cleanup();
      it.stage.now = INSIDE;
      const next = it.stage.process(it.device, PID);
      it.into(INSIDE + 10, CHUNK, next);
      it.into(LATER, 100, next);
      assert.equal(surely(sideOf(it)), 1);
    }
  });

  it("count a copy that lost chunks in its middle once, and none whose beginning or end may be lost", () => {
    const lost = (it: Case, now: number, bytes = CHUNK): void => {
      it.stage.isLosing = true;
      it.into(now, bytes);
      it.stage.isLosing = false;
    };
    const middle = begun();
    middle.into(INSIDE);
    lost(middle, INSIDE + 10);
    middle.into(LATER, 100);
    assert.equal(surely(sideOf(middle)), 1);

    const beginning = begun();
    lost(beginning, BEFORE);
    beginning.into(INSIDE);
    beginning.into(LATER, 100);
    assert.equal(surely(sideOf(beginning)), 0);

    const end = begun();
    end.into(INSIDE);
    lost(end, AFTER, 100);
    end.launch(AFTER + 10);
    assert.equal(surely(sideOf(end)), 0);

    const both = begun();
    both.launch(INSIDE);
    lost(both, INSIDE + 10);
    both.into(INSIDE + 20);
    lost(both, INSIDE + 30, 100);
    both.launch(LATER);
    assert.equal(surely(sideOf(both)), 1);
  });

  it("tell copies out by their addresses", () => {
    const it = begun();
    it.outOf(BEFORE, 0);
    it.outOf(INSIDE, 1);
    it.outOf(INSIDE + 10, 2, 100);
    it.outOf(INSIDE + 20, 0);
    it.outOf(INSIDE + 30, 1);
    // The same place again: another copy, and so on.
    it.outOf(LATER, 0);
    it.outOf(LATER + 10, 0);
    it.launch(LATER + 20);
    assert.equal(surely(sideOf(it, [0, 0], "copy-out")), 3);
  });

  it("do not count what a reader that came late may have missed the beginning of", () => {
    const it = begun();
    it.stage.isLosing = true;
    const other = it.stage.process(it.device, PID + 1);
    it.stage.isLosing = false;
    it.into(INSIDE, CHUNK, other);
    it.into(LATER, 100, other);
    assert.equal(surely(sideOf(it, [0, 0], "copy-in", PID + 1)), 0);
  });

  it("take back a copy that is continued between another transport's calls", () => {
    const it = begun();
    const transport = it.stage.process(it.device, PID);
    it.into(INSIDE);
    it.into(INSIDE + 10);
    it.stage.now = INSIDE + 20;
    transport.launch("mul_mat");
    it.into(AFTER, 100);
    assert.equal(surely(sideOf(it)), 0);
  });
});

describe("copies in windows of a followed log", () => {
  interface Run extends CopiesOptions {
    /** Of the scenario's time, in percent. */
    readonly start: number;
    readonly lengthMs: number;
    readonly errorMs: number;
    /** How wrong the measured offset is, in percent of the error that is told. */
    readonly wrong: number;
    readonly pollMs: number;
    readonly reading: number;
    /** How long after the window it is asked; null: when all has been written. */
    readonly askedMs: number | null;
  }

  interface Seen {
    readonly lies: string[];
    /** Copies that were truly made in the window, and those that are said to have been. */
    readonly true: number;
    readonly said: number;
  }

  /** The simple truth: every call of it was answered in the window, it is over, and how many touch the window. */
  function truthOf(operations: readonly TimedOperation[], window: { from: number; to: number }) {
    const touching = operations.filter(({ terminators }) => terminators.some((at) => isIn(at, window)));
    const whole = touching.filter(({ terminators }) => terminators.every((at) => isIn(at, window)));
    return { whole: whole.length, touching: touching.length };
  }

  function run(one: Run, scenario: TimedScenario = copiesScenario(one)): Seen {
    const length = scenario.end - START;
    const from = START + Math.floor((length * one.start) / 100);
    const window = { from, to: Math.min(from + one.lengthMs, scenario.end) };
    const asked = one.askedMs === null ? Number.POSITIVE_INFINITY : window.to + one.askedMs;
    const pieces = scenario.pieces.filter(({ at }) => at <= asked);
    const since = START + Math.floor((length * one.reading) / 100);
    const host = followed({ ...scenario, pieces }, { since, pollMs: one.pollMs });
    const clock = { offsetMs: OFFSET + (one.errorMs * one.wrong) / 100, errorMs: one.errorMs };
    const evidence = evidenceOfTrace(traceOf(scenario, VM, window, OFFSET), { vmId: VM, bootId: null, clock });
    const { result } = match(evidence, VM, host);
    const lies: string[] = [];
    let [known, said] = [0, 0];
    for (const { pid, operations } of result.processes) {
      for (const operation of COPIES) {
        const found = operations.find((other) => other.operation === operation);
        // Not of a window: what is not in the log at all, or has no time.
        if (found === undefined || found.host === null || found.before === null) continue;
        const kinds: readonly string[] = KINDS[operation];
        const mine = scenario.operations.filter((other) => other.pid === pid && kinds.includes(other.kind));
        const { whole, touching } = truthOf(mine, window);
        const { host: side, guest, confidence } = found;
        const name = `process ${pid}, ${operation}, ${confidence.level}: ${JSON.stringify({ side, guest })}`;
        if (surely(side) > whole) lies.push(`${name}: ${whole} lie in it`);
        if (surely(side) > side.count) lies.push(`${name}: no range`);
        if ((side.least?.failed ?? 0) > surely(side)) lies.push(`${name}: more failed than there are`);
        const isSeen = one.lostCalls === 0 && one.reading === 0 && one.askedMs === null && !one.kills;
        if (isSeen && confidence.level === "STRONG" && side.count < touching)
          lies.push(`${name}: ${touching} touch it`);
        known += whole;
        said += surely(side);
      }
    }
    return { lies, true: known, said };
  }

  const runs: fc.Arbitrary<Run> = fc.record({
    seed: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    processes: fc.integer({ min: 1, max: 4 }),
    unlocked: fc.boolean(),
    kills: fc.boolean(),
    lostCalls: fc.constantFrom(0, 0, 5, 50),
    start: fc.integer({ min: 0, max: 95 }),
    lengthMs: fc.integer({ min: 200, max: 20_000 }),
    errorMs: fc.constantFrom(0, 5, 50, 500),
    wrong: fc.integer({ min: -100, max: 100 }),
    pollMs: fc.constantFrom(50, 250, 1000),
    reading: fc.constantFrom(0, 0, 30, 70),
    askedMs: fc.constantFrom(null, 0, 100, 1000),
  });

  it("are never said to lie in it when a part of them does not", () => {
    fc.assert(
      fc.property(runs, (one) => {
        assert.deepEqual(run(one).lies, []);
      }),
      { numRuns: 300 },
    );
  });

  it("are found, most of them", (t) => {
    let [known, said] = [0, 0];
    for (let seed = 0; seed < 60; seed += 1) {
      const at = { start: 20, lengthMs: 6000, errorMs: 5, wrong: 50, pollMs: 50, reading: 0, askedMs: null };
      const seen = run({ seed, processes: 3, unlocked: seed % 2 === 0, kills: false, lostCalls: 0, ...at });
      known += seen.true;
      said += seen.said;
    }
    t.diagnostic(`of ${known} copies that lie in a window ${((100 * said) / known).toFixed(1)} % surely do`);
    assert.ok(said > 0.8 * known);
  });
});
