import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { appendFile, cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { temporaryDirectory } from "./device-tree.ts";

const HOME = fileURLToPath(new URL("..", import.meta.url));
/** What is built, by the directory that it is built in. */
const PRODUCTS = { "native-probe": "libnative_probe.so", "log-scan": "vgpu-log-scan" } as const;

/** A copy of what the package has for the build, without what was built. */
async function packageCopy(t: TestContext): Promise<string> {
  const root = await temporaryDirectory(t);
  await cp(join(HOME, "scripts/build-native.mjs"), join(root, "scripts/build-native.mjs"), { recursive: true });
  for (const directory of Object.keys(PRODUCTS)) {
    for (const part of await readdir(join(HOME, directory))) {
      if (part === "build" || part === "prebuilt") continue;
      await cp(join(HOME, directory, part), join(root, directory, part), { recursive: true });
    }
  }
  return root;
}

function build(root: string, path = process.env["PATH"] ?? "") {
  const result = spawnSync(process.execPath, [join(root, "scripts/build-native.mjs")], {
    encoding: "utf8",
    env: { PATH: path },
  });
  return { status: result.status, output: result.stdout + result.stderr };
}

const tools = ["make", "cc"].filter((tool) => spawnSync(tool, ["--version"]).error !== undefined);
const skip = tools.length > 0 ? `missing: ${tools.join(", ")} (apt-get install gcc make)` : false;

test("with a compiler all is built, and nothing is said", { skip }, async (t) => {
  const root = await packageCopy(t);
  assert.deepEqual(build(root), { status: 0, output: "" });
  for (const [directory, product] of Object.entries(PRODUCTS)) {
    assert.ok(existsSync(join(root, directory, "build", product)), product);
  }
  assert.deepEqual(build(root), { status: 0, output: "" });
});

const LAUNCHER = "native-probe/launcher/build/vgpu-agent";

/** A copy of what a checkout has for it: where packages are made, the launcher is built too. */
async function checkoutCopy(t: TestContext): Promise<string> {
  const root = await packageCopy(t);
  await rm(join(root, "native-probe/launcher/build"), { recursive: true, force: true });
  await writeFile(join(root, "scripts/package.ts"), "");
  return root;
}

test("where packages are made the launcher is built, and it is static", { skip }, async (t) => {
  const root = await checkoutCopy(t);
  assert.deepEqual(build(root), { status: 0, output: "" });
  const image = await readFile(join(root, LAUNCHER));
  assert.equal(image.includes("/ld-linux"), false, "no loader is asked for");
});

test("a compiler that cannot link statically makes everything but the launcher, and one line says so", {
  skip,
}, async (t) => {
  const root = await checkoutCopy(t);
  const bin = join(root, "bin");
  await mkdir(bin);
  const script = `#!/bin/sh\nfor flag; do [ "$flag" != -static-pie ] || exit 1; done\nexec /usr/bin/env PATH="$TEST_PATH" cc "$@"\n`;
  const path = process.env["PATH"] ?? "";
  await writeFile(join(bin, "cc"), script.replace("$TEST_PATH", path), { mode: 0o755 });
  await symlink(join(bin, "cc"), join(bin, "gcc"));
  const { status, output } = build(root, `${bin}:${path}`);
  assert.equal(status, 0, output);
  assert.match(output, /^native-probe\/launcher was not built: a C library .*-static-pie is missing; .*libc6-dev.*\n$/);
  for (const [directory, product] of Object.entries(PRODUCTS)) {
    assert.ok(existsSync(join(root, directory, "build", product)), product);
  }
  assert.equal(existsSync(join(root, LAUNCHER)), false);
});

test("a compile error is shown and fails the installation", { skip }, async (t) => {
  const root = await packageCopy(t);
  await appendFile(join(root, "native-probe/src/names.c"), "int broken(void) { return undeclared_thing; }\n");
  const { status, output } = build(root);
  assert.notEqual(status, 0);
  assert.match(output, /undeclared_thing/);
});

test("without a compiler a line for each part says what is lost and how to get it, and the installation goes on", async (t) => {
  const root = await packageCopy(t);
  const empty = join(root, "bin");
  await mkdir(empty);
  const { status, output } = build(root, empty);
  assert.equal(status, 0);
  const lines = output.trimEnd().split("\n");
  assert.equal(lines.length, Object.keys(PRODUCTS).length);
  for (const line of lines) assert.match(line, /make is missing; without .*apt-get install gcc make/);
});

test("make without a compiler that can compile is no compiler", { skip }, async (t) => {
  const root = await packageCopy(t);
  const bin = join(root, "bin");
  await mkdir(bin);
  const make = spawnSync("sh", ["-c", "command -v make"], { encoding: "utf8" }).stdout.trim();
  await symlink(make, join(bin, "make"));
  await writeFile(join(bin, "cc"), "#!/nowhere\n", { mode: 0o755 });
  const { status, output } = build(root, bin);
  assert.equal(status, 0);
  assert.match(output, /a C compiler with its headers is missing/);
});

test("what is prebuilt does without a compiler, silently", async (t) => {
  const root = await packageCopy(t);
  for (const [directory, product] of Object.entries(PRODUCTS)) {
    const place = join(root, directory, "prebuilt", `${process.platform}-${process.arch}`);
    await mkdir(place, { recursive: true });
    await writeFile(join(place, product), "");
  }
  assert.deepEqual(build(root, "/nonexistent"), { status: 0, output: "" });
});
