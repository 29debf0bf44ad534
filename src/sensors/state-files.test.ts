import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { captureTree, contextOf } from "../../test/support/real-process.ts";
import { notRead } from "../facts/reading.ts";
import { readWorkload } from "./processes.ts";
import { readStateFiles } from "./state-files.ts";

const NONE = notRead("absent", "none");

async function read(root: string) {
  const reading = await readStateFiles(contextOf(root), NONE);
  assert.equal(reading.state, "read", JSON.stringify(reading));
  return reading.state === "read" ? reading.value : { viewPid: null, files: [] };
}

test("state files are read with their owner, time and fields; other files of /tmp are not", async () => {
  const { files, viewPid } = await read(
    await captureTree({
      "tmp/vgpu_checkpoint": "VGPU_CHECKPOINT|1795000000|FIRST_CALL\n",
      "tmp/vgpu_ensure_connected_called": "garbage",
      "tmp/my-prompt.txt": "SECRET",
    }),
  );
  assert.equal(viewPid, null);
  assert.deepEqual(files.map((file) => file.name).sort(), ["vgpu_checkpoint", "vgpu_ensure_connected_called"]);
  const checkpoint = files.find((file) => file.name === "vgpu_checkpoint");
  assert.equal(checkpoint?.path, "/tmp/vgpu_checkpoint");
  assert.equal(checkpoint?.uid, process.getuid?.());
  assert.ok(Object.values(checkpoint?.fields ?? {}).includes("FIRST_CALL"));
  assert.ok(Math.abs((checkpoint?.mtime ?? 0) - Date.now()) < 60_000);
  assert.equal(files.find((file) => file.name === "vgpu_ensure_connected_called")?.fields, null);
});

test("a link or a FIFO in place of a state file is not opened", async () => {
  const root = await captureTree({ "etc/shadow": "VGPU_CHECKPOINT|1|FIRST_CALL\n", "tmp/x": "" });
  await symlink("/etc/shadow", join(root, "tmp/vgpu_checkpoint"));
  execFileSync("mkfifo", [join(root, "tmp/vgpu_last_error")]);
  assert.deepEqual((await read(root)).files, []);
});

test("a process with a view of its own is read through it", async () => {
  const root = await captureTree({
    "proc/7/cgroup": "0::/system.slice/ollama.service\n",
    "proc/7/root/tmp/vgpu_checkpoint": "VGPU_CHECKPOINT|1795000000|DEVICE_FOUND\n",
    "tmp/vgpu_checkpoint": "VGPU_CHECKPOINT|1795000000|FIRST_CALL\n",
  });
  const reading = await readStateFiles(contextOf(root), await readWorkload(contextOf(root), NONE));
  assert.ok(reading.state === "read");
  if (reading.state !== "read") return;
  assert.equal(reading.value.viewPid, 7);
  assert.deepEqual(
    reading.value.files.map((file) => file.path),
    ["/proc/7/root/tmp/vgpu_checkpoint"],
  );
  assert.ok(Object.values(reading.value.files[0]?.fields ?? {}).includes("DEVICE_FOUND"));
});

test("a tree without /tmp is absent and not empty", async () => {
  const reading = await readStateFiles(contextOf(await captureTree({ "etc/hostname": "x" })), NONE);
  assert.equal(reading.state, "absent");
});
