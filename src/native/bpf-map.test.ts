import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { NO_UPROBES } from "../../test/support/tracing.ts";
import { BpfMap, MapContents } from "./bpf-map.ts";
import { type Kernel, loadKernel, SystemCallError } from "./syscall.ts";

const BATCH = 24;
const ROWS = 1000;

const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

/** A kernel from before Linux 5.6, as bpf(2) answers there. */
const withoutBatch =
  (kernel: Kernel): Kernel =>
  (call, ...args) => {
    if (call === "bpf" && args[0] === BATCH) throw new SystemCallError("bpf", "EINVAL");
    return kernel(call, ...args);
  };

const rowsOf = (contents: MapContents) =>
  Array.from(
    { length: contents.count },
    (_, row) => [contents.key(row).readUInt32LE(0), contents.value(row).readUInt32LE(0)] as const,
  ).sort(([a], [b]) => a - b);

describe("a map of the kernel", { skip: NO_UPROBES }, () => {
  for (const [name, through] of [
    ["in batches", (kernel: Kernel) => kernel],
    ["row by row where the kernel has no batch", withoutBatch],
  ] as const) {
    it(`is read whole, ${name}`, () => {
      const kernel = through(loadKernel() ?? assert.fail());
      const map = new BpfMap(kernel, { kind: "hash", name: "vgpu_test", keyBytes: 4, valueBytes: 8, maxEntries: ROWS });
      try {
        const contents = new MapContents();
        map.read(contents);
        assert.deepEqual(rowsOf(contents), []);
        const truth = Array.from({ length: ROWS }, (_, row) => [row * 7, row] as const);
        for (const [key, value] of truth) map.set(word(key), Buffer.concat([word(value), word(0)]));
        map.read(contents);
        assert.deepEqual(rowsOf(contents), truth);
        assert.equal(map.entries().length, ROWS);
        for (const [key] of truth.slice(3)) map.delete(word(key));
        map.read(contents);
        assert.deepEqual(rowsOf(contents), truth.slice(0, 3), "what it had is gone");
      } finally {
        map.close();
      }
    });
  }

  it("tells whether it is as it was, row by row too", () => {
    const kernel = loadKernel() ?? assert.fail();
    const map = new BpfMap(kernel, { kind: "hash", name: "vgpu_test", keyBytes: 4, valueBytes: 8, maxEntries: 64 });
    try {
      for (const key of [1, 2, 3]) map.set(word(key), Buffer.alloc(8));
      const [before, after] = [new MapContents(), new MapContents()];
      map.read(before);
      map.read(after);
      assert.ok(before.equals(after));
      map.set(word(2), Buffer.alloc(8, 1));
      map.read(after);
      assert.ok(!before.equals(after));
      const changed = [0, 1, 2].filter((row) => !before.hasSameRow(row, after));
      assert.deepEqual(
        changed.map((row) => after.key(row).readUInt32LE(0)),
        [2],
      );
      map.delete(word(3));
      map.set(word(2), Buffer.alloc(8));
      map.read(after);
      assert.ok(!before.equals(after), "one is gone");
    } finally {
      map.close();
    }
  });
});
