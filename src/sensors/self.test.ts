import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { compileLibrary, DRIVER_SHIM, NO_COMPILER, temporaryDirectory } from "../../test/support/real-process.ts";
import { readSelf } from "./self.ts";

test("this process has no shim in it", async () => {
  const self = await readSelf();
  assert.deepEqual(self.state === "read" && self.value.shimsMapped, []);
  assert.equal(self.state === "read" && self.value.uid, process.getuid?.());
});

test("a shim that was preloaded into the agent is named, with the variable that did it", { skip: NO_COMPILER }, () => {
  const shim = compileLibrary(temporaryDirectory(), "libharmless.so", DRIVER_SHIM);
  const script = `import { readSelf } from ${JSON.stringify(join(import.meta.dirname, "self.ts"))}; console.log(JSON.stringify(await readSelf()));`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    env: { LD_PRELOAD: shim },
    encoding: "utf8",
  });
  const { state, value } = JSON.parse(stdout);
  assert.equal(state, "read");
  assert.deepEqual(value.shimsMapped, [shim]);
  assert.deepEqual(value.loaderVariables, ["LD_PRELOAD"]);
});
