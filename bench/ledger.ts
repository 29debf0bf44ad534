/**
 * Measures the bulk ledger against `journalctl … | grep -c`, and the same from a plain file against `grep -c`: whole
 * processes, in turn (A B A B), in one run on one journal. Usage: `ledger.ts [ENTRIES [RUNS [DIRECTORY]]]`; a directory
 * that has journal files already is measured as it is.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeBenchJournal } from "./ledger-journal.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const PATTERN = "cuda_transport_call() INVOKED";
const UNIT = "ollama.service";

const [entries = 2_000_000, runs = 7] = process.argv.slice(2, 4).map(Number);
const given = process.argv[4];
const work = mkdtempSync(join(tmpdir(), "vgpu-agent-bench-"));
const directory = given ?? join(work, "journal");

interface Sample {
  readonly seconds: number;
  readonly calls: number;
  /** Peak resident memory, MiB; null where the process is not ours. */
  readonly memory: number | null;
}

function timed(command: string, args: readonly string[]): Sample {
  const start = process.hrtime.bigint();
  const { stdout, status, stderr } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 20 });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (status !== 0) throw new Error(`${command} ended with ${String(status)}: ${stderr}`);
  const [calls = "", coverage, memory] = stdout.trim().split(" ");
  if (coverage !== undefined && coverage !== "full") throw new Error(`coverage is ${coverage}`);
  return { seconds, calls: Number(calls), memory: memory === undefined ? null : Number(memory) / 1024 };
}

const shell = (script: string, path: string) => () => timed("/bin/sh", ["-c", script, "sh", path]);
/** One counting, as a process of its own, from what is published: the sources would have their types taken off first. */
const COUNT = `
  const [built, module, name, path] = process.argv.slice(1);
  const options = { unit: "${UNIT}", since: null, until: null, signal: new AbortController().signal };
  const { RootFs } = await import(built + "/sensors/root-fs.js");
  const ledger = await (await import(built + "/sensors/ledger/" + module + ".js"))[name](new RootFs("/"), path, options);
  const calls = ledger.calls.reduce((sum, call) => sum + call.count, 0);
  console.log(calls + " " + ledger.coverage + " " + process.resourceUsage().maxRSS);
`;
const ours = (built: string, module: string, name: string, path: string) => () =>
  timed(process.execPath, ["--input-type=module", "-e", COUNT, "--", built, module, name, path]);

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/** Runs both in turn, and says what came out. */
function compare(title: string, theirs: () => Sample, mine: () => Sample): void {
  const samples: { readonly theirs: Sample[]; readonly mine: Sample[] } = { theirs: [], mine: [] };
  theirs();
  mine();
  for (let run = 0; run < runs; run += 1) {
    samples.theirs.push(theirs());
    samples.mine.push(mine());
  }
  const [expected, counted] = [samples.theirs, samples.mine].map((all) => new Set(all.map(({ calls }) => calls)));
  const show = (all: readonly Sample[]) => {
    const seconds = all.map((sample) => sample.seconds);
    return `${median(seconds).toFixed(3)} s (${Math.min(...seconds).toFixed(3)} to ${Math.max(...seconds).toFixed(3)})`;
  };
  const ratio = median(samples.theirs.map((s) => s.seconds)) / median(samples.mine.map((s) => s.seconds));
  const memory = Math.max(...samples.mine.map((sample) => sample.memory ?? 0));
  console.log(
    `${title}\n  theirs ${show(samples.theirs)}, ours ${show(samples.mine)}: ${ratio.toFixed(1)} times as fast`,
  );
  console.log(
    `  counted ${[...(expected ?? [])].join()} and ${[...(counted ?? [])].join()}, our peak memory ${memory.toFixed(0)} MiB`,
  );
}

try {
  const built = join(work, "dist");
  execFileSync(process.execPath, [
    join(ROOT, "node_modules/typescript/bin/tsc"),
    "-p",
    join(ROOT, "tsconfig.build.json"),
    "--outDir",
    built,
  ]);
  symlinkSync(join(ROOT, "node_modules"), join(work, "node_modules"));
  symlinkSync(join(ROOT, "package.json"), join(work, "package.json"));
  const present = existsSync(directory) && readdirSync(directory).some((name) => name.endsWith(".journal"));
  if (!present) console.log("written:", await writeBenchJournal(directory, entries));
  const sizes = readdirSync(directory).map((name) => statSync(join(directory, name)).size);
  const total = (sizes.reduce((sum, size) => sum + size, 0) / 2 ** 20).toFixed(0);
  console.log(
    `${sizes.length} files, ${total} MiB; ${cpus().length} CPUs, load ${loadavg()[0]?.toFixed(2)}, Node ${process.version}`,
  );
  const select = `journalctl -D "$1" -u ${UNIT} -o cat`;
  compare(
    "journal",
    shell(`${select} | grep -c '${PATTERN}'`, directory),
    ours(built, "bulk-ledger", "bulkLedger", directory),
  );
  const sink = join(work, "sink.log");
  execFileSync("/bin/sh", ["-c", select, "sh", directory], { stdio: ["ignore", openSync(sink, "w"), "inherit"] });
  console.log(`file sink: ${(statSync(sink).size / 2 ** 20).toFixed(0)} MiB`);
  compare("file", shell(`grep -c '${PATTERN}' "$1"`, sink), ours(built, "bulk-file-ledger", "bulkFileLedger", sink));
} finally {
  rmSync(work, { recursive: true, force: true });
}
