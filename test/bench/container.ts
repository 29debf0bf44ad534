import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, symlink } from "node:fs/promises";
import { constants } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CHECKOUT } from "./cache.ts";
import { deviceTreeFiles, type TreeDevice } from "./device-tree.ts";
import { type GuestFiles, stageFiles, standInFiles } from "./payload.ts";
import { dieWithParent, ended, type ProcessResult, run } from "./process.ts";
import { systemdRoot } from "./rootfs.ts";
import { makeScratch, removeGroupsSoon, sweep } from "./scratch.ts";

export interface ContainerSpec {
  /** Files to add by absolute path. */
  readonly files?: GuestFiles;
  /** Unit files by name, "ollama.service". They are not started: a test does that with `exec`. */
  readonly units?: Readonly<Record<string, string>>;
  /** PCI functions to show below /sys; the machine's own are hidden. [] shows none. */
  readonly devices?: readonly TreeDevice[];
  /** Files to add below /sys, with `devices` only: what else a VM's kernel shows there. */
  readonly sys?: GuestFiles;
}

export interface ExecOptions {
  readonly timeoutMs?: number;
  /** User name, root unless said otherwise. */
  readonly user?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Container {
  /** Runs bash in all of the container's namespaces, working directory /. Exit code 137 at the time limit. */
  exec(command: string, options?: ExecOptions): Promise<ProcessResult>;
  /** Runs a command until it exits with 0. Throws with its last output at the time limit. */
  until(command: string, timeoutMs?: number): Promise<ProcessResult>;
  /** The container's /var/log/journal on this machine; it stays readable after `stop`, until `dispose`. */
  readonly journalDir: string;
  /** The container's root as its PID 1 sees it, on this machine; gone after `stop`. */
  readonly rootDir: string;
  /** PID 1 of the container, on this machine. */
  readonly pid: number;
  /** Ends everything inside at once, as a power cut does. */
  stop(): Promise<void>;
  /** Boots again after `stop`: files are as they were, but /run and /tmp, which are empty. The kernel's boot id stays. */
  start(): Promise<void>;
  /** stop, then removes what is left on this machine. `await using` does it. */
  [Symbol.asyncDispose](): Promise<void>;
}

const HERE = dirname(fileURLToPath(import.meta.url));
const LAUNCHER = join(HERE, "container/launch.sh");
const START_LIMIT_MS = 30_000;
const EXEC_LIMIT_MS = 60_000;
const GRACE_MS = 2000;
const RETRY_MS = 50;
/** /sys is writable here, as on a VM; what would act on this machine's hardware through it stays off. */
const MASKED = ["systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udevd-kernel.socket"];
const MASKED_TOO = ["systemd-udevd-control.socket", "systemd-sysctl.service", "systemd-modules-load.service"];

/** Boots a container with systemd as its PID 1, its own journald, process, mount and network namespaces. */
export async function startContainer(spec: ContainerSpec = {}): Promise<Container> {
  const root = join(await systemdRoot(), "root");
  const hierarchy = await unifiedHierarchy();
  await sweep(hierarchy);
  const work = await makeScratch("container");
  const cgroup = join(hierarchy, basename(work));
  try {
    await stage(work, spec);
    const container = new RunningContainer(work, cgroup, () => launch(work, root, cgroup, spec.devices !== undefined));
    try {
      await container.start();
      return container;
    } catch (error) {
      await container[Symbol.asyncDispose]();
      throw error;
    }
  } catch (error) {
    await rm(work, { recursive: true, force: true });
    throw error;
  }
}

async function stage(work: string, spec: ContainerSpec): Promise<void> {
  for (const name of ["upper", "work", "merged", "journal", "sysfs", "sys-upper", "sys-work", "devices"])
    await mkdir(join(work, name));
  const upper = join(work, "upper");
  await stageFiles(upper, await standInFiles());
  const units = Object.entries(spec.units ?? {}).map(([name, text]) => [`/etc/systemd/system/${name}`, text]);
  await stageFiles(upper, { ...spec.files, ...Object.fromEntries(units) });
  await mkdir(join(upper, "etc/systemd/system"), { recursive: true });
  for (const unit of [...MASKED, ...MASKED_TOO]) await symlink("/dev/null", join(upper, "etc/systemd/system", unit));
  await stageFiles(join(work, "devices"), { ...deviceTreeFiles(spec.devices ?? []), ...spec.sys });
}

interface Launched {
  readonly child: ChildProcess;
  readonly output: () => string;
}

function launch(work: string, root: string, cgroup: string, hasDevices: boolean): Launched {
  const [program, args] = dieWithParent(["bash", LAUNCHER, "start"]);
  const devices = hasDevices ? join(work, "devices") : "";
  const env = { ...process.env, WORK: work, ROOT: root, CGROUP: cgroup, CHECKOUT, DEVICES: devices };
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env });
  let said = "";
  const keep = (chunk: Buffer): void => {
    said = `${said}${chunk}`.slice(-4000);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  return { child, output: () => said };
}

/** Where the unified control group hierarchy is mounted; it has its own place on hybrid systems. */
async function unifiedHierarchy(): Promise<string> {
  for (const line of (await readFile("/proc/self/mounts", "utf8")).split("\n")) {
    const [, place, type] = line.split(" ");
    if (type === "cgroup2" && place !== undefined) return place;
  }
  throw new Error("no cgroup2 file system is mounted: systemd cannot run in a container here");
}

class RunningContainer implements Container {
  readonly journalDir: string;
  readonly #work: string;
  readonly #cgroup: string;
  readonly #launch: () => Launched;
  #launcher: ChildProcess | null = null;
  #pid = 0;

  constructor(work: string, cgroup: string, launch: () => Launched) {
    this.#work = work;
    this.#cgroup = cgroup;
    this.#launch = launch;
    this.journalDir = join(work, "journal");
  }

  get pid(): number {
    return this.#pid;
  }

  get rootDir(): string {
    return `/proc/${this.#pid}/root`;
  }

  async start(): Promise<void> {
    const { child, output } = this.#launch();
    this.#launcher = child;
    const deadline = performance.now() + START_LIMIT_MS;
    while (child.exitCode === null && performance.now() < deadline) {
      this.#pid = await onlyChild(child.pid ?? 0);
      if (this.#pid > 0 && existsSync(join(this.rootDir, "run/systemd/private"))) {
        const state = await this.exec("systemctl is-system-running --wait", { timeoutMs: START_LIMIT_MS });
        if (["running", "degraded"].includes(state.stdout.trim())) return;
      }
      await delay(RETRY_MS);
    }
    throw new Error(`the container did not boot: ${output() || "no output"}`);
  }

  async exec(command: string, options: ExecOptions = {}): Promise<ProcessResult> {
    const enter = ["-t", `${this.#pid}`, "-m", "-p", "-u", "-i", "-n", "-C"];
    const variables = Object.entries({ ...GUEST_ENV, ...options.env }).map(([name, value]) => `${name}=${value}`);
    const asUser = options.user === undefined ? [] : ["setpriv", ...userOptions(options.user)];
    const timeoutMs = options.timeoutMs ?? EXEC_LIMIT_MS;
    // Killing nsenter would leave the command alive inside, so the limit is kept there first.
    const limited = ["timeout", "-s", "KILL", `${timeoutMs / 1000}`, "bash", "-c", command];
    const inside = ["env", "-i", "--chdir=/", ...variables, ...asUser, ...limited];
    const [program, args] = dieWithParent(["nsenter", ...enter, ...inside]);
    const result = await run(program, args, { timeoutMs: timeoutMs + GRACE_MS });
    if (result.signal === null) return result;
    // nsenter ends by the signal that ended the command: told as a shell does, here and in a VM's steps.
    return { ...result, exitCode: 128 + constants.signals[result.signal] };
  }

  async until(command: string, timeoutMs = EXEC_LIMIT_MS): Promise<ProcessResult> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const result = await this.exec(command, { timeoutMs });
      if (result.exitCode === 0) return result;
      if (performance.now() > deadline)
        throw new Error(`not within ${timeoutMs} ms: ${command}\n${result.stdout}${result.stderr}`);
      await delay(RETRY_MS);
    }
  }

  async stop(): Promise<void> {
    // PID 1's death is everybody's death in its PID namespace; its parent, the launcher, reaps it and ends with it.
    const launcher = this.#launcher;
    if (launcher === null) return;
    const first = await onlyChild(launcher.pid ?? 0);
    if (first > 0) process.kill(first, "SIGKILL");
    else launcher.kill("SIGKILL");
    await ended(launcher);
    await removeGroupsSoon(this.#cgroup);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.#work, { recursive: true, force: true });
  }
}

const GUEST_ENV = { PATH: "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/root", LC_ALL: "C.UTF-8" };

function userOptions(user: string): string[] {
  return [`--reuid=${user}`, `--regid=${user}`, "--init-groups", "--"];
}

async function onlyChild(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  return Number(text.trim().split(" ")[0] ?? 0);
}

/** Waiting for another process to come up: there is no event to wait for instead. */
function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
