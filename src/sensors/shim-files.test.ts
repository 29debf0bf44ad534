import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import {
  captureTree,
  compileLibrary,
  contextOf,
  DRIVER_SHIM,
  NO_COMPILER,
  temporaryDirectory,
} from "../../test/support/real-process.ts";
import { notRead } from "../facts/reading.ts";
import { readWorkload } from "./processes.ts";
import { readShimFiles } from "./shim-files.ts";
import { readUnit } from "./unit.ts";

const skip = { skip: NO_COMPILER };
const NONE = notRead("absent", "none");
const directory = temporaryDirectory();
const built = (name: string, source: string) =>
  NO_COMPILER === false ? readFileSync(compileLibrary(directory, name, source)) : Buffer.alloc(0);
const shim = built("shim.so", DRIVER_SHIM);
const vendor = built("vendor.so", "int cuInit(unsigned flags) { return (int)flags; }");

async function filesOf(root: string) {
  const reading = await readShimFiles(contextOf(root), NONE, NONE);
  assert.equal(reading.state, "read");
  return reading.state === "read" ? reading.value.files : [];
}

test("the links of the reference layout are followed below the root and told by symbols", skip, async () => {
  const root = await captureTree({ "opt/vgpu/lib/libvgpu-cuda.so.1": shim, "usr/lib64/libcuda.so.1": vendor });
  await symlink("/opt/vgpu/lib/libvgpu-cuda.so.1", join(root, "opt/vgpu/lib/libcuda.so.1"));
  assert.deepEqual(
    (await filesOf(root)).map(({ path, resolved, kind }) => [path, resolved, kind]),
    [
      ["/opt/vgpu/lib/libcuda.so.1", "/opt/vgpu/lib/libvgpu-cuda.so.1", { state: "read", value: "driver-shim" }],
      ["/usr/lib64/libcuda.so.1", "/usr/lib64/libcuda.so.1", { state: "read", value: "driver-vendor" }],
    ],
  );
});

test("a dangling link, an empty file and a cut one are shown and are no shims", skip, async () => {
  const root = await captureTree({
    "usr/lib64/libnvidia-ml.so.1": "",
    "usr/lib64/libcudart.so.12": shim.subarray(0, shim.length - 100),
  });
  await mkdir(join(root, "opt/vgpu/lib"), { recursive: true });
  await symlink("/gone", join(root, "opt/vgpu/lib/libcuda.so.1"));
  assert.deepEqual(
    (await filesOf(root)).map(({ path, resolved, size, kind }) => [path, resolved === null, size, kind.state]),
    [
      ["/opt/vgpu/lib/libcuda.so.1", true, null, "absent"],
      ["/usr/lib64/libnvidia-ml.so.1", false, 0, "invalid"],
      ["/usr/lib64/libcudart.so.12", false, shim.length - 100, "invalid"],
    ],
  );
});

test("the live environment of the runner comes before the unit's and the known layouts", skip, async () => {
  const root = await captureTree({
    "etc/systemd/system/ollama.service": '[Service]\nEnvironment="LD_LIBRARY_PATH=/from/unit"\n',
    "proc/7/cgroup": "0::/system.slice/ollama.service\n",
    "proc/7/cmdline": "/usr/local/bin/ollama\0runner\0--model\0/m\0--port\x001\0",
    "live/libcuda.so.1": shim,
  });
  const unit = await readUnit(contextOf(root));
  const order = async (withProcess: boolean) => {
    const workload = withProcess ? await readWorkload(contextOf(root), unit) : NONE;
    const reading = await readShimFiles(contextOf(root), workload, unit);
    return reading.state === "read" ? reading.value : { searched: [], files: [] };
  };
  assert.match((await order(true)).searched[0] ?? "", /^\/from\/unit \(LD_LIBRARY_PATH of the unit/);
  await writeFile(join(root, "proc/7/environ"), "LD_LIBRARY_PATH=/live/:/opt/vgpu/lib\0");
  const live = await order(true);
  assert.match(live.searched[0] ?? "", /^\/live \(LD_LIBRARY_PATH of process 7\)/);
  assert.match(live.searched[1] ?? "", /^\/opt\/vgpu\/lib \(LD_LIBRARY_PATH of process 7, does not exist\)/);
  assert.equal(live.files[0]?.path, "/live/libcuda.so.1");
  assert.match((await order(false)).searched[0] ?? "", /^\/from\/unit/);
});

test("only a log means no files", async () => {
  assert.equal((await readShimFiles(contextOf("/", { subject: "evidence" }), NONE, NONE)).state, "skipped");
});
