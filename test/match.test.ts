import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as textOf } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import type { MatchResult } from "../src/host/match/result.ts";
import { matchResultSchema } from "../src/host/match/result-schema.ts";
import { run } from "./bench/process.ts";
import { shimLines } from "./fixtures/match-evidence.ts";
import { MediatorLog, type TrueOperation } from "./fixtures/mediator-log.ts";
import { GuestProcess } from "./fixtures/mediator-vm.ts";

const PROGRAM = join(import.meta.dirname, "..", "bin", "vgpu-agent.js");
const PAYLOAD = "5e c2 e7";

/** A log of two VMs: one that works, and one whose kernel fails at the end. */
function hostLog(): { readonly text: string; readonly operations: readonly TrueOperation[] } {
  const parts: string[] = [];
  const operations: TrueOperation[] = [];
  const log = new MediatorLog((text) => parts.push(text), { onOperation: (operation) => operations.push(operation) });
  log.start([9, 12]);
  const processes = [9, 12].map((vmId) => {
    const process = new GuestProcess(log, { vmId, domId: vmId, fd: 40 + vmId, requestId: 10 }, 400 + vmId);
    process.init();
    const ptr = process.alloc(150_000) ?? 0;
    process.copyIn(ptr, 150_000);
    process.launch("mul_mat");
    process.copyOut(ptr, 150_000);
    return process;
  });
  processes[0]?.cleanup();
  processes[1]?.launch("bad_kernel", true);
  return { text: parts.join(""), operations };
}

/** Peak of resident memory, KiB; 0 when the process is gone. */
function peakOf(pid: number | undefined): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readProc(`${pid}/status`))?.[1] ?? 0);
}

function childrenOf(pid: number | undefined): number[] {
  return readProc(`${pid}/task/${pid}/children`).trim().split(" ").filter(Boolean).map(Number);
}

function readProc(path: string): string {
  try {
    return readFileSync(`/proc/${path}`, "latin1");
  } catch {
    return "";
  }
}

describe("vgpu-agent match", () => {
  let dir = "";
  let mediatorLog = "";
  let guestLog = "";
  const { text, operations } = hostLog();
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "vgpu-match-"));
    mediatorLog = join(dir, "mediator.log");
    guestLog = join(dir, "stderr.log");
    await writeFile(mediatorLog, text, "latin1");
    await writeFile(guestLog, shimLines(operations.filter(({ vmId }) => vmId === 9)));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const match = (args: readonly string[]) => run(process.execPath, [PROGRAM, "match", ...args]);
  const parsed = (stdout: string): MatchResult => matchResultSchema.parse(JSON.parse(stdout));

  it("shows guest and host side by side, and the six criteria, exit 0", async () => {
    const result = await match(["--mediator-log", mediatorLog, "--guest-log", guestLog]);
    assert.equal(result.exitCode, 0, result.stderr);
    assert.match(result.stdout, /EXECUTING — the calls of this VM ran on the GPU/);
    assert.match(result.stdout, /copy in +1 146KiB +1 146KiB +EXACT/);
    for (const name of ["cuMemAlloc", "cuMemcpyHtoD", "cuLaunchKernel", "cuMemcpyDtoH"]) {
      assert.match(result.stdout, new RegExp(`proven +Mediator logs show ${name} SUCCESS`));
    }
    assert.match(result.stdout, /not known +Model produces correct results/);
  });

  it("reads a log whose last line is 10 GiB long, in little memory, and keeps what came before", async () => {
    const path = join(dir, "endless.log");
    await writeFile(path, `${text}[MEDIATOR] `, "latin1");
    // A hole reads as zeros, and a line without its end is as long as there are any.
    await truncate(path, 10 * 2 ** 30);
    const child = spawn(process.execPath, [PROGRAM, "match", "--mediator-log", path, "--vm", "9", "--json"]);
    let most = 0;
    const watch = setInterval(() => {
      const peaks = [child.pid, ...childrenOf(child.pid)].map((pid) => peakOf(pid));
      most = Math.max(
        most,
        peaks.reduce((sum, kibibytes) => sum + kibibytes, 0),
      );
    }, 50);
    const stdout = await textOf(child.stdout);
    clearInterval(watch);
    assert.ok(most > 10_000 && most < 400_000, `${most} KiB`);
    const document = parsed(stdout);
    const ofVm = operations.filter(({ vmId }) => vmId === 9);
    assert.equal(
      document.host.calls,
      ofVm.reduce((sum, { answered }) => sum + answered, 0),
    );
  });

  it("prints one document of the published schema, without payload or another VM", async () => {
    const result = await match(["--mediator-log", mediatorLog, "--guest-log", guestLog, "--json"]);
    const document = parsed(result.stdout);
    assert.equal(document.vm_id, 9);
    assert.equal(document.verdict.state, "executing");
    for (const secret of ["bad_kernel", "412", PAYLOAD, "bytes=["])
      assert.equal(result.stdout.includes(secret), false, secret);
  });

  it("gives the host's side alone of a VM without a guest's log, exit 3 where its kernel failed", async () => {
    const result = await match(["--mediator-log", mediatorLog, "--vm", "12", "--json"]);
    assert.equal(result.exitCode, 3, result.stderr);
    const { verdict, processes } = parsed(result.stdout);
    assert.deepEqual([verdict.state, verdict.cause, processes[0]?.counted_by], ["refuted", "VG-X02", "none"]);
  });

  it("shows all VMs of a log when none is named", async () => {
    const result = await match(["--mediator-log", mediatorLog]);
    assert.equal(result.exitCode, 3);
    assert.match(result.stdout, /^vm 9 /m);
    assert.match(result.stdout, /^vm 12 /m);
  });

  it("reads the mediator's log from a pipe", async () => {
    const child = spawn(process.execPath, [PROGRAM, "match", "--mediator-log", "-", "--guest-log", guestLog, "--json"]);
    const out: Buffer[] = [];
    child.stdout.on("data", (piece: Buffer) => out.push(piece));
    child.stdin.end(Buffer.from(text, "latin1"));
    const code = await new Promise((resolve) => child.on("close", resolve));
    assert.equal(code, 0);
    assert.equal(parsed(Buffer.concat(out).toString("utf8")).verdict.state, "executing");
  });

  it("matches what was read of a pipe when a signal ends it", async () => {
    const child = spawn(process.execPath, [PROGRAM, "match", "--mediator-log", "-", "--vm", "9", "--json"]);
    const out: Buffer[] = [];
    child.stdout.on("data", (piece: Buffer) => out.push(piece));
    // A pipe holds 64 KiB: when all of this is handed over, the program has read most of it.
    const heartbeats = "[HEARTBEAT] alive \xe2\x80\x94 1 server socket(s), admin_fd=46\n".repeat(20_000);
    await new Promise<void>((resolve) => child.stdin.write(Buffer.from(text + heartbeats, "latin1"), () => resolve()));
    child.kill("SIGINT");
    const code = await new Promise((resolve) => child.on("close", resolve));
    assert.equal(code, 0);
    assert.equal(parsed(Buffer.concat(out).toString("utf8")).verdict.state, "executing");
  });

  it("says what is wrong with a file that is none, exit 1", async () => {
    const missing = await match(["--mediator-log", join(dir, "nothing.log")]);
    assert.deepEqual([missing.exitCode, /cannot be read: ENOENT/.test(missing.stderr)], [1, true], missing.stderr);
    const noReport = await match(["--mediator-log", mediatorLog, "--report", guestLog]);
    assert.deepEqual([noReport.exitCode, /is no report/.test(noReport.stderr)], [1, true], noReport.stderr);
    const noGuest = await match(["--mediator-log", mediatorLog, "--guest-log", join(dir, "nothing")]);
    assert.deepEqual([noGuest.exitCode, /nothing of the guest could be read/.test(noGuest.stderr)], [1, true]);
    const which = await match(["--mediator-log", mediatorLog, "--json"]);
    assert.deepEqual([which.exitCode, /say --vm N/.test(which.stderr)], [1, true], which.stderr);
  });

  it("refuses a command line that cannot be meant, exit 2", async () => {
    for (const args of [
      [],
      ["--mediator-log", mediatorLog, "--vm", "-3"],
      ["--mediator-log", "x", "--report", "y", "--guest-log", "z"],
    ]) {
      assert.equal((await match(args)).exitCode, 2, args.join(" "));
    }
  });
});
