import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { ensureContainer, ensurePackages, ensureVm } from "../test/bench/setup.ts";
import { NO_CAPTURES } from "../test/fixtures/captures.ts";

/**
 * `npm test`: types, lint, the C library's own tests, then every test. Arguments are paths of test files to run alone.
 *
 * A test that needs more than npm brings (QEMU, a debootstrapped system) installs it when it may, and is skipped with
 * the reason otherwise. With CI set nothing may be skipped: a skipped test fails the run.
 */

const ROOT = join(import.meta.dirname, "..");
const BIN = join(ROOT, "node_modules", ".bin");
const CI = process.env["CI"] !== undefined && process.env["CI"] !== "" && process.env["CI"] !== "false";

async function step(title: string, command: string, args: readonly string[]): Promise<void> {
  const begun = performance.now();
  const code = await new Promise<number>((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
    child.on("error", (error) => {
      console.error(`${title}: ${error.message}`);
      resolve(127);
    });
    child.on("exit", (status) => resolve(status ?? 1));
  });
  if (code !== 0) {
    console.error(`✖ ${title} failed (exit ${code})`);
    process.exit(1);
  }
  console.log(`✔ ${title} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
}

/**
 * Installs what the tests need beyond npm, once and before any of them: tests that run side by side would fight over
 * the package manager. What cannot be installed is said; the tests that need it are skipped for the same reason.
 */
async function setUp(): Promise<void> {
  const begun = performance.now();
  const missing = [
    await ensurePackages(["systemd-journal-remote", "man-db"]),
    await ensureContainer(),
    await ensureVm(),
  ];
  for (const reason of new Set(missing.filter((one) => one !== null))) console.log(`tests will be skipped: ${reason}`);
  console.log(`✔ test set-up (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
}

async function tests(files: readonly string[]): Promise<boolean> {
  const skipped: string[] = [];
  let failed = 0;
  const stream = run({ files: [...files], concurrency: 2, cwd: ROOT });
  stream.on("test:fail", () => {
    failed += 1;
  });
  stream.on("test:pass", ({ name, skip }) => {
    if (skip !== undefined && skip !== false) skipped.push(`${name}: ${skip === true ? "no reason given" : skip}`);
  });
  await new Promise<void>((resolve, reject) => {
    stream.compose(spec).on("end", resolve).on("error", reject).pipe(process.stdout, { end: false });
  });
  for (const line of skipped) console.log(`skipped: ${line}`);
  // Captures are nobody's to install: everything else that CI skips would be a hole.
  const holes = skipped.filter((line) => !line.endsWith(NO_CAPTURES));
  if (CI && holes.length > 0) console.error(`✖ ${holes.length} tests were skipped, and in CI none may be`);
  return failed === 0 && !(CI && holes.length > 0);
}

const named = process.argv.slice(2);
if (named.length === 0) {
  await step("types", join(BIN, "tsc"), ["--noEmit"]);
  await step("lint and format", join(BIN, "biome"), ["ci", "."]);
  await setUp();
  await step("native-probe", "make", ["-s", "-C", "native-probe", "test"]);
}
const files = named.length > 0 ? named : globSync(["src/**/*.test.ts", "test/**/*.test.ts"], { cwd: ROOT }).sort();
process.exit((await tests(files)) ? 0 : 1);
