import type { Scope } from "../facts/facts.ts";
import type { UnitFacts, WorkloadFacts } from "../facts/workload.ts";
import { type ProcessShape, shapeOf } from "../protocol/process-shapes.ts";
import type { SensorContext } from "./context.ts";
import { belongsToUnit, type ControlGroup, parseCgroup, parseCmdline, parseStat, parseStatus } from "./proc.ts";
import { mapLimit } from "./scope.ts";

/** The little that is read of every process, to find those of the workload. */
export interface Glance {
  readonly pid: number;
  readonly ppid: number;
  readonly comm: string;
  /** Clock ticks since boot; null when a capture has no stat file. */
  readonly startTicks: number | null;
  readonly zombie: boolean;
  readonly kernelThread: boolean;
  readonly groups: readonly ControlGroup[];
  readonly argv: readonly string[];
  readonly shape: ProcessShape | null;
}

export interface ProcessList {
  readonly glances: readonly Glance[];
  readonly incomplete: readonly string[];
}

const PID = /^[1-9]\d{0,9}$/;
const MAX_PROCESSES = 8192;
const MAX_SMALL_FILE = 1 << 16;
const EMPTY = Buffer.alloc(0);
/** Files read at once: node's thread pool has four threads. */
export const READ_WIDTH = 4;

/** Lists /proc. Rejects when it cannot be listed. The agent's own process is left out. */
export async function listProcesses(context: SensorContext): Promise<ProcessList> {
  const names = (await context.fs.list("/proc")).filter((name) => PID.test(name));
  const pids = names.map(Number).sort((a, b) => a - b);
  const incomplete =
    pids.length > MAX_PROCESSES ? [`${pids.length} processes exist, the first ${MAX_PROCESSES} were looked at`] : [];
  if (context.fs.live && pids[0] !== 1) {
    incomplete.push("/proc hides the processes of other users (hidepid): the workload may be among them");
  }
  const own = context.fs.live ? process.pid : -1;
  const wanted = pids.slice(0, MAX_PROCESSES).filter((pid) => pid !== own);
  const glances = await mapLimit(wanted, READ_WIDTH, (pid) => glance(context, pid));
  return { glances: glances.filter((one) => one !== null), incomplete };
}

/** Null for a process that ended meanwhile. A capture may hold some of the files only. */
export async function glance(context: SensorContext, pid: number): Promise<Glance | null> {
  if (context.signal.aborted) return null;
  const read = async (file: string) =>
    (await context.fs.read(`/proc/${pid}/${file}`, MAX_SMALL_FILE).catch(() => null))?.bytes ?? null;
  const statBytes = await read("stat");
  const stat = statBytes === null ? null : parseStat(statBytes);
  if (stat === null && context.fs.live) return null;
  const kernelThread = stat?.kernelThread ?? false;
  // A VM has hundreds of them, and none is a program, whatever control group it works for.
  const ofProgram = async (file: string) => (kernelThread ? null : await read(file)) ?? EMPTY;
  const argv = argvOf(await ofProgram("cmdline"), context.fs.live);
  const status = stat === null ? parseStatus((await read("status")) ?? EMPTY) : null;
  return {
    pid,
    ppid: stat?.ppid ?? status?.ppid ?? 0,
    comm: stat?.comm ?? status?.name ?? (await read("comm"))?.toString("utf8").trim() ?? "",
    startTicks: stat?.startTicks ?? null,
    zombie: (stat?.state ?? status?.state) === "Z",
    kernelThread,
    groups: parseCgroup(await ofProgram("cgroup")),
    argv,
    shape: shapeOf(argv),
  };
}

/** A capture made for reading may have spaces or lines in place of the kernel's NULs. */
function argvOf(cmdline: Buffer, live: boolean): string[] {
  if (live || cmdline.includes(0)) return parseCmdline(cmdline);
  return cmdline
    .toString("utf8")
    .split(/\s+/)
    .filter((word) => word !== "");
}

export interface Selection {
  readonly foundBy: WorkloadFacts["foundBy"];
  readonly chosen: readonly Glance[];
}

/**
 * The processes of the workload: the pid that was asked for with its descendants; else the control group of the unit;
 * else the unit's main process with its descendants; else what looks like Ollama wherever it runs.
 */
export function selectProcesses(glances: readonly Glance[], scope: Scope, unit: UnitFacts | undefined): Selection {
  if (scope.pid !== null) return { foundBy: "pid", chosen: withDescendants(glances, [scope.pid]) };
  const grouped = glances.filter((one) => belongsToUnit(one.groups, scope.unit));
  if (grouped.length > 0) return { foundBy: "unit", chosen: grouped };
  const main = unit?.mainPid ?? 0;
  const ofMain = main > 0 ? withDescendants(glances, [main]) : [];
  if (ofMain.length > 0) return { foundBy: "unit", chosen: ofMain };
  const parents = new Set(glances.filter((one) => isRunner(one)).map((one) => one.ppid));
  const shaped = glances.filter((one) => one.shape !== null && (one.shape.distinctive || parents.has(one.pid)));
  return { foundBy: shaped.length > 0 ? "argv" : "none", chosen: shaped };
}

function isRunner(one: Glance): boolean {
  return one.shape !== null && one.shape.role !== "server" && one.shape.distinctive;
}

function withDescendants(glances: readonly Glance[], roots: readonly number[]): Glance[] {
  const wanted = new Set(roots);
  for (let before = -1; before !== wanted.size; ) {
    before = wanted.size;
    for (const one of glances) if (wanted.has(one.ppid)) wanted.add(one.pid);
  }
  return glances.filter((one) => wanted.has(one.pid));
}
