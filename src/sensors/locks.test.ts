import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  captureTree,
  compileProgram,
  contextOf,
  NO_COMPILER,
  put,
  start,
  temporaryDirectory,
} from "../../test/support/real-process.ts";
import { notRead } from "../facts/reading.ts";
import { readLocks } from "./locks.ts";
import { parseFlocks } from "./proc.ts";
import { RootFs } from "./root-fs.ts";

const NONE = notRead("absent", "none");

test("a lock that a real process holds is seen by device, inode and pid, and one that waits as waiting", {
  skip: NO_COMPILER,
}, async () => {
  const directory = temporaryDirectory();
  const lock = join(directory, "vgpu_transport.lock");
  put(lock, "");
  const program = compileProgram(directory);
  const holder = await start(program, [], { env: { TEST_FLOCK: lock } });
  const fs = new RootFs("/");
  const inode = (await fs.lstat(lock)).inode;
  const ofLock = async () =>
    parseFlocks((await fs.read("/proc/locks", 1 << 20)).bytes).filter((one) => one.inode === inode);
  assert.deepEqual(await ofLock(), [{ pid: holder.pid, inode, waiting: false }]);

  const waiter = spawn(program, [], { env: { TEST_FLOCK: lock }, stdio: ["pipe", "ignore", "ignore"] });
  after(() => waiter.kill("SIGKILL"));
  let found = await ofLock();
  for (let tries = 0; tries < 5000 && found.length < 2; tries += 1) found = await ofLock();
  assert.deepEqual(
    found.find((one) => one.waiting),
    { pid: waiter.pid, inode, waiting: true },
  );
  waiter.stdin.end();
  await holder.stop();
});

test("holders and waiters of the shim's locks are told apart from those of other files", async () => {
  const root = await captureTree({ "var/tmp/vgpu_transport.lock": "", "var/tmp/vgpu_shmem_owner.lock": "" });
  const fs = new RootFs(root);
  const transport = (await fs.lstat("/var/tmp/vgpu_transport.lock")).inode;
  const owner = (await fs.lstat("/var/tmp/vgpu_shmem_owner.lock")).inode;
  mkdirSync(join(root, "proc"));
  put(
    join(root, "proc/locks"),
    [
      `1: FLOCK  ADVISORY  WRITE 708 ${transport} 0 EOF`,
      `1: -> FLOCK  ADVISORY  WRITE 710 ${transport} 0 EOF`,
      `2: FLOCK  ADVISORY  WRITE 711 ${owner} 0 EOF`,
      "3: FLOCK  ADVISORY  WRITE 712 08:01:1 0 EOF",
    ].join("\n"),
  );
  const before = (await stat(join(root, "var/tmp/vgpu_transport.lock"))).mtimeMs;
  assert.deepEqual(await readLocks(contextOf(root), NONE), {
    state: "read",
    value: { inFlight: [708], waiting: [710], shmemOwner: 711, transportLocks: { "0": transport } },
    detail: "4 flock entries",
  });
  assert.equal((await stat(join(root, "var/tmp/vgpu_transport.lock"))).mtimeMs, before);
});

test("without lock files nobody holds them, and none is created", async () => {
  const root = await captureTree({ "proc/locks": "1: FLOCK  ADVISORY  WRITE 712 08:01:1 0 EOF\n", "var/tmp/x": "" });
  const reading = await readLocks(contextOf(root), NONE);
  assert.deepEqual(reading.state === "read" && reading.value.inFlight, []);
  await assert.rejects(stat(join(root, "var/tmp/vgpu_transport.lock")), /ENOENT/);
});

test("a capture without /proc/locks says nothing of calls in flight", async () => {
  assert.equal((await readLocks(contextOf(await captureTree({ x: "" })), NONE)).state, "absent");
});
