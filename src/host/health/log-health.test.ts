import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readMediatorLog, readMediatorStream } from "../mediator-log/read.ts";
import type { LogHealth } from "./facts.ts";
import { LogHealthBuilder } from "./log-health.ts";

const SAMPLE = fileURLToPath(new URL("../../../../shared/samples/h100/mediator.log", import.meta.url));
const NO_SAMPLE = existsSync(SAMPLE) ? false : "the log of a real mediator is not at hand";

const RULE = "===========================================================";
const BANNER = `${RULE}\n  MEDIATOR DAEMON v3.1 \u2014 Phase 3+: CUDA API Remoting\n${RULE}\n`;
const BEAT = "[HEARTBEAT] alive \u2014 1 server socket(s), admin_fd=48\n";
const OLD_LAUNCH =
  "[cuda-executor] cuLaunchKernel: func=0x1234 name=<unknown> mod=0x0 stream=0x0 grid=(1,1,1) block=(64,1,1) shared=0 params=3 mode=0 vm=184549525\n";

/** Owner of a process of VM 11. */
const owner = (pid: number): number => 11 * 2 ** 24 + pid;
const end = (id: number, call: string, status = 0): string =>
  `[MEDIATOR] CUDA result sent vm_id=11 request_id=${id} call_id=${call} result.status=${status} -> stub sets DONE\n`;
const init = (pid: number, id: number): string =>
  `[cuda-executor] CUDA_CALL_INIT vm=${owner(pid)} \u2014 pipeline live\n${end(id, "0x1")}`;
const alloc = (pid: number, id: number): string =>
  `[cuda-executor] cuMemAlloc: allocating 4096 bytes on physical GPU (vm=${owner(pid)})\n` +
  `[cuda-executor] cuMemAlloc SUCCESS: allocated 0x7f00 on physical GPU (vm=${owner(pid)})\n${end(id, "0x30")}`;
const cleanup = (pid: number, id: number): string =>
  `[MEDIATOR] CUDA process cleanup vm_id=11 owner=${owner(pid)} request_id=${id}\n${end(id, "0xfe")}`;

async function healthOf(...parts: readonly string[]): Promise<LogHealth> {
  const builder = new LogHealthBuilder();
  const pieces = async function* () {
    for (const part of parts) yield Buffer.from(part);
  };
  await readMediatorStream(pieces(), (event) => builder.take(event), { now: () => 5000 });
  return builder.facts();
}

describe("runs of the mediator", () => {
  test("that ended with a word, without one, in a call and through an old handle are told apart", async () => {
    const endings: readonly (readonly [string, string])[] = [
      ["[SHUTDOWN] Received signal 15, shutting down gracefully...\n", "shutdown"],
      ["", "silent"],
      [`[cuda-executor] cuMemAlloc: allocating 4096 bytes on physical GPU (vm=${owner(1)})\n`, "in-a-call"],
      [OLD_LAUNCH, "old-handle"],
    ];
    for (const [text, expected] of endings) {
      const { epochs } = await healthOf(BANNER + init(1, 1) + BEAT + text + BANNER + BEAT);
      assert.deepEqual(
        epochs.map(({ end: how }) => how),
        [expected, "open"],
        expected,
      );
    }
  });

  test("that never got a banner are said to begin in the middle", async () => {
    const { epochs } = await healthOf(init(1, 1) + BEAT);
    assert.equal(epochs[0]?.hasBanner, false);
    assert.equal(epochs[0]?.calls, 1);
  });

  test("are counted when there are more than are kept", async () => {
    const { epochs, epochsSeen } = await healthOf((BANNER + BEAT).repeat(100));
    assert.equal(epochsSeen, 100);
    assert.ok(epochs.length < 100);
    assert.equal(epochs.at(-1)?.end, "open");
  });
});

test("the last heartbeat is the current run's, with its time, and whether anything came after it", async () => {
  const beaten = await healthOf(BANNER, init(1, 1) + BEAT);
  assert.deepEqual(beaten.lastHeartbeat?.when.to, 5000);
  assert.equal(beaten.isHeartbeatLast, true);
  assert.equal((await healthOf(BANNER + BEAT + init(1, 1))).isHeartbeatLast, false);
  assert.equal((await healthOf(BANNER + BEAT + BANNER)).lastHeartbeat, null);
});

test("a failed recovery is the run's, and a restart ends it", async () => {
  const failed =
    `[cuda-executor] Recovering primary context after vm_id=${owner(1)} fault: cuLaunchKernel sync hit CUDA_ERROR_ILLEGAL_ADDRESS\n` +
    `[cuda-executor] ERROR: failed to re-retain primary context after recovery: rc=700\n${end(2, "0x50", 700)}`;
  const { epochs } = await healthOf(BANNER + init(1, 1) + failed + BANNER);
  assert.equal(epochs[0]?.recoveryFailed?.owner, owner(1));
  assert.equal(epochs[1]?.recoveryFailed, null);
});

describe("processes of an earlier run", () => {
  test("that go on without beginning anew hold old handles", async () => {
    const { oldOwners } = await healthOf(BANNER + init(77, 1) + alloc(77, 2) + BANNER + alloc(77, 3));
    assert.equal(oldOwners.length, 1);
    assert.deepEqual([oldOwners[0]?.vmId, oldOwners[0]?.pid], [11, 77]);
    assert.notEqual(oldOwners[0]?.goesOn, null);
  });

  test("that were not seen since may or may not run", async () => {
    const { oldOwners } = await healthOf(BANNER + init(77, 1) + BANNER + BEAT);
    assert.equal(oldOwners[0]?.goesOn, null);
  });

  test("are forgotten when they were cleaned up, or when a new process has their pid", async () => {
    assert.deepEqual((await healthOf(BANNER + init(77, 1) + cleanup(77, 2) + BANNER)).oldOwners, []);
    assert.deepEqual((await healthOf(BANNER + init(77, 1) + BANNER + cleanup(77, 2))).oldOwners, []);
    assert.deepEqual((await healthOf(BANNER + init(77, 1) + BANNER + init(77, 2) + alloc(77, 3))).oldOwners, []);
  });

  test("are not old because the log begins a new file", async () => {
    assert.deepEqual((await healthOf(init(77, 1) + alloc(77, 2))).oldOwners, []);
  });

  test("are bounded, and what may be missing is said", async () => {
    let text = BANNER;
    for (let pid = 1; pid <= 5000; pid += 1) text += init(pid, pid);
    const { oldOwners, isCrowded } = await healthOf(text + BANNER);
    assert.equal(isCrowded, true);
    assert.ok(oldOwners.length > 0 && oldOwners.length <= 4096);
  });
});

test("bytes that are no log make no run and no end", async () => {
  const { epochs, lastHeartbeat } = await healthOf("\0".repeat(1000), "\xff\xfe hello\n".repeat(100));
  assert.ok(epochs.every(({ hasBanner, calls }) => !hasBanner && calls === 0));
  assert.equal(lastHeartbeat, null);
});

test("a real log: one run that was shut down, and did not recover from the fault in it", {
  skip: NO_SAMPLE,
}, async () => {
  const builder = new LogHealthBuilder();
  await readMediatorLog(SAMPLE, (event) => builder.take(event));
  const { epochs, oldOwners } = builder.facts();
  assert.deepEqual(
    epochs.map(({ end: how, hasBanner, calls }) => [how, hasBanner, calls]),
    [["shutdown", true, 732]],
  );
  // The process of the scenario with the illegal store.
  assert.equal(epochs[0]?.recoveryFailed?.owner, owner(271));
  assert.deepEqual(oldOwners, []);
});
