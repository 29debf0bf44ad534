import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { HEALTHY, LOG_FILE, NOW, PROCESS } from "../../../test/fixtures/mediator-health.ts";
import { wasRead } from "../../facts/reading.ts";
import { hostHealthSchema } from "../../report/wire/answers.ts";
import type { MediatorHealthFacts } from "../health/facts.ts";
import { HealthWatch, runsElsewhere } from "./health-watch.ts";

const NOBODY: MediatorHealthFacts = {
  ...HEALTHY,
  processes: wasRead([]),
  deviceModels: wasRead([]),
  logFile: wasRead({ ...LOG_FILE, writtenAt: NOW - 5000 }),
  collectedAt: NOW,
};

describe("the look at the mediator's health", () => {
  it("knows a log that comes from another machine: it goes on, and neither mediator nor VM is here", () => {
    assert.equal(runsElsewhere(NOBODY), true);
    assert.equal(runsElsewhere({ ...NOBODY, processes: wasRead([PROCESS]) }), false);
    assert.equal(runsElsewhere({ ...NOBODY, deviceModels: HEALTHY.deviceModels }), false, "a VM without a mediator");
    assert.equal(runsElsewhere({ ...NOBODY, unseen: ["hidden"] }), false);
    const silent = { ...NOBODY, logFile: wasRead({ ...LOG_FILE, writtenAt: NOW - 60_000 }) };
    assert.equal(runsElsewhere(silent), false, "nobody writes: it may have ended here");
  });

  it("tells nothing before the first look, and after it what fits the wire, with the log's own state", async () => {
    const root = mkdtempSync(join(tmpdir(), "vgpu-health-"));
    try {
      const logPath = join(root, "mediator.log");
      writeFileSync(logPath, "");
      let looks = 0;
      const watch = new HealthWatch({
        root,
        logPath,
        log: () => null,
        following: () => ({ problem: null, readAt: NOW + 0.5, behindBytes: 7, watchedSince: null }),
        now: () => NOW,
        onFacts: () => {
          looks += 1;
        },
        onError: (error) => assert.fail(String(error)),
        everyMs: 1000,
      });
      assert.equal(watch.forVm(11), null);
      await watch.look();
      const told = hostHealthSchema.parse(watch.forVm(11));
      assert.deepEqual(told.log, { state: "followed", read_at: NOW, behind_bytes: 7, watched_since: null });
      const ofProcess = told.findings.filter(({ check }) => check === "mediator-process");
      assert.deepEqual(
        ofProcess.map(({ outcome }) => outcome),
        ["unknown"],
        "an empty tree shows no health",
      );
      assert.equal(looks, 1);
      await watch.stop();
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});
