import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  DENIED,
  EPOCH,
  EXECUTABLE,
  HEALTHY,
  LOG,
  LOG_FILE,
  LOG_HEALTH,
  MODEL,
  NOW,
  PROCESS,
  SOCKET,
  STARTED,
  toFile,
  toOther,
  withFile,
  withLog,
  withModel,
  withProcess,
} from "../../../test/fixtures/mediator-health.ts";
import { MEDIATOR_CAUSES } from "../../checks/catalogue/host.ts";
import { causeOf } from "../../checks/catalogue.ts";
import type { Finding } from "../../checks/finding.ts";
import { notRead, valueIn, wasRead } from "../../facts/reading.ts";
import type { EpochHealth, MediatorHealthFacts } from "./facts.ts";
import { exitCodeOfHealth, HEALTH_CHECKS, judgeHealth } from "./judge-health.ts";
import { renderHealth } from "./render-health.ts";

function of(facts: MediatorHealthFacts, check: string): readonly Finding[] {
  const found = judgeHealth(facts).filter((finding) => finding.check === check);
  assert.ok(found.length > 0, check);
  return found;
}

/** "fail VG-H01", "pass": what a check says, in its order. */
function said(facts: MediatorHealthFacts, check: string): string[] {
  return of(facts, check).map(({ outcome, cause }) => (cause === null ? outcome : `${outcome} ${cause}`));
}

test("a healthy mediator passes every check", () => {
  assert.deepEqual(
    judgeHealth(HEALTHY).map(({ check, outcome }) => [check, outcome]),
    HEALTH_CHECKS.map(({ name }) => [name, "pass"]),
  );
  assert.equal(exitCodeOfHealth(judgeHealth(HEALTHY)), 0);
});

test("the checks name the causes of the mediator in the catalogue, each of them, and no other", () => {
  const named = new Set(HEALTH_CHECKS.flatMap(({ causes }) => causes));
  assert.deepEqual([...named].sort(), MEDIATOR_CAUSES.map(({ id }) => id).sort());
  for (const id of named) assert.equal(causeOf(id).id, id);
  assert.equal(new Set(HEALTH_CHECKS.map(({ name }) => name)).size, HEALTH_CHECKS.length);
});

test("what may not be read is never fine: no check passes on nothing", () => {
  const blind: MediatorHealthFacts = {
    ...HEALTHY,
    processes: DENIED,
    deviceModels: DENIED,
    adminSocket: DENIED,
    logFile: DENIED,
    log: DENIED,
    guests: DENIED,
  };
  const findings = judgeHealth(blind);
  assert.deepEqual([...new Set(findings.map(({ outcome }) => outcome))], ["unknown"]);
  assert.equal(exitCodeOfHealth(findings), 1);
  const shut = withProcess({
    knownBy: "command line",
    executable: DENIED,
    stdout: DENIED,
    stderr: DENIED,
    listening: DENIED,
  });
  for (const check of [
    "mediator-process",
    "mediator-binary",
    "mediator-output",
    "mediator-sockets",
    "mediator-heartbeat",
    "mediator-context",
    "old-handles",
    "mediator-end",
  ]) {
    assert.deepEqual(said(shut, check), ["unknown"], check);
  }
});

describe("the process", () => {
  test("that does not run is a failure, unless processes are hidden", () => {
    const none = { ...HEALTHY, processes: wasRead([]) };
    assert.deepEqual(said(none, "mediator-process"), ["fail VG-H01"]);
    assert.deepEqual(said({ ...none, unseen: ["/proc hides other users' processes"] }, "mediator-process"), [
      "unknown",
    ]);
  });

  test("that has ended and was not waited for is none, and has crashed", () => {
    const ended = withProcess({ hasEnded: true });
    assert.deepEqual(said(ended, "mediator-process"), ["fail VG-H01"]);
    assert.ok(said(ended, "mediator-end").includes("fail VG-H07"));
  });

  test("that has a second beside it is a failure, and one that may have a second is not known", () => {
    const two = { ...HEALTHY, processes: wasRead([PROCESS, { ...PROCESS, pid: 501 }]) };
    assert.deepEqual(said(two, "mediator-process"), ["fail VG-H02"]);
    assert.deepEqual(said({ ...HEALTHY, unseen: ["9000 processes exist"] }, "mediator-process"), ["unknown"]);
  });

  test("that refused a second one is fine, and it is said", () => {
    const refused = withLog({ secondInstance: { log: 0, at: 10, pid: 500 } });
    assert.deepEqual(said(refused, "mediator-process"), ["pass", "info"]);
  });

  test("whose file was deleted or built anew is a warning", () => {
    for (const change of [
      { deleted: true, replaced: false },
      { deleted: true, replaced: true },
      { deleted: false, replaced: true },
    ]) {
      const facts = withProcess({ executable: wasRead({ ...EXECUTABLE, ...change }) });
      assert.deepEqual(said(facts, "mediator-binary"), ["warn VG-H02"]);
    }
  });
});

describe("its output", () => {
  test("to nothing, a pipe, a terminal or a deleted file is a warning", () => {
    const lost = [
      toOther({ to: "null" }),
      toOther({ to: "pipe", detail: "pipe:[1]" }),
      toOther({ to: "terminal", detail: "/dev/pts/0" }),
      toFile(LOG, "fe:01:42", true),
    ];
    for (const stdout of lost) assert.deepEqual(said(withProcess({ stdout }), "mediator-output"), ["warn VG-H11"]);
    const stderr = toOther({ to: "null" });
    assert.deepEqual(said(withProcess({ stderr }), "mediator-output"), ["warn VG-H11"]);
  });

  test("to two files is a warning: both have to be read", () => {
    assert.deepEqual(said(withProcess({ stderr: toFile("/tmp/err.log", "fe:01:43") }), "mediator-output"), [
      "warn VG-H11",
    ]);
  });

  test("to another file than the one that is read is a failure, and nothing of that log is believed of it", () => {
    const other = withFile({ inode: "fe:01:99" });
    assert.equal(said(other, "mediator-output")[0], "fail VG-H11");
    for (const check of ["mediator-heartbeat", "mediator-context", "old-handles"]) {
      assert.deepEqual(said(other, check), ["unknown"], check);
    }
  });
});

describe("the socket of a VM", () => {
  test("that is not there, or not listened on, fails for that VM alone", () => {
    const gone = withModel({ socket: notRead("absent", "does not exist (ENOENT)") });
    assert.deepEqual(said(gone, "mediator-sockets"), ["fail VG-H03"]);
    const second = { ...MODEL, pid: 701, vmId: 12, socketPath: "/var/xen/qemu/root-3/tmp/vgpu-mediator.sock" };
    const facts = { ...HEALTHY, deviceModels: wasRead([MODEL, second]) };
    assert.deepEqual(said(facts, "mediator-sockets"), ["pass", "fail VG-H03"]);
    assert.match(of(facts, "mediator-sockets")[1]?.message ?? "", /^VM 12 /);
  });

  test("of a VM that has just been started is waited for", () => {
    const facts = withModel({ socket: notRead("absent", ""), startedAt: NOW - 5000 });
    assert.deepEqual(said(facts, "mediator-sockets"), ["info"]);
  });

  test("that is a plain file, or closed to the device model's user, is told", () => {
    const path = SOCKET;
    assert.deepEqual(
      said(withModel({ socket: wasRead({ path, isSpecial: false, mode: 0o666 }) }), "mediator-sockets"),
      ["fail VG-H03"],
    );
    assert.deepEqual(said(withModel({ socket: wasRead({ path, isSpecial: true, mode: 0o755 }) }), "mediator-sockets"), [
      "warn VG-H03",
    ]);
  });

  test("is not known where it may not be looked at", () => {
    assert.deepEqual(said(withModel({ socketPath: null, chroot: null }), "mediator-sockets"), ["unknown"]);
    assert.deepEqual(said(withModel({ socket: DENIED }), "mediator-sockets"), ["unknown"]);
    assert.deepEqual(said({ ...HEALTHY, deviceModels: wasRead([]) }, "mediator-sockets"), ["info"]);
  });
});

describe("the heartbeat", () => {
  test("is a warning when nothing was written for longer than any healthy loop is silent", () => {
    assert.deepEqual(said(withFile({ writtenAt: NOW - 16_000 }), "mediator-heartbeat"), ["pass"]);
    assert.deepEqual(said(withFile({ writtenAt: NOW - 31_000 }), "mediator-heartbeat"), ["warn VG-H13"]);
  });

  test("is not known of a log without standard output, or of two mediators, or of nobody's log", () => {
    const silent = withFile({ writtenAt: NOW - 100_000 });
    const stderrOnly = withLog({ epochs: [{ ...EPOCH, hasStdout: false }], lastHeartbeat: null }, silent);
    assert.deepEqual(
      said(
        { ...stderrOnly, log: wasRead({ ...LOG_HEALTH, epochs: [{ ...EPOCH, hasStdout: false }] }) },
        "mediator-heartbeat",
      ),
      ["unknown"],
    );
    const two = { ...silent, processes: wasRead([PROCESS, { ...PROCESS, pid: 501 }]) };
    assert.deepEqual(said(two, "mediator-heartbeat"), ["unknown"]);
    const unseen = withProcess({ stdout: DENIED, stderr: DENIED });
    assert.deepEqual(said(unseen, "mediator-heartbeat"), ["unknown"]);
  });
});

test("a capture's log is old, and no silence", () => {
  const output = wasRead({ ...(valueIn(PROCESS.stdout) ?? assert.fail()), inode: null });
  const facts = { ...withProcess({ stdout: output, stderr: output }), logFile: wasRead({ ...LOG_FILE, writtenAt: 0 }) };
  assert.deepEqual(said(facts, "mediator-heartbeat"), ["unknown"]);
  assert.deepEqual(said(facts, "mediator-context"), ["pass"]);
});

describe("an end", () => {
  const before = (end: EpochHealth["end"]): EpochHealth => ({ ...EPOCH, end, endPlace: { log: 0, at: 99 } });
  const current = { ...EPOCH, epoch: 1 };

  test("of an earlier run in a call is a warning; a restart without a sign is a remark", () => {
    for (const end of ["in-a-call", "old-handle"] as const) {
      assert.deepEqual(said(withLog({ epochs: [before(end), current], epochsSeen: 2 }), "mediator-end"), [
        "warn VG-H07",
      ]);
    }
    for (const end of ["silent", "shutdown"] as const) {
      assert.deepEqual(said(withLog({ epochs: [before(end), current], epochsSeen: 2 }), "mediator-end"), ["info"]);
    }
  });

  test("of the log in a call is none while the mediator runs: the call is in flight", () => {
    assert.deepEqual(said(withLog({ epochs: [before("in-a-call")] }), "mediator-end"), ["pass"]);
  });

  test("of the last run, with nobody running, is told", () => {
    const none = { processes: wasRead([]) };
    assert.deepEqual(said(withLog({ epochs: [before("old-handle")] }, none), "mediator-end"), ["fail VG-H07"]);
    assert.deepEqual(said(withLog({ epochs: [before("in-a-call")] }, none), "mediator-end"), ["warn VG-H07"]);
    const aborted = { ...withFile({ abortText: "double free or corruption (fasttop)" }), ...none };
    assert.deepEqual(said(aborted, "mediator-end"), ["fail VG-H07"]);
  });
});

test("a failed recovery in the current run breaks it for everybody; a log that begins later does not know", () => {
  const failed = { ...EPOCH, recoveryFailed: { log: 0, at: 77, owner: 184549647 } };
  assert.deepEqual(said(withLog({ epochs: [failed] }), "mediator-context"), ["fail VG-H14"]);
  assert.deepEqual(said(withLog({ epochs: [failed, { ...EPOCH, epoch: 1 }], epochsSeen: 2 }), "mediator-context"), [
    "pass",
  ]);
  assert.deepEqual(said(withLog({ epochs: [failed] }, { processes: wasRead([]) }), "mediator-context"), ["info"]);
  assert.deepEqual(said(withLog({ epochs: [{ ...EPOCH, hasBanner: false }] }), "mediator-context"), ["unknown"]);
});

describe("handles of an earlier mediator", () => {
  const restarted = { epochs: [EPOCH, { ...EPOCH, epoch: 1 }], epochsSeen: 2 };
  const owner = { vmId: 11, pid: 77, epoch: 0, goesOn: null };

  test("are a failure for a process that goes on in the log", () => {
    const goesOn = withLog({ ...restarted, oldOwners: [{ ...owner, goesOn: { log: 0, at: 900 } }] });
    assert.deepEqual(said(goesOn, "old-handles"), ["fail VG-H04"]);
    assert.match(of(goesOn, "old-handles")[0]?.message ?? "", /Process 77 of VM 11/);
  });

  test("are a failure for a process that a guest saw before the mediator began and after", () => {
    const guests = (startedAt: number | null, aliveAt: number) => wasRead([{ vmId: 11, pid: 77, startedAt, aliveAt }]);
    const told = (reading: MediatorHealthFacts["guests"]) =>
      said(withLog({ ...restarted }, { guests: reading }), "old-handles");
    assert.deepEqual(told(guests(STARTED - 60_000, NOW - 1000)), ["fail VG-H04"]);
    assert.deepEqual(told(guests(STARTED - 60_000, STARTED - 1000)), ["pass"]);
    assert.deepEqual(told(guests(STARTED + 60_000, NOW - 1000)), ["pass"]);
  });

  test("are not known of a process that nobody reports about", () => {
    assert.deepEqual(said(withLog({ ...restarted, oldOwners: [owner] }), "old-handles"), ["unknown"]);
    const guests = wasRead([{ vmId: 11, pid: 77, startedAt: STARTED + 1_000_000, aliveAt: NOW }]);
    assert.deepEqual(said(withLog({ ...restarted, oldOwners: [owner] }, { guests }), "old-handles"), ["pass"]);
    assert.deepEqual(said(withLog({ isCrowded: true }), "old-handles"), ["unknown"]);
    assert.deepEqual(said({ ...HEALTHY, guests: DENIED }, "old-handles"), ["unknown"]);
  });
});

test("a disk that fills up is a warning, and one that is full a failure", () => {
  const capacity = 100 * 2 ** 30;
  assert.deepEqual(said(withFile({ free: 0.04 * capacity }), "log-space"), ["warn VG-H10"]);
  assert.deepEqual(said(withFile({ free: 0.005 * capacity }), "log-space"), ["fail VG-H10"]);
  assert.deepEqual(said(withFile({ free: null }), "log-space"), ["unknown"]);
});

test("on a terminal the worst comes first, hostile text does no harm, and nothing is wider than it may be", () => {
  const hostile = "\x1b[2J\u202e\n/root/mediator_phase3";
  const facts = withProcess({
    executable: wasRead({ path: hostile, deleted: true, replaced: false }),
    listening: wasRead([]),
  });
  const options = { colour: false, width: 72, verbose: true, ascii: false };
  const admin = { question: "health", answered: true, text: `=== GPU Health ===\n${hostile}` };
  const text = renderHealth(facts, judgeHealth(facts), admin, options);
  assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\u202e]/);
  const lines = text.split("\n");
  assert.ok(
    lines.every((line) => line.length <= 72),
    text,
  );
  assert.match(lines[0] ?? "", /^mediator · pid 500, up 60 min/);
  assert.ok(text.indexOf("VG-H03") < text.indexOf("VG-H02"));
  assert.doesNotMatch(renderHealth(facts, judgeHealth(facts), null, { ...options, ascii: true }), /[^\x20-\x7e\n]/);
});
