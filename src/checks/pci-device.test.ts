import assert from "node:assert/strict";
import { test } from "node:test";
import { healthy, vgpu } from "../../test/fixtures/facts.ts";
import { type Case, testCases } from "../../test/fixtures/said.ts";
import type { PciFunction } from "../facts/device.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { pciDevice } from "./pci-device.ts";

const bus = (candidates: PciFunction[], unreadable: string[] = []) =>
  healthy({ pci: wasRead({ scanned: 6, unreadable, candidates, nvidiaModule: false }) });
const bar = (index: number, size: number) => ({ index, start: "0x0", end: "0x0", size, flags: "0x40200" });
const config = (command: number, memoryDecode: boolean, allOnes = false) => wasRead({ command, memoryDecode, allOnes });
const WRONG_BAR = vgpu({ bars: [bar(0, 16 << 20), bar(1, 16 << 20)] });
const PASSED_THROUGH = vgpu({ driver: "nvidia", bars: [bar(0, 16 << 20), bar(1, 128 << 20)] });

const CASES: readonly Case[] = [
  ["one vGPU that decodes memory", bus([vgpu()]), "pass"],
  ["no candidate at all", bus([]), "fail VG-P01"],
  ["no candidate, and a function whose ids could not be read", bus([], ["0000:00:07.0"]), "unknown"],
  ["the right ids with the class of another device", bus([vgpu({ class: 0x040300 })]), "fail VG-P04"],
  ["an old stub is told of", bus([vgpu({ vendor: 0x1af4, device: 0x1101 })]), "warn VG-P04"],
  ["a real GPU passed through, with its driver bound", bus([PASSED_THROUGH]), "fail VG-P06"],
  ["the vGPU's ids with another BAR size", bus([WRONG_BAR]), "fail VG-P06"],
  ["two vGPUs", bus([vgpu(), vgpu({ bdf: "0000:00:06.0" })]), "warn VG-P07"],
  ["memory decoding off", bus([vgpu({ config: config(0x0100, false) })]), "fail VG-P14"],
  ["a device that is gone reads all ones", bus([vgpu({ config: config(0xffff, true, true) })]), "fail VG-P14"],
  ["present, and whether it answers is not known", bus([vgpu({ config: notRead("denied", "x") })]), "info"],
  ["the bus was not read", healthy({ pci: notRead("timed-out", "x") }), "unknown"],
];

testCases(pciDevice, CASES);

test("a passed-through GPU beside installed shims is called mixed, with the shim as evidence", () => {
  const [finding] = pciDevice.judge(bus([PASSED_THROUGH]));
  assert.match(finding?.message ?? "", /shim libraries are installed beside it/);
  assert.ok(finding?.evidence.some(({ locator }) => locator === "/opt/vgpu/lib/libcuda.so.1"));
});
