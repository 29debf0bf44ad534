import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { STAND_IN_TEXT, type StandInMediator, startStandInMediator } from "../../test/bench/stand-in-mediator.ts";
import { captureTree, NO_COMPILER, put, temporaryDirectory } from "../../test/support/real-process.ts";
import { type HostStatusOptions, hostStatus } from "./host-status.ts";

const directory = temporaryDirectory();
const BANNER = "  MEDIATOR DAEMON v3.1 \u2014 Phase 3+: CUDA API Remoting\n";
const BEAT = "[HEARTBEAT] alive \u2014 1 server socket(s), admin_fd=48\n";
const CALL = "[MEDIATOR] CUDA result sent vm_id=11 request_id=2 call_id=0xf0 result.status=0 -> stub sets DONE\n";

const OPTIONS: HostStatusOptions = {
  root: null,
  mediatorLog: null,
  pid: null,
  adminSocket: null,
  question: "health",
  json: false,
  render: { colour: false, width: 100, verbose: false, ascii: false },
  quietMs: 10_000,
};

async function standIn(name: string): Promise<StandInMediator> {
  const mediator = await startStandInMediator(directory, name);
  after(() => mediator.stop());
  appendFileSync(mediator.log, BANNER + CALL + BEAT);
  return mediator;
}

/** Writes to the log at the first look, nothing later. */
function once(work: () => void): () => Promise<void> {
  let isDone = false;
  return async () => {
    if (!isDone) work();
    isDone = true;
  };
}

describe("host status of a live stand-in", { skip: NO_COMPILER }, () => {
  test("finds its log by itself, and judges both", async () => {
    const mediator = await standIn("found");
    const { text, exitCode } = await hostStatus({ ...OPTIONS, pid: mediator.pid, json: true });
    const { facts, findings, admin_socket } = JSON.parse(text);
    assert.equal(facts.logFile.value.path, mediator.log);
    assert.equal(facts.log.value.epochs.length, 1);
    assert.equal(admin_socket, null);
    const outcomes = Object.fromEntries(
      findings.map(({ check, outcome }: { check: string; outcome: string }) => [check, outcome]),
    );
    assert.equal(outcomes["mediator-binary"], "pass");
    assert.equal(outcomes["mediator-heartbeat"], "pass");
    assert.equal(outcomes["mediator-context"], "pass");
    // Its standard output goes to this test.
    assert.equal(outcomes["mediator-output"], "warn");
    assert.equal(exitCode, 4);
  });

  test("asks the admin socket when the log shows that nothing runs", async () => {
    const mediator = await standIn("quiet");
    const asked = hostStatus({
      ...OPTIONS,
      pid: mediator.pid,
      adminSocket: mediator.socket,
      pause: once(() => appendFileSync(mediator.log, BEAT)),
    });
    assert.equal(await mediator.order("serve"), "question 11 after 16 bytes");
    assert.equal(await mediator.order("answer"), "answered");
    const { text } = await asked;
    for (const line of STAND_IN_TEXT.trim().split("\n")) assert.ok(text.includes(line), text);
    assert.ok(mediator.isAlive());
  });

  test("does not ask while calls are served, and says why", async () => {
    const mediator = await standIn("busy");
    let time = 0;
    const { text } = await hostStatus({
      ...OPTIONS,
      pid: mediator.pid,
      adminSocket: mediator.socket,
      quietMs: 300,
      pause: async () => {
        time += 1;
        appendFileSync(mediator.log, time % 2 === 0 ? CALL : BEAT);
      },
    });
    assert.match(text, /Not asked: /);
    assert.match(text, /kills the\s+mediator/);
  });

  test("does not ask another socket than the mediator's", async () => {
    const mediator = await standIn("other");
    const { text } = await hostStatus({
      ...OPTIONS,
      pid: mediator.pid,
      adminSocket: join(directory, "elsewhere.sock"),
    });
    assert.match(text, /Not asked: it does not listen on/);
  });

  test("does not ask when the log is not the mediator's", async () => {
    const mediator = await standIn("foreign");
    const log = join(directory, "copy.log");
    put(log, BANNER + BEAT);
    const { text, exitCode } = await hostStatus({
      ...OPTIONS,
      pid: mediator.pid,
      mediatorLog: log,
      adminSocket: mediator.socket,
    });
    assert.match(text, /Not asked: it could not be seen that the log is the running\s+mediator's/);
    assert.match(text, /VG-H11 mediator-output/);
    assert.equal(exitCode, 3);
  });
});

test("a captured tree is judged by what is in it, and never asked", async () => {
  const root = await captureTree({ "proc/1/stat": "1 (init) S 0", "proc/1/cmdline": "init\0" });
  const log = join(directory, "captured.log");
  put(log, BANNER + CALL + BEAT);
  const { text, exitCode } = await hostStatus({
    ...OPTIONS,
    root,
    mediatorLog: log,
    adminSocket: "/var/vgpu/admin.sock",
  });
  assert.match(text, /VG-H01 mediator-process/);
  assert.match(text, /Not asked: a captured tree/);
  assert.equal(exitCode, 3);
});

test("a log that is no file, or is not there, is not known, and ends nothing", async () => {
  for (const mediatorLog of ["/dev/zero", join(directory, "none.log")]) {
    const { text } = await hostStatus({ ...OPTIONS, pid: 1, mediatorLog });
    assert.match(text, /\? log-space/);
  }
});
