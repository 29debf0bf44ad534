import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { GuestEvidence } from "../src/host/match/guest-evidence.ts";
import { requestLine } from "./fixtures/guest-lines.ts";
import { MediatorLog } from "./fixtures/mediator-log.ts";
import { GuestProcess } from "./fixtures/mediator-vm.ts";
import { makeGroup } from "./support/control-group.ts";
import { compileModelCaller, startModelCaller } from "./support/model-caller.ts";
import { temporaryDirectory } from "./support/real-process.ts";
import { ReportingHost, until } from "./support/reporting-host.ts";
import { setUpAgent, startAgent } from "./support/running-agent.ts";
import { NO_UPROBES } from "./support/tracing.ts";
import { compileCaller, compileTransport, startCaller } from "./support/transport-target.ts";

/** The service with the kernel's probes (observe.live), on processes that make transport calls. */

const VM = 11;
const BYTES = 200_000;
const UNIT = `vgpu-agent-live-${process.pid}.service`;

const { directory: GROUP, enter, skip: noGroup } = makeGroup(UNIT);

const countsOf = (windows: readonly GuestEvidence[], pid: number) => {
  const counts = new Map<number, number>();
  for (const { call_id, count } of windows
    .flatMap(({ processes }) => processes)
    .filter((one) => one.pid === pid)
    .flatMap(({ calls }) => calls)) {
    counts.set(call_id, (counts.get(call_id) ?? 0) + count);
  }
  return counts;
};

const skip = NO_UPROBES || noGroup;

describe("vgpu-agent run with the kernel's probes", { skip }, () => {
  const directory = temporaryDirectory();
  const fresh = () => mkdtempSync(join(directory, "case-"));

  it("joins what the kernel counted with what the log tells of the same request, and the host proves it", async () => {
    const home = fresh();
    const set = setUpAgent(home, { unit: UNIT, live: "on" });
    const path = join(home, "mediator.log");
    writeFileSync(path, "");
    const mediator = new MediatorLog((text) => appendFileSync(path, text, "latin1"));
    mediator.start([VM]);
    const beat = setInterval(() => mediator.heartbeat(), 200);
    const host = await ReportingHost.start(home, VM, set.enrolment, "--mediator-log", path);
    const shim = compileTransport(directory, "libcuda.so.1");
    const caller = await startModelCaller(compileModelCaller(directory), shim, set.log);
    enter(caller.pid);
    const agent = startAgent(set.config, set.state);
    try {
      await agent.until("the kernel counts the workload's calls");
      await agent.until("observes");
      await sleep(2500);
      const guest = new GuestProcess(mediator, { vmId: VM, domId: 4, fd: 41, requestId: 100 }, caller.pid);
      const begun = performance.now();
      guest.init();
      await caller.order(`init ${VM}`);
      for (let round = 0; round < 5; round += 1) {
        const ptr = guest.alloc(BYTES) ?? assert.fail();
        await caller.order(`alloc ${BYTES}`);
        await caller.order(`got ${ptr.toString(16)} ${BYTES}`);
        guest.copyIn(ptr, BYTES);
        await caller.order(`in ${BYTES}`);
        guest.launch("mul_mat");
        await caller.order("launch");
        guest.copyOut(ptr, BYTES);
        await caller.order(`out ${BYTES}`);
        await sleep(100);
      }
      const seconds = (performance.now() - begun) / 1000;
      appendFileSync(set.log, `${requestLine(`${seconds.toFixed(6)}s`)}\n`);
      await sleep(3300);
      appendFileSync(set.log, "a line of the server's own\n");
      await until(() => host.windows.length > 0, "a window");
      const [window] = host.windows;
      const [process, ...more] = window?.processes ?? [];
      assert.deepEqual(
        [process?.pid, process?.counted_by, process?.coverage, more],
        [caller.pid, "kernel", "full", []],
        JSON.stringify(host.windows).slice(0, 4000),
      );
      const all = [0x01, 0x30, 0x32, 0x50, 0x33].map((id) => [id, id === 0x01 ? 1 : 5] as const);
      assert.deepEqual([...countsOf(host.windows, caller.pid)].sort(), [...all].sort());
      assert.equal(process?.allocations.length, 5);
      assert.ok((process?.sequence.length ?? 0) >= 21);
      assert.equal(window?.requests.length, 1);
      const client = host.client();
      let state = "";
      await until(async () => {
        const { answer } = await client.verdict({ window: null, waitSeconds: 5 });
        state = JSON.stringify(answer.result?.["verdict"] ?? null);
        return answer.state === "ready";
      }, "the host joins the window");
      client.close();
      assert.match(state, /"state":"executing"/);
    } finally {
      clearInterval(beat);
      await agent.kill("SIGTERM");
      await caller.stop();
      await host.down();
    }
  });

  it("cuts windows by itself where no line of a log does, with each call once, also of processes that ended", async () => {
    const set = setUpAgent(fresh(), { unit: UNIT, live: "on" });
    const home = fresh();
    const host = await ReportingHost.start(home, VM, set.enrolment);
    const program = compileCaller(directory);
    const shim = compileTransport(directory, "libcuda-quiet.so");
    const first = await startCaller(program, [shim]);
    enter(first.pid);
    const agent = startAgent(set.config, set.state);
    await agent.until("observes");
    await sleep(2500);
    await first.run(6000, 2);
    const second = await startCaller(program, [shim]);
    enter(second.pid);
    await sleep(1500);
    await second.run(3000);
    const truths = [
      [first.pid, await first.truth()],
      [second.pid, await second.truth()],
    ] as const;
    await second.stop();
    await until(() => host.windows.length > 0, "a window");
    // A reload takes no probe out.
    await first.run(600);
    const from = agent.count();
    set.configure("[limits]\ncpu_percent = 9");
    agent.child.kill("SIGHUP");
    await agent.until("read its settings again", from);
    await first.run(600);
    const last = await first.truth();
    const before = host.windows.length;
    // What is in no window yet is told at the end.
    await agent.kill("SIGTERM");
    const again = startAgent(set.config, set.state);
    await until(
      () => host.windows.length > before,
      () => `the last window: ${agent.said()}${again.said()}`,
    );
    await again.kill("SIGTERM");
    for (const [pid, truth] of [[first.pid, last] as const, truths[1]]) {
      const wanted = [...truth].map(([id, { count }]) => [id, count]);
      assert.deepEqual([...countsOf(host.windows, pid)].sort(), wanted.sort(), `pid ${pid}`);
    }
    for (const { window, processes, gaps } of host.windows) {
      assert.ok(window.from !== null && window.to !== null && window.to - window.from < 75_000);
      assert.ok(processes.every(({ coverage }) => coverage === "full"));
      assert.deepEqual(gaps, []);
    }
    await first.stop();
    await host.down();
  });

  it("knows a process as the workload's that lives for less than the time between two looks", async () => {
    const set = setUpAgent(fresh(), { unit: UNIT, live: "on" });
    const host = await ReportingHost.start(fresh(), VM, set.enrolment);
    const program = compileCaller(directory);
    const shim = compileTransport(directory, "libcuda-short.so");
    const idle = await startCaller(program, [shim]);
    enter(idle.pid);
    const agent = startAgent(set.config, set.state);
    await agent.until("observes");
    await sleep(2500);
    const text = `echo $$ > ${GROUP}/cgroup.procs && echo 'run 600 1 0' | { sleep 0.01; exec ${program} ${shim}; }`;
    execFileSync("sh", ["-c", text]);
    await until(() => host.windows.length > 0, "a window");
    const [window, ...more] = host.windows;
    const total = window?.processes.flatMap(({ calls }) => calls).reduce((sum, { count }) => sum + count, 0);
    assert.deepEqual([window?.processes.length, total, window?.gaps, more], [1, 600, [], []]);
    await agent.kill("SIGTERM");
    await idle.stop();
    await host.down();
  });

  it("without the right to probe says so once, and never that there were no calls", async () => {
    const set = setUpAgent(fresh(), { unit: UNIT, live: "on" });
    const home = fresh();
    const host = await ReportingHost.start(home, VM, set.enrolment);
    const agent = startAgent(set.config, set.state, ["setpriv", "--bounding-set=-sys_admin,-bpf,-perfmon"]);
    const said = await agent.until("the kernel cannot count calls here: how many there were is not known");
    assert.match(String(said["reason"]), /not permitted/);
    await agent.until("observes");
    await until(() => host.entries("report").length > 0, "a report");
    const [report] = host.entries("report");
    assert.match(JSON.stringify(report), /"state":"denied","detail":"eBPF: not permitted/);
    assert.equal(agent.said().split("cannot count calls").length, 2);
    await agent.kill("SIGTERM");
    assert.deepEqual(host.windows, []);
    await host.down();
  });
});
