import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, symlink } from "node:fs/promises";
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
import { notRead, type Reading, wasRead } from "../facts/reading.ts";
import type { ProcessFacts, UnitFacts, WorkloadFacts } from "../facts/workload.ts";
import { readHost } from "./host.ts";
import { readWorkload } from "./processes.ts";

const NO_UNIT = notRead("absent", "no unit");
const CGROUP = "0::/system.slice/ollama.service\n";
const stat = (pid: number, comm: string, ppid: number, ticks: number) =>
  `${pid} (${comm}) S ${ppid} ${"0 ".repeat(17)}${ticks} 0 0\n`;
const BAR = "7f0000000000-7f0000001000 rw-s 00000000 00:15 4242 /sys/devices/pci0000:00/0000:00:05.0/resource0";

const HEALTHY = {
  "proc/stat": "cpu 0\nbtime 1795000000\n",
  "proc/1/mountinfo": "22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:21 / /sys rw - sysfs sysfs rw\n",
  "proc/1/stat": stat(1, "systemd", 0, 1),
  "proc/1187/cgroup": CGROUP,
  "proc/1187/stat": stat(1187, "ollama", 1, 5000),
  "proc/1187/cmdline": "/usr/local/bin/ollama\0serve\0",
  "proc/1187/environ": "JOURNAL_STREAM=8:777\0VGPU_DEBUG=1\0OLLAMA_API_KEY=SECRET\0",
  "proc/1187/fd/2": "socket:[777]\n",
  "proc/1187/fd/1": "/var/log/out.log (deleted)\n",
  "proc/1203/cgroup": CGROUP,
  "proc/1203/stat": stat(1203, "ollama", 1187, 6000),
  "proc/1203/cmdline": "/usr/local/bin/ollama\0runner\0--model\0/m\0--port\x004001\0",
  "proc/1203/status":
    "Name:\tollama\nPPid:\t1187\nUid:\t998 998 998 998\nGid:\t995 995 995 995\nGroups:\t44\nNSpid:\t1203\nCapEff:\t0000000000204000\nNoNewPrivs:\t0\n",
  "proc/1203/limits": "Max locked memory         unlimited            unlimited            bytes\n",
  "proc/1203/maps": `${BAR}\n7f0000010000-7f0000020000 r-xp 00000000 fe:00 99 /opt/vgpu/lib/libvgpu-cuda.so.1\n`,
  "proc/1203/mountinfo":
    "22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:21 / /sys ro - sysfs sysfs rw\n24 22 254:0 /tmp/systemd-private-0f-ollama.service-a/tmp /tmp rw - ext4 /dev/vda rw\n",
  "proc/1203/fd/2": "pipe:[900]\n",
};

async function read(root: string, unit: Reading<UnitFacts> = NO_UNIT): Promise<WorkloadFacts> {
  const reading = await readWorkload(contextOf(root), unit);
  assert.equal(reading.state, "read", JSON.stringify(reading));
  if (reading.state !== "read") throw new Error("unreachable");
  return reading.value;
}

function only(facts: WorkloadFacts, pid: number): ProcessFacts {
  const found = facts.processes.find((one) => one.pid === pid);
  assert.ok(found, `process ${pid}`);
  return found;
}

test("the processes of a capture are those of the unit's control group", async () => {
  const facts = await read(await captureTree(HEALTHY));
  assert.equal(facts.foundBy, "unit");
  assert.deepEqual(
    facts.processes.map((one) => [one.pid, one.role, one.ppid, one.unit]),
    [
      [1187, "server", 1, "ollama.service"],
      [1203, "model-runner", 1187, "ollama.service"],
    ],
  );
  assert.equal(only(facts, 1187).startedAt, 1_795_000_000_000 + 50_000);
  assert.ok(!JSON.stringify(facts).includes("SECRET"));
});

test("credentials, limits, BARs and mounts of a captured process are read", async () => {
  const runner = only(await read(await captureTree(HEALTHY)), 1203);
  assert.deepEqual(runner.credentials, wasRead({ uid: 998, gid: 995, groups: [44], capEff: "0000000000204000" }));
  assert.deepEqual(runner.memlock, wasRead("unlimited"));
  assert.deepEqual(runner.mounts, wasRead({ sysReadOnly: true, privateTmp: true, pciHidden: false }));
  assert.ok(runner.maps.state === "read");
  if (runner.maps.state !== "read") return;
  assert.deepEqual(runner.maps.value.bars, [{ bdf: "0000:00:05.0", bar: 0, perms: "rw-s" }]);
  assert.equal(runner.maps.value.libraries[0]?.kind.state, "absent");
  assert.equal(runner.maps.value.fileMappings, 2);
});

test("descriptors of a capture may be plain files or links", async () => {
  const root = await captureTree(HEALTHY);
  await mkdir(join(root, "proc/1203/ns"), { recursive: true });
  await symlink("/dev/null", join(root, "proc/1203/fd/1"));
  await symlink("mnt:[4026532201]", join(root, "proc/1203/ns/mnt"));
  const facts = await read(root);
  const server = only(facts, 1187);
  assert.equal(server.stderr.state === "read" && server.stderr.value.to, "journal");
  assert.deepEqual(
    server.stdout,
    wasRead({ to: "file", path: "/var/log/out.log", deleted: true, size: null, readable: false }),
  );
  assert.deepEqual(only(facts, 1203).stdout, wasRead({ to: "null" }));
  assert.deepEqual(only(facts, 1203).stderr, wasRead({ to: "pipe", detail: "pipe:[900]" }));
  assert.equal(only(facts, 1203).mountNs, "4026532201");
});

test("a log file that was not captured is not called unreadable", async () => {
  const sink = async (files: Record<string, string>) => {
    const server = only(
      await read(await captureTree({ ...HEALTHY, "proc/1187/fd/2": "/var/log/o.log", ...files })),
      1187,
    );
    return server.stderr.state === "read" ? server.stderr.value : null;
  };
  assert.deepEqual(await sink({}), { to: "file", path: "/var/log/o.log", deleted: false, size: null, readable: null });
  assert.deepEqual(await sink({ "var/log/o.log": "abc" }), {
    to: "file",
    path: "/var/log/o.log",
    deleted: false,
    size: 3,
    readable: true,
  });
});

test("a socket that is not the one of JOURNAL_STREAM is only a socket", async () => {
  const server = only(await read(await captureTree({ ...HEALTHY, "proc/1187/fd/2": "socket:[778]" })), 1187);
  assert.deepEqual(server.stderr, wasRead({ to: "socket", detail: "socket:[778]" }));
});

test("a capture with nothing but control groups has processes and says what it lacks", async () => {
  const facts = await read(
    await captureTree({ "proc/9/cgroup": "1:name=systemd:/system.slice/ollama.service\n0::/\n" }),
  );
  const [found] = facts.processes;
  assert.equal(found?.pid, 9);
  assert.equal(found?.role, "program");
  assert.equal(found?.startedAt, null);
  for (const part of [
    found?.env,
    found?.maps,
    found?.credentials,
    found?.memlock,
    found?.exe,
    found?.stderr,
    found?.mounts,
  ]) {
    assert.equal(part?.state, "absent");
  }
});

test("a capture without processes is absent, and one without the workload found none", async () => {
  const none = await readWorkload(contextOf(await captureTree({ "proc/stat": "btime 1\n" })), NO_UNIT);
  assert.equal(none.state, "absent");
  const nowhere = await readWorkload(contextOf("/no/such/tree"), NO_UNIT);
  assert.equal(nowhere.state, "absent");
  const idle = await read(
    await captureTree({ "proc/1/stat": stat(1, "systemd", 0, 1), "proc/1/cmdline": "/sbin/init\0" }),
  );
  assert.deepEqual([idle.foundBy, idle.processes.length], ["none", 0]);
});

test("a program outside the unit that has the BAR mapped for writing is found, a reader of registers is not", async () => {
  const root = await captureTree({
    ...HEALTHY,
    "proc/1400/stat": stat(1400, "python3", 1, 7000),
    "proc/1400/maps": `${BAR}\n`,
    "proc/1500/stat": stat(1500, "probe", 1, 7000),
    "proc/1500/maps": `${BAR.replace("rw-s", "r--s")}\n`,
  });
  assert.deepEqual(
    (await read(root)).processes.map((one) => [one.pid, one.role]),
    [
      [1187, "server"],
      [1203, "model-runner"],
      [1400, "program"],
    ],
  );
});

test("PCI hidden by a mount over it is seen", async () => {
  const hidden = `${HEALTHY["proc/1203/mountinfo"]}30 23 0:25 /systemd/inaccessible/dir /sys/bus/pci ro - tmpfs tmpfs rw\n`;
  const runner = only(await read(await captureTree({ ...HEALTHY, "proc/1203/mountinfo": hidden })), 1203);
  assert.ok(runner.mounts.state === "read" && runner.mounts.value.pciHidden);
});

test("an overlay on /sys hides nothing", async () => {
  const overlay = `${HEALTHY["proc/1203/mountinfo"]}30 22 0:25 / /sys rw - overlay overlay rw,lowerdir=/x\n`;
  const runner = only(await read(await captureTree({ ...HEALTHY, "proc/1203/mountinfo": overlay })), 1203);
  assert.ok(runner.mounts.state === "read" && !runner.mounts.value.pciHidden && !runner.mounts.value.sysReadOnly);
});

test("a capture with words in place of NULs is read as well", async () => {
  const root = await captureTree({ ...HEALTHY, "proc/1203/cmdline": "/usr/local/bin/ollama runner --port 4001\n" });
  assert.equal(only(await read(root), 1203).role, "discovery-runner");
});

test("a shim that was captured with the tree is told by its symbols", { skip: NO_COMPILER }, async () => {
  const shim = readFileSync(compileLibrary(temporaryDirectory(), "shim.so", DRIVER_SHIM));
  const runner = only(await read(await captureTree({ ...HEALTHY, "opt/vgpu/lib/libvgpu-cuda.so.1": shim })), 1203);
  const found = runner.maps.state === "read" ? runner.maps.value.libraries : [];
  assert.deepEqual(found[0]?.kind, wasRead("driver-shim"));
});

test("a corrupted capture yields invalid parts and no crash", async () => {
  const noise = Buffer.from([0xff, 0, 0x28, 0x29, 0x0a, 0x80]);
  const files = ["stat", "status", "maps", "environ", "limits", "mountinfo", "cmdline", "fd/2"];
  const tree = Object.fromEntries(files.map((file) => [`proc/7/${file}`, noise]));
  const facts = await read(await captureTree({ ...tree, "proc/7/cgroup": CGROUP }));
  const [found] = facts.processes;
  assert.equal(found?.credentials.state, "invalid");
  assert.equal(found?.memlock.state, "invalid");
});

test("a link in a capture does not lead to this machine's files", async () => {
  const root = await captureTree({ "proc/7/cgroup": CGROUP });
  await symlink("/proc/self/environ", join(root, "proc/7/environ"));
  const [found] = (await read(root)).processes;
  assert.equal(found?.env.state, "absent");
});

test("the host of a capture is told by its own files, and what is missing is null", async () => {
  const root = await captureTree({
    "etc/hostname": "test-10\n",
    "etc/machine-id": "3d1219c7c4c5404aaa1f6d2a48adfda4\n",
    "proc/sys/kernel/random/boot_id": "a37b6366-01fe-4e6e-ad10-28ae612c2894\n",
  });
  assert.deepEqual(await readHost(contextOf(root)), {
    state: "read",
    value: {
      hostname: "test-10",
      machineId: "3d1219c7c4c5404aaa1f6d2a48adfda4",
      bootId: "a37b636601fe4e6ead1028ae612c2894",
      bootedAt: null,
      kernel: null,
      capturedAt: null,
    },
  });
  assert.equal((await readHost(contextOf(await captureTree({ x: "" })))).state, "absent");
});

test("a capture was made when its uptime says", async () => {
  const root = await captureTree({ "proc/stat": "btime 1795000000\n", "proc/uptime": "60.50 200.00\n" });
  const host = await readHost(contextOf(root));
  assert.equal(host.state === "read" && host.value.capturedAt, 1_795_000_060_500);
});

test("this machine's host is told", async () => {
  const host = await readHost(contextOf("/"));
  assert.ok(host.state === "read");
  if (host.state !== "read") return;
  assert.match(host.value.bootId ?? "", /^[0-9a-f]{32}$/);
  assert.ok((host.value.bootedAt ?? 0) > 1_500_000_000_000);
});
