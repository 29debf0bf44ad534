import assert from "node:assert/strict";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { launchLines, operationLines, requestLine, startLines } from "./fixtures/guest-lines.ts";
import { toExport, withoutJournalRemote, writeJournal } from "./fixtures/journal-files.ts";
import { MediatorLog, type TrueOperation } from "./fixtures/mediator-log.ts";
import { GuestProcess } from "./fixtures/mediator-vm.ts";
import { temporaryDirectory } from "./support/real-process.ts";
import { ReportingHost, saidTwice, until } from "./support/reporting-host.ts";
import { type AgentSetUp, setUpAgent, startAgent } from "./support/running-agent.ts";

/** The service as it is run, against the counterpart as it is run, with a workload's log that grows. */

const VM = 11;
const PID = 4711;
/** Longer than a window stays open after its request was answered. */
const SETTLED_MS = 3300;
const root = temporaryDirectory();
const fresh = () => mkdtempSync(join(root, "case-"));

const say = ({ log }: AgentSetUp, lines: readonly string[]) => appendFileSync(log, `${lines.join("\n")}\n`);

/** A line that belongs to nothing, after the time in which late lines still belong to a window: it ends the window. */
async function endWindow(set: AgentSetUp): Promise<void> {
  await sleep(SETTLED_MS);
  say(set, ["a line of the server's own"]);
}

/** Calls under numbers from 1 on, as a model makes them, with an answered request now and then. */
class Calls {
  readonly #set: AgentSetUp;
  readonly #timer: NodeJS.Timeout;
  last = 0;

  constructor(set: AgentSetUp) {
    this.#set = set;
    say(set, startLines(VM, PID));
    this.#timer = setInterval(() => {
      this.last += 1;
      const request = this.last % 5 === 0 ? [requestLine("0.2s")] : [];
      say(set, [...launchLines(PID, this.last), ...request]);
    }, 40);
  }

  /** Ends the last window, too. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    say(this.#set, [requestLine("0.2s")]);
    await endWindow(this.#set);
  }

  get all(): readonly number[] {
    return Array.from({ length: this.last }, (_, index) => index + 1);
  }
}

describe("vgpu-agent run", { concurrency: 4 }, () => {
  it("has its windows joined with the mediator's log: the host knows that this VM executes", async () => {
    const home = fresh();
    const set = setUpAgent(home);
    const path = join(home, "mediator.log");
    writeFileSync(path, "");
    const operations: TrueOperation[] = [];
    const mediator = new MediatorLog((text) => appendFileSync(path, text, "latin1"), {
      onOperation: (operation) => operations.push(operation),
    });
    mediator.start([VM]);
    const beat = setInterval(() => mediator.heartbeat(), 200);
    const host = await ReportingHost.start(home, VM, set.enrolment, "--mediator-log", path);
    const agent = startAgent(set.config, set.state);
    try {
      await agent.until("observes");
      say(set, startLines(VM, PID));
      await sleep(1500);
      const guest = new GuestProcess(mediator, { vmId: VM, domId: VM, fd: 51, requestId: 1 }, PID);
      guest.init();
      const ptr = guest.alloc(200_000) ?? assert.fail();
      guest.copyIn(ptr, 200_000);
      guest.launch("mul_mat");
      guest.copyOut(ptr, 200_000);
      await sleep(700);
      say(set, [...operationLines(PID, operations), requestLine("0.5s")]);
      await endWindow(set);
      const client = host.client();
      let result: unknown = null;
      await until(async () => {
        const { answer } = await client.verdict({ window: null, waitSeconds: 5 });
        result = answer.result?.["verdict"];
        return answer.state === "ready";
      }, "the host joins the window");
      client.close();
      assert.match(JSON.stringify(result), /"state":"executing"/, JSON.stringify(host.windows));
    } finally {
      clearInterval(beat);
      await agent.kill("SIGTERM");
      await host.down();
    }
  });

  it("with settings that cannot be used ends with 1, and says each problem with its line", async () => {
    const set = setUpAgent(fresh());
    writeFileSync(set.config, '[workload]\nunits = "x.service"\n[observe]\nlight_seconds = 0\n', { mode: 0o600 });
    const agent = startAgent(set.config, set.state);
    assert.deepEqual(await agent.ended, { code: 1, signal: null });
    assert.match(agent.said(), /agent\.toml:2:1: .*units/);
    assert.match(agent.said(), /agent\.toml:4:\d+: .*light_seconds/);
  });

  it("runs on without its state directory, says so once, and keeps its state when it can", async () => {
    const home = fresh();
    const set = setUpAgent(home);
    const host = await ReportingHost.start(home, VM, set.enrolment);
    const state = join(home, "not-there-yet");
    const agent = startAgent(set.config, state);
    const begun = "the state is not kept: a restart knows what the spool has, and no more";
    const { problem } = await agent.until(begun);
    assert.match(String(problem), /not-there-yet: cannot be opened \(ENOENT\): make the directory/);
    await agent.until("observes");
    // Each is tried to be written, and so is the reading place, every 30 s.
    say(set, [...startLines(VM, PID), ...launchLines(PID, 1), requestLine()]);
    await endWindow(set);
    await until(() => host.sequence.length > 0 && host.conditions.length > 0, "a window and a condition");
    mkdirSync(state, { mode: 0o700 });
    await agent.until("the state is kept again");
    const lines = agent.said().split("\n");
    assert.equal(lines.filter((line) => line.includes("state is not kept")).length, 1, agent.said());
    for (const file of ["agent.json", "conditions.json", "reading.json", "lock"]) {
      assert.ok(existsSync(join(state, file)), file);
    }
    const second = startAgent(set.config, state);
    assert.deepEqual(await second.ended, { code: 1, signal: null }, "it is locked");
    await agent.kill("SIGTERM");
    const next = startAgent(set.config, state);
    await next.until("observes");
    say(set, [...launchLines(PID, 2), requestLine()]);
    await endWindow(set);
    await until(() => host.sequence.length > 1, "the second window");
    assert.deepEqual(host.sequence, [1, 2]);
    assert.deepEqual(saidTwice(host.conditions), []);
    assert.ok(!next.said().includes("state is not kept"), next.said());
    await next.kill("SIGTERM");
    await host.down();
  });

  it("leaves a state directory that another agent works in alone", async () => {
    const set = setUpAgent(fresh());
    const first = startAgent(set.config, set.state);
    await first.until("observes");
    const second = startAgent(set.config, set.state);
    assert.deepEqual(await second.ended, { code: 1, signal: null });
    assert.match(second.said(), /another process works in it/);
    await first.kill("SIGTERM");
  });

  it("ends within 2 s of SIGTERM while the host is away, and delivers after the next start what it had cut", async () => {
    const home = fresh();
    const set = setUpAgent(home);
    const host = await ReportingHost.start(home, VM, set.enrolment);
    await host.down();
    const agent = startAgent(set.config, set.state);
    await agent.until("observes");
    say(set, [...startLines(VM, PID), ...launchLines(PID, 1), requestLine()]);
    await endWindow(set);
    say(set, launchLines(PID, 2));
    await sleep(1000);
    const begun = performance.now();
    agent.child.kill("SIGTERM");
    assert.deepEqual(await agent.ended, { code: 0, signal: null });
    assert.ok(performance.now() - begun < 2000, `${performance.now() - begun} ms`);
    await host.up();
    const next = startAgent(set.config, set.state);
    await until(() => host.sequence.length > 0, "the first window");
    assert.deepEqual(host.sequence, [1]);
    // What was in a window that was open is read again.
    say(set, [requestLine()]);
    await endWindow(set);
    await until(() => host.sequence.length > 1, "the second window");
    assert.deepEqual(host.sequence, [1, 2]);
    await next.kill("SIGTERM");
    await host.down();
  });

  it("tells the host how the clocks stood in a window that was cut before it ever reached the host", async () => {
    const home = fresh();
    const set = setUpAgent(home);
    const host = await ReportingHost.start(home, VM, set.enrolment);
    await host.down();
    const agent = startAgent(set.config, set.state);
    await agent.until("observes");
    // The log was looked at before: when its next lines are written is known.
    await sleep(1000);
    say(set, [...startLines(VM, PID), ...launchLines(PID, 1), requestLine()]);
    await endWindow(set);
    say(set, [...launchLines(PID, 2), requestLine()]);
    await host.up();
    await endWindow(set);
    await until(() => host.sequence.length >= 2, "both windows");
    for (const { clock_offset_ms: offset, clock_error_ms: error } of host.windows) {
      assert.ok(offset !== null && error !== null && Math.abs(offset) <= error + 5, `${offset} ms, ${error} ms`);
    }
    await agent.kill("SIGTERM");
    await host.down();
  });

  it("keeps what it sees while the host is away, and delivers it when the host is back", async () => {
    const home = fresh();
    const set = setUpAgent(home);
    const host = await ReportingHost.start(home, VM, set.enrolment);
    const agent = startAgent(set.config, set.state);
    await agent.until("observes");
    const calls = new Calls(set);
    await sleep(2000);
    await host.down();
    await sleep(4000);
    await host.up();
    await sleep(2000);
    await host.down();
    await host.up();
    await calls.stop();
    await until(() => host.sequence.length >= calls.last, "all calls at the host");
    assert.deepEqual(host.sequence, calls.all);
    await agent.kill("SIGTERM");
    await host.down();
  });

  it("loses nothing and tells nothing twice when it reads its settings again in the middle of a stream", async () => {
    const home = fresh();
    const set = setUpAgent(home);
    const host = await ReportingHost.start(home, VM, set.enrolment);
    const calls = new Calls(set);
    const agent = startAgent(set.config, set.state);
    await agent.until("observes");
    // Before the log was looked at for the first time.
    agent.child.kill("SIGHUP");
    for (let round = 0; round < 6; round += 1) {
      await sleep(900);
      const from = agent.count();
      if (round === 3) writeFileSync(set.config, "[observe\n");
      else set.configure(`[limits]\ncpu_percent = ${10 + round}`);
      agent.child.kill("SIGHUP");
      await agent.until(
        round === 3 ? "the settings cannot be used: the old ones stay" : "read its settings again",
        from,
      );
    }
    await sleep(4000);
    await calls.stop();
    await until(() => host.sequence.length >= calls.last, "all calls at the host");
    await agent.kill("SIGTERM");
    assert.deepEqual(host.sequence, calls.all);
    assert.deepEqual(
      host.windows.flatMap(({ gaps }) => gaps),
      [],
    );
    assert.deepEqual(saidTwice(host.conditions), [], "a reload opens no condition again");
    await host.down();
  });

  it("has each call and each condition at the host once although it is killed again and again", async () => {
    const home = fresh();
    const set = setUpAgent(home);
    const host = await ReportingHost.start(home, VM, set.enrolment);
    const calls = new Calls(set);
    for (let kills = 0; kills < 16; kills += 1) {
      const agent = startAgent(set.config, set.state);
      if (kills % 4 !== 0) await agent.until("observes");
      // Some rounds are long enough for a window.
      await sleep(Math.random() * (kills % 3 === 0 ? 5000 : 1000));
      await agent.kill();
    }
    const last = startAgent(set.config, set.state);
    await last.until("observes");
    await calls.stop();
    await until(() => host.sequence.length >= calls.last, "all calls at the host");
    await until(() => host.conditions.length > 0, "conditions at the host");
    await last.kill("SIGTERM");
    assert.deepEqual(host.sequence, calls.all);
    assert.deepEqual(saidTwice(host.conditions), []);
    await host.down();
  });

  it("goes on in a file that was moved away meanwhile, and tells the host what a truncation has cost", async () => {
    const home = fresh();
    const set = setUpAgent(home);
    const host = await ReportingHost.start(home, VM, set.enrolment);
    const first = startAgent(set.config, set.state);
    await first.until("observes");
    say(set, [...startLines(VM, PID), ...launchLines(PID, 1), requestLine()]);
    await endWindow(set);
    await until(() => host.sequence.length > 0, "the first window");
    await first.kill("SIGTERM");
    say(set, launchLines(PID, 2));
    renameSync(set.log, `${set.log}.1`);
    say(set, [...launchLines(PID, 3), requestLine()]);
    const second = startAgent(set.config, set.state);
    await second.until("observes");
    await endWindow(set);
    await until(() => host.sequence.length > 2, "what was written to both files");
    assert.deepEqual(host.sequence, [1, 2, 3]);
    await second.kill("SIGTERM");
    say(set, launchLines(PID, 4));
    truncateSync(set.log, 0);
    say(set, [...startLines(VM, PID), ...launchLines(PID, 5), requestLine()]);
    const third = startAgent(set.config, set.state);
    await third.until("observes");
    await endWindow(set);
    await until(() => host.sequence.length > 3, "what was written after the truncation");
    assert.deepEqual(host.sequence, [1, 2, 3, 5]);
    const gaps = host.windows.flatMap((one) => one.gaps);
    assert.ok(
      gaps.some((gap) => /truncated or written anew/.test(gap)),
      JSON.stringify(gaps),
    );
    await third.kill("SIGTERM");
    await host.down();
  });

  const withoutFiles = withoutJournalRemote();
  it("tells windows of two boots apart, although it was away during the reboot", { skip: withoutFiles }, async () => {
    const home = fresh();
    const set = setUpAgent(home);
    const host = await ReportingHost.start(home, VM, set.enrolment);
    const journal = join(home, "journal");
    mkdirSync(journal);
    // Only this process has it where journald's own would be.
    const mounted = ["unshare", "--mount", "sh", "-c", `mount --bind ${journal} /var/log/journal && exec "$@"`, "sh"];
    const write = (bootId: string, lines: readonly (readonly [seconds: number, text: string])[]) => {
      const entries = lines.map(([seconds, text]) => ({
        realtime: Date.now() * 1000,
        monotonic: seconds * 1e6,
        bootId,
        fields: [
          ["MESSAGE", text],
          ["_SYSTEMD_UNIT", "vgpu-agent-test.service"],
          ["_PID", "1187"],
          ["_TRANSPORT", "stdout"],
        ] as const,
      }));
      writeJournal(journal, "system", toExport(entries));
    };
    // Far ahead of this machine's own clock, so that time passing here ends no window.
    const [bootA, bootB] = ["a".repeat(32), "b".repeat(32)];
    const first = startAgent(set.config, set.state, mounted);
    await first.until("observes");
    write(
      bootA,
      [...startLines(VM, PID), ...launchLines(PID, 1)].map((text) => [2e7, text]),
    );
    await sleep(7000);
    await first.kill();
    const before = launchLines(PID, 2).map((text) => [2e7 + 1, text] as const);
    write(bootA, before);
    const after = [...startLines(VM, 500), ...launchLines(500, 3), requestLine("0.2s")];
    write(bootB, [...after.map((text) => [1e7, text] as const), [1e7 + 10, launchLines(500, 4)[0] ?? ""]]);
    const second = startAgent(set.config, set.state, mounted);
    await until(() => host.sequence.length >= 3, "the windows of both boots");
    assert.deepEqual(host.sequence, [1, 2, 3]);
    const seen = host.windows.map(({ boot_id, processes }) => [
      boot_id,
      ...new Set(processes.map(({ ended }) => ended)),
    ]);
    assert.deepEqual(seen, [
      [bootA, true],
      [bootB, null],
    ]);
    await second.kill("SIGTERM");
    await host.down();
  });

  it("without its state directory's files knows by the spool where it was, and without the spool by those", async () => {
    const home = fresh();
    const set = setUpAgent(home);
    const host = await ReportingHost.start(home, VM, set.enrolment);
    let wanted = 0;
    for (const lost of ["", "reading.json", "checkpoint.json", "spool", "agent.json", "conditions.json"]) {
      const path = join(set.state, lost);
      // Of conditions there may have been none to keep; every other file has to be there.
      const hasNone = lost === "" || (lost === "conditions.json" && !existsSync(path));
      if (!hasNone) renameSync(path, join(home, `lost-${lost}`));
      const agent = startAgent(set.config, set.state);
      await agent.until("observes");
      wanted += 1;
      say(set, [...startLines(VM, PID), ...launchLines(PID, wanted), requestLine()]);
      await endWindow(set);
      await until(() => host.sequence.length >= wanted, `window ${wanted}`);
      await agent.kill("SIGTERM");
      assert.deepEqual(
        host.sequence,
        Array.from({ length: wanted }, (_, index) => index + 1),
        `without ${lost}`,
      );
    }
    const agent = startAgent(set.config, set.state);
    await until(
      () => readFileSync(join(set.state, "reading.json"), "latin1").includes('"isDelivered":true'),
      "all is delivered, and that is saved",
      60_000,
    );
    await agent.kill("SIGTERM");
    await host.down();
  });
});
