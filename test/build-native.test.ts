import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { appendFile, cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { temporaryDirectory } from "./device-tree.ts";

const HOME = fileURLToPath(new URL("..", import.meta.url));
const LIBRARY = "native-probe/build/libnative_probe.so";

/** A copy of what the package has for the build, without what was built. */
async function packageCopy(t: TestContext): Promise<string> {
  const root = await temporaryDirectory(t);
  await cp(join(HOME, "scripts/build-native.mjs"), join(root, "scripts/build-native.mjs"), { recursive: true });
  for (const part of ["Makefile", "include", "src", "test"]) {
    await cp(join(HOME, "native-probe", part), join(root, "native-probe", part), { recursive: true });
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

test("with a compiler the library is built, and nothing is said", { skip }, async (t) => {
  const root = await packageCopy(t);
  assert.deepEqual(build(root), { status: 0, output: "" });
  assert.ok(existsSync(join(root, LIBRARY)));
  assert.deepEqual(build(root), { status: 0, output: "" });
});

test("a compile error is shown and fails the installation", { skip }, async (t) => {
  const root = await packageCopy(t);
  await appendFile(join(root, "native-probe/src/names.c"), "int broken(void) { return undeclared_thing; }\n");
  const { status, output } = build(root);
  assert.notEqual(status, 0);
  assert.match(output, /undeclared_thing/);
});

test("without a compiler one line says what is lost and how to get it, and the installation goes on", async (t) => {
  const root = await packageCopy(t);
  const empty = join(root, "bin");
  await mkdir(empty);
  const { status, output } = build(root, empty);
  assert.equal(status, 0);
  assert.equal(output.trimEnd().split("\n").length, 1);
  assert.match(output, /make is missing/);
  assert.match(output, /apt-get install gcc make/);
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

test("a prebuilt library does without a compiler, silently", async (t) => {
  const root = await packageCopy(t);
  const place = join(root, "native-probe/prebuilt", `${process.platform}-${process.arch}`);
  await mkdir(place, { recursive: true });
  await writeFile(join(place, "libnative_probe.so"), "");
  assert.deepEqual(build(root, place), { status: 0, output: "" });
});
