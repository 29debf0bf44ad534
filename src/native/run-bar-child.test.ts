import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type TreeEntry, temporaryDirectory, vgpuConfig, vgpuDirectory, writeTree } from "../../test/device-tree.ts";
import {
  BAR0_SIZE,
  PASS_INTERVAL_MS,
  PROTOCOL_VERSION,
  type RegisterName,
  registerOffset,
} from "../protocol/registers.ts";
import { parseChildLine } from "./bar-answer.ts";
import { nativeProbePath } from "./native-probe.ts";
import { type BarRun, runBarChild } from "./run-bar-child.ts";

const SOURCE = fileURLToPath(new URL("../../native-probe", import.meta.url));
const RUNNER = new URL("./run-bar-child.ts", import.meta.url).href;
const PCI_DEVICES = "/sys/bus/pci/devices";
/** From the moment that the child says it touches the device. */
const SHORT_LIMIT_MS = 300;
const FOREVER = "setInterval(() => {}, 60_000);";
const TOUCH = 'process.stderr.write("opening\\n");';

const built = nativeProbePath() !== null && spawnSync("make", ["--version"]).error === undefined;
const skip = built ? false : "native-probe cannot be built here: apt-get install gcc make, npm rebuild";

/**
 * The library of native-probe's own tests, where ordinary files stand in for a device. Built in a directory of this
 * file's own: tests of other files may be building too.
 */
const build = mkdtempSync(join(tmpdir(), "vgpu-agent-build-"));
after(() => rmSync(build, { recursive: true, force: true }));
const plainFilesLibrary = join(build, "test/libnative_probe_plain_files.so");
before(() => {
  if (built) execFileSync("make", ["-s", "-C", SOURCE, `BUILD=${build}`, "test-library"]);
});

/** Content of a resource0 with these registers. */
function bar0(values: readonly (readonly [RegisterName, number])[], fill = 0): Uint8Array {
  const bytes = Buffer.alloc(BAR0_SIZE, fill);
  for (const [name, value] of values) bytes.writeUInt32LE(value, registerOffset(name));
  return bytes;
}

async function runOnFiles(
  t: TestContext,
  changes: Readonly<Record<string, TreeEntry>>,
  withStatus = true,
): Promise<BarRun> {
  const root = await temporaryDirectory(t);
  await writeTree(root, vgpuDirectory("device", changes));
  return await runBarChild({ deviceDirectory: `${root}/device`, library: plainFilesLibrary, withStatus });
}

/** A program in place of bar-child. */
async function program(t: TestContext, source: string): Promise<string> {
  const path = join(await temporaryDirectory(t), "child.mjs");
  await writeFile(path, source);
  return path;
}

async function runProgram(t: TestContext, source: string): Promise<BarRun> {
  const path = await program(t, source);
  return await runBarChild({ deviceDirectory: "/nowhere", program: path, deviceLimitMs: SHORT_LIMIT_MS });
}

test("registers are read in two passes apart, STATUS once at the end", { skip }, async (t) => {
  const resource0 = bar0([
    ["PROTOCOL_VER", PROTOCOL_VERSION],
    ["VM_ID", 11],
    ["STATUS", 2],
    ["CUDA_SEQ", 0x26],
    ["TIMESTAMP_LO", 0x0350ea81],
    ["TIMESTAMP_HI", 1],
  ]);
  const run = await runOnFiles(t, { resource0 });
  assert.equal(run.outcome, "read");
  if (run.outcome !== "read") return;
  assert.equal(run.status, 2);
  assert.equal(run.passes.length, 2);
  const [first, second] = run.passes;
  assert.ok(first && second && second.atMs - first.atMs >= PASS_INTERVAL_MS);
  for (const pass of run.passes) {
    assert.equal(pass.registers["VM_ID"], 11);
    assert.equal(pass.registers["CUDA_SEQ"], 0x26);
    assert.equal(pass.timestampUs, 2 ** 32 + 0x0350ea81);
    assert.ok(!("STATUS" in pass.registers), "STATUS costs the host a line: it is not part of a pass");
  }
});

test("STATUS is left out where it is not wanted, and the rest is read", { skip }, async (t) => {
  const resource0 = bar0([
    ["PROTOCOL_VER", PROTOCOL_VERSION],
    ["STATUS", 2],
  ]);
  const run = await runOnFiles(t, { resource0 }, false);
  assert.ok(run.outcome === "read");
  assert.equal(run.status, null);
  assert.equal(run.passes.length, 2);
});

test("registers of all ones are no device that answers", { skip }, async (t) => {
  assert.deepEqual(await runOnFiles(t, { resource0: bar0([], 0xff) }), { outcome: "all-ones" });
});

test("a device that is not ours is refused with the reason", { skip }, async (t) => {
  const refusal = async (changes: Readonly<Record<string, TreeEntry>>) => {
    const run = await runOnFiles(t, changes);
    assert.equal(run.outcome, "refused");
    return run.outcome === "refused" ? run : assert.fail();
  };
  assert.equal((await refusal({ driver: { link: "../../drivers/nvidia" } })).code, "driver-bound");
  assert.equal((await refusal({ resource0: { size: 16 * 1024 * 1024 } })).code, "wrong-bar-size");
  assert.equal((await refusal({ config: vgpuConfig(0) })).code, "memory-decode-off");
  const unknown = await refusal({ resource0: bar0([["PROTOCOL_VER", 2]]) });
  assert.equal(unknown.code, "unknown-protocol");
  assert.match(unknown.reason, /0x00000002/);
});

const skipReal = skip || (!existsSync(PCI_DEVICES) && `no ${PCI_DEVICES}`);
test("a device of this machine that is not NVIDIA's is refused", { skip: skipReal }, async () => {
  const others = readdirSync(PCI_DEVICES).filter((bdf) => {
    return readFileSync(`${PCI_DEVICES}/${bdf}/vendor`, "utf8") !== "0x10de\n";
  });
  const [bdf] = others;
  if (bdf === undefined) return;
  const run = await runBarChild({ deviceDirectory: `${PCI_DEVICES}/${bdf}` });
  assert.equal(run.outcome === "refused" && run.code, "wrong-ids");
});

test("a device that is gone fails at open with its errno and what it means", { skip }, async () => {
  const run = await runBarChild({ deviceDirectory: `${PCI_DEVICES}/ffff:ff:1f.7` });
  assert.deepEqual(run, {
    outcome: "failed",
    step: "open",
    errno: "ENOENT",
    meaning: "the device has gone, or has no memory BAR",
  });
});

test("a library that is not there or is another one is unavailable, not a device that is broken", async () => {
  const missing = await runBarChild({ deviceDirectory: "/sys", library: "/nowhere/libnative_probe.so" });
  assert.equal(missing.outcome, "unavailable");
  const other = await runBarChild({ deviceDirectory: "/sys", library: "/proc/self/exe" });
  assert.equal(other.outcome, "unavailable");
});

test("a crash of the child is a result with its signal", async (t) => {
  for (const signal of ["SIGSEGV", "SIGBUS"]) {
    const run = await runProgram(t, `process.kill(process.pid, "${signal}"); ${FOREVER}`);
    assert.deepEqual(run, { outcome: "crashed", signal });
  }
});

test("a child that hangs is ended at the limit", { timeout: 20_000 }, async (t) => {
  const pidFile = join(await temporaryDirectory(t), "pid");
  const source = `import { writeFileSync } from "node:fs";
    writeFileSync(${JSON.stringify(pidFile)}, String(process.pid));
    ${TOUCH}
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`;
  const run = await runProgram(t, source);
  assert.ok(run.outcome === "stalled" && run.afterMs >= SHORT_LIMIT_MS - 1);
  const pid = readFileSync(pidFile, "utf8");
  while (existsSync(`/proc/${pid}`)) await new Promise((turn) => setImmediate(turn));
});

test("a child that never comes to touch the device is no stall of the device", async (t) => {
  const path = await program(t, FOREVER);
  const run = await runBarChild({ deviceDirectory: "/nowhere", program: path, startLimitMs: SHORT_LIMIT_MS });
  assert.equal(run.outcome, "not-started");
});

test("a child that cannot be ended is given up, and keeps nothing waiting", async (t) => {
  const child = await program(t, `${TOUCH} ${FOREVER}`);
  const parent = await program(
    t,
    `const { runBarChild } = await import(${JSON.stringify(RUNNER)});
     let pid;
     const kill = (child) => { pid = child.pid; };
     const run = await runBarChild({ deviceDirectory: "/", program: ${JSON.stringify(child)}, deviceLimitMs: 300, kill });
     console.log(JSON.stringify({ run, pid }));`,
  );
  const started = spawn(process.execPath, [parent], { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  started.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  // It ends on its own although its child lives: that is the point.
  const [code] = await once(started, "close");
  const { run, pid } = JSON.parse(out);
  try {
    assert.equal(code, 0);
    assert.equal(run.outcome, "stalled");
    assert.ok(existsSync(`/proc/${pid}`), "the child was still there");
  } finally {
    process.kill(pid, "SIGKILL");
  }
});

test("a process that holds the child's output open does not delay the answer beyond the limit", async (t) => {
  const source = `import { spawn } from "node:child_process";
    const sleeper = spawn(process.execPath, ["-e", "setTimeout(() => {}, 5000)"], { stdio: "inherit", detached: true });
    sleeper.unref();
    ${TOUCH}
    process.kill(process.pid, "SIGSEGV");
    ${FOREVER}`;
  assert.deepEqual(await runProgram(t, source), { outcome: "crashed", signal: "SIGSEGV" });
});

test("an answer that waits in the pipe while this process is busy is no stall", async (t) => {
  const line = '{"schema":"vgpu-agent/bar-child/1","result":{"outcome":"all-ones"}}';
  const path = await program(t, `${TOUCH} console.log(${JSON.stringify(line)}); ${FOREVER}`);
  const run = runBarChild({ deviceDirectory: "/", program: path, startLimitMs: 1, deviceLimitMs: 1 });
  execFileSync(process.execPath, ["-e", "setTimeout(() => {}, 500)"]); // blocks this process, not the child
  assert.deepEqual(await run, { outcome: "all-ones" });
});

test("what is not the child's schema is invalid", async (t) => {
  for (const line of ["{}", "not json", '{"schema":"vgpu-agent/bar-child/1","result":{"outcome":"read"}}']) {
    assert.equal((await runProgram(t, `console.log(${JSON.stringify(line)}); ${FOREVER}`)).outcome, "invalid");
  }
  assert.equal(
    parseChildLine('{"schema":"vgpu-agent/bar-child/1","result":{"outcome":"all-ones"}}').outcome,
    "all-ones",
  );
});

test("output without end is cut off", async (t) => {
  const run = await runProgram(t, `process.stdout.write("x".repeat(1 << 20)); ${FOREVER}`);
  assert.deepEqual(run, { outcome: "invalid", detail: "the register probe printed too much" });
});

test("an end without an answer says what the child said", async (t) => {
  const run = await runProgram(t, `console.error("no room"); process.exitCode = 7;`);
  assert.ok(run.outcome === "invalid" && /code 7 and no answer: no room/.test(run.detail));
});

test("nothing of this process's environment reaches the child", async (t) => {
  const before = process.env["NODE_OPTIONS"];
  // Inherited, it would stop the child from starting.
  process.env["NODE_OPTIONS"] = "--no-such-option-exists";
  t.after(() => {
    if (before === undefined) delete process.env["NODE_OPTIONS"];
    else process.env["NODE_OPTIONS"] = before;
  });
  const source = `const count = Object.keys(process.env).length;
    console.log(JSON.stringify({ schema: "vgpu-agent/bar-child/1", result: { outcome: "unavailable", reason: String(count) } }));`;
  assert.deepEqual(await runProgram(t, source), { outcome: "unavailable", reason: "0" });
});

test("an aborted run ends at once", async (t) => {
  const controller = new AbortController();
  const options = { deviceDirectory: "/", program: await program(t, FOREVER), signal: controller.signal };
  const run = runBarChild(options);
  controller.abort();
  assert.deepEqual(await run, { outcome: "aborted" });
  assert.deepEqual(await runBarChild(options), { outcome: "aborted" });
});
