import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { chmod, chown } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import {
  sensorContext,
  type Tree,
  temporaryDirectory,
  vgpuConfig,
  vgpuDirectory,
  writeTree,
} from "../../test/device-tree.ts";
import type { PciFacts } from "../facts/device.ts";
import { valueIn as readValue } from "../facts/reading.ts";
import { classifyPciFunction } from "../protocol/pci-identity.ts";
import { PCI_DEVICES, readPci } from "./pci.ts";

const BDF = "0000:00:05.0";
const LISTED = `sys/bus/pci/devices/${BDF}`;
const REAL = `sys/devices/pci0000:00/${BDF}`;
const LINK: Tree = { [LISTED]: { link: `../../../devices/pci0000:00/${BDF}` } };

async function readTree(t: Parameters<typeof temporaryDirectory>[0], tree: Tree): Promise<PciFacts> {
  const root = await temporaryDirectory(t);
  await writeTree(root, tree);
  const facts = readValue(await readPci(sensorContext(root)));
  assert.ok(facts);
  return facts;
}

const skip = existsSync(PCI_DEVICES) ? false : `this machine has no ${PCI_DEVICES}`;
test("the functions of this machine are counted and read", { skip }, async () => {
  const reading = await readPci(sensorContext("/"));
  const names = readdirSync(PCI_DEVICES);
  assert.equal(reading.state, "read");
  if (reading.state !== "read") return;
  assert.equal(reading.value.scanned, names.length);
  assert.deepEqual(reading.value.unreadable, []);
  for (const fn of reading.value.candidates) assert.equal(fn.sysfsPath, realpathSync(`${PCI_DEVICES}/${fn.bdf}`));
});

test("a vGPU behind a link, as sysfs has it, is read whole", async (t) => {
  const facts = await readTree(t, { ...LINK, ...vgpuDirectory(REAL), "proc/modules": "virtio_net 1 0 - Live 0x0\n" });
  assert.equal(facts.scanned, 1);
  assert.equal(facts.nvidiaModule, false);
  const [fn] = facts.candidates;
  assert.ok(fn);
  assert.equal(fn.bdf, BDF);
  assert.equal(fn.vendor, 0x10de);
  assert.equal(fn.class, 0x030200);
  assert.equal(fn.revision, 0xa1);
  assert.equal(fn.driver, null);
  assert.equal(fn.sysfsPath, `/sys/devices/pci0000:00/${BDF}`);
  assert.deepEqual(
    fn.bars.slice(0, 3).map(({ size }) => size),
    [4096, 16 * 1024 * 1024, 0],
  );
  assert.equal(fn.bars.length, 6);
  assert.deepEqual(
    fn.resources.map(({ index, size }) => [index, size]),
    [
      [0, 4096],
      [1, 16 * 1024 * 1024],
    ],
  );
  assert.deepEqual(readValue(fn.config), { command: 3, memoryDecode: true, allOnes: false });
  assert.equal(classifyPciFunction(fn).confirmed, true);
});

test("a capture without links has the directory itself, and its path as given", async (t) => {
  const [fn] = (await readTree(t, vgpuDirectory(LISTED))).candidates;
  assert.equal(fn?.sysfsPath, `/${LISTED}`);
});

test("the driver is told from a link, a file or a directory", async (t) => {
  const of = async (driver: Tree[string]) => {
    const [fn] = (await readTree(t, vgpuDirectory(LISTED, { driver }))).candidates;
    return fn?.driver;
  };
  assert.equal(await of({ link: "../../../../bus/pci/drivers/nvidia" }), "nvidia");
  assert.equal(await of("vfio-pci\n"), "vfio-pci");
  assert.equal(await of(null), "(name not recorded)");
});

test("the nvidia module is found by its whole name", async (t) => {
  const modules = async (text: string) =>
    (await readTree(t, { ...vgpuDirectory(LISTED), "proc/modules": text })).nvidiaModule;
  assert.equal(await modules("nvidia_uvm 1 0 - Live 0x0\n"), false);
  assert.equal(await modules("virtio 1 0 - Live 0x0\nnvidia 56000000 2 nvidia_uvm, Live 0x0 (POE)\n"), true);
  assert.equal((await readTree(t, vgpuDirectory(LISTED))).nvidiaModule, null);
});

test("configuration space: decode off, gone, missing, cut and foreign are told apart", async (t) => {
  const of = async (config: Tree[string] | undefined) => {
    const [fn] = (await readTree(t, vgpuDirectory(LISTED, { config }))).candidates;
    assert.ok(fn);
    return fn.config;
  };
  assert.deepEqual(readValue(await of(vgpuConfig(0x0001))), { command: 1, memoryDecode: false, allOnes: false });
  const gone = readValue(await of(new Uint8Array(64).fill(0xff)));
  assert.deepEqual(gone, { command: 0xffff, memoryDecode: false, allOnes: true });
  assert.equal((await of(undefined)).state, "absent");
  assert.equal((await of(vgpuConfig().slice(0, 8))).state, "invalid");
  assert.equal((await of("command: 0x0003, padded to the length of a header, which it is not..")).state, "invalid");
});

test("a capture without BAR files and with a broken resource file has no sizes, not wrong ones", async (t) => {
  const changes = { resource: "garbage\n", resource0: undefined, resource1: undefined };
  const [fn] = (await readTree(t, vgpuDirectory(LISTED, changes))).candidates;
  assert.deepEqual(fn?.bars, []);
  assert.deepEqual(fn?.resources, []);
  assert.ok(fn && classifyPciFunction(fn).confirmed === false);
});

test("a capture that lost modes or owners is known by the file beside resource0", async (t) => {
  const lostOf = async (change: (directory: string) => Promise<void>) => {
    const root = await temporaryDirectory(t);
    await writeTree(root, vgpuDirectory(LISTED));
    const directory = join(root, LISTED);
    await chmod(join(directory, "vendor"), 0o444);
    await chmod(join(directory, "resource0"), 0o600);
    await change(directory);
    return readValue(await readPci(sensorContext(root)))?.candidates[0]?.permissionsLost;
  };
  const isRoot = process.getuid?.() === 0;
  assert.equal(await lostOf(async () => {}), isRoot ? null : "owners");
  assert.equal(await lostOf((directory) => chmod(join(directory, "resource0"), 0o444)), "modes");
  if (!isRoot) return t.diagnostic("files can be given away by root alone");
  const giveAway = async (directory: string, ...names: string[]) => {
    for (const name of names) await chown(join(directory, name), 1000, 1000);
  };
  assert.equal(await lostOf((directory) => giveAway(directory, "vendor", "resource0")), "owners");
  assert.equal(await lostOf((directory) => giveAway(directory, "resource0")), null);
});

test("a function whose ids cannot be read is named: it may hide the device", async (t) => {
  const facts = await readTree(t, {
    "sys/bus/pci/devices/0000:00:01.0/vendor": "0x8086\n",
    "sys/bus/pci/devices/0000:00:02.0/vendor": "not a number\n",
    "sys/bus/pci/devices/0000:00:02.0/device": "0x2331\n",
    "sys/bus/pci/devices/0000:00:02.0/class": "0x030200\n",
    "sys/bus/pci/devices/0000:00:03.0/vendor": "0x8086\n",
    "sys/bus/pci/devices/0000:00:03.0/device": "0x0d57\n",
    "sys/bus/pci/devices/0000:00:03.0/class": "0x060000\n",
    "sys/bus/pci/devices/README": "not a function\n",
  });
  assert.equal(facts.scanned, 3);
  assert.deepEqual(facts.unreadable, ["0000:00:01.0", "0000:00:02.0"]);
  assert.deepEqual(facts.candidates, []);
});

test("a device removed between listing and reading is unreadable, not absent", async (t) => {
  const facts = await readTree(t, LINK);
  assert.deepEqual(facts.unreadable, [BDF]);
});

test("a FIFO in a captured tree does not block the sensor", async (t) => {
  const root = await temporaryDirectory(t);
  await writeTree(root, vgpuDirectory(LISTED, { vendor: undefined }));
  execFileSync("mkfifo", [`${root}/${LISTED}/vendor`]);
  assert.deepEqual(readValue(await readPci(sensorContext(root)))?.unreadable, [BDF]);
});

test("a root without the directory is a reading that failed, not a machine without the device", async (t) => {
  const root = await temporaryDirectory(t);
  assert.equal((await readPci(sensorContext(root))).state, "absent");
  assert.equal((await readPci(sensorContext(`${root}/nowhere`))).state, "absent");
});

test("an empty directory is read: no functions", async (t) => {
  assert.equal((await readTree(t, { "sys/bus/pci/devices": null })).scanned, 0);
});

test("when a log alone is judged, this machine's devices are not looked at", async () => {
  assert.equal((await readPci(sensorContext("/", "evidence"))).state, "skipped");
});

test("an aborted reading says so", async (t) => {
  const root = await temporaryDirectory(t);
  await writeTree(root, vgpuDirectory(LISTED));
  const context = { ...sensorContext(root), signal: AbortSignal.abort() };
  assert.equal((await readPci(context)).state, "timed-out");
});
