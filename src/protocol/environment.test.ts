import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { environmentValue, filterEnvironment, isAllowedName, isSwitchedOn, KNOWN_VARIABLES } from "./environment.ts";

const environ = (...words: string[]) => Buffer.from(`${words.join("\0")}\0`);

test("variables outside the allow-list are dropped", () => {
  const kept = filterEnvironment(
    environ("HOME=/root", "VGPU_DEBUG=", "PGPASSWORD=hunter2", "LD_LIBRARY_PATH=/opt/vgpu/lib", "OLLAMA_DEBUG=1"),
  );
  assert.deepEqual(kept, { VGPU_DEBUG: "", LD_LIBRARY_PATH: "/opt/vgpu/lib", OLLAMA_DEBUG: "1" });
});

test("a name that sounds like a secret is dropped whatever its prefix", () => {
  for (const name of ["OLLAMA_API_KEY", "VGPU_TOKEN", "CUDA_SECRET_X", "LD_PASSPHRASE", "OLLAMA_AUTH", "GGML_PASS"]) {
    assert.equal(isAllowedName(name), false, name);
    assert.deepEqual(filterEnvironment(environ(`${name}=SECRET`)), {});
  }
});

test("the user and password of a URL are removed from a kept value", () => {
  const kept = filterEnvironment(environ("OLLAMA_HOST=http://me:hunter2@10.0.0.1:11434"));
  assert.deepEqual(kept, { OLLAMA_HOST: "http://10.0.0.1:11434" });
});

test("no environment makes a value of a forbidden name come through", () => {
  const name = fc.stringMatching(/^[A-Za-z_]{1,12}$/);
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.string())), (pairs) => {
      const kept = filterEnvironment(environ(...pairs.map(([key, value]) => `${key}=${value}`), "OLLAMA_KEY=SECRET"));
      assert.ok(Object.keys(kept).every(isAllowedName));
      assert.ok(!Object.values(kept).includes("SECRET"));
    }),
  );
});

test("bytes that are not UTF-8 and a missing end do no harm", () => {
  assert.deepEqual(filterEnvironment(Buffer.from([0xff, 0xfe, 0, 0x3d, 0x3d])), {});
  assert.deepEqual(filterEnvironment(environ("VGPU_DEBUG=1\n2")), { VGPU_DEBUG: "1?2" });
  assert.deepEqual(filterEnvironment(Buffer.from("VGPU_DEBUG=1")), { VGPU_DEBUG: "1" });
});

test("the first of two values counts, as it does for getenv", () => {
  assert.deepEqual(filterEnvironment(environ("VGPU_DEBUG=1", "VGPU_DEBUG=2")), { VGPU_DEBUG: "1" });
});

test("a debug switch is on with any value, also 0 and the empty one", () => {
  for (const value of ["", "0", "1", "no"]) assert.equal(isSwitchedOn("VGPU_DEBUG", { VGPU_DEBUG: value }), true);
  assert.equal(isSwitchedOn("VGPU_DEBUG", {}), false);
});

test("a truthy switch is off when empty or 0, and a default-on one is on when unset", () => {
  assert.equal(isSwitchedOn("VGPU_DISABLE_SHMEM", { VGPU_DISABLE_SHMEM: "0" }), false);
  assert.equal(isSwitchedOn("VGPU_DISABLE_SHMEM", { VGPU_DISABLE_SHMEM: "1" }), true);
  assert.equal(isSwitchedOn("VGPU_HTOD_BAR1_SHADOW", {}), true);
  assert.equal(isSwitchedOn("VGPU_HTOD_BAR1_SHADOW", { VGPU_HTOD_BAR1_SHADOW: "" }), false);
});

test("every known variable would be collected", () => {
  for (const { name } of KNOWN_VARIABLES) assert.ok(isAllowedName(name), name);
});

test("one variable is found by its whole name", () => {
  assert.equal(environmentValue(environ("XJOURNAL_STREAM=1", "JOURNAL_STREAM=8:77"), "JOURNAL_STREAM"), "8:77");
  assert.equal(environmentValue(environ("A=1"), "JOURNAL_STREAM"), null);
});

test("a capture with lines in place of NULs is read as well", () => {
  const lines = Buffer.from("HOME=/root\nVGPU_DEBUG=1\nOLLAMA_API_KEY=SECRET\nJOURNAL_STREAM=8:7\n");
  assert.deepEqual(filterEnvironment(lines), { VGPU_DEBUG: "1" });
  assert.equal(environmentValue(lines, "JOURNAL_STREAM"), "8:7");
});
