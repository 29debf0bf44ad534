import assert from "node:assert/strict";
import { test } from "node:test";
import { life, log, NOW, SERVER_START, seen, shimLog } from "../../test/fixtures/facts.ts";
import type { LogFacts, LogSourceFacts } from "../facts/log.ts";
import { mergeLogs } from "./merge-logs.ts";

const source = (changes: Partial<LogSourceFacts> = {}): LogSourceFacts => ({
  ...(log().sources[0] ?? assert.fail()),
  ...changes,
});
const JOURNAL = life({
  listening: null,
  discovery: [],
  processes: [],
  mainExited: { ...seen("exited"), code: "dumped", status: "6/ABRT" },
});
const FILE = life({ invocationId: null, pid: null, bootId: null });
const part = (...lives: LogFacts["servers"]): LogFacts => log(lives);
const none = (gaps: string[]): LogFacts => log([], { coverage: "none", sources: [source({ entries: 0, gaps })] });

test("the manager's lines and the workload's own are one life", () => {
  const { servers, coverage, sources } = mergeLogs([part(JOURNAL), part(FILE)]);
  assert.equal(coverage, "full");
  assert.equal(sources.length, 2);
  const [only, ...others] = servers;
  assert.deepEqual(others, []);
  assert.equal(only?.invocationId, JOURNAL.invocationId);
  assert.equal(only?.mainExited, JOURNAL.mainExited);
  assert.equal(only?.listening, FILE.listening);
  assert.deepEqual(only?.processes, FILE.processes);
  assert.equal(only?.lines, JOURNAL.lines + FILE.lines);
});

test("a file that was written last before the journal's life began is of an earlier life", () => {
  const old = life({
    invocationId: null,
    firstAt: SERVER_START - 9000_000,
    lastAt: SERVER_START - 60_000,
    processes: [shimLog({ pid: 9 })],
  });
  for (const parts of [
    [part(JOURNAL), part(old)],
    [part(old), part(JOURNAL)],
  ]) {
    const { servers } = mergeLogs(parts);
    assert.deepEqual(servers, [old, JOURNAL]);
  }
});

test("a file without times belongs to the life that there is", () => {
  const timeless = life({ invocationId: null, firstAt: null, lastAt: null });
  const { servers } = mergeLogs([part(JOURNAL), part(timeless)]);
  assert.equal(servers.length, 1);
  assert.equal(servers[0]?.lastAt, NOW - 1000);
});

test("earlier lives stay apart, oldest first", () => {
  const early = life({ invocationId: "1", firstAt: 1, lastAt: 2 });
  const middle = life({ invocationId: "2", firstAt: 3, lastAt: 4 });
  const { servers } = mergeLogs([part(middle, JOURNAL), part(early, FILE)]);
  assert.deepEqual(servers.slice(0, -1), [early, middle]);
});

test("the whole covers no better than its worst part", () => {
  assert.equal(mergeLogs([part(JOURNAL), { ...part(FILE), coverage: "partial" }]).coverage, "partial");
  assert.equal(mergeLogs([part(JOURNAL), none([])]).coverage, "full");
  assert.equal(mergeLogs([part(JOURNAL), none(["/var/log/o.log: not permitted"])]).coverage, "partial");
  assert.equal(mergeLogs([none([]), none(["x"])]).coverage, "none");
  assert.equal(mergeLogs([]).coverage, "none");
});
