import { spawnSync } from "node:child_process";
import { join } from "node:path";

/**
 * How long a command takes from the shell to its end, as a ratio to an empty program of the same Node: that part is
 * nobody's to win. What is built is measured (`npm run build` first), and the sources beside it.
 *
 * Run it with `npm run bench:start [ROUNDS]`. Every round runs each command once, so that a busy machine slows all.
 */

const ROUNDS = Number(process.argv[2] ?? 21);
const HOME = join(import.meta.dirname, "..");
const NODE = process.execPath;
const BUILT = join(HOME, "dist", "cli.js");
const SOURCES = join(HOME, "src", "cli.ts");

const COMMANDS: readonly (readonly [name: string, program: string, ...args: readonly string[]])[] = [
  ["node -e 0", NODE, "-e", "0"],
  ["vgpu-agent --version", NODE, BUILT, "--version"],
  ["vgpu-agent calls --help", NODE, BUILT, "calls", "--help"],
  ["vgpu-agent doctor", NODE, BUILT, "doctor"],
  ["calls --help, through the launcher", join(HOME, "bin", "vgpu-agent"), "calls", "--help"],
  ["calls --help, from the sources", NODE, SOURCES, "calls", "--help"],
  ["doctor, from the sources", NODE, SOURCES, "doctor"],
];

/** Milliseconds of one run. Any exit code will do: the doctor's tells what it found. */
function time(program: string, args: readonly string[]): number {
  const begun = performance.now();
  const { error, status, signal } = spawnSync(program, args, { stdio: "ignore" });
  if (error !== undefined || status === null) throw error ?? new Error(`${program} was ended by ${signal}`);
  return performance.now() - begun;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

const times = COMMANDS.map((): number[] => []);
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [index, [, program, ...args]] of COMMANDS.entries()) times[index]?.push(time(program, args));
}
const unit = median(times[0] ?? []);
console.log(`${ROUNDS} rounds; median and least milliseconds, and the median as a multiple of node -e 0`);
for (const [index, [name]] of COMMANDS.entries()) {
  const values = times[index] ?? [];
  const columns = [median(values).toFixed(0), Math.min(...values).toFixed(0), (median(values) / unit).toFixed(1)];
  console.log(`${name.padEnd(36)}${columns.map((column) => column.padStart(8)).join("")}`);
}
