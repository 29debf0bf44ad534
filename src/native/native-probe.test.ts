import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { temporaryDirectory, vgpuDirectory, writeTree } from "../../test/device-tree.ts";
import { BAR0_SIZE, REGISTERS } from "../protocol/registers.ts";
import { loadNativeProbe, nativeProbePath } from "./native-probe.ts";
import { isRefusal } from "./refusals.ts";

const SOURCE = fileURLToPath(new URL("../../native-probe", import.meta.url));
const PCI_DEVICES = "/sys/bus/pci/devices";
const path = nativeProbePath();
const skip = path === null ? "native-probe is not built: apt-get install gcc make, npm rebuild" : false;
const tools = ["make", "nm"].filter((tool) => spawnSync(tool, ["--version"]).error !== undefined);
const skipTools = skip || (tools.length > 0 && `missing: ${tools.join(", ")} (apt-get install gcc make)`);

function openFailure(deviceDirectory: string) {
  const opened = loadNativeProbe(path ?? "").open(deviceDirectory);
  return opened.ok ? assert.fail(`${deviceDirectory} was opened`) : opened.failure;
}

test("native-probe passes its own tests", { skip: skipTools }, async (t) => {
  const build = await temporaryDirectory(t);
  const output = execFileSync("make", ["-s", "-C", SOURCE, `BUILD=${build}`, "test"], { encoding: "utf8" });
  assert.match(output, /native-probe: \d+ checks, 0 failed/);
});

test("the registers that native-probe reads are those that the table calls safe", { skip }, () => {
  const probe = loadNativeProbe(path ?? "");
  const expected = new Map<number, number>();
  for (const { offset, words, read } of REGISTERS) {
    const value = read === "safe" ? 1 : read === "logs" ? 2 : 0;
    for (let word = 0; word < words; word++) expected.set(offset + word * 4, value);
  }
  for (let offset = 0; offset < BAR0_SIZE + 64; offset++) {
    assert.equal(probe.registerClass(offset), expected.get(offset) ?? 0, `offset 0x${offset.toString(16)}`);
  }
});

test("ordinary files that look like a vGPU are refused: the shipped library reads sysfs alone", { skip }, async (t) => {
  const root = await temporaryDirectory(t);
  await writeTree(root, vgpuDirectory("device"));
  const failure = openFailure(`${root}/device`);
  assert.equal(failure.step, "directory");
  assert.equal(failure.refusal, "not-sysfs");
});

test("the devices of this machine that are not NVIDIA's are all refused by their ids", { skip }, () => {
  const devices = existsSync(PCI_DEVICES) ? readdirSync(PCI_DEVICES) : [];
  for (const bdf of devices) {
    if (readFileSync(`${PCI_DEVICES}/${bdf}/vendor`, "utf8") === "0x10de\n") continue;
    const { refusal, step } = openFailure(`${PCI_DEVICES}/${bdf}`);
    assert.deepEqual([step, refusal], ["identity", "wrong-ids"]);
  }
});

test("a directory that is not there fails with its errno, and is no refusal", { skip }, () => {
  const failure = openFailure("/sys/bus/pci/devices/ffff:ff:1f.7");
  assert.deepEqual(failure, { step: "directory", errno: "ENOENT", refusal: "none", value: 0 });
  assert.ok(!isRefusal(failure.refusal));
});

test("the shipped library has no way to write: it imports nothing that could", { skip: skipTools }, () => {
  const symbols = execFileSync("nm", ["-D", "--undefined-only", path ?? ""], { encoding: "utf8" });
  for (const forbidden of ["write", "pwrite", "fopen", "memcpy", "mprotect", "msync", "ioctl", "system"]) {
    assert.doesNotMatch(symbols, new RegExp(`\\b${forbidden}(64)?(@|$)`, "m"));
  }
});
