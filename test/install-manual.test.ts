import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { run, runOrThrow } from "./bench/process.ts";
import { ensurePackages } from "./bench/setup.ts";

const HOME = join(import.meta.dirname, "..");
const PAGE = join(HOME, "install/vgpu-agent.8");
const noMan = (await ensurePackages(["man-db"])) ?? false;

/** A line of a help's list of commands: its words up to an argument or the description. */
const LISTED = /^ {2}vgpu-agent ([a-z]+(?: [a-z]+)*)(?= {2,}| [<[]|$)/;
/** Groups of commands, and what a group alone does: `host` serves. */
const GROUPS = ["host", "config"] as const;

async function listedIn(...command: string[]): Promise<string[]> {
  const help = await runOrThrow(process.execPath, [join(HOME, "src/cli.ts"), ...command, "--help"]);
  const [, list = ""] = help.stdout.split(/^Commands:\n/m);
  return (list.split("\n\n")[0] ?? "").split("\n").flatMap((line) => LISTED.exec(line)?.[1] ?? []);
}

/** Names after `.TP` between COMMANDS and the next section. */
function inThePage(): string[] {
  const [, commands = ""] = readFileSync(PAGE, "utf8").split(/^\.SH COMMANDS\n/m);
  const lines = (commands.split(/^\.SH /m)[0] ?? "").split("\n");
  const names = lines.filter((_, index) => lines[index - 1] === ".TP");
  return names.flatMap((line) => {
    const [, rest = ""] = /^\.BR? (.+)$/.exec(line) ?? [];
    return rest.split(/[",]+/).map((name) => name.trim());
  });
}

describe("vgpu-agent(8)", () => {
  it("names every command and every subcommand of the help, and no other", async () => {
    const top = await listedIn();
    const below = (await Promise.all(GROUPS.map((group) => listedIn(group)))).flat();
    const commands = new Set([...top.filter((name) => name !== "config"), ...below]);
    assert.ok(commands.size > 10, [...commands].join());
    const named = inThePage().filter((name) => name !== "");
    assert.deepEqual(named.toSorted(), [...commands].toSorted());
  });

  it("has every file of the package that a person would look at", () => {
    const page = readFileSync(PAGE, "utf8").replaceAll("\\-", "-");
    for (const file of ["/etc/vgpu-agent/agent.toml", "/etc/vgpu-agent/enrolment", "/etc/default/vgpu-agent-host"])
      assert.ok(page.includes(file), file);
  });

  it("renders without a warning", { skip: noMan }, async () => {
    const { exitCode, stdout, stderr } = await run("man", ["--warnings", "-E", "UTF-8", "-l", PAGE], {
      env: { MANWIDTH: "80", LC_ALL: "C.UTF-8" },
    });
    assert.deepEqual([exitCode, stderr], [0, ""]);
    assert.match(stdout, /^NAME\n +vgpu.agent . say where the CUDA calls of this VM ran$/m);
    assert.match(stdout, /sudo vgpu.agent doctor/);
  });
});
