/**
 * Measures reading a mediator's log against `grep -cE 'cuLaunchKernel|cuMemcpy|cuMemAlloc'` on the same file, in turn
 * (A B A B), in one run. Two logs, because they are different work: one of a model that is loaded (copies in chunks, most
 * bytes are payload), one of a model that answers (launches, most lines say something). What was read is compared with
 * what was written. Usage: `mediator-log.ts [MEBIBYTES [RUNS [DIRECTORY]]]`; logs in the directory are kept and used again.
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
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { readMediatorLog } from "../src/host/mediator-log/read.ts";
import { MediatorLog, randomNumbers } from "../test/fixtures/mediator-log.ts";
import { type Device, GuestProcess } from "../test/fixtures/mediator-vm.ts";

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

/** What is counted on both sides: calls, and bytes that came in. */
interface Truth {
  readonly calls: number;
  readonly bytesIn: number;
}

function write(path: string, work: Work): Truth {
  const file = openSync(path, "w");
  let parts: string[] = [];
  let pending = 0;
  const truth = { calls: 0, bytesIn: 0 };
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
      onOperation: ({ kind, answered, bytes }) => {
        truth.calls += answered;
        if (kind === "copy-in" || kind === "copy-in-async") truth.bytesIn += bytes;
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

function grep(path: string, locale: string | undefined): void {
  const env = locale === undefined ? process.env : { ...process.env, LC_ALL: locale };
  const { status } = spawnSync("grep", ["-cE", PATTERN, path], { env });
  if (status !== 0) throw new Error(`grep ended with ${String(status)}`);
}

async function read(path: string): Promise<Truth> {
  const seen = { calls: 0, bytesIn: 0 };
  await readMediatorLog(path, (event) => {
    if (event.kind !== "call") return;
    seen.calls += 1;
    if (event.callId === 0x32 || event.callId === 0x3c) seen.bytesIn += event.payloadBytes ?? 0;
  });
  return seen;
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

console.log(`${cpus().length} processors, ${cpus()[0]?.model ?? "unknown"}, load ${loadavg()[0]?.toFixed(2)}`);
try {
  for (const work of ["load", "answer"] satisfies Work[]) {
    const path = join(directory, `${work}-${mebibytes}.log`);
    const truthPath = `${path}.truth`;
    if (!existsSync(truthPath)) writeFileSync(truthPath, JSON.stringify(write(path, work)));
    const ways = {
      "grep, this locale": () => grep(path, undefined),
      "grep, LC_ALL=C": () => grep(path, "C"),
      "vgpu-agent, parse": async () => {
        const seen = JSON.stringify(await read(path));
        const truth = readFileSync(truthPath, "utf8");
        if (seen !== truth) throw new Error(`read ${seen}, written ${truth}`);
      },
    };
    const samples = Object.entries(ways).map(([name, run]) => ({ name, run, times: [] as number[] }));
    for (let run = 0; run < runs; run += 1) {
      for (const sample of samples) sample.times.push(await timed(sample.run));
    }
    console.log(
      `\n${work}: ${(statSync(path).size / 2 ** 20).toFixed(0)} MiB, ${readFileSync(truthPath, "utf8")}, median of ${runs}`,
    );
    const fastest = Math.min(
      ...samples.filter(({ name }) => name.startsWith("grep")).map(({ times }) => median(times)),
    );
    for (const { name, times } of samples) {
      const [first = Number.NaN] = times;
      const ratio = (median(times) / fastest).toFixed(2);
      console.log(
        `${name.padEnd(20)} ${median(times).toFixed(0).padStart(6)} ms  ×${ratio}  first ${first.toFixed(0)} ms`,
      );
    }
  }
  console.log(`\npeak memory of this process: ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`);
} finally {
  if (given === undefined) rmSync(directory, { recursive: true });
}
