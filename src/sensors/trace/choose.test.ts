import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { describe, it } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { contextOf, start, temporaryDirectory } from "../../../test/support/real-process.ts";
import { NO_UPROBES, openTracefs } from "../../../test/support/tracing.ts";
import { compileCaller, compileTransport, startCaller } from "../../../test/support/transport-target.ts";
import { loadKernel } from "../../native/syscall.ts";
import { chooseWay } from "./choose.ts";
import { findTargets } from "./targets.ts";
import { sweepRemains, TracefsTracer } from "./tracefs.ts";

const CHILD = fileURLToPath(new URL("../../../test/support/live-child.ts", import.meta.url));

/** Lines and instances in tracefs that name process `pid`. */
function tracesOf(tracefs: string, pid: number): readonly string[] {
  const probes = readFileSync(`${tracefs}/uprobe_events`, "latin1").split("\n");
  return [...readdirSync(`${tracefs}/instances`), ...probes].filter((line) => line.includes(`_${pid}_`));
}

/** The executable mapping of a library as it is in the memory of a process of the test. */
async function textOf(pid: number, library: string): Promise<Buffer> {
  const maps = readFileSync(`/proc/${pid}/maps`, "latin1").split("\n");
  const [range = ""] = maps.find((line) => line.includes(" r-xp ") && line.endsWith(library))?.split(" ") ?? [];
  const [from = 0, to = 0] = range.split("-").map((address) => Number.parseInt(address, 16));
  const memory = await open(`/proc/${pid}/mem`);
  try {
    const bytes = Buffer.alloc(to - from);
    await memory.read(bytes, 0, bytes.length, from);
    return bytes;
  } finally {
    await memory.close();
  }
}

describe("the way that is chosen", { skip: NO_UPROBES }, () => {
  const directory = temporaryDirectory();
  const tracefs = NO_UPROBES === false ? openTracefs() : "";

  it("is eBPF where everything is to be had", async () => {
    const { tracer, refused } = await chooseWay([], { only: null });
    assert.deepEqual([tracer?.way, refused], ["ebpf", []]);
    tracer?.close();
  });

  it("is none for a user without rights, and each refusal says what it takes", () => {
    const { stdout } = spawnSync(process.execPath, [CHILD, "nobody"], { encoding: "utf8" });
    const { way, refused } = JSON.parse(stdout);
    assert.equal(way, null);
    assert.deepEqual(
      refused.map((one: { way: string }) => one.way),
      ["ebpf", "tracefs"],
    );
    // Where tracefs is mounted its files say EACCES, else the mount says EPERM.
    for (const { code } of refused) assert.match(code, /^(EPERM|EACCES)$/);
    assert.match(refused[0].reason, /not permitted: it takes root, or CAP_SYS_ADMIN/);
    assert.match(refused[1].reason, /not permitted: it takes root/);
  });

  it("is tracefs, with the reason, for a root who may not use bpf(2)", () => {
    const weak = "setpriv --bounding-set=-sys_admin,-bpf,-perfmon --inh-caps=-all";
    const command = `cd /sys/kernel/tracing && { mountpoint -q . || mount -t tracefs tracefs .; } && exec ${weak} "$0" "$1" start`;
    const run = spawnSync("unshare", ["-m", "sh", "-c", command, process.execPath, CHILD], { encoding: "utf8" });
    const { way, refused } = JSON.parse(run.stdout);
    assert.equal(way, "tracefs");
    assert.deepEqual([refused.length, refused[0].way, refused[0].code], [1, "ebpf", "EPERM"]);
  });

  it("is never tracefs in another pid namespace, where its threads would be taken for others", () => {
    const inside = ["--pid", "--fork", "--mount-proc", process.execPath, CHILD, "tracefs"];
    const { stdout } = spawnSync("unshare", inside, { encoding: "utf8", input: "" });
    assert.match(stdout, /^refused .*outside of this one/);
  });

  it("is refused when no place can be probed, and nothing of it stays", async () => {
    const place = { inode: "x", path: "/proc/self/exe", offset: 2 ** 40 };
    const { tracer, refused } = await chooseWay([place], { only: null });
    assert.equal(tracer, null);
    assert.deepEqual(
      refused.map(({ way, code }) => [way, code]),
      [
        ["ebpf", "EINVAL"],
        ["tracefs", "EINVAL"],
      ],
    );
    assert.deepEqual(tracesOf(tracefs, process.pid), []);
  });

  it("stays when one place of two can be probed, and the other is named", async () => {
    const caller = await startCaller(compileCaller(directory), [compileTransport(directory, "place.so")]);
    const good = { inode: "good", path: `${directory}/place.so`, offset: 0x1000 };
    const bad = { inode: "bad", path: `${directory}/place.so`, offset: 2 ** 40 };
    const { tracer, attached, failures } = await chooseWay([bad, good], { only: null });
    assert.deepEqual(attached, [good]);
    assert.match(failures.join(), /^the file bad could not be probed: perf_event_open: EINVAL/);
    tracer?.close();
    await caller.stop();
  });

  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    it(`by tracefs leaves nothing when ${signal} ends the agent, and the agent does end of it`, async () => {
      const lib = await startCaller(compileCaller(directory), [compileTransport(directory, `${signal}.so`)]);
      const { child, pid } = await start(process.execPath, [CHILD, "tracefs"]);
      assert.ok(tracesOf(tracefs, pid).length >= 3, "an instance and two probes are there while it counts");
      const ended = once(child, "exit");
      child.kill(signal);
      assert.deepEqual(await ended, [null, signal]);
      assert.deepEqual(tracesOf(tracefs, pid), []);
      await lib.stop();
    });
  }

  it("by tracefs leaves nothing when an exception ends the agent", async () => {
    const { pid, status } = spawnSync(process.execPath, [CHILD, "throw"]);
    assert.notEqual(status, 0);
    assert.deepEqual(tracesOf(tracefs, pid), []);
  });

  it("by tracefs sweeps what a killed agent left, and not what a living one uses", async () => {
    const lib = await startCaller(compileCaller(directory), [compileTransport(directory, "killed.so")]);
    const killed = await start(process.execPath, [CHILD, "tracefs"]);
    const living = await start(process.execPath, [CHILD, "tracefs"]);
    const ended = once(killed.child, "exit");
    killed.child.kill("SIGKILL");
    await ended;
    const before = tracesOf(tracefs, living.pid);
    assert.ok(tracesOf(tracefs, killed.pid).length >= 3);
    sweepRemains(tracefs);
    assert.deepEqual(tracesOf(tracefs, killed.pid), []);
    assert.deepEqual(tracesOf(tracefs, living.pid), before);
    await Promise.all([living.stop(), lib.stop()]);
  });

  it("by eBPF leaves the function's bytes as they were even when the agent is killed", async () => {
    const path = compileTransport(directory, "ebpf-killed.so");
    const caller = await startCaller(compileCaller(directory), [path]);
    const original = await textOf(caller.pid, path);
    const { child } = await start(process.execPath, [CHILD, "ebpf"]);
    assert.notDeepEqual(await textOf(caller.pid, path), original, "the breakpoint is there while it counts");
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    for (const end = performance.now() + 10_000; performance.now() < end; await nextTurn()) {
      if ((await textOf(caller.pid, path)).equals(original)) break;
    }
    assert.deepEqual(await textOf(caller.pid, path), original);
    await caller.stop();
  });

  it("by tracefs counts the events that its buffers lost when nobody reads them", async () => {
    const caller = await startCaller(compileCaller(directory), [compileTransport(directory, "lost.so")]);
    const tracer = new TracefsTracer(loadKernel(), { only: null });
    try {
      const { targets } = await findTargets(contextOf("/"), null);
      for (const { inode, offset, handle, pids } of targets) {
        if (pids.includes(caller.pid)) tracer.attach({ inode, offset, path: `/proc/self/fd/${handle.fd}` });
        await handle.close();
      }
      await caller.run(300_000, 2);
      const { calls, dropped, gaps } = tracer.read();
      const counted = calls.reduce((total, { count }) => total + count, 0);
      assert.ok(counted < 600_000 && dropped >= 600_000 - counted, `${counted} counted, ${dropped} lost`);
      assert.match(gaps.join(), /events were lost/);
    } finally {
      tracer.close();
    }
    await caller.stop();
  });
});
