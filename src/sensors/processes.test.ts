import assert from "node:assert/strict";
import { chmodSync, copyFileSync, openSync, renameSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  compileLibrary,
  compileProgram,
  contextOf,
  DRIVER_SHIM,
  NO_COMPILER,
  put,
  type Running,
  start,
  temporaryDirectory,
} from "../../test/support/real-process.ts";
import type { Scope } from "../facts/facts.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import type { ProcessFacts, WorkloadFacts } from "../facts/workload.ts";
import { readLocks } from "./locks.ts";
import { readProcess } from "./process-facts.ts";
import { glance } from "./process-list.ts";
import { readWorkload } from "./processes.ts";

const skip = { skip: NO_COMPILER };
const NO_UNIT = notRead("absent", "no unit");
const directory = temporaryDirectory();
chmodSync(directory, 0o755);
const program = NO_COMPILER === false ? compileProgram(directory) : "";
const library = (name: string, source = DRIVER_SHIM, ...flags: string[]) =>
  compileLibrary(directory, name, source, "-Wl,--build-id", ...flags);

async function workload(scope: Partial<Scope>): Promise<WorkloadFacts> {
  const reading = await readWorkload(contextOf("/", { unit: "vgpu-agent-no-such.service", ...scope }), NO_UNIT);
  assert.equal(reading.state, "read", JSON.stringify(reading));
  if (reading.state !== "read") throw new Error("unreachable");
  return reading.value;
}

async function one(running: Running): Promise<ProcessFacts> {
  const found = (await workload({ pid: running.pid })).processes;
  assert.equal(found.length, 1);
  assert.ok(found[0]);
  return found[0];
}

const librariesOf = (facts: ProcessFacts) => (facts.maps.state === "read" ? facts.maps.value.libraries : []);

test("a shim is recognised by its symbols under any name", skip, async () => {
  const path = library("libharmless.so");
  const running = await start(program, ["runner", "--ollama-engine", "--model", "/m", "--port", "1"], {
    env: { TEST_DLOPEN: path, VGPU_DEBUG: "0", OLLAMA_API_KEY: "SECRET", HOME: "/x" },
  });
  const facts = await one(running);
  const [shim] = librariesOf(facts);
  assert.equal(shim?.path, path);
  assert.deepEqual(shim?.kind, { state: "read", value: "driver-shim" });
  assert.match(shim?.buildId ?? "", /^[0-9a-f]{40}$/);
  assert.equal(shim?.deleted, false);
  assert.deepEqual(facts.env, { state: "read", value: { VGPU_DEBUG: "0" } });
  assert.equal(facts.role, "model-runner");
  assert.deepEqual(facts.argv, [program, "runner", "--ollama-engine", "--model", "--port"]);
  assert.ok(!JSON.stringify(facts).includes("SECRET"));
  await running.stop();
});

test("a library named like NVIDIA's that has none of its symbols is shown as other", skip, async () => {
  const running = await start(program, [], { env: { TEST_DLOPEN: library("libcuda.so.1", "int nothing;") } });
  const [found] = librariesOf(await one(running));
  assert.deepEqual(found?.kind, { state: "read", value: "other" });
  await running.stop();
});

test("a shim that was deleted after it was mapped is told by the mapping, or the reason is given", skip, async () => {
  const path = library("libgone.so");
  const running = await start(program, [], { env: { TEST_DLOPEN: path } });
  unlinkSync(path);
  const context = contextOf("/", { pid: running.pid });
  const reading = await readWorkload(context, NO_UNIT);
  const facts = reading.state === "read" ? reading.value.processes[0] : undefined;
  const [found] = facts === undefined ? [] : librariesOf(facts);
  if (process.getuid?.() === 0) {
    assert.equal(found?.path, path);
    assert.equal(found?.deleted, true);
    assert.deepEqual(found?.kind, { state: "read", value: "driver-shim" });
  }
  await running.stop();
});

test("a file that replaced the mapped one does not speak for it", skip, async () => {
  const path = library("libvgpu-cuda.so");
  const running = await start(program, [], { env: { TEST_DLOPEN: path } });
  put(join(directory, "new"), "not a library");
  renameSync(join(directory, "new"), path);
  const [found] = librariesOf(await one(running));
  assert.equal(found?.path, path);
  assert.equal(found?.deleted, true);
  if (found?.kind.state === "read") assert.equal(found.kind.value, "driver-shim");
  else assert.match(found?.kind.detail ?? "", /replaced/);
  await running.stop();
});

test("credentials, limits and start time are the process's own", {
  skip: NO_COMPILER || (process.getuid?.() !== 0 && "not root"),
}, async () => {
  const running = await start(program, [], { uid: 65534, gid: 65534 });
  const facts = await one(running);
  assert.equal(facts.credentials.state, "read");
  if (facts.credentials.state === "read") {
    assert.equal(facts.credentials.value.uid, 65534);
    assert.equal(facts.credentials.value.gid, 65534);
    assert.equal(facts.credentials.value.capEff, "0000000000000000");
  }
  assert.equal(facts.memlock.state, "read");
  assert.equal(facts.exe.state === "read" && facts.exe.value.path, program);
  const age = Date.now() - (facts.startedAt ?? 0);
  assert.ok(age > -3000 && age < 60_000, `started ${age} ms ago`);
  assert.match(facts.mountNs ?? "", /^\d+$/);
  await running.stop();
});

test("standard error is followed to where it really goes", skip, async () => {
  const path = join(directory, "stderr.log");
  const file = await start(program, [], { stderr: openSync(path, "a") });
  put(path, "four");
  const nowhere = await start(program, [], { stderr: "ignore" });
  const pipe = await start(program, [], { stderr: "pipe" });
  assert.deepEqual((await one(file)).stderr, {
    state: "read",
    value: { to: "file", path, deleted: false, size: 4, readable: true },
  });
  assert.deepEqual((await one(nowhere)).stderr, { state: "read", value: { to: "null" } });
  const sink = (await one(pipe)).stderr;
  assert.ok(sink.state === "read" && (sink.value.to === "socket" || sink.value.to === "pipe"));
  unlinkSync(path);
  const deleted = (await one(file)).stderr;
  assert.ok(deleted.state === "read" && deleted.value.to === "file" && deleted.value.deleted);
  assert.ok(deleted.state === "read" && deleted.value.to === "file" && deleted.value.readable === false);
  await Promise.all([file.stop(), nowhere.stop(), pipe.stop()]);
});

test("runners are found by their arguments wherever they run, and their server with them", skip, async () => {
  copyFileSync(program, join(directory, "ollama.bin.new"));
  const server = await start(join(directory, "ollama.bin.new"), ["serve"]);
  const runner = await start(program, ["runner", "--ollama-engine", "--port", "1"]);
  const found = await workload({});
  assert.equal(found.foundBy, "argv");
  const role = (running: Running) => found.processes.find((facts) => facts.pid === running.pid)?.role;
  assert.equal(role(server), "server");
  assert.equal(role(runner), "discovery-runner");
  await Promise.all([server.stop(), runner.stop()]);
});

test("a program outside the workload that has a driver shim mapped is found", skip, async () => {
  const user = await start(program, ["train", "my prompt"], { env: { TEST_DLOPEN: library("libx1.so") } });
  const plain = await start(program, []);
  const found = await workload({});
  const facts = found.processes.find((one) => one.pid === user.pid);
  assert.equal(facts?.role, "program");
  assert.deepEqual(facts?.argv, [program]);
  assert.ok(!found.processes.some((one) => one.pid === plain.pid));
  assert.ok(!found.processes.some((one) => one.pid === process.pid));
  await Promise.all([user.stop(), plain.stop()]);
});

test("the agent's own user may be unable to read others: that is denied, not empty", {
  skip: NO_COMPILER || (process.getuid?.() !== 0 && "not root"),
}, async () => {
  const running = await start(program, [], { env: { TEST_DLOPEN: library("libx2.so") } });
  process.seteuid?.(65534);
  let facts: ProcessFacts;
  let locks: Awaited<ReturnType<typeof readLocks>>;
  try {
    facts = await one(running);
    const workload = { foundBy: "pid", processes: [facts], incomplete: [] } as const;
    locks = await readLocks(contextOf("/"), wasRead(workload));
  } finally {
    process.seteuid?.(0);
  }
  assert.match(locks.detail ?? "", /seen from outside process \d+: .*not permitted/);
  assert.equal(facts.env.state, "denied");
  assert.equal(facts.maps.state, "denied");
  assert.equal(facts.exe.state, "denied");
  assert.equal(facts.stderr.state, "denied");
  assert.equal(facts.credentials.state, "read");
  await running.stop();
});

test("a process that ends while it is read is dropped with a word", skip, async () => {
  const running = await start(program, ["serve"]);
  const context = contextOf("/");
  const seen = await glance(context, running.pid);
  assert.ok(seen);
  await running.stop();
  const reading = await readProcess(context, seen, {
    bootedAt: null,
    mounts: { devicePaths: ["/sys/devices"], tmp: null },
    unit: undefined,
  });
  assert.equal(reading.facts, null);
  assert.match(reading.incomplete.join(), new RegExp(`${running.pid}.*ended`));
});

test("a pid that was given to another process is not taken for the first", skip, async () => {
  const running = await start(program, ["serve"]);
  const context = contextOf("/");
  const seen = await glance(context, running.pid);
  assert.ok(seen);
  const earlier = { ...seen, startTicks: (seen.startTicks ?? 0) - 100 };
  const around = { bootedAt: null, mounts: { devicePaths: ["/sys/devices"], tmp: null }, unit: undefined };
  assert.equal((await readProcess(context, earlier, around)).facts, null);
  assert.notEqual((await readProcess(context, seen, around)).facts, null);
  await running.stop();
});

test("a pid that does not exist is absent", async () => {
  const reading = await readWorkload(contextOf("/", { pid: 4_000_000_000 }), NO_UNIT);
  assert.equal(reading.state, "absent");
});

test("the descendants of the pid that was asked for belong to it", skip, async () => {
  const running = await start("/bin/sh", ["-c", `"${program}" runner --model /m --port 1; true`]);
  const found = await workload({ pid: running.pid });
  assert.deepEqual(found.processes.map((facts) => facts.role).sort(), ["model-runner", "program"]);
  await running.stop();
});

test("an ended time limit is not an empty success", async () => {
  const context = { ...contextOf("/"), signal: AbortSignal.abort() };
  assert.equal((await readWorkload(context, NO_UNIT)).state, "timed-out");
});
