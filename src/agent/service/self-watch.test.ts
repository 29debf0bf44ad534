import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readSelf, type SelfReading, SelfWatch } from "./self-watch.ts";

const LIMITS = { memoryBytes: 100, cpuShare: 0.05 };

/** Looks every 5 s for so many seconds with this share of CPU time and this memory; gives the last state. */
function watcher() {
  let reading: SelfReading = { atMs: 0, cpuMs: 0, rssBytes: 0 };
  const watch = new SelfWatch(LIMITS, () => reading);
  return (seconds: number, share: number, rssBytes = 50) => {
    let state = watch.sample();
    for (let passed = 0; passed < seconds; passed += 5) {
      reading = { atMs: reading.atMs + 5000, cpuMs: reading.cpuMs + 5000 * share, rssBytes };
      state = watch.sample();
    }
    return state;
  };
}

describe("the agent's watch over itself", () => {
  it("does not know its share before a minute has passed", () => {
    assert.equal(watcher()(55, 0.5).cpuShare, null);
  });

  it("measures the share of the last minute alone", () => {
    const run = watcher();
    run(600, 0.5);
    const { cpuShare } = run(60, 0.01);
    assert.ok(cpuShare !== null && Math.abs(cpuShare - 0.01) < 1e-9);
  });

  it("looks half as often, and again, while it takes too much, and as often as before when that is over", () => {
    const run = watcher();
    assert.equal(run(60, 0.2).slowness, 2);
    assert.equal(run(60, 0.2).slowness, 4);
    assert.equal(run(600, 0.2).slowness, 16);
    assert.equal(run(60, 0.04).slowness, 16, "between half of the limit and the limit nothing changes");
    assert.equal(run(600, 0.001).slowness, 1);
  });

  it("asks for a new start only when memory stays above the limit for a minute", () => {
    const run = watcher();
    assert.equal(run(55, 0, 101).mustRestart, false);
    assert.equal(run(5, 0, 99).mustRestart, false);
    assert.equal(run(60, 0, 101).mustRestart, false);
    assert.equal(run(5, 0, 101).mustRestart, true);
  });

  it("reads this very process", () => {
    const before = readSelf();
    const until = performance.now() + 30;
    while (performance.now() < until);
    const after = readSelf();
    assert.ok(after.cpuMs - before.cpuMs > 5);
    assert.ok(after.rssBytes > 10e6);
  });
});
