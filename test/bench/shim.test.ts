import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CAPTURES, skipWithoutCaptures } from "../fixtures/captures.ts";
import { buildStandIns } from "./build.ts";
import { type Container, startContainer } from "./container.ts";
import { runOrThrow } from "./process.ts";
import { ensureContainer } from "./setup.ts";

const skip = (await ensureContainer()) ?? false;
const SAMPLES = CAPTURES;
const RUNNER = "timeout 2 /usr/local/bin/ollama runner --model x --port 1";

let box: Container | undefined;
before(async () => {
  if (skip === false) box = await startContainer({ devices: [{}] });
});
after(async () => box?.[Symbol.asyncDispose]());

/** stderr of a runner with the stand-in shim, and the state files it left. */
async function runShim(env: Readonly<Record<string, string>>, command = RUNNER) {
  assert.ok(box);
  await box.exec("rm -f /tmp/vgpu* /tmp/ollama_errors*");
  const run = await box.exec(command, { env: { LD_LIBRARY_PATH: "/opt/vgpu/lib", ...env } });
  const state = await box.exec("cd /tmp; for f in vgpu*; do echo $f: $(cat $f); done");
  return {
    lines: run.stderr.split("\n").filter((line) => /\[(cuda-transport|libvgpu-cuda)\]/.test(line)),
    state: state.stdout,
  };
}

/** A line without its values: what its format string is, as far as one can tell from outside. */
function shape(line: string): string {
  return line
    .replace(/^.*?(?=\[(?:cuda-transport|libvgpu-cuda)\])/, "")
    .replace(/bytes=\[[^\]]*\]/, "bytes=[]")
    .replace(/\(nil\)|0x[0-9a-f]+/g, "P")
    .replace(/\d+/g, "N")
    .replace(/\bN(?:[:.]N)+/g, "N");
}

async function realShapes(): Promise<Set<string>> {
  const shapes = new Set<string>();
  for (const name of await readdir(SAMPLES, { recursive: true })) {
    if (!name.endsWith("stderr.log") && !name.endsWith("journal.export")) continue;
    const text = await readFile(join(SAMPLES, name), "utf8");
    for (const line of text.split("\n").filter((candidate) => /\[(cuda-transport|libvgpu-cuda)\]/.test(candidate)))
      shapes.add(shape(line));
  }
  return shapes;
}

const SITUATIONS: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ["a call that works", { VGPU_STANDIN_ANSWER: "ok", VGPU_DISABLE_SHMEM: "1" }],
  ["a call that works, debug on", { VGPU_STANDIN_ANSWER: "ok", VGPU_DISABLE_SHMEM: "1", VGPU_DEBUG: "0" }],
  ["an absent mediator", { VGPU_STANDIN_ANSWER: "unavail", VGPU_DISABLE_SHMEM: "1" }],
  ["a full GPU", { VGPU_STANDIN_ANSWER: "oom", VGPU_DISABLE_SHMEM: "1" }],
  ["no device", { VGPU_STANDIN_SYSFS: "/var/empty-devices" }],
];
/** Formats that no capture holds; they are known from their source alone (docs/wire.md, "Lines of the transport"). */
const NOT_CAPTURED = new Set([
  "[cuda-transport] STATUS_ERROR: call=?(call_id)(P) seq=N err=P(MEDIATOR_UNAVAIL) vm_id=N",
]);

for (const [name, env] of SITUATIONS) {
  test(`the stand-in's lines have the real shim's formats: ${name}`, {
    skip: skip || skipWithoutCaptures,
  }, async () => {
    await box?.exec("mkdir -p /var/empty-devices");
    const known = await realShapes();
    const { lines } = await runShim(env);
    const strangers = lines.map(shape).filter((each) => !known.has(each) && !NOT_CAPTURED.has(each));
    assert.deepEqual(strangers, []);
    assert.ok(lines.length > 5);
  });
}

test("per-call lines appear with VGPU_DEBUG set to anything, and not without", { skip }, async () => {
  const quiet = await runShim({ VGPU_STANDIN_ANSWER: "ok" });
  const loud = await runShim({ VGPU_STANDIN_ANSWER: "ok", VGPU_DEBUG: "" });
  const count = (lines: readonly string[]): number => lines.filter((line) => line.includes("RINGING DOORBELL")).length;
  assert.equal(count(quiet.lines), 0);
  assert.equal(count(loud.lines), 7); // init, GPU info, alloc, HtoD, launch, DtoH, and the clean-up at exit.
});

test("state files say how far the process came and what failed last", { skip }, async () => {
  const good = await runShim({ VGPU_STANDIN_ANSWER: "ok" });
  assert.match(good.state, /^vgpu_checkpoint: VGPU_CHECKPOINT\|\d+\|FIRST_CALL$/m);
  assert.match(
    good.state,
    /^vgpu-shim-cuda-\d+\.log: \[libvgpu-cuda\] cuInit\(\) OK: bdf=0000:00:05\.0 CC=9\.0 VRAM=81920 MB$/m,
  );
  assert.doesNotMatch(good.state, /vgpu_last_error/);
  const full = await runShim({ VGPU_STANDIN_ANSWER: "oom" });
  assert.match(
    full.state,
    /^vgpu_last_error: VGPU_ERR\|\d+\|CUDA_CALL_FAILED\|0x0030\|0x00000002\|host_cuda_status=0x2 seq=3$/m,
  );
  const away = await runShim({ VGPU_STANDIN_ANSWER: "unavail" });
  assert.match(
    away.state,
    /^vgpu_last_error: VGPU_ERR\|\d+\|MEDIATOR_UNAVAIL\|0x00fe\|0x00000003\|seq=4 vm_id=0 MEDIATOR_UNAVAIL$/m,
  );
});

test("a device that never answers leaves a timeout line that names the shim's floor", { skip }, async () => {
  const { lines } = await runShim({ VGPU_STANDIN_ANSWER: "timeout", VGPU_STANDIN_TIMEOUT_MS: "20" });
  assert.ok(lines.includes("[cuda-transport] Timeout on call 0x0001 (seq=1) after 120s"));
});

test("a resource0 that the user may not open is named with its reason", { skip }, async () => {
  const asUser = `setpriv --reuid ollama --regid ollama --clear-groups ${RUNNER}`;
  const { lines } = await runShim({}, asUser);
  const path = "/sys/bus/pci/devices/0000:00:05.0/resource0";
  assert.ok(lines.includes(`[cuda-transport] Cannot open BAR0: ${path} (Permission denied)`));
});

test("the stand-in is told apart by its dynamic symbols, and its entry is endbr64 then jmp", { skip }, async () => {
  const { shim } = await buildStandIns();
  const symbols = (await runOrThrow("nm", ["-D", "--defined-only", shim])).stdout;
  for (const name of ["cuda_transport_call", "cuInit", "libvgpu_cuda_resolve_mapped_ptr"])
    assert.match(symbols, new RegExp(`T ${name}$`, "m"));
  const code = (await runOrThrow("objdump", ["-d", "--disassemble=cuda_transport_call", shim])).stdout;
  assert.match(code, /endbr64\s*\n.*jmp .*<cuda_transport_call_impl>/);
  assert.match((await runOrThrow("readelf", ["-d", shim])).stdout, /SONAME.*\[libcuda\.so\.1\]/);
});
