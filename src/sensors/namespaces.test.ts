import assert from "node:assert/strict";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import {
  compileLibrary,
  compileProgram,
  contextOf,
  DRIVER_SHIM,
  NO_COMPILER,
  start,
  temporaryDirectory,
} from "../../test/support/real-process.ts";
import { notRead } from "../facts/reading.ts";
import { readLocks } from "./locks.ts";
import { readWorkload } from "./processes.ts";
import { readShimFiles } from "./shim-files.ts";
import { readStateFiles } from "./state-files.ts";

const NONE = notRead("absent", "none");
const NOT_ROOT = process.getuid?.() === 0 ? false : "not root: namespaces and control groups cannot be made";
const skip = { skip: NO_COMPILER || NOT_ROOT };
const directory = temporaryDirectory();

/** Runs in a mount namespace of its own: an empty /tmp and /var/tmp, a read-only /sys, a shim that only it can see. */
const PRIVATE = `
exec 8<"$1" 9<"$2"
mount -t tmpfs tmpfs /tmp && mount --bind /tmp /var/tmp && mount -o remount,bind,ro /sys || exit 1
printf 'VGPU_CHECKPOINT|1795000000|FIRST_CALL\\n' > /tmp/vgpu_checkpoint
: > /tmp/vgpu_transport.lock
mkdir -p /tmp/shim && cat <&8 > /tmp/shim/libreal.so && ln -s /tmp/shim/libreal.so /tmp/shim/libcuda.so.1
LD_LIBRARY_PATH=/tmp/shim TEST_DLOPEN=/tmp/shim/libreal.so exec /proc/self/fd/9 runner --model /m --port 1
`;

test("a process with a mount namespace of its own is seen with its own eyes", skip, async () => {
  const shim = compileLibrary(directory, "shim.so", DRIVER_SHIM);
  const program = compileProgram(directory);
  const running = await start("unshare", ["-m", "bash", "-c", PRIVATE, "bash", shim, program], {
    env: { PATH: process.env["PATH"] ?? "" },
  });
  const context = contextOf("/", { pid: running.pid });
  const workload = await readWorkload(context, NONE);
  assert.ok(workload.state === "read");
  if (workload.state !== "read") return;
  const [runner] = workload.value.processes;
  assert.deepEqual(runner?.mounts, { state: "read", value: { sysReadOnly: true, privateTmp: true, pciHidden: false } });
  const maps = runner?.maps.state === "read" ? runner.maps.value.libraries : [];
  assert.deepEqual(
    maps.map(({ path, kind }) => [path, kind.state === "read" && kind.value]),
    [["/tmp/shim/libreal.so", "driver-shim"]],
  );

  const state = await readStateFiles(context, workload);
  assert.ok(state.state === "read" && state.value.viewPid === running.pid);
  const checkpoint =
    state.state === "read" ? state.value.files.find((file) => file.name === "vgpu_checkpoint") : undefined;
  assert.equal(checkpoint?.path, `/proc/${running.pid}/root/tmp/vgpu_checkpoint`);

  const locks = await readLocks(context, workload);
  assert.deepEqual(Object.keys(locks.state === "read" ? locks.value.transportLocks : {}), [String(running.pid)]);

  const files = await readShimFiles(context, workload, NONE);
  const first = files.state === "read" ? files.value.files[0] : undefined;
  assert.equal(first?.path, "/tmp/shim/libcuda.so.1");
  assert.equal(first?.resolved, "/tmp/shim/libreal.so");
  assert.deepEqual(first?.kind, { state: "read", value: "driver-shim" });
  await running.stop();
});

/** Where control groups are, and why none can be made; the unified hierarchy, alone or beside v1. */
function makeControlGroup(name: string): string | null {
  for (const root of ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"]) {
    try {
      mkdirSync(`${root}/${name}`);
      writeFileSync(`${root}/${name}/cgroup.procs`, "", { flag: "r+" });
      return `${root}/${name}`;
    } catch {
      // Not a hierarchy, or not ours to change: the next place.
      try {
        rmdirSync(`${root}/${name}`);
      } catch {}
    }
  }
  return null;
}

test("a real process in a unit's control group is found by it", skip, async (context) => {
  const unit = `vgpu-agent-test-${process.pid}.service`;
  const group = makeControlGroup(unit);
  if (group === null) return context.skip("no control group can be made here");
  after(() => rmdirSync(group));
  const running = await start(compileProgram(directory), ["whatever"]);
  writeFileSync(`${group}/cgroup.procs`, String(running.pid));
  const workload = await readWorkload(contextOf("/", { unit }), NONE);
  assert.ok(workload.state === "read" && workload.value.foundBy === "unit");
  const found = workload.state === "read" ? workload.value.processes.find((one) => one.pid === running.pid) : undefined;
  assert.equal(found?.unit, unit);
  assert.equal(found?.role, "program");
  await running.stop();
});
