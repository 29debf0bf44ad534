import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { cached, contentKey } from "./cache.ts";
import { run } from "./process.ts";
import { machineMirror, parseDeb822, parseOneLine } from "./setup.ts";

const scratch = await mkdtemp(join(tmpdir(), "vgpu-bench-setup-"));
after(() => rm(scratch, { recursive: true, force: true }));

async function machine(name: string, files: Readonly<Record<string, string>>): Promise<string> {
  const root = join(scratch, name);
  for (const [path, text] of Object.entries({ "etc/os-release": 'VERSION_CODENAME="trixie"\n', ...files })) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  return root;
}

test("the mirror of the machine's own release is found in one-line sources, not the security one", async () => {
  const root = await machine("one-line", {
    "etc/apt/sources.list": [
      "# deb http://old.example/debian trixie main",
      "deb http://security.example/debian-security trixie-security main",
      "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian trixie main contrib",
    ].join("\n"),
  });
  assert.deepEqual(await machineMirror(root), { url: "http://mirror.example/debian", suite: "trixie" });
});

test("the mirror is found in deb822 sources, past other vendors and disabled stanzas", async () => {
  const root = await machine("deb822", {
    "etc/apt/sources.list.d/a-vendor.sources":
      "Types: deb\nURIs: https://vendor.example/apt\nSuites: stable\nComponents: main\n",
    "etc/apt/sources.list.d/debian.sources": [
      "Types: deb\n# a comment\nURIs: http://off.example/debian\nEnabled: no\nSuites: trixie\nComponents: main\n",
      "Types: deb deb-src\nURIs: https://mirror.example/debian\nSuites: trixie\n trixie-updates\nComponents: main\n",
    ].join("\n"),
  });
  assert.deepEqual(await machineMirror(root), { url: "https://mirror.example/debian", suite: "trixie" });
});

test("a machine without a usable mirror gets an error that says so", async () => {
  const root = await machine("offline", { "etc/apt/sources.list": "deb cdrom:[disc]/ trixie main\n" });
  await assert.rejects(machineMirror(root), /no http mirror of trixie/);
});

test("foreign text in apt sources yields no source", () => {
  assert.deepEqual(parseOneLine("\0\0 deb\ndeb\n\ndebian rules"), []);
  assert.deepEqual(parseDeb822("Types\n\n: :\n"), []);
});

test("a cache entry is built once, is whole when it is seen, and replaces the older one", async () => {
  const name = `selftest${process.pid}`;
  let builds = 0;
  const build = async (dir: string): Promise<void> => {
    builds += 1;
    await writeFile(join(dir, "content"), "whole");
  };
  const first = await cached(name, contentKey("1"), build);
  after(() => rm(first, { recursive: true, force: true }));
  await cached(name, contentKey("1"), build);
  assert.equal(builds, 1);
  const racers = await Promise.all([cached(name, contentKey("2"), build), cached(name, contentKey("2"), build)]);
  after(() => rm(racers[0], { recursive: true, force: true }));
  assert.equal(racers[0], racers[1]);
  assert.equal(await readFile(join(racers[0], "content"), "utf8"), "whole");
  assert.equal(existsSync(first), false);
});

test("a build that fails leaves nothing in the cache", async () => {
  const name = `selftestfail${process.pid}`;
  const broken = cached(name, contentKey("1"), async (dir) => {
    await writeFile(join(dir, "half"), "");
    throw new Error("no network");
  });
  await assert.rejects(broken, /no network/);
  const entries = await readdir(join(import.meta.dirname, "../.cache"));
  assert.deepEqual(
    entries.filter((entry) => entry.includes(name)),
    [],
  );
});

test("a program is killed at its time limit and tells so", async () => {
  const result = await run("sleep", ["60"], { timeoutMs: 30 });
  assert.equal(result.timedOut, true);
  assert.equal(result.signal, "SIGKILL");
});
