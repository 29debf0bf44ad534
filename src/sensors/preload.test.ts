import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
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
import { readPreload } from "./preload.ts";

const skip = { skip: NO_COMPILER };
const directory = temporaryDirectory();
const built = (name: string, source: string) =>
  NO_COMPILER === false ? readFileSync(compileLibrary(directory, name, source)) : Buffer.alloc(0);
const shim = built("shim.so", DRIVER_SHIM);
const plain = built("plain.so", "int plain(void) { return 1; }");
const vendor = built("vendor.so", "int cuInit(unsigned flags) { return (int)flags; }");

async function kinds(content: string, files: Record<string, Buffer> = {}) {
  const root = await captureTree({ "etc/ld.so.preload": content, ...files });
  const reading = await readPreload(contextOf(root));
  assert.equal(reading.state, "read");
  return { reading, lines: reading.state === "read" ? reading.value.lines : [] };
}

test("no file means that nothing is preloaded", async () => {
  const reading = await readPreload(contextOf(await captureTree({ "etc/hostname": "x" })));
  assert.deepEqual(reading.state === "read" && reading.value, { lines: [] });
});

test("a tree without /etc says nothing of preloading", async () => {
  assert.equal((await readPreload(contextOf(await captureTree({ "proc/stat": "" })))).state, "absent");
});

test("a shim is recognised by its symbols whatever its name", skip, async () => {
  const { lines } = await kinds("/usr/lib/libharmless.so\n", { "usr/lib/libharmless.so": shim });
  assert.deepEqual(lines, [{ line: 1, kind: "shim" }]);
});

test("an ordinary library, NVIDIA's driver and a missing file are told apart", skip, async () => {
  const { lines } = await kinds("# comment\n/lib/a.so\n/lib/b.so # tail\n/lib/libvgpu-syscall.so\n", {
    "lib/a.so": plain,
    "lib/b.so": vendor,
  });
  assert.deepEqual(lines, [
    { line: 2, kind: "existing-library" },
    { line: 3, kind: "cuda-name" },
    { line: 4, kind: "not-an-existing-library" },
  ]);
});

test("several names in a line are each judged, as the loader splits at spaces and colons", skip, async () => {
  const { lines } = await kinds("/lib/a.so:/lib/s.so /lib/none.so\n", { "lib/a.so": plain, "lib/s.so": shim });
  assert.deepEqual(lines, [
    { line: 1, kind: "existing-library" },
    { line: 1, kind: "shim" },
    { line: 1, kind: "not-an-existing-library" },
  ]);
});

test("$LIB and bare names are looked for where the loader looks", skip, async () => {
  const { lines } = await kinds("/usr/$LIB/a.so\ns.so\n", {
    "usr/lib/x86_64-linux-gnu/a.so": plain,
    "usr/lib64/s.so": shim,
  });
  assert.deepEqual(lines, [
    { line: 1, kind: "existing-library" },
    { line: 2, kind: "shim" },
  ]);
});

test("a file with a shim's name that is no library is still reported as one", async () => {
  const { lines } = await kinds("/lib/libvgpu-cuda.so\n", { "lib/libvgpu-cuda.so": Buffer.from("cut") });
  assert.deepEqual(lines, [{ line: 1, kind: "shim" }]);
});

test("a password in the file is judged and never kept", async () => {
  const { reading, lines } = await kinds("hunter2!\n");
  assert.deepEqual(lines, [{ line: 1, kind: "not-an-existing-library" }]);
  assert.ok(!JSON.stringify(reading).includes("hunter2"));
});

test("a directory in place of the file is not read as empty", async () => {
  const reading = await readPreload(contextOf(await captureTree({ [join("etc/ld.so.preload", "x")]: "" })));
  assert.notEqual(reading.state, "read");
});
