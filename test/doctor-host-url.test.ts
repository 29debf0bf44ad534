import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readHostLog } from "../src/host/match/host-log.ts";
import { match } from "../src/host/match/matcher.ts";
import { SqliteStore } from "../src/host/store/sqlite.ts";
import { type Report, reportSchema } from "../src/report/report.ts";
import { type Enrolment, formatEnrolment, parseEnrolment } from "../src/report/wire/enrolment-string.ts";
import { knownEvidence } from "./fixtures/match-evidence.ts";
import { MediatorLog, type TrueOperation } from "./fixtures/mediator-log.ts";
import { GuestProcess } from "./fixtures/mediator-vm.ts";
import { type CounterpartProcess, startCounterpart, vgpuAgent } from "./support/counterpart-process.ts";
import { joiningHost, withFakeHost } from "./support/fake-host.ts";
import { compileModelCaller, type ModelCaller, startModelCaller } from "./support/model-caller.ts";
import { temporaryDirectory } from "./support/real-process.ts";
import { NO_UPROBES } from "./support/tracing.ts";
import { compileTransport } from "./support/transport-target.ts";

const VM = 11;
const OTHER_VM = 77;
const BYTES = 200_000;
const SECRET_KERNEL = "k_of_a_tenant_nobody_may_know";
const HEARTBEAT_MS = 200;
const REQUEST_MS = 20;

/** A mediator's log that is written while the test runs, and an idle mediator's sign of life in it. */
class StandInLog {
  readonly path: string;
  readonly log: MediatorLog;
  readonly #beat: NodeJS.Timeout;

  constructor(directory: string) {
    this.path = join(directory, "mediator.log");
    writeFileSync(this.path, "");
    this.log = new MediatorLog((text) => appendFileSync(this.path, text, "latin1"));
    this.log.start([VM, OTHER_VM]);
    // Another VM calls, so that the log is known to have a line for each call.
    const other = new GuestProcess(this.log, { vmId: OTHER_VM, domId: 3, fd: 40, requestId: 500 }, 54_321);
    other.init();
    other.launch(SECRET_KERNEL);
    this.#beat = setInterval(() => this.log.heartbeat(), HEARTBEAT_MS);
  }

  end(): void {
    clearInterval(this.#beat);
  }
}

/** What one request does, in the guest and, when it arrives there, on the host. */
async function request(caller: ModelCaller, host: GuestProcess | null): Promise<void> {
  const ptr = host?.alloc(BYTES) ?? 0x7f0dba800000;
  await caller.order(`alloc ${BYTES}`);
  await caller.order(`got ${ptr.toString(16)} ${BYTES}`);
  host?.copyIn(ptr, BYTES);
  await caller.order(`in ${BYTES}`);
  host?.launch("mul_mat");
  await caller.order("launch");
  host?.copyOut(ptr, BYTES);
  await caller.order(`out ${BYTES}`);
}

const parse = (stdout: string): Report => reportSchema.parse(JSON.parse(stdout));
const findingsOf = (report: Report) => report.findings.filter(({ check }) => check === "host-correlation");
const sourceOf = (report: Report) => report.sources.find(({ name }) => name === "host's record");

describe("vgpu-agent doctor with the counterpart", { skip: NO_UPROBES }, () => {
  const directory = temporaryDirectory();
  const program = compileModelCaller(directory);
  const shim = compileTransport(directory, "libcuda.so.1");
  const fresh = () => mkdtempSync(join(directory, "case-"));

  async function enrolled(host: CounterpartProcess, home: string): Promise<string> {
    const file = join(home, "enrolment");
    const { exitCode, stdout, stderr } = await vgpuAgent(["enroll", "-", "--enrolment", file], await host.enroll(VM));
    assert.equal(exitCode, 0, stderr);
    assert.match(stdout, /The host takes the token; its clock agrees/);
    return file;
  }

  /** The doctor on a caller that makes requests until it has answered. */
  async function judged(
    home: string,
    file: string,
    options: {
      readonly mediator: StandInLog | null;
      readonly live?: boolean;
      readonly args?: readonly string[];
      /** What the guest's log names; null: it says nothing of a VM. */
      readonly vm?: number | null;
    },
  ) {
    const { mediator, live = true, args = ["--json"], vm = VM } = options;
    const log = join(home, "stderr.log");
    const caller = await startModelCaller(program, shim, log);
    try {
      const arrives =
        mediator === null
          ? null
          : new GuestProcess(mediator.log, { vmId: VM, domId: 4, fd: 41, requestId: 100 }, caller.pid);
      arrives?.init();
      if (vm !== null) await caller.order(`init ${vm}`);
      await request(caller, arrives);
      const only = ["--only", "host-correlation", "--enrolment", file, "--pid", `${caller.pid}`];
      const running = vgpuAgent(["doctor", ...only, ...(live ? ["--live", "2"] : []), ...args]);
      let isOver = false;
      void running.finally(() => {
        isOver = true;
      });
      // As often as a model makes tokens: the host's record has to be read, too.
      while (live && !isOver) await Promise.all([request(caller, arrives), sleep(REQUEST_MS)]);
      return await running;
    } finally {
      await caller.stop();
    }
  }

  it("proves execution by the host's record of these very seconds, and leaves it the report", async () => {
    const home = fresh();
    const mediator = new StandInLog(home);
    const host = await startCounterpart(home, mediator.path);
    try {
      const file = await enrolled(host, home);
      const { stdout, stderr, exitCode } = await judged(home, file, { mediator });
      const report = parse(stdout);
      const { verdict, host_match: compared } = report;
      assert.deepEqual([verdict.rung, verdict.proven, verdict.evidence], ["executing", true, "host"], stdout);
      assert.deepEqual(compared?.source, { kind: "host", name: host.url });
      for (const { operation, guest, host: theirs } of compared?.operations ?? []) {
        assert.ok((guest?.count ?? 0) > 1 && (theirs?.count ?? 0) > 1, operation);
      }
      assert.match(sourceOf(report)?.detail ?? "", /by what this kernel counted/);
      assert.deepEqual([exitCode, stderr], [0, ""]);
      assert.ok(!stdout.includes(SECRET_KERNEL));
      const shown = await judged(home, file, { mediator, args: ["--format", "tty", "--color=false"] });
      assert.match(shown.stdout, /^ {2}EXECUTING$/m);
      assert.match(shown.stdout, /Guest and host, side by side/);
      assert.match(shown.stdout, /^ +launch +\d+ +\d+(–\d+)? +STRONG$/m);
      await host.stop();
      const store = new SqliteStore(join(home, "host.db"));
      const kept = await store.readReports({ vmId: VM, limit: 10 });
      await store.close();
      const ofOne = ["guest-evidence", "guest-evidence", "report"];
      assert.deepEqual(kept.map(({ kind }) => kind).sort(), [...ofOne, ...ofOne].sort());
    } finally {
      mediator.end();
      await host.stop();
    }
  });

  it("proves it by the log of a process that works no more, without probes", async () => {
    const home = fresh();
    const mediator = new StandInLog(home);
    const host = await startCounterpart(home, mediator.path);
    try {
      const file = await enrolled(host, home);
      const report = parse((await judged(home, file, { mediator, live: false })).stdout);
      assert.deepEqual([report.verdict.rung, report.verdict.proven], ["executing", true], report.verdict.statement);
      assert.match(sourceOf(report)?.detail ?? "", /by what the workload's log tells/);
    } finally {
      mediator.end();
      await host.stop();
    }
  });

  it("refutes it where the host watched its log, and none of the launches came", async () => {
    const home = fresh();
    const mediator = new StandInLog(home);
    const host = await startCounterpart(home, mediator.path);
    try {
      const file = await enrolled(host, home);
      const report = parse((await judged(home, file, { mediator: null })).stdout);
      assert.ok(report.verdict.refuted.includes("executing"), JSON.stringify(findingsOf(report)));
      assert.equal(report.verdict.proven, false);
      assert.ok(findingsOf(report).some(({ outcome, message }) => outcome === "fail" && /launches/.test(message)));
    } finally {
      mediator.end();
      await host.stop();
    }
  });

  it("says nothing of a VM that may be another one: what is not recorded may be recorded under its own id", async () => {
    const home = fresh();
    const mediator = new StandInLog(home);
    const host = await startCounterpart(home, mediator.path);
    try {
      const file = await enrolled(host, home);
      const other = parse((await judged(home, file, { mediator: null, live: false, vm: OTHER_VM })).stdout);
      assert.match(sourceOf(other)?.detail ?? "", /says that this is VM 77, .* VM 11's: nothing was sent/);
      const nameless = parse((await judged(fresh(), file, { mediator: null, vm: null })).stdout);
      assert.match(sourceOf(nameless)?.detail ?? "", /has no call of VM 11, and nothing here says/);
      for (const { verdict } of [other, nameless]) assert.deepEqual([verdict.proven, verdict.refuted], [false, []]);
    } finally {
      mediator.end();
      await host.stop();
    }
  });

  it("says that a host without the mediator's log cannot compare", async () => {
    const home = fresh();
    const host = await startCounterpart(home);
    const file = await enrolled(host, home);
    const report = parse((await judged(home, file, { mediator: null, live: false })).stdout);
    assert.deepEqual(
      findingsOf(report).map(({ outcome }) => outcome),
      ["unknown"],
    );
    assert.match(sourceOf(report)?.detail ?? "", /--mediator-log/);
    assert.deepEqual([report.verdict.proven, report.verdict.refuted], [false, []]);
  });

  it("takes a host that is away, that is another one, or that took the token back for nothing but that", async () => {
    const home = fresh();
    const host = await startCounterpart(home);
    const file = await enrolled(host, home);
    const ask = async (path: string) => parse((await judged(home, path, { mediator: null, live: false })).stdout);
    const word = parseEnrolment(await host.enroll(VM));
    const elsewhere = await kept(fresh(), { ...word, pin: "0".repeat(64) });
    await host.revoke();
    const revoked = await ask(file);
    assert.equal(sourceOf(revoked)?.state, "denied");
    assert.match(sourceOf(revoked)?.detail ?? "", /revoked or has expired/);
    const other = await ask(elsewhere);
    assert.equal(sourceOf(other)?.state, "invalid");
    assert.match(sourceOf(other)?.detail ?? "", /not the enrolled one/);
    await host.stop();
    const away = await ask(file);
    assert.equal(sourceOf(away)?.state, "timed-out");
    assert.deepEqual(
      findingsOf(away).map(({ outcome, cause }) => [outcome, cause]),
      [["unknown", "VG-P12"]],
    );
    for (const { verdict } of [revoked, other, away]) {
      assert.deepEqual([verdict.proven, verdict.refuted, verdict.first_broken_hop], [false, [], null]);
    }
    const all = JSON.stringify([revoked, other, away]);
    assert.ok(!all.includes(word.token) && !host.said().includes(word.token));
  });

  it("withholds the proof where the host doubts its mediator, and escapes what it says", async () => {
    const findings = [
      { check: "mediator-process", outcome: "fail", cause: "VG-H02", message: "2 mediators run \u001b[31m(1, 2)" },
      { check: "log-space", outcome: "warn", cause: "VG-H10", message: "the disk is nearly full" },
    ];
    const { result } = await executingMatch(fresh());
    await withFakeHost(joiningHost({ vmId: VM, result, findings }), async ({ enrolment }) => {
      const home = fresh();
      const file = await kept(home, enrolment);
      const { stdout } = await judged(home, file, { mediator: null, live: false });
      const report = parse(stdout);
      assert.deepEqual(
        findingsOf(report).map(({ outcome, cause }) => [outcome, cause]),
        [
          ["fail", "VG-H02"],
          ["warn", "VG-H10"],
          ["unknown", null],
        ],
        stdout,
      );
      assert.deepEqual([report.verdict.proven, report.verdict.refuted.includes("executing")], [false, false]);
      const shown = await judged(home, file, { mediator: null, live: false, args: ["--format", "tty"] });
      assert.ok(!shown.stdout.includes("\u001b"), "no control character of the host's reaches the terminal");
      assert.match(shown.stdout, /2 mediators run/);
      assert.equal(shown.exitCode, 3);
    });
  });
});

/** What a real match says of operations that all came through. */
async function executingMatch(home: string) {
  const path = join(home, "executing.log");
  const operations: TrueOperation[] = [];
  const log = new MediatorLog((text) => appendFileSync(path, text, "latin1"), {
    onOperation: (operation) => operations.push(operation),
  });
  log.start([VM]);
  const guest = new GuestProcess(log, { vmId: VM, domId: 4, fd: 41, requestId: 100 }, 4711);
  guest.init();
  const ptr = guest.alloc(BYTES) ?? 0;
  guest.copyIn(ptr, BYTES);
  guest.launch("mul_mat");
  guest.copyOut(ptr, BYTES);
  await using file = await open(path);
  const matched = match(knownEvidence(operations, VM, "debug").evidence, VM, await readHostLog(file));
  assert.equal(matched.result.verdict.state, "executing");
  return matched;
}

async function kept(home: string, enrolment: Enrolment): Promise<string> {
  const file = join(home, "kept");
  const args = ["enroll", "-", "--offline", "--force", "--enrolment", file];
  const { exitCode, stderr } = await vgpuAgent(args, formatEnrolment(enrolment));
  assert.equal(exitCode, 0, stderr);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  return file;
}
