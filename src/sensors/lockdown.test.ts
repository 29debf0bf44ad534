import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { sensorContext, type Tree, temporaryDirectory, writeTree } from "../../test/device-tree.ts";
import { readLockdown } from "./lockdown.ts";

const FILE = "sys/kernel/security/lockdown";
const SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

async function readTree(t: Parameters<typeof temporaryDirectory>[0], tree: Tree) {
  const root = await temporaryDirectory(t);
  await writeTree(root, tree);
  return await readLockdown(sensorContext(root));
}

test("the marked word is the mode", async (t) => {
  for (const mode of ["none", "integrity", "confidentiality"]) {
    const text = "none integrity confidentiality\n".replace(mode, `[${mode}]`);
    const reading = await readTree(t, { [FILE]: text });
    assert.deepEqual(reading.state === "read" && reading.value, { mode, secureBoot: null });
  }
});

test("a file that marks no mode is invalid, never none", async (t) => {
  for (const text of ["", "none integrity confidentiality\n", "[other]\n"]) {
    assert.equal((await readTree(t, { [FILE]: text })).state, "invalid");
  }
});

test("that the kernel has no lockdown is said only when securityfs was there to look at", async (t) => {
  const mounted = await readTree(t, { "sys/kernel/security/lsm": "capability,apparmor" });
  assert.deepEqual(mounted.state === "read" && mounted.value.mode, "absent");
  const unmounted = await readTree(t, { "sys/kernel/security": null });
  assert.equal(unmounted.state, "absent");
  assert.match(unmounted.detail ?? "", /not mounted/);
  assert.equal((await readTree(t, { "sys/kernel": null })).state, "absent");
});

test("Secure Boot is the fifth byte of its EFI variable, and unknown in any other form", async (t) => {
  const of = async (bytes: Uint8Array) => {
    const reading = await readTree(t, { [FILE]: "[none] integrity\n", [SECURE_BOOT]: bytes });
    return reading.state === "read" ? reading.value.secureBoot : undefined;
  };
  assert.equal(await of(Uint8Array.of(6, 0, 0, 0, 1)), true);
  assert.equal(await of(Uint8Array.of(6, 0, 0, 0, 0)), false);
  assert.equal(await of(Uint8Array.of(1)), null);
  assert.equal(await of(new Uint8Array(64).fill(1)), null);
});

test("this machine's reading agrees with its own file", async () => {
  const reading = await readLockdown(sensorContext("/"));
  if (existsSync(`/${FILE}`)) {
    const marked = /\[(\w+)\]/.exec(readFileSync(`/${FILE}`, "utf8"))?.[1];
    assert.equal(reading.state === "read" && reading.value.mode, marked);
  } else if (reading.state === "read") {
    assert.equal(reading.value.mode, "absent");
  }
});

test("when a log alone is judged, this machine's kernel is not looked at", async () => {
  assert.equal((await readLockdown(sensorContext("/", "evidence"))).state, "skipped");
});
