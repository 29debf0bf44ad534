import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { classifyPciFunction, isCandidate, type PciIdentity } from "./pci-identity.ts";

const vgpu: PciIdentity = {
  vendor: 0x10de,
  device: 0x2331,
  class: 0x030200,
  subsystemVendor: 0x10de,
  subsystemDevice: 0x16c1,
  driver: null,
  bars: [
    { index: 0, size: 4096, flags: "0x0000000000040200" },
    { index: 1, size: 16 * 1024 * 1024, flags: "0x0000000000040200" },
  ],
  resources: [
    { index: 0, size: 4096 },
    { index: 1, size: 16 * 1024 * 1024 },
  ],
};

test("a function with the vGPU's ids, class and BARs and no driver is the vGPU", () => {
  assert.deepEqual({ ...classifyPciFunction(vgpu), reason: "" }, { kind: "vgpu", reason: "", confirmed: true });
});

test("a passthrough H100 has the same ids and is never the vGPU", () => {
  // PCIe H100: BAR0 16 MiB, 64-bit prefetchable BARs behind it.
  const bars = [
    { index: 0, size: 16 * 1024 * 1024, flags: "0x0000000000040200" },
    { index: 1, size: 128 * 1024 ** 3, flags: "0x000000000014220c" },
  ];
  const h100 = classifyPciFunction({ ...vgpu, bars, resources: [] });
  assert.equal(h100.kind, "not-vgpu-bars");
  assert.match(h100.reason, /BAR0 has 16777216 bytes/);
});

test("a bound driver makes it somebody's device, whatever its BARs", () => {
  for (const driver of ["nvidia", "vfio-pci", "nouveau"]) {
    const found = classifyPciFunction({ ...vgpu, driver });
    assert.equal(found.kind, "not-vgpu-bars");
    assert.match(found.reason, new RegExp(driver));
  }
});

test("where the two sources of a size differ, the wrong one counts", () => {
  const resources = [{ index: 0, size: 8192 }];
  assert.equal(classifyPciFunction({ ...vgpu, resources }).kind, "not-vgpu-bars");
  const bars = [{ index: 0, size: 8192, flags: "0x40200" }];
  assert.equal(classifyPciFunction({ ...vgpu, bars }).kind, "not-vgpu-bars");
});

test("an I/O port window of 4096 bytes is not the vGPU's BAR0", () => {
  const bars = [{ index: 0, size: 4096, flags: "0x0000000000040101" }];
  assert.equal(classifyPciFunction({ ...vgpu, bars }).kind, "not-vgpu-bars");
});

test("without sizes the ids are right and nothing is confirmed", () => {
  const found = classifyPciFunction({ ...vgpu, bars: [], resources: [] });
  assert.equal(found.kind, "vgpu");
  assert.equal(found.confirmed, false);
  assert.match(found.reason, /passthrough GPU is not excluded/);
});

test("an empty resource0 of a capture says nothing against the resource file", () => {
  const resources = [{ index: 0, size: 0 }];
  assert.equal(classifyPciFunction({ ...vgpu, resources }).confirmed, true);
});

test("the programming interface does not matter, the class does", () => {
  assert.equal(classifyPciFunction({ ...vgpu, class: 0x030201 }).kind, "vgpu");
  assert.equal(classifyPciFunction({ ...vgpu, class: 0x030000 }).kind, "wrong-class");
  assert.equal(classifyPciFunction({ ...vgpu, class: 0x120000 }).kind, "wrong-class");
});

test("legacy vendors count with the shim's class alone; the early stub has a class that no shim accepts", () => {
  const legacy = { ...vgpu, vendor: 0x1234, device: 0x0003 };
  assert.equal(classifyPciFunction(legacy).kind, "legacy");
  assert.equal(classifyPciFunction({ ...legacy, vendor: 0x1af4 }).kind, "legacy");
  assert.equal(classifyPciFunction({ ...legacy, class: 0x030000 }).kind, "other");
  const early = { ...vgpu, vendor: 0x1af4, device: 0x1111, class: 0x120000 };
  assert.equal(classifyPciFunction(early).kind, "wrong-class");
});

test("other devices of NVIDIA: a display device is a passthrough GPU, the rest is not", () => {
  assert.equal(classifyPciFunction({ ...vgpu, device: 0x2321 }).kind, "passthrough-gpu");
  assert.equal(classifyPciFunction({ ...vgpu, device: 0x22a3, class: 0x068000 }).kind, "other");
});

test("a virtio disk and QEMU's VGA are no candidates", () => {
  assert.ok(!isCandidate({ vendor: 0x1af4, device: 0x1042, class: 0x018000 }));
  assert.ok(!isCandidate({ vendor: 0x1234, device: 0x1111, class: 0x030000 }));
  assert.ok(isCandidate({ vendor: 0x1af4, device: 0x1111, class: 0x120000 }));
  assert.ok(isCandidate({ vendor: 0x10de, device: 0x22a3, class: 0x068000 }));
});

test("nothing but a driverless 10de:2331 of class 0x0302xx with the exact BARs is confirmed as the vGPU", () => {
  const size = fc.constantFrom(0, 4096, 8192, 16 * 1024 * 1024, 2 ** 37);
  const fn = fc.record({
    vendor: fc.constantFrom(0x10de, 0x1234, 0x1af4, 0x8086),
    device: fc.constantFrom(0x2331, 0x2321, 0x1111),
    class: fc.constantFrom(0x030200, 0x030201, 0x030000, 0x120000),
    subsystemVendor: fc.constantFrom(null, 0x10de),
    subsystemDevice: fc.constantFrom(null, 0x16c1),
    driver: fc.constantFrom(null, "nvidia"),
    bars: fc.tuple(size, size).map(([a, b]) => [
      { index: 0, size: a, flags: "0x40200" },
      { index: 1, size: b, flags: "0x40200" },
    ]),
    resources: fc.constant([]),
  });
  fc.assert(
    fc.property(fn, (found) => {
      const isVgpu = classifyPciFunction(found).kind === "vgpu";
      const [bar0, bar1] = found.bars;
      const right =
        found.vendor === 0x10de &&
        found.device === 0x2331 &&
        found.class >>> 8 === 0x0302 &&
        found.driver === null &&
        bar0?.size === 4096 &&
        bar1?.size === 16 * 1024 * 1024;
      assert.equal(isVgpu, right);
    }),
  );
});
