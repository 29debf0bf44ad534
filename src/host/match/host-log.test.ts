import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import { type Generation, MediatorLog, randomNumbers } from "../../../test/fixtures/mediator-log.ts";
import { mediatorScenario } from "../../../test/fixtures/mediator-scenario.ts";
import { GuestProcess } from "../../../test/fixtures/mediator-vm.ts";
import { logScanPath } from "../../native/log-scan.ts";
import { startBulk } from "../mediator-log/bulk-start.ts";
import { LogFeed } from "../mediator-log/feed.ts";
import { readHostLog } from "./host-log.ts";
import { HostState } from "./host-state.ts";
import type { ProcessState } from "./process-state.ts";

const SAMPLES = join(import.meta.dirname, "../../../../shared/samples");
const WHOLE = { depth: Infinity, showHidden: false, maxArrayLength: Infinity, compact: true, breakLength: 200 };

const processSaid = (process: ProcessState) => ({
  process,
  lists: [process.allocations, process.failures, process.payloads, process.anchors].map(({ items }) => items),
  copies: [process.copiesIn.runs, process.copiesOut.runs],
  transport: process.transport,
  hasTimes: process.buckets.between({ from: 0, to: 1, innerFrom: 0, innerTo: 1 }),
});

/** All that a state says to who asks: nothing of it may depend on how the log was read. */
function saidBy(host: HostState): string {
  const parts = host.vms.map((vm) => {
    const records = Array.from({ length: 50_000 }, (_, id) => vm.records.get(id)).filter((record) => record !== null);
    return {
      vm,
      lists: [vm.gaps, vm.rejections, vm.unframed].map(({ items }) => items),
      processes: vm.processes.map(processSaid),
      whole: processSaid(vm.whole),
      shared: vm.isShared,
      domains: vm.domains,
      records,
    };
  });
  const { events, restarts, unreadLines, heartbeats, lastLines, vmsDropped, poison } = host;
  const counts = { events, restarts, unreadLines, heartbeats, vmsDropped };
  return inspect({ parts, counts, lastLines, fault: poison.current, flags: host.flags([]) }, WHOLE);
}

/** The same log, event by event, each of which somebody asks about. */
function stateOf(bytes: Buffer): HostState {
  const host = new HostState();
  let epochs = 0;
  const emit = (event: Parameters<typeof host.add>[0]): void => {
    host.add(event);
    // Who asks gets what holds now: nothing is noted for later.
    host.vm(-1);
  };
  const feed = new LogFeed({ log: 0, emit, nextEpoch: () => epochs++ });
  feed.push(bytes);
  feed.finish();
  return host;
}

/** A model of one or more processes at work, with calls between theirs that name nobody. */
function atWork(seed: number, rounds: number): Buffer {
  const random = randomNumbers(seed);
  const parts: string[] = [];
  const log = new MediatorLog((text) => parts.push(text), { chunk: 512 });
  const devices = [0, 1].map((index) => ({
    vmId: 8 + index,
    domId: 2 + index,
    fd: 47 + index,
    requestId: 100 * index,
  }));
  log.start(devices.map(({ vmId }) => vmId));
  const processes = [0, 0, 1].map((device, index) => {
    const process = new GuestProcess(
      log,
      devices[device] ?? { vmId: 8, domId: 2, fd: 47, requestId: 0 },
      48000 + index,
    );
    if (random() % 4 > 0) process.init();
    return process;
  });
  for (let round = 0; round < rounds; round += 1) {
    const process = processes[random() % processes.length];
    if (process === undefined) continue;
    for (let count = random() % 12; count > 0; count -= 1) {
      const what = random() % 24;
      if (what < 10) process.launch(`kernel_${random() % 3}`);
      else if (what < 14) process.gemm();
      else if (what < 17) process.synchronize();
      else if (what < 20) process.copyIn(0x7f0000000000, 512 * (1 + (random() % 40)));
      else if (what === 20) process.gemm(true);
      else if (what === 21) process.copyOut(0x7f0000000000, 700);
      else if (what === 22) process.alloc(4096);
      else if (random() % 10 === 0) process.launch("bad", true);
    }
    if (random() % 30 === 0) process.cleanup();
    if (random() % 60 === 0) log.start([8, 9]);
    if (random() % 40 === 0) log.heartbeat();
    if (random() % 50 === 0) process.rejectedLaunch();
    if (random() % 50 === 0) process.device.requestId += random() % 3;
  }
  return Buffer.from(parts.join(""), "latin1");
}

describe("the host's state", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "vgpu-agent-host-log-"));
  });
  after(() => rmSync(directory, { recursive: true }));

  /** Read in both ways: in bulk where that is possible, and as a file. */
  async function readOf(bytes: Buffer): Promise<HostState[]> {
    const path = join(directory, "log");
    writeFileSync(path, bytes);
    await using file = await open(path);
    const parsed = await readHostLog(file, { started: null });
    if (logScanPath() === null) return [parsed];
    const started = await startBulk(file, { least: 1 });
    assert.notEqual(started, null);
    return [parsed, await readHostLog(file, { started })];
  }

  async function assertSame(bytes: Buffer): Promise<void> {
    const expected = saidBy(stateOf(bytes));
    for (const host of await readOf(bytes)) assert.equal(saidBy(host), expected);
  }

  test("is the same however the log is read, of processes at work", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1_000_000), fc.integer({ min: 1, max: 300 }), async (seed, rounds) => {
        await assertSame(atWork(seed, rounds));
      }),
      { numRuns: 60 },
    );
  });

  for (const generation of ["current", "plain-owner", "no-terminators"] satisfies Generation[]) {
    test(`is the same however the log is read (${generation})`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.nat(10_000), fc.boolean(), async (seed, trouble) => {
          await assertSame(mediatorScenario({ seed, operations: 150, trouble, generation, chunk: 2048 }).bytes);
        }),
        { numRuns: 20 },
      );
    });
  }

  test("is the same however a real log is read", async (t) => {
    for (const name of ["h100/mediator.log", "mediator/real-fault-chain.log"]) {
      const path = join(SAMPLES, name);
      if (!existsSync(path)) {
        t.skip("no samples here");
        return;
      }
      const bytes = readFileSync(path);
      await assertSame(bytes);
      await assertSame(Buffer.concat([bytes, bytes, bytes]));
    }
  });

  test("counts calls that are still noted when it is asked", async () => {
    const bytes = atWork(7, 40);
    const [one] = await readOf(bytes);
    assert.equal(
      one?.vms.reduce((sum, { calls }) => sum + calls, 0),
      bytes.toString("latin1").match(/result sent/g)?.length,
    );
  });
});
