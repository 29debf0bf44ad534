import assert from "node:assert/strict";
import { appendFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { z } from "zod";
import { launchLines, requestLine, startLines } from "../../../test/fixtures/guest-lines.ts";
import { guestEvidenceSchema } from "../../host/match/guest-evidence-schema.ts";
import { SqliteStore } from "../../host/store/sqlite.ts";
import type { StoredReport } from "../../host/store/store.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { FileFollower } from "../observe/file-follow.ts";
import { followLog } from "../observe/follow-loop.ts";
import { WindowCutter } from "../observe/windows.ts";
import { AGENT, BOOT, inScratch, openIn } from "../store/spool-fixture.ts";
import { chanceOf, DoubtfulHost, type Fate, newAgent, SimulatedClock, VM } from "./hour-fixture.ts";
import { type Measured, placedBatch, placedNow } from "./placement.ts";
import { Sender } from "./sender.ts";

const START = 1_780_000_000_000;
/** CLOCK_MONOTONIC at the start. */
const UP_MS = 600_000;
const HOUR_MS = 3_600_000;
const PID = 4711;
/** When the host is away, minutes of the hour. */
const OUTAGES = [
  [5, 8],
  [20, 32],
  [45, 46],
] as const;
/** When more requests than not come back late, never, or not at all. */
const BAD_TIMES = [
  [10, 18],
  [34, 44],
  [50, 57],
] as const;
const BURST_MS = 4000;
const CALLS = 6;
/** Less than what comes in the longest outage. */
const SPOOL_BYTES = 320 * 1024;

const dropSchema = z.object({ first: z.number(), last: z.number(), count: z.number(), reason: z.string() });
const isWithin = (times: readonly (readonly [number, number])[], minute: number) =>
  times.some(([from, to]) => minute >= from && minute < to);
const callsOf = (document: unknown): readonly number[] =>
  guestEvidenceSchema
    .parse(document)
    .processes.flatMap(({ sequence }) => sequence.flatMap(({ seq }) => (seq === null ? [] : [seq])));

test("an hour of outages, slow answers and half-open connections: from the log to the host's store each call comes once", () =>
  inScratch(async (directory) => {
    const clock = new SimulatedClock(START);
    const chance = chanceOf(20_261_123);
    const minute = () => (clock.time - START) / 60_000;
    const fate = (): Fate => {
      if (minute() >= 60) return "answered";
      if (isWithin(OUTAGES, minute())) return "away";
      const dice = chance();
      if (!isWithin(BAD_TIMES, minute())) return dice < 0.03 ? "slow" : "answered";
      const bad = ["slow", "never-arrives", "answer-is-lost", "busy", "away", "answered"] as const;
      return bad[Math.floor(dice * bad.length)] ?? "answered";
    };
    const monotonic = () => clock.time - START + UP_MS;
    const spool = await openIn(directory, {
      maxBytes: SPOOL_BYTES,
      segmentBytes: 16 * 1024,
      monotonic,
      now: clock.now,
    });
    const store = new SqliteStore(join(directory, "host.db"));
    const host = new DoubtfulHost(store, clock, fate, chance);
    const measured = (): Measured => ({
      offset: { offsetMs: 0, errorMs: 5 },
      base: START - UP_MS,
      at: monotonic(),
    });
    const sender = new Sender({
      spool,
      sink: { postReports: (batch) => host.postReports(placedBatch(batch, measured())) },
      vmId: VM,
      clock: { now: clock.now, random: chance, after: (ms, callback) => clock.after("sender", ms, callback) },
      renewAgent: newAgent,
    });

    // By the number of the entry: the calls that are in it.
    const made = new Map<number, readonly number[]>();
    let appending = 0;
    const cutter = new WindowCutter({
      server: () => undefined,
      now: clock.now,
      onWindow: ({ document, at, positions, base }) => {
        appending += 1;
        const waiting = placedNow({ ...document, vm_id: VM }, base, null);
        void spool.append({ kind: "guest-evidence", at, document: waiting, position: positions }).then(({ seq }) => {
          made.set(seq, callsOf(document));
          appending -= 1;
          sender.wake();
        });
      },
    });
    const log = join(directory, "workload.log");
    writeFileSync(log, "");
    const follower = new FileFollower({ fs: new RootFs("/"), path: log, after: null, monotonic });
    let wake = () => {};
    let readAt: number | null = null;
    const stop = new AbortController();
    const following = followLog({
      follower,
      wake: {
        arm: () => new Promise<void>((resolve) => (wake = resolve)),
        disarm: () => {},
        takeRenamed: () => false,
      },
      onBatch: ({ items, position }) => {
        const read = { monotonic: monotonic(), notBefore: readAt, notAfter: clock.time };
        for (const item of items) cutter.take("file", item, read);
        cutter.looked(position);
        readAt = clock.time;
      },
      after: (ms, callback) => clock.after("follower", ms, callback),
      signal: stop.signal,
    });
    const sending = sender.run(stop.signal);

    const say = (lines: readonly string[]) => {
      appendFileSync(log, `${lines.join("\n")}\n`);
      wake();
    };
    const passUntil = async (then: number) => {
      do await clock.untilAllWait(["sender", "follower"], () => appending === 0);
      while (clock.fireBefore(then));
    };
    let last = 0;
    let mostDiskBytes = 0;
    await passUntil(START + 1000);
    say(startLines(VM, PID));
    for (let burst = 1; clock.time < START + HOUR_MS; burst += 1) {
      await passUntil(clock.time + BURST_MS);
      if (burst % 300 === 0) renameSync(log, `${log}.${burst}`);
      const calls = Array.from({ length: CALLS }, (_, index) => launchLines(PID, last + index + 1)).flat();
      last += CALLS;
      say([...calls, requestLine("0.2s")]);
      if (burst % 15 === 0) await host.joinAll();
      cutter.tick(monotonic());
      mostDiskBytes = Math.max(mostDiskBytes, spool.state().diskBytes);
    }
    const atTheEnd = spool.state();
    for (let round = 0; round < 200; round += 1) {
      await passUntil(clock.time + 10_000);
      cutter.tick(monotonic());
      await host.joinAll();
      if (spool.state().entries === 0 && !cutter.hasOpenWindow) break;
    }
    stop.abort();
    await Promise.all([following, sending, follower.close()]);

    // Everything of the log is in one window.
    const inWindows = [...made.values()].flat();
    assert.deepEqual(
      [...inWindows].sort((a, b) => a - b),
      Array.from({ length: last }, (_, index) => index + 1),
    );
    const stored = await readAll(store);
    const numbers = stored.map(({ seq }) => seq);
    assert.equal(new Set(numbers).size, numbers.length, "no number is there twice");
    assert.ok(stored.every(({ agentId, bootId }) => agentId === AGENT && bootId === BOOT));
    const drops = stored.flatMap(({ kind, document }) =>
      kind === "dropped" ? [dropSchema.parse(JSON.parse(document))] : [],
    );
    const windows = stored.filter(({ kind }) => kind === "guest-evidence");
    for (const { seq, document } of windows) {
      const parsed = guestEvidenceSchema.parse(JSON.parse(document));
      assert.deepEqual(callsOf(parsed), made.get(seq), `entry ${seq}`);
      assert.ok(parsed.clock_offset_ms !== null && Math.abs(parsed.clock_offset_ms) <= (parsed.clock_error_ms ?? 0));
    }
    // What is not there was said to be dropped, each entry once, and nothing that is there was.
    const missing = [...made.keys()].filter((seq) => !numbers.includes(seq));
    const isDropped = (seq: number) => drops.filter(({ first, last: to }) => seq >= first && seq <= to).length;
    assert.deepEqual(
      missing.filter((seq) => isDropped(seq) !== 1),
      [],
    );
    assert.equal(
      drops.reduce((sum, { count }) => sum + count, 0),
      missing.length,
    );
    assert.deepEqual(
      [...new Set(drops.map(({ reason }) => reason))],
      ["spool-full"],
      "the disk was full, and nothing else went wrong",
    );

    // It was an hour as it was meant to be.
    const state = sender.state();
    assert.deepEqual([spool.state().entries, atTheEnd.trouble, state.collisions, state.refused.size], [0, null, 0, 0]);
    assert.ok(state.duplicates > 0, "answers were lost after the host had stored the batch");
    assert.ok(missing.length > 20 && missing.length < made.size / 4, `${missing.length} of ${made.size} dropped`);
    assert.ok(mostDiskBytes <= SPOOL_BYTES + 32 * 1024, `${mostDiskBytes} bytes of spool`);
    for (const what of ["away", "never-arrives", "answer-is-lost", "slow", "busy", "full"] as const) {
      assert.ok((host.seen.get(what) ?? 0) > 0, `nothing was ${what}`);
    }
    await spool.close();
    await store.close();
  }));

async function readAll(store: SqliteStore): Promise<readonly StoredReport[]> {
  return await store.readReports({ vmId: VM, limit: 100_000 });
}
