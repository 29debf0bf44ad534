import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import fc from "fast-check";
import { VirtualClock } from "../../../test/fixtures/virtual-clock.ts";
import { problem } from "../../checks/catalogue.ts";
import type { Check } from "../../checks/check.ts";
import { pass } from "../../checks/finding.ts";
import { CHECKS } from "../../checks/registry.ts";
import { notRead } from "../../facts/reading.ts";
import { reportSchema } from "../../report/report.ts";
import { conditionSchema } from "../../report/wire/condition.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { ConditionTracker } from "./conditions.ts";
import { FactsReader } from "./facts-reader.ts";
import { agesOf, levelsOf, OBSERVED_CHECKS, type Observed, Observer } from "./observer.ts";
import { RegisterGuard } from "./register-guard.ts";
import { LEVELS, type LevelName, type Parked, Schedule } from "./schedule.ts";

const SECONDS = { light_seconds: 5, device_seconds: 30, status_seconds: 300, full_seconds: 600 };
const NO_LOG = notRead("skipped", "no log in this test");

class Bench {
  readonly clock = new VirtualClock();
  readonly seen: Observed[] = [];
  parked: readonly Parked[] = [];
  broken = false;
  /** The same of a check that rests on what the device level reads. */
  unitBroken = false;
  readonly waiting: LevelName[] = [];
  isLogRead = true;
  readonly tracker = new ConditionTracker({
    visibleMs: 10_000,
    clearMs: 30_000,
    mostGapMs: 1_300_000,
    checks: OBSERVED_CHECKS,
  });
  readonly observer: Observer;

  constructor() {
    const monotonic = this.clock.monotonic;
    const now = () => 1_770_000_000_000 + this.clock.now;
    const reader = new FactsReader({
      fs: new RootFs("/"),
      unit: "no-such-unit-of-this-test.service",
      now,
      monotonic,
      guard: new RegisterGuard(monotonic),
      log: () => ({ log: NO_LOG, ledger: NO_LOG }),
      mostAgeMs: agesOf(SECONDS),
    });
    // In place of what this machine may have there.
    const preloadFile: Check = {
      ...(CHECKS.find(({ name }) => name === "preload-file") ?? assert.fail()),
      judge: (facts) => {
        const shown = [{ source: "test", locator: "test", text: facts.preload.state, at: null }];
        return [this.broken ? problem("VG-L01", { lines: "1" }, shown) : pass("nothing there", shown)];
      },
    };
    const identity: Check = {
      ...(CHECKS.find(({ name }) => name === "service-identity") ?? assert.fail()),
      judge: (facts) => {
        const shown = [{ source: "test", locator: "test", text: facts.unit.state, at: null }];
        return [this.unitBroken ? problem("VG-L01", { lines: "1" }, shown) : pass("runs", shown)];
      },
    };
    this.observer = new Observer({
      reader,
      tracker: this.tracker,
      agent: { pid: 1, startTicks: 1 },
      checks: [preloadFile, identity],
      processes: () => ({ processes: [], events: [], doubt: null }),
      parked: () => this.parked,
      isLogRead: () => this.isLogRead,
      mediator: () => null,
      now,
      monotonic,
      newId: () => "test",
      onObserved: (one) => this.seen.push(one),
      onWaiting: (level) => this.waiting.push(level),
    });
  }

  schedule(): Schedule {
    return new Schedule(
      levelsOf(SECONDS, (level, signal) => this.observer.look(level, signal)),
      this.clock,
    );
  }

  async look(...levels: readonly LevelName[]): Promise<void> {
    for (const level of levels) {
      // The registers are not read in an agent's first second.
      this.clock.now += 2000;
      await this.observer.look(level, new AbortController().signal);
    }
  }

  get reports(): number {
    return this.seen.filter(({ kind }) => kind === "report").length;
  }

  get said(): string[] {
    return this.seen.flatMap((one) => (one.kind === "condition" ? [`${one.document.state} ${one.document.id}`] : []));
  }
}

test("levels that are read at their periods come to conditions and reports that the wire takes", async () => {
  const bench = new Bench();
  const signal = new AbortController().signal;
  await bench.look("device", "status", "full");
  for (let second = 0; second < 60; second += 5) {
    bench.clock.now += 5000;
    bench.broken = second >= 20;
    await bench.observer.look("light", signal);
  }
  assert.deepEqual(bench.said, ["open preload-file/VG-L01/machine"]);
  for (let second = 0; second < 60; second += 5) {
    bench.clock.now += 5000;
    bench.broken = false;
    await bench.observer.look("light", signal);
  }
  assert.deepEqual(bench.said, ["open preload-file/VG-L01/machine", "closed preload-file/VG-L01/machine"]);
  const last = bench.seen.findLast((one) => one.kind === "report")?.document;
  assert.equal(bench.observer.rung, last?.verdict.rung ?? null);
  assert.equal(bench.reports, 3, "one when all was read, one for each change of the verdict");
  for (const { kind, document } of bench.seen) (kind === "report" ? reportSchema : conditionSchema).parse(document);
});

describe("the first report", () => {
  it("waits until every level was read once, whatever their order, and light after the others", async () => {
    const orders = fc.shuffledSubarray([...LEVELS], { minLength: LEVELS.length });
    await fc.assert(
      fc.asyncProperty(orders, async (order) => {
        const bench = new Bench();
        await bench.look(...order.slice(0, -1));
        assert.equal(bench.reports, 0);
        await bench.look(...order.slice(-1));
        assert.equal(bench.reports, order.at(-1) === "light" ? 1 : 0);
        await bench.look("light");
        assert.equal(bench.reports, 1);
        const sources = bench.seen.flatMap((one) => (one.kind === "report" ? one.document.sources : []));
        assert.ok(sources.length > 0);
        assert.deepEqual(
          sources.filter(({ detail }) => detail.includes("has not read it yet")),
          [],
        );
      }),
      { numRuns: 8 },
    );
  });

  it("does not wait for a level that was tried and given up", async () => {
    const bench = new Bench();
    bench.parked = [{ level: "status", reason: "took longer than 30000 ms", failures: 1, retryMs: 600_000 }];
    await bench.look("device", "full");
    assert.equal(bench.reports, 0);
    await bench.look("light");
    assert.equal(bench.reports, 1);
  });

  it("waits for the log to be read up to its end", async () => {
    const bench = new Bench();
    bench.isLogRead = false;
    await bench.look("device", "status", "full", "light", "full", "light");
    assert.equal(bench.reports, 0);
    bench.isLogRead = true;
    await bench.look("light");
    assert.equal(bench.reports, 1);
  });

  it("is followed by one for each full look", async () => {
    const bench = new Bench();
    await bench.look("device", "status", "full", "light", "light", "device");
    assert.equal(bench.reports, 1);
    await bench.look("full");
    assert.equal(bench.reports, 2);
  });
});

test("what a rare level finds bad is looked at again in time for its time-to-visible", async () => {
  const bench = new Bench();
  await bench.look("device", "status", "full", "light");
  bench.unitBroken = true;
  await bench.look("light");
  assert.deepEqual(bench.waiting, [], "the readings are old ones");
  await bench.look("device");
  assert.deepEqual([bench.waiting, bench.said], [["device"], []]);
  await bench.look("light");
  assert.deepEqual(bench.waiting, ["device"], "once for each time that it is read");
  bench.clock.now += 10_000;
  await bench.look("device");
  assert.deepEqual(bench.waiting, ["device"], "it is told, and waits no more");
  assert.equal(bench.said.length, 1);
});

test("a parked level is a condition at once, and ends when it runs again", async () => {
  const bench = new Bench();
  const signal = new AbortController().signal;
  await bench.observer.look("device", signal);
  bench.parked = [{ level: "full", reason: "took longer than 60000 ms", failures: 1, retryMs: 1_200_000 }];
  await bench.observer.look("light", signal);
  assert.deepEqual(bench.said, ["open observation/blind/1@1"]);
  bench.parked = [];
  for (let second = 0; second < 60; second += 5) {
    bench.clock.now += 5000;
    await bench.observer.look("light", signal);
  }
  assert.deepEqual(bench.said, ["open observation/blind/1@1", "closed observation/blind/1@1"]);
});

test("a schedule has a level for each period of the settings", () => {
  assert.doesNotThrow(() => new Bench().schedule().start());
  assert.ok(agesOf(SECONDS).light < agesOf(SECONDS).device);
});
