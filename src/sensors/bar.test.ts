import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { sensorContext } from "../../test/device-tree.ts";
import type { PciFacts, PciFunction } from "../facts/device.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { nativeProbePath } from "../native/native-probe.ts";
import type { BarRun, BarRunOptions } from "../native/run-bar-child.ts";
import { readBars } from "./bar.ts";
import { PCI_DEVICES } from "./pci.ts";

const live = sensorContext("/");

function vgpu(bdf: string): PciFunction {
  const window = (index: number, size: number) => ({ index, start: "0x0", end: "0x0", size, flags: "0x40200" });
  return {
    bdf,
    vendor: 0x10de,
    device: 0x2331,
    class: 0x030200,
    subsystemVendor: 0x10de,
    subsystemDevice: 0x16c1,
    revision: 0xa1,
    driver: null,
    sysfsPath: `${PCI_DEVICES}/${bdf}`,
    bars: [window(0, 4096), window(1, 16 * 1024 * 1024)],
    resources: [],
    permissionsLost: null,
    config: wasRead({ command: 2, memoryDecode: true, allOnes: false }),
  };
}

function pci(...candidates: PciFunction[]) {
  const facts: PciFacts = { scanned: candidates.length, unreadable: [], candidates, nvidiaModule: false };
  return wasRead(facts);
}

function never(): Promise<BarRun> {
  return assert.fail("no process may be started");
}

function answering(run: BarRun) {
  const asked: string[] = [];
  const runner = async ({ deviceDirectory }: BarRunOptions): Promise<BarRun> => {
    asked.push(deviceDirectory);
    return run;
  };
  return { asked, runner };
}

test("a captured tree has no device to read", async () => {
  for (const subject of ["tree", "evidence"] as const) {
    const reading = await readBars(sensorContext("/", subject), pci(vgpu("0000:00:05.0")), never);
    assert.equal(reading.state, "skipped");
  }
});

test("without a reading of the PCI functions nothing is touched", async () => {
  const reading = await readBars(live, notRead("denied", "/sys: not permitted"), never);
  assert.equal(reading.state, "skipped");
  assert.match(reading.detail ?? "", /not permitted/);
});

test("a passthrough GPU with the vGPU's ids is refused without starting a process", async () => {
  const reading = await readBars(live, pci({ ...vgpu("0000:00:06.0"), driver: "nvidia" }), never);
  assert.equal(reading.state, "read");
  assert.ok(reading.state === "read" && reading.value.outcome === "refused");
  assert.match(reading.value.reason, /nvidia/);
});

test("a machine without a vGPU has no registers", async () => {
  assert.equal((await readBars(live, pci(), never)).state, "absent");
  assert.equal((await readBars(live, pci({ ...vgpu("0000:00:06.0"), device: 0x2321 }), never)).state, "absent");
});

test("of several vGPUs the first is read, and the reading says so", async () => {
  const { asked, runner } = answering({ outcome: "all-ones" });
  const reading = await readBars(live, pci(vgpu("0000:00:05.0"), vgpu("0000:00:06.0")), runner);
  assert.deepEqual(asked, [`${PCI_DEVICES}/0000:00:05.0`]);
  assert.equal(reading.detail, "2 vGPUs: the first, 0000:00:05.0, was read");
});

test("how the process ended becomes a fact or a reason, never a reading that passes", async () => {
  const of = async (run: BarRun) => await readBars(live, pci(vgpu("0000:00:05.0")), answering(run).runner);
  assert.deepEqual(await of({ outcome: "stalled", afterMs: 2000 }), {
    state: "read",
    value: { outcome: "stalled", bdf: "0000:00:05.0", afterMs: 2000 },
  });
  assert.equal((await of({ outcome: "crashed", signal: "SIGBUS" })).state, "read");
  assert.equal((await of({ outcome: "unavailable", reason: "not built" })).state, "absent");
  assert.equal((await of({ outcome: "invalid", detail: "not JSON" })).state, "invalid");
  assert.equal((await of({ outcome: "not-started", afterMs: 5000 })).state, "timed-out");
  assert.equal((await of({ outcome: "aborted" })).state, "timed-out");
});

const skip = nativeProbePath() === null || !existsSync(PCI_DEVICES) ? "no native-probe or no PCI devices here" : false;
test("facts that are wrong about a device do not get it touched: native-probe looks itself", { skip }, async () => {
  const others = readdirSync(PCI_DEVICES).filter((bdf) => {
    return readFileSync(`${PCI_DEVICES}/${bdf}/vendor`, "utf8") !== "0x10de\n";
  });
  for (const bdf of others.slice(0, 1)) {
    const reading = await readBars(live, pci(vgpu(bdf)));
    assert.ok(reading.state === "read" && reading.value.outcome === "refused");
    assert.equal(reading.value.code, "wrong-ids");
  }
});
