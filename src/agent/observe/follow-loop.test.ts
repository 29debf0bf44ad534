import assert from "node:assert/strict";
import { appendFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { after, test } from "node:test";
import { temporaryDirectory } from "../../../test/fixtures/journal-files.ts";
import { VirtualClock } from "../../../test/fixtures/virtual-clock.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { FileFollower } from "./file-follow.ts";
import { followLog } from "./follow-loop.ts";
import type { FollowedBatch } from "./log-follow.ts";
import { LogWake } from "./log-wake.ts";

const NOTHING: FollowedBatch = { items: [], position: null, more: false, problem: null };
const GAP: FollowedBatch = { ...NOTHING, items: [{ kind: "gap", text: "x" }] };

test("a quiet log is looked at every five seconds, a busy one four times a second, one with more at once", async () => {
  const clock = new VirtualClock();
  const abort = new AbortController();
  let [polls, batch] = [0, NOTHING];
  const poll = async () => {
    polls += 1;
    return batch;
  };
  const wake = { arm: () => new Promise<void>(() => {}), disarm: () => {}, takeRenamed: () => false };
  const follower = { poll, close: async () => {} };
  const loop = followLog({ follower, wake, onBatch: () => {}, after: clock.after, signal: abort.signal });
  await clock.pass(100_000);
  assert.ok(polls >= 40 && polls <= 44, `${polls} looks in silence: two each time`);
  batch = GAP;
  await clock.pass(5000);
  polls = 0;
  await clock.pass(100_000);
  assert.ok(Math.abs(polls - 400) <= 2, `${polls} looks while there are lines`);
  abort.abort();
  await loop;
});

test("a line that is written to a real file wakes the follower, and a rename says to look at the names", async () => {
  const path = join(temporaryDirectory(after), "stderr.log");
  writeFileSync(path, "first\n");
  const follower = new FileFollower({ fs: new RootFs("/"), path, after: null, monotonic: () => performance.now() });
  after(() => follower.close());
  const abort = new AbortController();
  const lines: string[] = [];
  const wake = new LogWake([{ directory: dirname(path), name: basename(path) }]);
  // Without the wake, nothing ever comes: the quiet time never ends here.
  const armed = { ...bound(wake), arm: () => wake.arm() };
  let quiet = Promise.withResolvers<void>();
  const loop = followLog({
    follower,
    wake: armed,
    onBatch: ({ items }) => {
      for (const item of items) if (item.kind === "line") lines.push(item.entry.message.toString());
    },
    after: (ms, callback) => {
      if (ms < 1000) setImmediate(callback);
      else quiet.resolve();
      return () => {};
    },
    signal: abort.signal,
  });
  await quiet.promise;
  assert.deepEqual(lines, ["first"]);
  quiet = Promise.withResolvers();
  appendFileSync(path, "second\n");
  await quiet.promise;
  assert.deepEqual(lines, ["first", "second"]);
  quiet = Promise.withResolvers();
  renameSync(path, `${path}.1`);
  writeFileSync(path, "third\n");
  await quiet.promise;
  assert.ok(lines.includes("third"));
  abort.abort();
  await loop;
});

const bound = (wake: LogWake) => ({ disarm: () => wake.disarm(), takeRenamed: () => wake.takeRenamed() });
