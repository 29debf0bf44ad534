import assert from "node:assert/strict";
import { copyFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { contextOf, temporaryDirectory } from "../../../test/support/real-process.ts";
import { NO_UPROBES, openFiles, openTracefs, ownTraces } from "../../../test/support/tracing.ts";
import {
  type Caller,
  compileCaller,
  compileTransport,
  type PROLOGUES,
  type Prologue,
  startCaller,
  type Truth,
} from "../../../test/support/transport-target.ts";
import type { Ledger } from "../../facts/ledger.ts";
import { LiveLedger } from "./ledger.ts";
import { liveLedger } from "./live.ts";
import type { Way } from "./tracer.ts";

/** Rescans are asked for where a test is about them: other tests map libraries meanwhile. */
const NEVER = 1 << 30;
const WAYS: readonly Way[] = ["ebpf", "tracefs"];

function context() {
  return { ...contextOf("/"), now: Date.now };
}

async function startLedger(way: Way, pids: readonly number[]): Promise<LiveLedger> {
  const live = new LiveLedger(context(), { workload: pids, ways: [way], rescanMs: NEVER });
  assert.deepEqual(await live.start(), { way, refused: [] });
  return live;
}

async function stopLedger(live: LiveLedger): Promise<Ledger> {
  return (await live.stop()) ?? assert.fail("there is no ledger");
}

/** What the ledger says of a process, in the form in which the process counts for itself. */
function countedOf(ledger: Ledger, pid: number): Map<number, Truth> {
  return new Map(
    ledger.calls
      .filter((call) => call.pid === pid)
      .map(({ callId, count, results, bytesToHost, bytesBack }) => [
        callId,
        { count, results: results ?? {}, bytesToHost, bytesBack: bytesBack ?? -1 },
      ]),
  );
}

function sum(values: Iterable<number>): number {
  return [...values].reduce((total, value) => total + value, 0);
}

describe("the live ledger", { skip: NO_UPROBES }, () => {
  const directory = temporaryDirectory();
  const program = NO_UPROBES === false ? compileCaller(directory) : "";
  const tracefs = NO_UPROBES === false ? openTracefs() : "";
  const library = (name: string, prologue?: Prologue) => compileTransport(directory, name, prologue);

  for (const way of WAYS) {
    describe(`by ${way}`, () => {
      for (const prologue of ["endbr", "jump", "push"] satisfies readonly (keyof typeof PROLOGUES)[]) {
        it(`equals what a process with ${prologue} at the function's start counts of itself`, async () => {
          const caller = await startCaller(program, [library(`lib-${way}-${prologue}.so`, prologue)]);
          const live = await startLedger(way, [caller.pid]);
          await caller.run(20_000, 4);
          const ledger = await stopLedger(live);
          assert.deepEqual(countedOf(ledger, caller.pid), await caller.truth());
          assert.deepEqual([ledger.source, ledger.coverage, ledger.dropped], [way, "full", 0]);
          // Calls that newer shims send another way are a property of the source, not a gap of this window.
          assert.deepEqual(ledger.gaps, []);
          assert.match(ledger.notes.join(), /cuLibraryLoadData \(0x00a8\)/);
          const own = ledger.processes.find(({ pid }) => pid === caller.pid);
          assert.deepEqual([own?.ppid, own?.comm], [process.pid, "caller"]);
          for (const call of ledger.calls.filter(({ pid }) => pid === caller.pid)) {
            assert.equal(call.returned, call.count);
            assert.equal(sum(Object.values(call.latency ?? {})), call.count);
          }
          await caller.stop();
        });
      }

      it("attaches while calls are made, and each of the two copies that answer is counted once", async () => {
        const caller = await startCaller(program, [library(`one-${way}.so`), library(`two-${way}.so`, "push")]);
        const running = caller.run(200_000, 2, 4000);
        const live = await startLedger(way, [caller.pid]);
        await running;
        const before = await caller.truth();
        const first = live.snapshot() ?? assert.fail();
        const seen = countedOf(first, caller.pid);
        const part = sum([...seen.values()].map(({ count }) => count));
        assert.ok(part > 0 && part < 400_000, `${part} calls after the attach`);
        await caller.run(30_000, 3);
        const after = countedOf(await stopLedger(live), caller.pid);
        for (const [id, truth] of await caller.truth()) {
          assert.equal(
            (after.get(id)?.count ?? 0) - (seen.get(id)?.count ?? 0),
            truth.count - (before.get(id)?.count ?? 0),
            `call ${id}`,
          );
        }
        const mine = first.processes.find(({ pid }) => pid === caller.pid);
        assert.equal(mine?.libraries.length, 2);
        assert.equal(mine?.comm, "caller");
        await caller.stop();
      });

      it("counts latency as it is: a call of 2 ms is in its bucket", async () => {
        const caller = await startCaller(program, [library(`slow-${way}.so`)]);
        const live = await startLedger(way, [caller.pid]);
        await caller.run(12, 1, 2_200_000);
        for (const call of countsOf(await stopLedger(live), caller)) {
          // 2^21 ns = 2.1 ms. A machine that is busy makes calls longer, never shorter.
          assert.ok(Math.min(...Object.keys(call.latency ?? {}).map(Number)) >= 21);
        }
        await caller.stop();
      });

      it("shows a call that does not come back as open, with its age, until its process ends", async () => {
        const caller = await startCaller(program, [library(`hang-${way}.so`)]);
        const live = await startLedger(way, [caller.pid]);
        const startedAt = performance.now();
        const tid = await caller.hang();
        await until(() => live.snapshot()?.open.some((one) => one.pid === caller.pid) ?? false);
        const seenAt = performance.now();
        await caller.truth();
        const least = performance.now() - seenAt;
        const ledger = live.snapshot() ?? assert.fail();
        const age = performance.now() - startedAt;
        const open = ledger.open.filter(({ pid }) => pid === caller.pid);
        assert.deepEqual([open.length, open[0]?.tid, open[0]?.callId], [1, tid, 0x50]);
        assert.ok((open[0]?.ageMs ?? 0) >= Math.floor(least), `${open[0]?.ageMs} of at least ${least}`);
        assert.ok((open[0]?.ageMs ?? 0) <= age + 1, `${open[0]?.ageMs} of at most ${age}`);
        const call = countsOf(ledger, caller)[0];
        assert.deepEqual([call?.count, call?.returned, call?.results], [1, 0, {}]);
        await caller.stop();
        const last = await stopLedger(live);
        assert.deepEqual(
          last.open.filter(({ pid }) => pid === caller.pid),
          [],
        );
        assert.ok(last.notes.includes("1 call ended with the thread"));
      });

      it("counts a process that replaces another from its first call", async () => {
        const path = library(`again-${way}.so`);
        const first = await startCaller(program, [path]);
        const live = await startLedger(way, [first.pid]);
        await first.run(6000);
        const truths = [[first.pid, await first.truth()] as const];
        await first.stop();
        const second = await startCaller(program, [path]);
        await second.run(9000, 2);
        truths.push([second.pid, await second.truth()]);
        await second.stop();
        const ledger = await stopLedger(live);
        for (const [pid, truth] of truths) assert.deepEqual(countedOf(ledger, pid), truth);
      });

      it("finds a library that is mapped later, and says that what came before it was seen is missing", async () => {
        const caller = await startCaller(program, [library(`early-${way}.so`)]);
        const live = await startLedger(way, [caller.pid]);
        const late = library(`late-${way}.so`);
        const other = await startCaller(program, [late]);
        await live.rescan();
        await other.run(6000);
        const ledger = await stopLedger(live);
        assert.deepEqual(countedOf(ledger, other.pid), await other.truth());
        assert.equal(ledger.coverage, "partial");
        assert.ok(ledger.gaps.some((gap) => gap.startsWith(`${late} was mapped while counting`)));
        await Promise.all([caller.stop(), other.stop()]);
      });

      it("counts the file that is mapped when another lies at its path now", async () => {
        const [old, newer] = [library(`replaced-${way}.so`), library(`newer-${way}.so`)];
        const caller = await startCaller(program, [old]);
        copyFileSync(newer, join(directory, "copy"));
        renameSync(join(directory, "copy"), old);
        const live = await startLedger(way, [caller.pid]);
        await caller.run(6000);
        assert.deepEqual(countedOf(await stopLedger(live), caller.pid), await caller.truth());
        await caller.stop();
      });

      it("leaves nothing behind", async () => {
        const before = openFiles();
        const caller = await startCaller(program, [library(`clean-${way}.so`)]);
        const live = await startLedger(way, [caller.pid]);
        await caller.run(600);
        assert.notDeepEqual(way === "ebpf" ? openFiles() : ownTraces(tracefs), way === "ebpf" ? before : []);
        await live.stop();
        assert.deepEqual(ownTraces(tracefs), []);
        assert.deepEqual(openFiles(), before);
        const ledger = await live.stop();
        await caller.run(600);
        assert.deepEqual(live.snapshot(), ledger, "what comes after the end is not counted");
        await caller.stop();
      });
    });
  }

  it("counts the wanted processes alone when it is told to", async () => {
    const path = library("filter.so");
    const [one, other] = await Promise.all([startCaller(program, [path]), startCaller(program, [path])]);
    for (const way of WAYS) {
      const live = new LiveLedger(context(), { workload: [one.pid], only: [one.pid], ways: [way], rescanMs: NEVER });
      await live.start();
      const before = await one.truth();
      await Promise.all([one.run(600), other.run(600)]);
      const ledger = await stopLedger(live);
      assert.deepEqual([...new Set(ledger.calls.map(({ pid }) => pid))], [one.pid]);
      const counted = sum(ledger.calls.map(({ count }) => count));
      const truth = sum([...(await one.truth()).values()].map(({ count }) => count));
      assert.equal(counted, truth - sum([...before.values()].map(({ count }) => count)));
    }
    await Promise.all([one.stop(), other.stop()]);
  });

  it("follows a window with ticks, and an abort ends it early with what was counted", async () => {
    const caller = await startCaller(program, [library("window.so")]);
    const stop = new AbortController();
    let ticks = 0;
    const result = await liveLedger(context(), null, 60, stop.signal, (ledger) => {
      ticks += 1;
      if (ticks === 1) void caller.run(6000);
      if (sum(countsOf(ledger, caller).map(({ returned }) => returned ?? 0)) === 6000) stop.abort();
    });
    assert.equal(result.way, "ebpf");
    assert.deepEqual(countedOf(result.ledger ?? assert.fail(), caller.pid), await caller.truth());
    const { from, to } = result.ledger ?? {};
    assert.ok(from != null && to != null && to - from >= 1000 && to - from < 30_000);
    await caller.stop();
  });
});

function countsOf(ledger: Ledger, caller: Caller) {
  return ledger.calls.filter(({ pid }) => pid === caller.pid);
}

async function until(holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !holds(); await nextTurn()) {
    if (performance.now() > end) assert.fail("it did not happen in 10 s");
  }
}
