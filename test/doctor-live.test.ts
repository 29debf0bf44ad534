import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Report, reportSchema } from "../src/report/report.ts";
import { type Container, startContainer } from "./bench/container.ts";
import { REG } from "./bench/device/registers.ts";
import { ollamaUnit } from "./bench/payload.ts";
import { run } from "./bench/process.ts";
import { ensureContainer } from "./bench/setup.ts";
import { expectTruth } from "./scenarios/expect.ts";
import { EXECUTING } from "./scenarios/scenario.ts";
import { NOT_ROOT, vgpuAgentAsNobody } from "./support/as-nobody.ts";
import { temporaryDirectory } from "./support/real-process.ts";
import { NO_UPROBES, openTracefs } from "./support/tracing.ts";
import { type Caller, compileCaller, compileTransport, startCaller } from "./support/transport-target.ts";

const PROGRAM = join(import.meta.dirname, "..", "bin", "vgpu-agent.js");
const TRACE = "kernel trace";
const WAIT_MS = 30_000;

const parse = (said: string): Report => reportSchema.parse(JSON.parse(said));
const sourceNamed = (report: Report, name: string) => report.sources.find((source) => source.name === name);

function doctor(...args: readonly string[]): { readonly child: ChildProcess; readonly said: Promise<Report> } {
  const child = spawn(process.execPath, [PROGRAM, "doctor", "--json", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const stdout = child.stdout;
  if (stdout === null) throw new Error("the doctor has no stdout");
  return { child, said: text(stdout).then(parse) };
}

/** Waits until the agent has a program in the kernel: there is no event to wait for instead. */
async function untilProbed(pid: number | undefined): Promise<void> {
  for (const end = performance.now() + WAIT_MS; performance.now() < end; await sleep(20)) {
    if (filesOf(pid).some((target) => target.includes("bpf-prog"))) return;
  }
  throw new Error("the doctor put no probe in place");
}

function filesOf(pid: number | undefined): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  } catch {
    return [];
  }
}

describe("vgpu-agent doctor --live", { skip: NO_UPROBES }, () => {
  const directory = temporaryDirectory();
  const caller = () => startCaller(compileCaller(directory), [compileTransport(directory, "libcuda.so.1")]);

  /** Calls without a pause until the doctor has answered. */
  async function callingUntil(said: Promise<Report>, { run: make }: Caller): Promise<Report> {
    let done = false;
    const report = said.finally(() => {
      done = true;
    });
    while (!done) await make(500);
    return await report;
  }

  it("counts a process that is asked for, and takes no launch for proof without the device", async () => {
    const target = await caller();
    try {
      const { child, said } = doctor("--live", "1", "--pid", String(target.pid));
      const exited = once(child, "exit");
      const report = await callingUntil(said, target);
      assert.notEqual((await exited)[0], 0, "this machine has no vGPU, and some of its calls fail");
      const { activity, verdict } = report;
      const truth = await target.truth();
      assert.equal(activity.source, "uprobe");
      assert.deepEqual(activity.calls.map(({ call_id }) => Number(call_id)).sort(), [...truth.keys()].sort());
      for (const { call_id, count, errors } of activity.calls) {
        const made = truth.get(Number(call_id));
        assert.ok(count > 0 && count <= (made?.count ?? 0), `${call_id}: ${count} of ${made?.count}`);
        assert.equal((errors ?? 0) > 0, Object.keys(made?.results ?? {}).length > 1, `${call_id}: ${errors} errors`);
      }
      assert.equal(sourceNamed(report, TRACE)?.state, "read");
      assert.notEqual(verdict.rung, "executing");
      assert.equal(verdict.evidence, null);
      assert.ok(report.findings.some(({ check, outcome }) => check === "live-calls" && outcome === "fail"));
    } finally {
      await target.stop();
    }
  });

  it("ends the count with Ctrl-C, judges what was counted, and leaves no probe", async () => {
    const target = await caller();
    try {
      const { child, said } = doctor("--live", "600", "--pid", String(target.pid));
      const exited = once(child, "exit");
      await untilProbed(child.pid);
      await target.run(1000);
      child.kill("SIGINT");
      const report = await said;
      const [code, signal] = await exited;
      assert.equal(signal, null);
      assert.ok([1, 3, 4].includes(code), `exit ${code}`);
      assert.equal(report.activity.source, "uprobe");
      assert.equal(report.activity.coverage, "partial");
      assert.ok(report.sources.some(({ name, detail }) => name === TRACE && /ended after .* of 600 s/.test(detail)));
      const tracefs = openTracefs();
      const left = [
        ...readdirSync(`${tracefs}/instances`),
        ...readFileSync(`${tracefs}/uprobe_events`, "latin1").split("\n"),
      ];
      assert.deepEqual(
        left.filter((line) => line.includes(`_${child.pid}_`)),
        [],
      );
    } finally {
      await target.stop();
    }
  });

  it("says why the kernel does not let it count, and judges all the rest", { skip: NOT_ROOT }, async () => {
    const { stdout, exitCode } = await vgpuAgentAsNobody(["doctor", "--live", "1", "--json"]);
    const report = parse(stdout);
    assert.notEqual(exitCode, 2);
    assert.equal(sourceNamed(report, TRACE)?.state, "denied");
    assert.match(sourceNamed(report, TRACE)?.detail ?? "", /it takes root/);
    assert.ok(report.findings.some(({ check, outcome }) => check === "live-calls" && outcome === "unknown"));
    assert.ok(report.findings.some(({ check }) => check === "workload-end"));
  });
});

describe("vgpu-agent doctor --live, used wrongly", () => {
  for (const args of [
    ["0"],
    ["x"],
    ["1e9"],
    ["1", "--root", "/tmp"],
    ["1", "--journal", "/tmp"],
    ["1", "--log", "/tmp/x"],
  ]) {
    it(`--live ${args.join(" ")} is refused, exit 2`, async () => {
      const { exitCode, stderr, stdout } = await run(process.execPath, [PROGRAM, "doctor", "--live", ...args]);
      assert.deepEqual([exitCode, stdout], [2, ""]);
      assert.match(stderr, /^vgpu-agent: --live .*\n$/);
    });
  }
});

const noContainer = NO_UPROBES || ((await ensureContainer()) ?? false);

describe("vgpu-agent doctor --live on a unit with the device", { skip: noContainer }, () => {
  const registers = { [REG.vmId]: 11, [REG.protocolVersion]: 0x10000, [REG.capabilities]: 0x71 };
  const works = "Environment=VGPU_STANDIN_ANSWER=ok STANDIN_AUTOLOAD=1 STANDIN_ACTIVITY_MS=20";

  /**
   * Bash in the container with the pids of this machine, as on a VM, where the kernel's pids are those of /proc. Without
   * --pid the look for other users of the device would find what runs beside this test.
   */
  async function withKernelsPids(box: Container, command: string) {
    const enter = ["-t", `${box.pid}`, "-m", "-u", "-i", "-n", "-C", "unshare", "--mount", "--propagation", "private"];
    const path = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const script = `mount -t proc proc /proc && SERVER=$(head -n1 /sys/fs/cgroup/system.slice/ollama.service/cgroup.procs) && ${command}`;
    return await run("nsenter", [...enter, "env", "-i", "--chdir=/", path, "HOME=/root", "bash", "-c", script], {
      timeoutMs: WAIT_MS,
    });
  }

  it("reaches executing by guest evidence alone while a runner works", async () => {
    await using box = await startContainer({
      devices: [{ mode: 0o666, registers }],
      sys: { "/kernel/security/lockdown": "[none] integrity confidentiality\n" },
      units: { "ollama.service": ollamaUnit([works]) },
    });
    await box.exec("systemctl start ollama");
    await box.until("journalctl -u ollama | grep -q 'llama runner started'");
    const live = await withKernelsPids(box, "vgpu-agent doctor --live 2 --json --pid $SERVER");
    const report = expectTruth("working", EXECUTING, live.stdout, live.exitCode);
    const launches = report.activity.calls.find(({ name }) => name === "cuLaunchKernel");
    assert.ok(launches !== undefined && launches.count > 10 && launches.errors === 0);
    const shown = await withKernelsPids(box, "LC_ALL=C.UTF-8 vgpu-agent doctor --live 1 --pid $SERVER");
    assert.match(shown.stdout, /^ {2}EXECUTING \(guest evidence\)$/m);
    assert.doesNotMatch(shown.stdout, /not proven/);
    // In the container itself the kernel's pids are nobody's: nothing is counted, and that is said.
    const inside = parse((await box.exec("vgpu-agent doctor --live 1 --json")).stdout);
    assert.equal(inside.verdict.rung, "connected");
    assert.match(sourceNamed(inside, TRACE)?.detail ?? "", /outside of the container/);
  });
});
