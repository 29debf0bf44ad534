/**
 * Measures `vgpu-agent match --mediator-log LOG` against `grep -cE 'cuLaunchKernel|cuMemcpy|cuMemAlloc' LOG`: whole
 * processes as a user starts them, in turn (A B C A B C), in one run on the same files. Two logs, because they are
 * different work: one of a model that is loaded (copies in chunks, most bytes are payload), one of a model that answers
 * (launches, most lines say something). Beside them, in this process and warm: the parser alone, and parsing and folding
 * without log-scan. What came out is compared with what was written.
 *
 * `npm run build` first. Usage: `mediator-log.ts [MEBIBYTES [RUNS [DIRECTORY]]]`; logs in the directory are kept and used
 * again.
 */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { readHostLog } from "../src/host/match/host-log.ts";
import { readMediatorLog } from "../src/host/mediator-log/read.ts";
import { logScanPath } from "../src/native/log-scan.ts";
import { MediatorLog, randomNumbers } from "../test/fixtures/mediator-log.ts";
import { type Device, GuestProcess } from "../test/fixtures/mediator-vm.ts";
import { MATCH_FLAGS } from "./agent-cost/service-flags.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CLI = join(ROOT, "dist/cli.js");
/** As the launchers start it, with process.execPath. */
const PROGRAM = [...MATCH_FLAGS, CLI];
const VM = 11;
const PATTERN = "cuLaunchKernel|cuMemcpy|cuMemAlloc";
const KERNELS = [
  "_ZL13mul_mat_vec_qIL9ggml_type12ELi1ELb0ELb0EEvPKvS2_PKi31ggml_cuda_mm_fusion_args_devicePfj15uint3",
  "k_set_rows",
  "_ZL12rms_norm_f32ILi1024ELb1ELb0EEvPKfPfilllfS1_lll5uint3S3_S3_S3_",
  "_ZL8rope_neoxILb1ELb0EfEvPKfPfiiiiiPKiff13rope_corr_dims",
];
const FLUSH_BYTES = 4 << 20;
const LOGITS_BYTES = 128 * 1024 * 4;

const [mebibytes = 500, runs = 9] = process.argv.slice(2, 4).map(Number);
const given = process.argv[4];
const directory = given ?? mkdtempSync(join(tmpdir(), "vgpu-agent-bench-"));
mkdirSync(directory, { recursive: true });

type Work = "load" | "answer";

/** What is counted on both sides: calls of all VMs, bytes that came in, and what one VM did. */
interface Truth {
  calls: number;
  bytesIn: number;
  readonly vm: { calls: number; bytesIn: number; launches: number; copiesOut: number };
}

function write(path: string, work: Work): Truth {
  const file = openSync(path, "w");
  let parts: string[] = [];
  let pending = 0;
  const truth: Truth = { calls: 0, bytesIn: 0, vm: { calls: 0, bytesIn: 0, launches: 0, copiesOut: 0 } };
  const flush = (): void => {
    writeSync(file, Buffer.from(parts.join(""), "latin1"));
    parts = [];
    pending = 0;
  };
  const log = new MediatorLog(
    (text) => {
      parts.push(text);
      pending += text.length;
      if (pending > FLUSH_BYTES) flush();
    },
    {
      onOperation: ({ kind, vmId, answered, bytes }) => {
        const bytesIn = kind === "copy-in" || kind === "copy-in-async" ? bytes : 0;
        truth.calls += answered;
        truth.bytesIn += bytesIn;
        if (vmId !== VM) return;
        truth.vm.calls += answered;
        truth.vm.bytesIn += bytesIn;
        if (kind === "launch" || kind === "gemm") truth.vm.launches += answered;
        if (kind === "copy-out") truth.vm.copiesOut += answered;
      },
    },
  );
  const random = randomNumbers(1);
  const devices: Device[] = Array.from({ length: 8 }, (_, index) => ({
    vmId: 8 + index,
    domId: 2 + index,
    fd: 47 + index,
    requestId: 1000 * index,
  }));
  log.start(devices.map(({ vmId }) => vmId));
  const processes = devices.map((device, index) => {
    const process = new GuestProcess(log, device, 48000 + index);
    log.connection(device.domId, device.fd);
    process.init();
    log.kept(device.fd);
    process.module(30_000);
    for (const name of KERNELS) process.function(name);
    return process;
  });
  while (log.offset < mebibytes << 20) {
    const process = processes[random() % processes.length];
    if (process === undefined) continue;
    if (work === "load") {
      const bytes = 4096 * (1 + (random() % 16384));
      const ptr = process.alloc(bytes) ?? 0;
      process.copyIn(ptr, bytes);
      process.launch(KERNELS[0] ?? "");
      process.free(ptr, bytes);
    } else {
      for (let count = 0; count < 50; count += 1) {
        process.launch(KERNELS[random() % KERNELS.length] ?? "");
        if (count % 5 === 0) process.gemm();
        if (count % 10 === 0) process.synchronize();
      }
      process.copyInAsync(0x7f0dba800000, 4096);
      process.copyOut(0x7f0dba800000, LOGITS_BYTES);
    }
    if (random() % 20 === 0) log.heartbeat();
  }
  flush();
  closeSync(file);
  return truth;
}

async function timed(run: () => unknown): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

/** Runs a command to its end; its output. */
function run(program: string, args: readonly string[], env = process.env): string {
  const { stdout, stderr, status } = spawnSync(program, args, { encoding: "utf8", env, maxBuffer: 1 << 24 });
  if (status === null || status > 4 || status === 2) throw new Error(`${program} ended with ${status}: ${stderr}`);
  return stdout;
}

const grep = (path: string, env = process.env) => run("grep", ["-cE", PATTERN, path], env);

const matching = z.object({
  host: z.object({ calls: z.number() }),
  processes: z
    .array(
      z.object({
        operations: z.array(
          z.object({
            operation: z.string(),
            host: z.object({ count: z.number(), records: z.number().nullable(), bytes: z.number().nullable() }),
          }),
        ),
      }),
    )
    .length(1),
});

/** What the command found out of the one VM. */
function matched(output: string): Truth["vm"] {
  const { host, processes } = matching.parse(JSON.parse(output));
  const of = (name: string) => processes[0]?.operations.find(({ operation }) => operation === name)?.host;
  return {
    calls: host.calls,
    bytesIn: of("copy-in")?.bytes ?? 0,
    launches: of("launch")?.count ?? 0,
    copiesOut: of("copy-out")?.records ?? 0,
  };
}

async function parse(path: string): Promise<Omit<Truth, "vm">> {
  const seen = { calls: 0, bytesIn: 0 };
  await readMediatorLog(path, (event) => {
    if (event.kind !== "call") return;
    seen.calls += 1;
    if (event.callId === 0x32 || event.callId === 0x3c) seen.bytesIn += event.payloadBytes ?? 0;
  });
  return seen;
}

/** Calls of all VMs. */
async function fold(path: string): Promise<number> {
  await using file = await open(path);
  const host = await readHostLog(file, { started: null });
  return host.vms.reduce((sum, { calls }) => sum + calls, 0);
}

/** Peak resident memory of the largest process of a command, MiB, by GNU time in a run that is not timed. */
function memoryOf(command: readonly string[]): string {
  const report = join(directory, "time");
  spawnSync("/usr/bin/time", ["-f", "%M", "-o", report, ...command], { stdio: "ignore" });
  const kibibytes = existsSync(report) ? Number(readFileSync(report, "utf8").trim().split("\n").at(-1)) : Number.NaN;
  return `${(kibibytes / 1024).toFixed(0)} MiB`;
}

function check(seen: unknown, written: unknown): void {
  if (!isDeepStrictEqual(seen, written))
    throw new Error(`read ${JSON.stringify(seen)}, written ${JSON.stringify(written)}`);
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

console.log(`${cpus().length} processors, ${cpus()[0]?.model ?? "unknown"}, load ${loadavg()[0]?.toFixed(2)}`);
console.log(
  `locale ${process.env["LC_ALL"] || process.env["LANG"] || "none"}, log-scan ${logScanPath() === null ? "missing" : "built"}`,
);
try {
  for (const work of ["load", "answer"] satisfies Work[]) {
    const path = join(directory, `${work}-${mebibytes}.log`);
    const truthPath = `${path}.truth`;
    if (!existsSync(truthPath)) writeFileSync(truthPath, JSON.stringify(write(path, work)));
    const truth: Truth = JSON.parse(readFileSync(truthPath, "utf8"));
    const match = ["match", "--mediator-log", path, "--vm", String(VM)];
    const ways = {
      "grep, this locale": () => grep(path),
      "grep, LC_ALL=C": () => grep(path, { ...process.env, LC_ALL: "C" }),
      "vgpu-agent match": () => check(matched(run(process.execPath, [...PROGRAM, ...match, "--json"])), truth.vm),
      "parse, in this process": async () => check(await parse(path), { calls: truth.calls, bytesIn: truth.bytesIn }),
      "parse and fold, likewise": async () => check(await fold(path), truth.calls),
    };
    const samples = Object.entries(ways).map(([name, run]) => ({ name, run, times: [] as number[] }));
    for (let run = 0; run < runs; run += 1) {
      for (const sample of samples) sample.times.push(await timed(sample.run));
    }
    console.log(
      `\n${work}: ${(statSync(path).size / 2 ** 20).toFixed(0)} MiB, ${truth.calls} calls; median of ${runs}`,
    );
    const [unit = Number.NaN] = samples.map(({ times }) => median(times));
    for (const { name, times } of samples) {
      const [least, most] = [Math.min(...times).toFixed(0), Math.max(...times).toFixed(0)];
      const ratio = (median(times) / unit).toFixed(2);
      console.log(`${name.padEnd(26)} ${median(times).toFixed(0).padStart(6)} ms  ×${ratio}  ${least} to ${most}`);
    }
    console.log(`peak memory of vgpu-agent match: ${memoryOf([process.execPath, ...PROGRAM, ...match])}`);
  }
} finally {
  if (given === undefined) rmSync(directory, { recursive: true });
}
