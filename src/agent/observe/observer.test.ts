import assert from "node:assert/strict";
import { test } from "node:test";
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
import { type Parked, Schedule } from "./schedule.ts";

const SECONDS = { light_seconds: 5, device_seconds: 30, status_seconds: 300, full_seconds: 600 };
const NO_LOG = notRead("skipped", "no log in this test");

class Bench {
  readonly clock = new VirtualClock();
  readonly seen: Observed[] = [];
  parked: readonly Parked[] = [];
  broken = false;
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
    this.observer = new Observer({
      reader,
      tracker: this.tracker,
      agent: { pid: 1, startTicks: 1 },
      checks: [preloadFile],
      processes: () => ({ processes: [], events: [], doubt: null }),
      parked: () => this.parked,
      mediatorEpoch: () => null,
      now,
      monotonic,
      newId: () => "test",
      onObserved: (one) => this.seen.push(one),
    });
  }

  schedule(): Schedule {
    return new Schedule(
      levelsOf(SECONDS, (level, signal) => this.observer.look(level, signal)),
      this.clock,
    );
  }

  get said(): string[] {
    return this.seen.flatMap((one) => (one.kind === "condition" ? [`${one.document.state} ${one.document.id}`] : []));
  }
}

test("levels that are read at their periods come to conditions and reports that the wire takes", async () => {
  const bench = new Bench();
  const signal = new AbortController().signal;
  await bench.observer.look("full", signal);
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
  const reports = bench.seen.filter(({ kind }) => kind === "report");
  assert.equal(reports.length, 3, "one after the full look, one for each change of the verdict");
  for (const { kind, document } of bench.seen) (kind === "report" ? reportSchema : conditionSchema).parse(document);
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
