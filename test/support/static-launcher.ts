import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { ended } from "../bench/process.ts";
import { NO_COMPILER } from "./real-process.ts";

export const CHECKOUT = join(import.meta.dirname, "..", "..");
const SOURCE = join(CHECKOUT, "native-probe", "launcher");
const LINE_LIMIT_MS = 20_000;
/** Bytes of one stream that are kept. */
const MAX_OUTPUT = 1 << 20;
/** Wrappers: a user without any right; a root who may not mount. */
export const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] as const;
export const MAY_NOT_MOUNT = ["setpriv", "--bounding-set=-sys_admin"] as const;
/** Mounts are shared, as systemd makes them: what is mounted below must not come back. $1 is shown as /etc. */
const SHOW = `mount --make-rshared / && mount --bind "$1" /etc && shift && exec "$@"`;
/** Started when a line comes, by a shell that was loaded before. */
const WAIT = `echo ready && read -r go && exec "$@"`;
const STAY = `echo ready && read -r go && { "$@"; }; code=$?; read -r go; exit $code`;

/** A place that other users may look into too; removed when the test file is done. */
export function openDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "vgpu-launcher-"));
  after(() => rmSync(directory, { recursive: true, force: true }));
  chmodSync(directory, 0o755);
  return directory;
}

/** Builds the launcher; the reason why it cannot be built here, or false. */
export function buildLauncher(directory: string): string | false {
  if (NO_COMPILER !== false) return NO_COMPILER;
  const made = spawnSync("make", ["-s", "-C", SOURCE, `BUILD=${directory}`], { encoding: "utf8" });
  return made.status === 0 ? false : `the launcher cannot be built here: ${made.stderr}`;
}

interface Parts {
  /** What is started as Node; the running one by default. */
  readonly node?: string;
  /** The source of the program; the agent itself by default. */
  readonly program?: string;
}

/** Lays the package out as it is installed, and returns the path of the launcher in it. */
export function install(built: string, { node, program }: Parts = {}): string {
  const root = openDirectory();
  const library = join(root, "usr/lib/vgpu-agent");
  for (const path of [join(root, "usr/bin"), join(library, "node/bin")]) mkdirSync(path, { recursive: true });
  if (node === undefined) symlinkSync(process.execPath, join(library, "node/bin/node"));
  else cpSync(node, join(library, "node/bin/node"), { dereference: true });
  if (program === undefined) symlinkSync(join(CHECKOUT, "bin"), join(library, "bin"));
  else {
    mkdirSync(join(library, "bin"));
    writeFileSync(join(library, "bin/vgpu-agent.js"), program);
    writeFileSync(join(library, "package.json"), `{ "type": "module" }`);
  }
  const launcher = join(root, "usr/bin/vgpu-agent");
  cpSync(join(built, "vgpu-agent"), launcher);
  return launcher;
}

interface Options {
  readonly env?: Readonly<Record<string, string>>;
  /** What the command is started through. */
  readonly through?: readonly string[];
  /** The shell stays as the parent until its input ends, so that its mount namespace can be looked at. */
  readonly stay?: boolean;
}

/**
 * A command in a mount namespace with an /etc of its own, which is empty but for ld.so.preload: the machine's is never
 * touched. That file is written when all that has to be loaded has been: nothing linked dynamically starts behind it.
 */
export class Behind {
  readonly child: ChildProcess;
  /** The preload file, on this machine. */
  readonly file: string;
  stdout = "";
  stderr = "";
  #closed: Promise<void>;

  constructor(command: readonly string[], { env = {}, through = [], stay = false }: Options = {}) {
    const etc = openDirectory();
    this.file = join(etc, "ld.so.preload");
    const inner = [...through, "sh", "-c", stay ? STAY : WAIT, "sh", ...command];
    this.child = spawn("unshare", ["--mount", "sh", "-c", SHOW, "sh", etc, ...inner], {
      env: { PATH: process.env["PATH"] ?? "", ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.child.stdin?.on("error", () => {}); // It may be gone: its exit code tells.
    this.child.stdout?.on("data", (bytes: Buffer) => {
      if (this.stdout.length < MAX_OUTPUT) this.stdout += bytes.toString("utf8");
    });
    this.child.stderr?.on("data", (bytes: Buffer) => {
      if (this.stderr.length < MAX_OUTPUT) this.stderr += bytes.toString("utf8");
    });
    this.#closed = new Promise((resolve) => void this.child.once("close", () => resolve()));
    after(() => this.child.kill("SIGKILL"));
  }

  /** Waits for a line of its output, and returns it. */
  async line(pattern: RegExp): Promise<string> {
    const signal = AbortSignal.timeout(LINE_LIMIT_MS);
    const stdout = this.child.stdout;
    while (true) {
      const found = this.stdout.split("\n").find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (this.child.exitCode !== null || signal.aborted) {
        throw new Error(`no ${pattern} (exit ${this.child.exitCode}):\n${this.stdout}${this.stderr}`);
      }
      await new Promise<void>((resolve) => {
        stdout?.once("data", () => resolve());
        this.child.once("exit", () => resolve());
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  /** Writes the preload file when everything that must still load has loaded, and lets the command start. */
  async go(preload: string | null): Promise<void> {
    await this.line(/^ready$/);
    if (preload !== null) writeFileSync(this.file, preload);
    this.say("go");
  }

  say(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** Closes its input and waits for its end; the exit code, or null when a signal ended it. */
  async end(): Promise<number | null> {
    this.child.stdin?.end();
    await ended(this.child);
    await this.#closed;
    return this.child.exitCode;
  }

  /** What it said after it was started. */
  get said(): string {
    return this.stdout.replace(/^ready\n/, "");
  }
}
