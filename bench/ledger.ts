/**
 * Measures `vgpu-agent calls` and `vgpu-agent doctor` on a long journal against `journalctl … | grep -c`, and `calls` on
 * a plain file against `grep -c`: whole processes as a user starts them, in turn (A B C A B C), in one run on one journal.
 * Usage: `ledger.ts [ENTRIES [RUNS [DIRECTORY]]]`; a directory that has journal files already is measured as it is.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeBenchJournal } from "./ledger-journal.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CLI = join(ROOT, "dist/cli.js");
const PATTERN = "cuda_transport_call() INVOKED";
const UNIT = "ollama.service";
/** How often the unit's lines are written to the second, larger file. */
const COPIES = 8;
/** A verdict or a count was reached: 3 and 4 say what it is. */
const ENDED = new Set([0, 3, 4]);

const [entries = 2_000_000, runs = 7] = process.argv.slice(2, 4).map(Number);
const given = process.argv[4];
const work = mkdtempSync(join(tmpdir(), "vgpu-agent-bench-"));
const directory = given ?? join(work, "journal");

interface Way {
  readonly name: string;
  readonly command: readonly string[];
  /** The number that it came to, from its output. */
  readonly result: (output: string) => number;
}

interface Sample {
  readonly seconds: number;
  readonly result: number;
}

/** Runs a command to its end. */
function sample({ command: [program = "", ...args], result, name }: Way): Sample {
  const start = process.hrtime.bigint();
  const { stdout, status, stderr } = spawnSync(program, args, { encoding: "utf8", maxBuffer: 1 << 24 });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (!ENDED.has(status ?? -1)) throw new Error(`${name} ended with ${String(status)}: ${stderr}`);
  return { seconds, result: result(stdout) };
}

/** Peak resident memory of the largest process of a command, MiB, by GNU time in a run that is not timed. */
function memoryOf({ command }: Way): number {
  const report = join(work, "time");
  spawnSync("/usr/bin/time", ["-f", "%M", "-o", report, ...command], { stdio: "ignore" });
  return Number(readFileSync(report, "utf8").trim().split("\n").at(-1)) / 1024;
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const shell = (name: string, script: string, path: string): Way => ({
  name,
  command: ["/bin/sh", "-c", script, "sh", path],
  result: Number,
});
const agent = (name: string, args: readonly string[], result: Way["result"]): Way => ({
  name,
  command: [process.execPath, CLI, ...args],
  result,
});

function totalOf(json: string): number {
  return numberAt(JSON.parse(json), "total");
}

/** Calls in the doctor's report. */
function activityOf(json: string): number {
  const { calls } = objectAt(JSON.parse(json), "activity");
  return Array.isArray(calls)
    ? calls.reduce((sum: number, call: unknown) => sum + numberAt(call, "count"), 0)
    : Number.NaN;
}

function objectAt(value: unknown, key: string): Record<string, unknown> {
  const found: unknown = Object.entries(value ?? {}).find(([name]) => name === key)?.[1];
  return Object.fromEntries(Object.entries(found ?? {}));
}

function numberAt(value: unknown, key: string): number {
  return Number(Object.entries(value ?? {}).find(([name]) => name === key)?.[1]);
}

/** Runs all in turn, the first is what the others are compared with. */
function compare(title: string, ways: readonly Way[]): void {
  const samples = ways.map((): Sample[] => []);
  const memory = ways.map(memoryOf);
  for (let run = 0; run < runs; run += 1) {
    for (const [index, way] of ways.entries()) samples[index]?.push(sample(way));
  }
  console.log(`${title} (load ${loadavg()[0]?.toFixed(1)})`);
  const first = median(samples[0]?.map(({ seconds }) => seconds) ?? []);
  for (const [index, { name }] of ways.entries()) {
    const all = samples[index] ?? [];
    const seconds = all.map((one) => one.seconds);
    const spread = `${Math.min(...seconds).toFixed(3)} to ${Math.max(...seconds).toFixed(3)}`;
    const ratio = (first / median(seconds)).toFixed(2);
    const results = [...new Set(all.map((one) => one.result))].join();
    console.log(
      `  ${name}: ${median(seconds).toFixed(3)} s (${spread}), ${ratio} times as fast; ${results}; ${memory[index]?.toFixed(0)} MiB`,
    );
  }
}

try {
  execFileSync(process.execPath, [join(ROOT, "scripts/build.mjs")], { stdio: "inherit" });
  const present = existsSync(directory) && readdirSync(directory).some((name) => name.endsWith(".journal"));
  if (!present) console.log("written:", await writeBenchJournal(directory, entries));
  const sizes = readdirSync(directory).map((name) => statSync(join(directory, name)).size);
  const total = (sizes.reduce((sum, size) => sum + size, 0) / 2 ** 20).toFixed(0);
  console.log(
    `${sizes.length} files, ${total} MiB; ${cpus().length} CPUs, Node ${process.version}; medians of ${runs}`,
  );
  const select = `journalctl -D "$1" -u ${UNIT} -o cat`;
  compare("journal", [
    shell("journalctl | grep -c", `${select} | grep -c '${PATTERN}'`, directory),
    agent("calls", ["calls", "--journal", directory, "--json"], totalOf),
    agent("doctor", ["doctor", "--journal", directory, "--json"], activityOf),
  ]);
  const sink = join(work, "sink.log");
  execFileSync("/bin/sh", ["-c", select, "sh", directory], { stdio: ["ignore", openSync(sink, "w"), "inherit"] });
  const once = readFileSync(sink);
  const long = join(work, "long-sink.log");
  for (let copy = 0; copy < COPIES; copy += 1) appendFileSync(long, once);
  for (const path of [sink, long]) {
    compare(`file of ${(statSync(path).size / 2 ** 20).toFixed(0)} MiB`, [
      shell("grep -c", `grep -c '${PATTERN}' "$1"`, path),
      agent("calls", ["calls", "--log", path, "--json"], totalOf),
    ]);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
