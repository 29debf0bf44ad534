import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import type { Scope } from "../../src/facts/facts.ts";
import type { SensorContext } from "../../src/sensors/context.ts";
import { RootFs } from "../../src/sensors/root-fs.ts";

/** The reason why tests with real libraries cannot run here; false when they can. */
export const NO_COMPILER: string | false =
  spawnSync("gcc", ["--version"]).status === 0 ? false : "no gcc: apt-get install gcc libc6-dev";

/** A temporary directory that is removed when the test file is done. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "vgpu-agent-test-"));
  after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** C source of a library with the symbols that the driver shim is known by. It does nothing. */
export const DRIVER_SHIM = `
int cuInit(unsigned flags) { return (int)flags; }
int cuda_transport_call(void *transport, unsigned call) { return transport ? (int)call : 999; }
`;

/** Compiles C source to a shared library and returns its path. */
export function compileLibrary(directory: string, name: string, source: string, ...flags: string[]): string {
  const path = join(directory, name);
  execFileSync("gcc", ["-shared", "-fPIC", "-o", path, ...flags, "-x", "c", "-"], { input: source });
  return path;
}

const PROGRAM = `
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <fcntl.h>
int main(void) {
  char *library = getenv("TEST_DLOPEN"), *lock = getenv("TEST_FLOCK"), byte;
  if (library && !dlopen(library, RTLD_NOW)) { puts(dlerror()); return 1; }
  if (lock && flock(open(lock, O_RDWR), LOCK_EX)) return 2;
  puts("ready");
  fflush(stdout);
  return fread(&byte, 1, 1, stdin) == 1 ? 3 : 0;
}
`;

/** A program that loads the library in TEST_DLOPEN, takes the lock in TEST_FLOCK, says "ready" and waits for its end. */
export function compileProgram(directory: string, name = "program"): string {
  const path = join(directory, name);
  execFileSync("gcc", ["-o", path, "-x", "c", "-", "-ldl"], { input: PROGRAM });
  return path;
}

export interface Running {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Ends the process by closing its input and waits until it is gone. */
  stop(): Promise<void>;
}

interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stderr?: number | "ignore" | "pipe";
  readonly argv0?: string;
  readonly uid?: number;
  readonly gid?: number;
}

/** Starts a program and waits for its first output. It ends with the test file at the latest. */
export async function start(program: string, args: readonly string[], options: StartOptions = {}): Promise<Running> {
  const { env = {}, stderr = "ignore", ...rest } = options;
  const child = spawn(program, args, { ...rest, env, stdio: ["pipe", "pipe", stderr] });
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const stop = async () => {
    child.stdin?.end();
    await gone;
  };
  after(stop);
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${program} ended with ${code}`)));
    child.stdout?.once("data", (text: Buffer) => {
      if (text.toString().startsWith("ready")) resolve();
      else reject(new Error(text.toString()));
    });
  });
  if (child.pid === undefined) throw new Error(`${program} has no pid`);
  return { pid: child.pid, child, stop };
}

/** A context for a sensor. */
export function contextOf(root: string, scope: Partial<Scope> = {}): SensorContext {
  const subject = root === "/" ? "live" : "tree";
  return {
    fs: new RootFs(root),
    scope: { subject, root, unit: "ollama.service", pid: null, since: null, until: null, ...scope },
    signal: new AbortController().signal,
    now: () => 1_800_000_000_000,
  };
}

/** Writes a captured tree: path below the root → content. */
export async function captureTree(files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  const root = temporaryDirectory();
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
  return root;
}

/** Writes one file of a test. */
export function put(path: string, content: string | Buffer): void {
  writeFileSync(path, content);
}
