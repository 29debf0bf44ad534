import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, truncateSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { compileLibrary, DRIVER_SHIM, NO_COMPILER, put, temporaryDirectory } from "../../test/support/real-process.ts";
import { TELLING_SYMBOLS } from "../protocol/libraries.ts";
import { type ElfFile, findMarkers, InvalidElf, readElf } from "./elf.ts";

const directory = temporaryDirectory();
const skip = { skip: NO_COMPILER };

async function read(path: string): Promise<ElfFile> {
  const handle = await open(path);
  try {
    return await readElf(handle, TELLING_SYMBOLS);
  } finally {
    await handle.close();
  }
}

const shim = (name: string, ...flags: string[]) =>
  compileLibrary(directory, name, DRIVER_SHIM, "-Wl,-soname,libcuda.so.1", "-Wl,--build-id", ...flags);

for (const style of ["gnu", "sysv", "both"]) {
  test(`symbols, SONAME and build id are read with the ${style} hash table`, skip, async () => {
    const path = shim(`${style}.so`, `-Wl,--hash-style=${style}`);
    const elf = await read(path);
    const notes = execFileSync("readelf", ["-n", path], { encoding: "utf8" });
    assert.equal(elf.soname, "libcuda.so.1");
    assert.equal(elf.buildId, /Build ID: ([0-9a-f]+)/.exec(notes)?.[1]);
    assert.deepEqual([...elf.exports.keys()].sort(), ["cuInit", "cuda_transport_call"]);
    assert.equal(elf.truncated, false);
  });
}

test("every symbol of a large library is found through its hash table, and nothing else", skip, async () => {
  const names = Array.from({ length: 3000 }, (_, index) => `symbol_${index}`);
  const source = names.map((name) => `int ${name}(void) { return 1; }`).join("\n");
  const path = compileLibrary(directory, "large.so", source, "-Wl,--hash-style=gnu");
  const handle = await open(path);
  try {
    const { exports } = await readElf(handle, [...names, ...names.map((name) => `${name}x`)]);
    assert.deepEqual([...exports.keys()].sort(), names.toSorted());
  } finally {
    await handle.close();
  }
});

test("the file offset of a symbol is where its code begins", skip, async () => {
  const path = shim("offset.so", "-Wl,-Ttext-segment=0x200000");
  const elf = await read(path);
  const value = Number.parseInt(
    /([0-9a-f]{16}) .* cuda_transport_call$/m.exec(execFileSync("nm", ["-D", path], { encoding: "utf8" }))?.[1] ?? "",
    16,
  );
  const load = /LOAD +0x([0-9a-f]+) 0x([0-9a-f]+) 0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ R E/.exec(
    execFileSync("readelf", ["-lW", path], { encoding: "utf8" }),
  );
  const expected = value - Number.parseInt(load?.[2] ?? "", 16) + Number.parseInt(load?.[1] ?? "", 16);
  assert.notEqual(expected, value);
  assert.equal(elf.exports.get("cuda_transport_call"), expected);
});

test("a stripped library and one without section headers are still told", skip, async () => {
  const path = shim("stripped.so", "-s");
  const bytes = readFileSync(path);
  bytes.fill(0, 40, 48);
  bytes.fill(0, 58, 64);
  put(join(directory, "sectionless.so"), bytes);
  for (const name of ["stripped.so", "sectionless.so"]) {
    const elf = await read(join(directory, name));
    assert.ok(elf.exports.has("cuda_transport_call"), name);
  }
});

test("a symbol that is only used, not defined, is not exported", skip, async () => {
  const source = "extern int cuda_transport_call(void); int cuInit(void) { return cuda_transport_call(); }";
  const elf = await read(compileLibrary(directory, "user.so", source));
  assert.deepEqual([...elf.exports.keys()], ["cuInit"]);
});

test("a hidden symbol is not exported", skip, async () => {
  const source =
    '__attribute__((visibility("hidden"))) int cuda_transport_call(void) { return 1; } int cuInit(void) { return 0; }';
  assert.deepEqual([...(await read(compileLibrary(directory, "hidden.so", source))).exports.keys()], ["cuInit"]);
});

test("marker strings are found in read-only data", skip, async () => {
  const source = 'const char *cudaMalloc(void) { return "[libvgpu-cudart] cudaMalloc"; }';
  const path = compileLibrary(directory, "cudart.so", source);
  const handle = await open(path);
  try {
    const elf = await readElf(handle, TELLING_SYMBOLS);
    const found = await findMarkers(handle, elf, ["[libvgpu-cudart]", "VGPU_CUBLAS_MODE"]);
    assert.deepEqual([...found], ["[libvgpu-cudart]"]);
  } finally {
    await handle.close();
  }
});

test("an empty file, a text and a file cut short are told apart", skip, async () => {
  put(join(directory, "empty"), "");
  put(join(directory, "text"), "x".repeat(200));
  copyFileSync(shim("whole.so"), join(directory, "cut.so"));
  truncateSync(join(directory, "cut.so"), 5000);
  await assert.rejects(read(join(directory, "empty")), /empty/);
  await assert.rejects(read(join(directory, "text")), /not an ELF file/);
  await assert.rejects(read(join(directory, "cut.so")), /cut/);
});

test("a file that lost only its end is read and marked as truncated", skip, async () => {
  const path = shim("tail.so");
  truncateSync(path, readFileSync(path).length - 64);
  const elf = await read(path);
  assert.equal(elf.truncated, true);
  assert.ok(elf.exports.has("cuInit"));
});

test("an ELF file of another machine is refused", skip, async () => {
  const bytes = readFileSync(shim("arm.so"));
  bytes.writeUInt16LE(183, 18);
  put(join(directory, "arm.so"), bytes);
  await assert.rejects(read(join(directory, "arm.so")), InvalidElf);
});

test("no damage to a real library crashes the reader or makes it allocate without bound", skip, async () => {
  const original = readFileSync(shim("fuzz.so"));
  const path = join(directory, "fuzzed.so");
  const damage = fc.array(fc.tuple(fc.nat({ max: 8191 }), fc.constantFrom(0, 1, 0x7f, 0xff, 0x80)), { maxLength: 24 });
  const before = process.memoryUsage().rss;
  await fc.assert(
    fc.asyncProperty(damage, fc.nat({ max: original.length }), fc.boolean(), async (changes, length, cut) => {
      const bytes = Buffer.from(original);
      for (const [at, value] of changes) bytes[at % 0x1000] = value;
      put(path, cut ? bytes.subarray(0, length) : bytes);
      try {
        await read(path);
      } catch (error) {
        assert.ok(error instanceof InvalidElf, String(error));
      }
    }),
    { numRuns: 400 },
  );
  assert.ok(process.memoryUsage().rss - before < 300 << 20);
});

test("bytes of the dynamic section that were made up are survived", skip, async () => {
  const original = readFileSync(shim("dynamic.so"));
  const headers = execFileSync("readelf", ["-lW", join(directory, "dynamic.so")], { encoding: "utf8" });
  const dynamicAt = Number.parseInt(/DYNAMIC +0x([0-9a-f]+)/.exec(headers)?.[1] ?? "", 16);
  const path = join(directory, "dynamic-fuzzed.so");
  const words = fc.array(fc.tuple(fc.nat({ max: 40 }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })), {
    maxLength: 6,
  });
  await fc.assert(
    fc.asyncProperty(words, async (changes) => {
      const bytes = Buffer.from(original);
      for (const [entry, value] of changes) bytes.writeBigUInt64LE(value, dynamicAt + entry * 8);
      put(path, bytes);
      await read(path).catch((error: unknown) => assert.ok(error instanceof InvalidElf, String(error)));
    }),
    { numRuns: 300 },
  );
});
