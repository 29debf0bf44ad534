import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { SETTING_NAMES } from "../src/agent/settings/parse-settings.ts";
import { SETTINGS_FILE } from "../src/agent/settings/settings.ts";
import { run } from "./bench/process.ts";
import { NOT_ROOT, vgpuAgentAsNobody } from "./support/as-nobody.ts";

const HOME = join(import.meta.dirname, "..");
const PROGRAM = join(HOME, "bin", "vgpu-agent.js");
const WRONG = `# two mistakes
[observe]
  light_second = 5

[log]
level = "loud"
`;

describe("vgpu-agent config", () => {
  let dir = "";
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "vgpu-config-"));
    await chmod(dir, 0o755);
    await writeFile(join(dir, "agent.toml"), WRONG, { mode: 0o644 });
    await writeFile(join(dir, "sound.toml"), 'workload.unit = "vllm.service"\nhost.enabled = false\n', { mode: 0o644 });
  });
  after(() => rm(dir, { recursive: true, force: true }));

  async function config(...args: readonly string[]) {
    const result = await run(process.execPath, [PROGRAM, "config", ...args], { cwd: dir, timeoutMs: 60_000 });
    assert.equal(result.stderr.includes("a bug in vgpu-agent"), false, result.stderr);
    return result;
  }

  it("check names every mistake by file, line and column, and exits with 3", async () => {
    const { stdout, stderr, exitCode } = await config("check", "agent.toml");
    assert.deepEqual(stdout.split("\n"), [
      "agent.toml:3:3: [observe] light_second: unknown key, did you mean light_seconds?",
      'agent.toml:6:9: [log] level: must be one of "debug", "info", "warn", "error", not "loud"',
      "",
    ]);
    assert.equal(stderr, "");
    assert.equal(exitCode, 3);
  });

  it("check says of a sound file that it holds, and exits with 0", async () => {
    const { stdout, exitCode } = await config("check", "sound.toml");
    assert.equal(
      stdout,
      `sound.toml holds: it sets 2 of ${SETTING_NAMES.length} settings; the others have their defaults.\n`,
    );
    assert.equal(exitCode, 0);
  });

  it("check takes the file that is installed", async () => {
    const { stdout, exitCode } = await config("check", join(HOME, "install", "agent.toml"));
    assert.match(stdout, /agent\.toml holds: it sets 0 of /);
    assert.equal(exitCode, 0);
  });

  it("check of a file that is missing, a directory or a device is a mistake in the file, not a crash", async () => {
    for (const [file, reason] of [
      ["missing.toml", "there is no such file"],
      [dir, "it is a directory"],
      ["/dev/zero", "it is no regular file"],
    ] as const) {
      const { stdout, exitCode } = await config("check", file);
      assert.equal(stdout, `${file}: ${reason}\n`);
      assert.equal(exitCode, 3);
    }
  });

  it("show prints TOML that comes to the same settings, with the origin of each", async () => {
    const { stdout, exitCode } = await config("show", "sound.toml");
    assert.equal(exitCode, 0);
    assert.match(stdout, /^unit = "vllm\.service" +# sound\.toml:1$/m);
    assert.match(stdout, /^enabled = false +# sound\.toml:2$/m);
    assert.match(stdout, /^light_seconds = 5 +# default$/m);
    await writeFile(join(dir, "shown.toml"), stdout, { mode: 0o644 });
    const again = await config("show", "shown.toml", "--json");
    const first = await config("show", "sound.toml", "--json");
    const valuesOf = (text: string) => {
      const { settings } = JSON.parse(text);
      return SETTING_NAMES.map((name) => [name, settings[name].value]);
    };
    assert.deepEqual(valuesOf(again.stdout), valuesOf(first.stdout));
  });

  it("show --json has each setting with its value and origin", async () => {
    const { stdout, exitCode } = await config("show", "sound.toml", "--json");
    const document = JSON.parse(stdout);
    assert.equal(exitCode, 0);
    assert.equal(document.schema, "vgpu-agent/settings/1");
    assert.equal(document.file, "sound.toml");
    assert.deepEqual(Object.keys(document.settings), SETTING_NAMES);
    assert.deepEqual(document.settings["host.enabled"], { value: false, from: "file", line: 2 });
    assert.deepEqual(document.settings["log.level"], { value: "info", from: "default" });
  });

  it("show prints nothing to standard output for a file with mistakes", async () => {
    const { stdout, stderr, exitCode } = await config("show", "agent.toml");
    assert.equal(stdout, "");
    assert.match(stderr, /^agent\.toml:3:3: .*\nagent\.toml:6:9: .*\n$/);
    assert.equal(exitCode, 3);
  });

  it("a command line that cannot be meant exits with 2, and says what can", async () => {
    for (const args of [[], ["chek"], ["check", "a", "b"], ["show", "--yaml"]]) {
      const { stdout, stderr, exitCode } = await config(...args);
      assert.equal(exitCode, 2, args.join(" "));
      assert.equal(stdout, "");
      assert.match(stderr, /^vgpu-agent: /);
    }
  });

  it("has help with examples, which names the installed file", async () => {
    for (const command of ["check", "show"]) {
      const { stdout, exitCode } = await config(command, "--help");
      assert.equal(exitCode, 0);
      assert.match(stdout, /Examples:/);
      assert.ok(stdout.includes(SETTINGS_FILE), stdout);
    }
  });

  it("a file that others may write is refused for root, and taken for who only drafts it", {
    skip: NOT_ROOT,
  }, async () => {
    const file = join(dir, "open.toml");
    await writeFile(file, "");
    await chmod(file, 0o666);
    const asRoot = await config("check", file);
    assert.equal(asRoot.exitCode, 3);
    assert.match(asRoot.stdout, /others than its owner may write it \(mode 0666\).*: chmod go-w /);
    const asNobody = await vgpuAgentAsNobody(["config", "check", file]);
    assert.equal(asNobody.exitCode, 0, asNobody.stdout + asNobody.stderr);
  });
});
