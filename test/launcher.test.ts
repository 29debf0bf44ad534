import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { MATCH_FLAGS, SERVICE_ENVIRONMENT, SERVICE_FLAGS } from "../bench/agent-cost/service-flags.ts";
import { run } from "./bench/process.ts";

const BIN = join(import.meta.dirname, "..", "bin");
/** Makes this Node say that it is an older one: what the launcher goes by. */
const PRETEND_18 = `--import=data:text/javascript,Object.defineProperty(process.versions,"node",{value:"18.19.0"})`;

describe("the launcher", () => {
  it("under an old Node hands over to the Node that npm installed", async () => {
    const result = await run(process.execPath, [PRETEND_18, join(BIN, "vgpu-agent.js"), "--version"]);
    assert.equal(result.stderr, "");
    assert.match(result.stdout, /^\d+\.\d+\.\d+\n$/);
    assert.equal(result.exitCode, 0);
  });

  it("under an old Node, with no newer one at hand, says so in one line and exits with 2", async () => {
    const alone = await mkdtemp(join(tmpdir(), "vgpu-launcher-"));
    try {
      await cp(BIN, join(alone, "bin"), { recursive: true });
      const result = await run(process.execPath, [PRETEND_18, join(alone, "bin", "vgpu-agent.js"), "doctor"]);
      assert.equal(result.exitCode, 2);
      assert.equal(result.stdout, "");
      assert.match(result.stderr, /^vgpu-agent needs Node 24 or newer; .*\n$/);
    } finally {
      await rm(alone, { recursive: true, force: true });
    }
  });

  it("passes the program's exit code on", async () => {
    const result = await run(process.execPath, [PRETEND_18, join(BIN, "vgpu-agent.js"), "no-such-command"]);
    assert.equal(result.exitCode, 2);
  });
});

describe("the command that is installed", () => {
  const scratch = async (t: TestContext) => {
    const directory = await mkdtemp(join(tmpdir(), "vgpu-command-"));
    t.after(() => rm(directory, { recursive: true, force: true }));
    return directory;
  };

  it("finds the package through links, as npm makes them, and takes arguments as they are", async (t) => {
    const directory = await scratch(t);
    await symlink(join(BIN, "vgpu-agent"), join(directory, "first"));
    await symlink("first", join(directory, "second"));
    const version = await run(join(directory, "second"), ["--version"]);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
    const odd = await run(join(directory, "second"), ["doctor", "--only", "a  b'$(x)"]);
    assert.match(odd.stderr, /no check named "a {2}b'\$\(x\)"/);
    assert.equal(odd.exitCode, 2);
  });

  it("starts the service with flags and variables that keep its memory small, a match with flags of its own, others with none", async (t) => {
    const directory = await scratch(t);
    await cp(BIN, join(directory, "bin"), { recursive: true });
    await writeFile(
      join(directory, "bin", "vgpu-agent.js"),
      "console.log(JSON.stringify([process.execArgv, process.env]));",
    );
    await mkdir(join(directory, "node_modules/node/bin"), { recursive: true });
    await symlink(process.execPath, join(directory, "node_modules/node/bin/node"));
    const startOf = async (command: string): Promise<[string[], NodeJS.ProcessEnv]> =>
      JSON.parse((await run(join(directory, "bin", "vgpu-agent"), [command, "--help"])).stdout);
    const [flags, env] = await startOf("run");
    assert.deepEqual(flags, SERVICE_FLAGS);
    assert.deepEqual({ ...SERVICE_ENVIRONMENT, ...env }, env);
    assert.deepEqual((await startOf("match"))[0], MATCH_FLAGS);
    const [otherFlags, otherEnv] = await startOf("doctor");
    assert.deepEqual([otherFlags, otherEnv["MALLOC_MMAP_THRESHOLD_"]], [[], undefined]);
  });

  it("with no Node at all says so in one line and exits with 2", async (t) => {
    const directory = await scratch(t);
    await cp(BIN, join(directory, "bin"), { recursive: true });
    const tools = join(directory, "tools");
    await mkdir(tools);
    await symlink("/usr/bin/readlink", join(tools, "readlink"));
    const result = await run(join(directory, "bin", "vgpu-agent"), ["doctor"], { env: { PATH: tools } });
    assert.equal(result.stdout, "");
    assert.match(result.stderr, /^vgpu-agent needs Node 24 or newer, .*\n$/);
    assert.equal(result.exitCode, 2);
  });
});

describe("the doctor's output", () => {
  const program = join(BIN, "vgpu-agent.js");

  it("survives a pipe whose reader leaves early", async () => {
    const result = await run("sh", ["-c", `"$0" "$1" doctor --json | head -c 20`, process.execPath, program]);
    assert.equal(result.stdout.length, 20);
    assert.equal(result.stderr, "");
  });

  it("is whole on a pipe, with no colour and no progress line", async () => {
    const result = await run(process.execPath, [program, "doctor", "--verbose"]);
    assert.match(result.stdout, /checks: .* exit \d/s);
    assert.equal(result.stdout.includes("\u001b"), false);
    assert.equal(result.stderr, "");
  });

  it("is the same judgement in every format", async () => {
    const texts = await Promise.all(
      ["tty", "short", "markdown", "json", "junit"].map((format) =>
        run(process.execPath, [program, "doctor", "--format", format]),
      ),
    );
    assert.equal(new Set(texts.map(({ exitCode }) => exitCode)).size, 1);
    for (const { stdout } of texts) assert.ok(stdout.length > 200);
  });
});
