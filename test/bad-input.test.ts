import assert from "node:assert/strict";
import { appendFile, chmod, mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type Report, reportSchema } from "../src/report/report.ts";
import { run } from "./bench/process.ts";
import { NOT_ROOT, vgpuAgentAsNobody } from "./support/as-nobody.ts";

const PROGRAM = join(import.meta.dirname, "..", "bin", "vgpu-agent.js");
const NO_VERDICT = 1;

/** What nobody's input may do: crash, hang, or make something pass that rests on it. */
async function judge(args: readonly string[]): Promise<{ report: Report; exitCode: number | null; stderr: string }> {
  const result = await run(process.execPath, [PROGRAM, "doctor", "--json", ...args], { timeoutMs: 60_000 });
  assert.equal(result.timedOut, false, "the doctor did not come to an end");
  assert.equal(result.stderr.includes("a bug in vgpu-agent"), false, result.stderr);
  const report = reportSchema.parse(JSON.parse(result.stdout));
  assert.deepEqual(
    report.findings.filter(({ outcome }) => outcome === "crashed"),
    [],
  );
  return { report, exitCode: result.exitCode, stderr: result.stderr };
}

/** Checks that pass, apart from the one on the agent's own process, which reads none of the input. */
function passed(report: Report): string[] {
  return report.findings
    .filter(({ outcome, check }) => outcome === "pass" && check !== "self-integrity")
    .map(({ check }) => check);
}

function detailOf(report: Report, pattern: RegExp): string | undefined {
  return report.sources.map(({ name, detail }) => `${name}: ${detail}`).find((text) => pattern.test(text));
}

describe("bad input", () => {
  let dir = "";
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "vgpu-bad-"));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  it("a root that does not exist: no verdict, and the reason", async () => {
    const { report, exitCode } = await judge(["--root", join(dir, "nowhere")]);
    assert.equal(report.verdict.rung, null);
    assert.equal(exitCode, NO_VERDICT);
    assert.deepEqual(passed(report), []);
    assert.ok(report.verdict.statement.includes("nowhere"), report.verdict.statement);
  });

  it("a root that is a file", async () => {
    const path = join(dir, "file");
    await writeFile(path, "not a directory");
    const { report, exitCode } = await judge(["--root", path]);
    assert.equal(exitCode, NO_VERDICT);
    assert.deepEqual(passed(report), []);
  });

  it("an empty root", async () => {
    const path = join(dir, "empty-root");
    await mkdir(path);
    const { report, exitCode } = await judge(["--root", path]);
    assert.equal(exitCode, NO_VERDICT);
    // Not even that /etc/ld.so.preload is absent: a capture without /etc does not show it.
    assert.deepEqual(passed(report), []);
  });

  it("an empty log", async () => {
    const path = join(dir, "empty.log");
    await writeFile(path, "");
    const { report, exitCode } = await judge(["--log", path]);
    assert.equal(exitCode, NO_VERDICT);
    assert.deepEqual(passed(report), []);
    assert.ok(detailOf(report, /empty/));
  });

  it("a log that does not exist, and a journal that does not exist", async () => {
    for (const option of ["--log", "--journal"]) {
      const { report, exitCode } = await judge([option, join(dir, "missing")]);
      assert.equal(exitCode, NO_VERDICT, option);
      assert.deepEqual(passed(report), [], option);
      assert.ok(detailOf(report, /missing/), option);
    }
  });

  it("a log without one line of the workload", async () => {
    const path = join(dir, "other.log");
    await writeFile(path, "hello\nworld\n");
    const { report } = await judge(["--log", path]);
    assert.notEqual(report.verdict.rung, "connected");
    assert.deepEqual(
      passed(report).filter(
        (check) => check.startsWith("transport") || check === "discovery" || check === "host-errors",
      ),
      [],
    );
  });

  it("a log that is one line of 256 MiB: the cut is said", async () => {
    const path = join(dir, "long.log");
    const piece = Buffer.alloc(1 << 20, "x");
    for (let written = 0; written < 256; written += 1) await appendFile(path, piece);
    const { report, exitCode } = await judge(["--log", path]);
    assert.notEqual(exitCode, 0);
    assert.ok(detailOf(report, /cut/), JSON.stringify(report.sources));
    assert.notEqual(report.activity.coverage, "full");
  });

  it("a log that is a hole of 2 GiB, as a truncated file under its writer is", async () => {
    const path = join(dir, "hole.log");
    await writeFile(path, "");
    await truncate(path, 2 ** 31);
    const { report, exitCode } = await judge(["--log", path]);
    assert.equal(exitCode, NO_VERDICT);
    assert.ok(detailOf(report, /NUL/), JSON.stringify(report.sources));
  });

  it("a file that is no journal under a journal's name", async () => {
    const path = join(dir, "foreign.journal");
    await writeFile(path, Buffer.alloc(4096, 0x5a));
    const { report, exitCode } = await judge(["--journal", path]);
    assert.equal(exitCode, NO_VERDICT);
    assert.deepEqual(passed(report), []);
    assert.ok(detailOf(report, /foreign\.journal/));
  });

  it("a journal whose header is right and whose objects are noise", async () => {
    const path = join(dir, "noise.journal");
    const noise = Buffer.from(Array.from({ length: 65_536 }, (_, index) => (index * 2_654_435_761) >>> 24));
    noise.write("LPKSHHRH", 0, "latin1");
    await writeFile(path, noise);
    const { report, exitCode } = await judge(["--journal", path]);
    assert.equal(exitCode, NO_VERDICT);
    assert.deepEqual(passed(report), []);
  });

  it("a directory of journals that may not be read", { skip: NOT_ROOT }, async () => {
    const path = join(dir, "closed");
    await mkdir(path);
    await writeFile(join(path, "system.journal"), "LPKSHHRH");
    await chmod(path, 0o000);
    await chmod(dir, 0o755);
    const result = await vgpuAgentAsNobody(["doctor", "--json", "--journal", path]);
    const report = reportSchema.parse(JSON.parse(result.stdout));
    assert.equal(result.exitCode, NO_VERDICT);
    assert.ok(detailOf(report, /not permitted|EACCES|denied/i), JSON.stringify(report.sources));
    assert.deepEqual(passed(report), []);
  });

  it("hostile text in a log reaches no terminal", async () => {
    const path = join(dir, "hostile.log");
    const line =
      "[cuda-transport] Cannot open BAR0: /sys/\u001b]0;owned\u0007\u001b[2Jx (Permission\u001b[31m denied)\n";
    await writeFile(path, line);
    const result = await run(process.execPath, [PROGRAM, "doctor", "--log", path, "--verbose"]);
    assert.equal(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(result.stdout), false);
  });
});

describe("a command line that cannot be meant", () => {
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ["no command", [], /doctor/],
    ["an unknown command", ["docter"], /docter/],
    ["an unknown option", ["doctor", "--jsn"], /jsn/],
    ["an unknown check", ["doctor", "--only", "no-such-check"], /no-such-check/],
    ["a time that is none", ["doctor", "--since", "yesterdayish"], /yesterdayish/],
    ["a window that ends before it begins", ["doctor", "--since", "1m", "--until", "2m"], /not before/],
    ["a pid that is none", ["doctor", "--pid", "x"], /pid/],
    ["two formats", ["doctor", "--json", "--short"], /exclusive/],
    ["a unit that is no unit", ["doctor", "--unit", "a; rm -rf /"], /unit/],
    ["a unit without a name", ["doctor", "--unit", ""], /--unit "": not a unit's name/],
    ["a unit that was forgotten", ["doctor", "--unit", "--short"], /following: unit/],
    ["a log that was forgotten", ["doctor", "--json", "--log"], /following: log/],
    ["a root that was forgotten", ["calls", "--root"], /following: root/],
  ];
  for (const [name, args, says] of cases) {
    it(`${name}: exit 2, one line that says what`, async () => {
      const result = await run(process.execPath, [PROGRAM, ...args]);
      assert.equal(result.exitCode, 2, result.stderr);
      assert.match(result.stderr, says);
      assert.equal(result.stdout, "");
      assert.equal(result.stderr.trim().split("\n").length, 1, result.stderr);
    });
  }
});
