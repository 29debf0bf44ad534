import assert from "node:assert/strict";
import { appendFile, cp, mkdtemp, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import vm from "node:vm";
import { run } from "./bench/process.ts";
import { makeTree } from "./bench/tree.ts";
import { mediatorScenario } from "./fixtures/mediator-scenario.ts";
import { NO_COMPILER } from "./support/real-process.ts";

const HOME = join(import.meta.dirname, "..");
const CLI = join(HOME, "src", "cli.ts");

/** A checkout of its own: what is built in it and changed in it disturbs nobody. */
async function checkout(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), "vgpu-checkout-"));
  for (const part of ["bin", "scripts", "src", "package.json"]) {
    await cp(join(HOME, part), join(home, part), { recursive: true });
  }
  for (const part of ["node_modules", "native-probe"]) await symlink(join(HOME, part), join(home, part));
  return home;
}

async function build(home: string): Promise<void> {
  const built = await run(process.execPath, [join(home, "scripts", "build.mjs")]);
  assert.equal(built.stderr, "");
  assert.equal(built.exitCode, 0);
}

describe("the built program", () => {
  let home = "";
  before(async () => {
    home = await checkout();
    await build(home);
  });
  after(() => rm(home, { recursive: true, force: true }));

  const both = async (args: readonly string[]) => {
    const env = { LANG: "de_DE.UTF-8", LC_ALL: "de_DE.UTF-8" };
    const answers = await Promise.all(
      [CLI, join(home, "dist", "cli.js")].map((program) => run(process.execPath, [program, ...args], { env })),
    );
    return answers.map(({ exitCode, stdout, stderr }) => ({ exitCode, stdout, stderr }));
  };

  for (const line of [
    "--help",
    "--version",
    "doctor --help",
    "calls --help",
    "doctor --list",
    "",
    "no-such-command",
    "doctor --no-such-option",
    "doctor --only no-such-check",
    "doctor --since yesterday",
    "doctor --json --short",
    "calls --log /does/not/exist",
    "match --help",
    "match --mediator-log",
    "match --mediator-log /does/not/exist",
    "match --mediator-log /does/not/exist --vm 11 --json",
    "match --mediator-log /does/not/exist --vm eleven",
    "match --mediator-log /does/not/exist --vm 11 --no-such-option",
    "match --mediator-log /dev/null --vm 11",
  ]) {
    it(`answers "vgpu-agent ${line}" as the sources do`, async () => {
      const [sources, built] = await both(line.split(" ").filter((word) => word !== ""));
      assert.deepEqual(built, sources);
      assert.notEqual(`${built?.stdout}${built?.stderr}`, "");
    });
  }

  it("judges a captured tree as the sources do", { skip: NO_COMPILER }, async () => {
    const root = await makeTree({});
    try {
      const [sources, built] = await both(["doctor", "--json", "--root", root]);
      assert.deepEqual(built?.exitCode, sources?.exitCode);
      assert.deepEqual(timeless(built?.stdout ?? ""), timeless(sources?.stdout ?? ""));
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });

  it("matches a mediator's log as the sources do, with its own words or with yargs'", async () => {
    const log = join(home, "mediator.log");
    await writeFile(log, mediatorScenario({ seed: 5, operations: 60, trouble: true }).bytes);
    for (const words of [[], ["--vm", "11"], ["--vm", "8", "--json"], ["--vm", "99"], ["--json", "--unit", "other"]]) {
      const [sources, built] = await both(["match", "--mediator-log", log, ...words]);
      assert.deepEqual(built, sources);
      assert.notEqual(`${built?.stdout}${built?.stderr}`, "");
    }
  });

  it("keeps what V8 compiled of a match, and does without it", async () => {
    const [source, cache] = [join(home, "dist", "start-match.js"), join(home, "dist", "start-match.cache")];
    const kept = await readFile(cache);
    const script = new vm.Script(await readFile(source, "utf8"), { cachedData: kept });
    assert.equal(script.cachedDataRejected, false);
    const log = join(home, "mediator.log");
    await writeFile(log, mediatorScenario({ seed: 6, operations: 60, trouble: true }).bytes);
    const match = async () => (await both(["match", "--mediator-log", log])).map(({ stdout }) => stdout);
    const [sources, built] = await match();
    assert.equal(built, sources);
    for (const broken of [
      kept.subarray(0, 1000),
      kept.map((byte, at) => (at < 64 ? byte ^ 1 : byte)),
      Buffer.alloc(0),
    ]) {
      await writeFile(cache, broken);
      assert.deepEqual(await match(), [sources, sources]);
    }
    await rm(cache);
    assert.deepEqual(await match(), [sources, sources]);
    await writeFile(cache, kept);
  });

  it("starts the program that reads registers", async () => {
    const { stderr, exitCode } = await run(process.execPath, [join(home, "dist", "bar-child.js")]);
    assert.match(stderr, /^usage: bar-child/);
    assert.equal(exitCode, 2);
  });
});

describe("a checkout", () => {
  const BUILT = "this is what was built\n";
  const launch = async (home: string) => {
    const result = await run(process.execPath, [join(home, "bin", "vgpu-agent.js"), "--version"]);
    assert.equal(result.stderr, "");
    return result.stdout;
  };
  /** A checkout whose build says that it is one: no other file knows. */
  const marked = async (t: { after(fn: () => Promise<void>): void }) => {
    const home = await checkout();
    t.after(() => rm(home, { recursive: true, force: true }));
    await build(home);
    await writeFile(join(home, "dist", "cli.js"), `console.log(${JSON.stringify(BUILT.trim())});`);
    assert.equal(await launch(home), BUILT);
    return home;
  };

  it("never runs a build whose sources have changed", async (t) => {
    const home = await marked(t);
    await appendFile(join(home, "src", "checks", "view.ts"), "\n");
    assert.notEqual(await launch(home), BUILT);
    await build(home);
    assert.match(await launch(home), /^\d+\.\d+\.\d+\n$/);
  });

  it("is not deceived by a source of the same size with its old date", async (t) => {
    const home = await marked(t);
    const source = join(home, "src", "checks", "view.ts");
    const old = await stat(source);
    await writeFile(source, await readFile(source));
    await utimes(source, old.atime, old.mtime);
    assert.notEqual(await launch(home), BUILT);
  });

  it("runs its sources when a source is gone, or the list of them is damaged or missing", async (t) => {
    const home = await marked(t);
    const list = join(home, "dist", "inputs.json");
    const whole = await readFile(list);
    for (const damage of ["", "[]", "null", '{"a":1}', "[[]]", whole.subarray(0, 100)]) {
      await writeFile(list, damage);
      assert.notEqual(await launch(home), BUILT, `inputs.json: ${damage}`);
    }
    await rm(list);
    assert.notEqual(await launch(home), BUILT);
    await writeFile(list, whole);
    assert.equal(await launch(home), BUILT);
    await rm(join(home, "package.json"));
    await cp(join(HOME, "package.json"), join(home, "package.json"));
    assert.notEqual(await launch(home), BUILT);
  });

  it("without sources, as published, runs what was built", async (t) => {
    const home = await marked(t);
    await rm(join(home, "src"), { recursive: true });
    assert.equal(await launch(home), BUILT);
  });

  it("is installed without a build where that cannot be made, and says so", async (t) => {
    const home = await checkout();
    t.after(() => rm(home, { recursive: true, force: true }));
    await rm(join(home, "node_modules"));
    const args = [join(home, "scripts", "build.mjs")];
    const asked = await run(process.execPath, args);
    assert.notEqual(asked.exitCode, 0);
    const installed = await run(process.execPath, [...args, "--if-possible"]);
    assert.equal(installed.exitCode, 0);
    assert.match(installed.stderr, /^dist\/ was not built: esbuild is not installed\. .*\n$/);
  });
});

/** A report without what differs from run to run. */
function timeless(report: string): unknown {
  return JSON.parse(report, (key, value: unknown) =>
    ["run_id", "started_at", "duration_ms"].includes(key) ? null : value,
  );
}
