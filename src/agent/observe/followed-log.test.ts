import assert from "node:assert/strict";
import { test } from "node:test";
import { entry, fold, type Given, T0 } from "../../../test/fixtures/log-entries.ts";
import type { LogReader } from "../../sensors/log-reader.ts";
import { LogTally } from "../../sensors/log-summary.ts";
import { FollowedLog } from "./followed-log.ts";
import type { LogPosition } from "./log-position.ts";

const UNIT = "ollama.service";
const PATH = "/var/log/ollama-stderr.log";
const LISTENING: Given = {
  text: 'time=2026-03-26T06:35:38Z msg="Listening on 127.0.0.1:11434 (version 0.17.7)"',
  bootId: null,
};
const GIN: Given = {
  text: '[GIN] 2026/03/26 - 06:13:24 | 200 |          1.5s |       127.0.0.1 | POST     "/api/generate"',
  bootId: null,
  at: T0 + 5000,
};
const line = (given: Given) => ({ kind: "line", entry: entry(given), position: () => at(0) }) as const;
const at = (offset: number): LogPosition => ({
  kind: "file",
  path: PATH,
  sources: [{ dev: "1", ino: "2", offset, midLine: false, tail: "0".repeat(64), tailBytes: 0 }],
});
const logOf = (log: FollowedLog) => {
  const { log: reading } = log.reading();
  assert.ok(reading.state === "read");
  return reading.value;
};

test("lines that are followed come to what a whole reading of them comes to", async () => {
  const log = new FollowedLog(UNIT);
  await log.follow("file", PATH, null, null);
  for (const given of [LISTENING, GIN]) log.take("file", line(given));
  log.caughtUp("file");
  assert.deepEqual(logOf(log).servers, fold([LISTENING, GIN]).servers);
  assert.equal(logOf(log).coverage, "full");
  assert.equal(log.server?.requests.length, 1);
});

test("a life whose beginning was not read is not covered, the next one is", async () => {
  const log = new FollowedLog(UNIT);
  await log.follow("file", PATH, at(1000), null);
  log.caughtUp("file");
  log.take("file", line(GIN));
  assert.equal(logOf(log).coverage, "partial");
  assert.match(logOf(log).sources[0]?.gaps[0] ?? "", /before the agent was started/);
  log.take("file", line(LISTENING));
  log.take("file", line(GIN));
  assert.equal(logOf(log).coverage, "full");
});

test("gaps of an earlier life are not held against this one", async () => {
  const log = new FollowedLog(UNIT);
  await log.follow("file", PATH, null, null);
  log.caughtUp("file");
  log.take("file", line(LISTENING));
  log.take("file", { kind: "gap", text: "was truncated" });
  log.take("file", { kind: "gap", text: "journald dropped 7 lines of the unit", dropped: 7 });
  assert.equal(logOf(log).coverage, "partial");
  assert.equal(logOf(log).sources[0]?.suppressed, 7);
  assert.deepEqual(logOf(log).sources[0]?.gaps, ["was truncated"]);
  log.take("file", line(LISTENING));
  assert.equal(logOf(log).coverage, "full");
});

test("history is read up to the position from which on the log is followed, and each line counts once", async () => {
  const log = new FollowedLog(UNIT);
  const offsets = [0, 100, 200];
  const reader: LogReader = {
    read: async (onEntry) => {
      for (const [index, given] of [LISTENING, GIN, GIN].entries()) {
        onEntry(entry({ ...given, locator: `${PATH}:${offsets[index]}` }));
      }
      return new LogTally().summary("file", PATH);
    },
  };
  await log.follow("file", PATH, at(200), { reader, since: null, signal: new AbortController().signal });
  assert.equal(log.server?.requests.length, 1);
  log.take("file", line(GIN));
  assert.equal(log.server?.requests.length, 2);
  log.caughtUp("file");
  assert.equal(logOf(log).coverage, "full");
});

test("a log counts as covered, and as read, when the end of each of its sources was reached once", async () => {
  const log = new FollowedLog(UNIT);
  assert.equal(log.isRead, false);
  await log.follow("journal", "journal", null, null);
  await log.follow("file", PATH, null, null);
  log.take("file", line(LISTENING));
  log.caughtUp("file");
  assert.equal(log.isRead, false);
  assert.equal(logOf(log).coverage, "partial");
  assert.match(logOf(log).sources[0]?.gaps.join() ?? "", /not been read up to its end/);
  log.caughtUp("journal");
  assert.equal(log.isRead, true);
  assert.equal(logOf(log).coverage, "full");
  assert.deepEqual(
    logOf(log).sources.flatMap(({ gaps }) => gaps),
    [],
  );
});
