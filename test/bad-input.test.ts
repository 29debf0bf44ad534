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

const COMMANDS = [
  ["doctor"],
  ["calls"],
  ["match", "--mediator-log", "x"],
  ["run"],
  ["enroll"],
  ["host"],
  ["host", "status"],
  ["host", "enroll", "--vm", "1"],
  ["host", "tokens"],
  ["host", "revoke", "1234abcd"],
];
/** Of a command's help. */
const WITH_VALUE = /^ +(--[a-z-]+) [^[\n]*(?:\n {12,}[^[\n]*)*\[(?:string|number|array|choices)/gm;
const FORGOTTEN = /^vgpu-agent: (?:--[a-z-]+: the value is missing|Not enough arguments following: [a-z-]+)\n$/;

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
    ["a unit without a name", ["doctor", "--unit", ""], /--unit "": the value is empty/],
    ["a unit that was forgotten", ["doctor", "--unit", "--short"], /--unit: the value is missing/],
    ["a log that was forgotten", ["doctor", "--json", "--log"], /--log: the value is missing/],
    ["a root that was forgotten", ["calls", "--root"], /--root: the value is missing/],
    ["an option by its other name", ["match", "--mediatorLog="], /--mediatorLog "": the value is empty/],
    ["a path that was given twice", ["run", "--state", "/tmp/a", "--state", "/tmp/b"], /--state was given 2 times/],
    ["two times", ["calls", "--since", "2h", "--since", "1h"], /--since was given 2 times/],
    ["a format that is none", ["doctor", "--format", "pdf"], /Given: "pdf", Choices: "tty"/],
    ["a format twice", ["doctor", "--format", "json", "--format", "tty"], /--format was given 2 times/],
    ["a host, and none", ["doctor", "--host", "https://h:1", "--no-host"], /--host was given 2 times/],
    ["an option that cannot be negated", ["doctor", "--no-root"], /no-root/],
    ["an option as a table", ["doctor", "--log.file", "x"], /log\.file/],
    ["an empty word", ["enroll", ""], /"": the argument is empty/],
    ["a file that is standard input", ["config", "check", "-"], /standard input is not taken/],
    ["a counterpart without an address", ["doctor", "--host", "10.0.0.1:8443"], /--host 10.*https:/],
    ["an address to listen on that is none", ["host", "--listen", "8443"], /--listen 8443: give ADDRESS:PORT/],
    ["an address for metrics that is none", ["host", "--metrics", "9464"], /--metrics 9464: give ADDRESS:PORT/],
    ["a time to keep that is none", ["host", "--keep", "long"], /--keep takes a time/],
    ["a size to keep that is none", ["host", "--keep-size", "4"], /--keep-size takes a size/],
    ["a URL for guests that is none", ["host", "enroll", "--vm", "1", "--url", "http://h:1"], /--url takes https/],
    ["a time to expire that is none", ["host", "enroll", "--vm", "1", "--expires", "0d"], /--expires takes a time/],
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

  for (const command of COMMANDS) {
    it(`${command.join(" ")}: no option stands for its default when its value was forgotten`, async () => {
      const help = await run(process.execPath, [PROGRAM, ...command, "--help"]);
      const options = [...help.stdout.matchAll(WITH_VALUE)].map(([, name]) => name ?? "");
      assert.ok(options.length > 0, help.stdout);
      for (const name of options) {
        const result = await run(process.execPath, [PROGRAM, ...command, name]);
        assert.deepEqual([result.exitCode, result.stdout], [2, ""], `${command.join(" ")} ${name}: ${result.stderr}`);
        assert.match(result.stderr, FORGOTTEN);
        assert.ok(result.stderr.includes(name.replace("--", "")), result.stderr);
      }
    });
  }
});
