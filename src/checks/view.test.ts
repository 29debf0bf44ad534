import assert from "node:assert/strict";
import { test } from "node:test";
import {
  evidenceOf,
  healthy,
  idle,
  life,
  line,
  log,
  NOW,
  process,
  RUNNER_START,
  runner,
  running,
  SERVER_START,
  seen,
  shimLog,
} from "../../test/fixtures/facts.ts";
import { notRead, valueIn, wasRead } from "../facts/reading.ts";
import {
  answerOf,
  coverageGap,
  currentLife,
  earlierLives,
  idleDoubt,
  isAfter,
  judgedByLog,
  judgedLogs,
  logCovers,
  logOf,
  serverOf,
} from "./view.ts";

const OLD = life({ invocationId: "old", firstAt: SERVER_START - 9e6, lastAt: SERVER_START - 8e6 });
const timeless = (changes: Parameters<typeof life>[0] = {}) =>
  life({ invocationId: null, firstAt: null, lastAt: null, ...changes });

test("the life of the unit's own invocation is current, wherever it stands", () => {
  const later = life({ invocationId: "other" });
  const own = life();
  const facts = healthy({ log: wasRead(log([own, later])) });
  assert.equal(valueIn(currentLife(facts)), own);
  assert.deepEqual(earlierLives(facts), [later]);
});

test("a log of other invocations only, or of lines before the server's start, is not current", () => {
  assert.equal(currentLife(healthy({ log: wasRead(log([life({ invocationId: "other" })])) })).state, "absent");
  assert.equal(currentLife(healthy({ log: wasRead(log([life({ ...OLD, invocationId: null })])) })).state, "absent");
});

test("lines without times count only when they name a process that lives", () => {
  assert.equal(currentLife(healthy({ log: wasRead(log([timeless()])) })).state, "read");
  const dead = timeless({ processes: [shimLog({ pid: 77, lastAt: null })] });
  assert.equal(currentLife(healthy({ log: wasRead(log([dead])) })).state, "absent");
});

test("a log alone is judged by its last life", () => {
  const last = life();
  assert.equal(valueIn(currentLife(evidenceOf([OLD, last]))), last);
});

test("what an earlier process of the same pid wrote is not a process's log", () => {
  const stale = shimLog({ lastAt: RUNNER_START - 60_000 });
  assert.equal(logOf(runner(), life({ processes: [stale] })), undefined);
  const fresh = shimLog();
  assert.equal(logOf(runner(), life({ processes: [stale, fresh] })), fresh);
});

test("the pid of the process's own namespace goes before the outer one", () => {
  const inner = shimLog({ pid: 7 });
  const outer = shimLog({ pid: 1203 });
  assert.equal(logOf(runner({ nsPid: 7 }), life({ processes: [outer, inner] })), inner);
});

test("the process asked for goes before the server, and a program before nothing", () => {
  const facts = healthy();
  assert.equal(serverOf(facts)?.pid, 1187);
  assert.equal(serverOf({ ...facts, scope: { ...facts.scope, pid: 1203 } })?.pid, 1203);
  assert.equal(serverOf(idle({ workload: running(process({ role: "program" })) }))?.role, "program");
  assert.equal(serverOf(idle({ workload: running() })), undefined);
});

test("idleness is doubtful when a program's mappings or a process could not be read", () => {
  assert.equal(idleDoubt(idle()), null);
  assert.equal(idleDoubt(idle({ workload: running(process({ maps: notRead("denied", "x") })) })), null);
  assert.match(
    idleDoubt(idle({ workload: running(process({ role: "program", maps: notRead("denied", "EACCES") })) })) ?? "",
    /EACCES/,
  );
  assert.match(idleDoubt(idle({ workload: notRead("timed-out", "too slow") })) ?? "", /too slow/);
});

test("the log stands for the processes in a capture without any, never on a live machine", () => {
  const scope = { ...healthy().scope, subject: "tree" as const };
  assert.equal(judgedByLog(idle({ workload: running() })), false);
  assert.equal(judgedByLog(idle({ workload: running(), scope })), true);
  assert.equal(judgedByLog(idle({ scope })), false);
  assert.equal(judgedByLog(evidenceOf([life()])), true);
});

test("without a living process the last one that used the transport is judged", () => {
  const first = shimLog({ pid: 1 });
  const second = shimLog({ pid: 2, answered: seen("GPU info (live)") });
  assert.deepEqual(judgedLogs(evidenceOf([life({ processes: [second, first] })])).logs, [second]);
});

test("an answer is an answered call, or a first call that came back with the driver's own result", () => {
  const init = (rc: number) => ({ ...seen("non-fatal"), rc });
  assert.equal(answerOf(shimLog({ answered: null })), null);
  assert.equal(answerOf(shimLog({ answered: null, initCallFailed: init(999) })), null);
  assert.equal(answerOf(shimLog({ answered: null, initCallFailed: init(2) })), null);
  assert.notEqual(answerOf(shimLog({ answered: null, initCallFailed: init(700) })), null);
});

test("an absence is covered only by a whole log of the current server that its stderr really goes to", () => {
  assert.equal(logCovers(healthy()), true);
  const uncovered = [
    healthy({ log: notRead("denied", "x") }),
    healthy({ log: wasRead(log([life()], { coverage: "partial" })) }),
    healthy({ log: wasRead(log([OLD])) }),
    idle({ workload: running(process({ stderr: wasRead({ to: "null" }) })) }),
    idle({
      workload: running(
        process({ stderr: wasRead({ to: "file", path: "/x", deleted: true, size: 1, readable: true }) }),
      ),
    }),
    idle({
      workload: running(
        process({ stderr: wasRead({ to: "file", path: "/x", deleted: false, size: 1, readable: false }) }),
      ),
      log: wasRead(log([life({ listening: null, discovery: [], processes: [] })])),
    }),
  ];
  for (const facts of uncovered) {
    assert.equal(logCovers(facts), false);
    assert.notEqual(coverageGap(facts), "the log is complete");
  }
});

test("samples of two sources are compared by time, and not at all without times", () => {
  const a = line("a", NOW);
  const b = line("b", NOW);
  assert.equal(isAfter(b, a), true);
  const file = { ...b, locator: "/var/log/o.log:12", at: NOW - 1, ordinal: 9999 };
  assert.equal(isAfter(file, a), false);
  assert.equal(isAfter(a, file), true);
  assert.equal(isAfter({ ...file, at: null }, a) || isAfter(a, { ...file, at: null }), false);
});
