import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "../../../test/fixtures/virtual-clock.ts";
import { RegisterGuard } from "./register-guard.ts";
import { type Level, type LevelName, type Parked, Schedule } from "./schedule.ts";

const PERIODS: Readonly<Record<LevelName, number>> = { light: 5000, device: 30_000, status: 300_000, full: 600_000 };

class Bench {
  readonly clock = new VirtualClock();
  readonly runs: (readonly [LevelName, number])[] = [];
  readonly parked: (readonly [LevelName, Parked | null])[] = [];
  readonly does = new Map<LevelName, (signal: AbortSignal) => Promise<void>>();
  running = 0;
  most = 0;
  readonly schedule: Schedule;

  constructor(names: readonly LevelName[] = ["light", "device", "status", "full"]) {
    const levels = names.map((name): Level => {
      const run = async (signal: AbortSignal) => {
        this.runs.push([name, this.clock.now]);
        this.running += 1;
        this.most = Math.max(this.most, this.running);
        try {
          await this.does.get(name)?.(signal);
        } finally {
          this.running -= 1;
        }
      };
      return { name, periodMs: PERIODS[name], limitMs: 10_000, cpuMs: 500, run };
    });
    const onParked = (level: LevelName, parked: Parked | null) => this.parked.push([level, parked]);
    this.schedule = new Schedule(levels, this.clock, { onParked });
    this.schedule.start();
  }

  count(name: LevelName): number {
    return this.runs.filter(([one]) => one === name).length;
  }

  /** Milliseconds between the runs of a level. */
  gaps(name: LevelName): number[] {
    const times = this.runs.filter(([one]) => one === name).map(([, at]) => at);
    return times.slice(1).map((at, index) => at - (times[index] ?? 0));
  }
}

test("each level runs at its period, one at a time", async () => {
  const bench = new Bench();
  bench.does.set("light", () => bench.clock.sleep(20));
  bench.does.set("full", () => bench.clock.sleep(3000));
  await bench.clock.pass(3600_000);
  assert.ok(Math.abs(bench.count("light") - 720) < 12, String(bench.count("light")));
  assert.ok(Math.abs(bench.count("device") - 120) <= 2);
  assert.ok(Math.abs(bench.count("status") - 12) <= 1);
  assert.ok(Math.abs(bench.count("full") - 6) <= 1);
  assert.equal(bench.most, 1);
  assert.deepEqual(bench.parked, []);
});

test("VMs that start together do not look together", async () => {
  const first = async (chance: number) => {
    const bench = new Bench();
    bench.clock.chance = chance;
    await bench.schedule.stop();
    bench.schedule.start();
    await bench.clock.pass(20_000);
    return bench.runs.find(([name]) => name === "full")?.[1];
  };
  assert.notEqual(await first(0.1), await first(0.9));
});

test("after the VM was suspended each level runs once, and then at its period again", async () => {
  const bench = new Bench();
  await bench.clock.pass(60_000);
  const before = bench.runs.length;
  bench.clock.suspend(7 * 86_400_000);
  await bench.clock.pass(100);
  assert.ok(bench.runs.length - before <= 4, `${bench.runs.length - before} runs at once`);
  const after = bench.count("light");
  await bench.clock.pass(60_000);
  assert.ok(Math.abs(bench.count("light") - after - 12) <= 1);
});

test("a level that hangs is given up, parked with longer and longer waits, and no other waits for it", async () => {
  const bench = new Bench(["light", "device"]);
  bench.does.set("device", (signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())));
  await bench.clock.pass(3600_000);
  const gaps = bench.gaps("device");
  assert.deepEqual(gaps.slice(0, 4), [60_000, 120_000, 240_000, 480_000]);
  assert.match(bench.schedule.parked()[0]?.reason ?? "", /longer than 10000 ms/);
  assert.ok(bench.count("light") > 600);
  bench.does.delete("device");
  await bench.clock.pass(4 * 3600_000);
  assert.deepEqual(bench.schedule.parked(), []);
  assert.equal(bench.parked.at(-1)?.[1], null);
  assert.ok(
    bench
      .gaps("device")
      .slice(-10)
      .every((gap) => gap === 30_000),
    "back at its period",
  );
});

test("a run that does not even end when asked keeps its own level from running twice at once", async () => {
  const bench = new Bench(["light", "device"]);
  let release = () => {};
  bench.does.set("device", () => new Promise((resolve) => (release = resolve)));
  await bench.clock.pass(86_400_000);
  assert.equal(bench.count("device"), 1);
  assert.ok(bench.count("light") > 17_000);
  bench.does.delete("device");
  release();
  await bench.clock.pass(3600_000);
  assert.ok(bench.count("device") > 1);
});

test("a level that takes too much CPU, or fails, is parked and says why", async () => {
  const bench = new Bench(["light", "full"]);
  bench.does.set("full", async () => {
    bench.clock.cpuMs += 2000;
  });
  bench.does.set("light", async () => {
    throw new Error("no /proc here");
  });
  await bench.clock.pass(20_000);
  const reasons = bench.schedule.parked().map(({ reason }) => reason);
  assert.deepEqual(reasons, ["failed: no /proc here", "took 2000 ms of CPU time, more than 500 ms"]);
});

test("waits end at an hour, and never become shorter than the period", async () => {
  const bench = new Bench(["light"]);
  bench.does.set("light", async () => {
    throw new Error("always");
  });
  await bench.clock.pass(2 * 86_400_000);
  const gaps = bench.gaps("light");
  assert.equal(Math.max(...gaps), 3600_000);
  assert.ok(gaps.every((gap, index) => index === 0 || gap >= (gaps[index - 1] ?? 0)));
});

test("an event brings a level forward, but never more often than is safe, and never STATUS", async () => {
  const bench = new Bench();
  await bench.clock.pass(60_000);
  const [device, status] = [bench.count("device"), bench.count("status")];
  for (let second = 0; second < 60; second += 1) {
    bench.schedule.trigger("device");
    bench.schedule.trigger("status");
    await bench.clock.pass(1000);
  }
  assert.ok(bench.count("device") - device >= 5);
  assert.ok(bench.count("device") - device <= 7);
  assert.equal(bench.count("status"), status);
});

test("slowed down it looks less often", async () => {
  const bench = new Bench(["light"]);
  bench.schedule.slowDown(4);
  await bench.clock.pass(600_000);
  assert.ok(bench.count("light") <= 32);
});

test("when stopped nothing runs any more, and what runs is asked to end", async () => {
  const bench = new Bench(["light"]);
  bench.does.set("light", (signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())));
  await bench.clock.pass(6000);
  assert.equal(bench.running, 1);
  await bench.schedule.stop();
  assert.equal(bench.running, 0);
  await bench.clock.pass(600_000);
  assert.equal(bench.count("light"), 1);
});

test("registers are read at most once a second and STATUS once a minute, also right after a start", () => {
  const clock = new VirtualClock();
  const taken = { registers: 0, status: 0 };
  let guard = new RegisterGuard(clock.monotonic);
  for (let step = 0; step < 36_000; step += 1) {
    clock.now += 100;
    // The agent is started anew every 30 seconds in the first half hour.
    if (step < 18_000 && step % 300 === 0) guard = new RegisterGuard(clock.monotonic);
    if (guard.take("registers")) taken.registers += 1;
    if (guard.take("status")) taken.status += 1;
  }
  assert.ok(taken.registers <= 3600);
  assert.equal(taken.status, 30, "none while it was restarted, then one a minute");
});
