import type { Facts, HostFacts, Scope } from "../facts/facts.ts";
import type { LogFacts } from "../facts/log.ts";
import { type NotRead, notRead, notReadFromError, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { UnitFacts, WorkloadFacts } from "../facts/workload.ts";
import { readBars } from "./bar.ts";
import type { SensorContext } from "./context.ts";
import { readHost } from "./host.ts";
import { readLockdown } from "./lockdown.ts";
import { readLocks } from "./locks.ts";
import { type LogChoice, readDefaultLogs, readGivenLogs } from "./logs.ts";
import { readPci } from "./pci.ts";
import { readPreload } from "./preload.ts";
import { readPreloadVariable } from "./preload-variable.ts";
import { readWorkload } from "./processes.ts";
import { RootFs } from "./root-fs.ts";
import { readSelf } from "./self.ts";
import { readShimFiles } from "./shim-files.ts";
import { readStateFiles } from "./state-files.ts";
import { readUnit } from "./unit.ts";
import { withLimit } from "./with-limit.ts";

export interface CollectOptions {
  /** Another root to read below; null is this machine. */
  readonly root: string | null;
  readonly unit: string;
  readonly pid: number | null;
  /** Epoch milliseconds; null is the default window: the life of the process that runs, or all that a given log has. */
  readonly since: number | null;
  readonly until: number | null;
  readonly journal: string | null;
  readonly log: string | null;
  readonly now: () => number;
  /** Told when a sensor starts, for a progress line. */
  readonly onSensor: (name: string) => void;
}

/** Milliseconds. A sensor that needs longer is stuck, not slow; logs are given time for what they are. */
const LIMIT_MS = 3000;
const WORKLOAD_LIMIT_MS = 8000;
/** Above the probe's own limits (5 s to start, 1.5 s for the device), so that they are the ones that speak. */
const BAR_LIMIT_MS = 7000;
const LOG_LIMIT_MS = 60_000;

const OTHER_MACHINE = "the log is not of this machine: nothing of this machine is mixed into its verdict";

/** Runs every sensor, each within its limit, and gives the facts. Throws for nothing that is wrong with the subject. */
export async function collect(options: CollectOptions): Promise<Facts> {
  const fs = new RootFs(options.root ?? "/");
  const scopeOf = (subject: Scope["subject"]): Scope => {
    const { unit, pid, since, until } = options;
    return { subject, root: fs.root, unit, pid, since, until };
  };
  const local = scopeOf(fs.live ? "live" : "tree");
  const missing = await rootMissing(fs);
  if (missing !== null) return await withoutSubject(options.now(), local, missing);
  const run = sensorRunner(options, fs, local);
  const host = await run("host", readHost);
  const given = await run("given log", ({ signal }) => readGivenLogs(options, signal), LOG_LIMIT_MS);
  const unit = await run("unit", readUnit);
  const workload = await run("processes", (context) => readWorkload(context, unit), WORKLOAD_LIMIT_MS);
  if (given.state === "read" && options.root === null && !isOfThisMachine(given.value, host, workload)) {
    return evidenceOnly(options, scopeOf("evidence"), given.value.facts);
  }
  const pci = await run("PCI devices", readPci);
  const log = given.state === "read" ? logReading(given.value) : await defaultLog(options, run, given, unit, workload);
  return {
    schema: "vgpu-agent/facts/1",
    collectedAt: momentOf(local, host, log, options.now()),
    scope: local,
    host,
    self: await run("the agent itself", readSelf),
    pci,
    bars: await run("BAR registers", (context) => readBars(context, pci), BAR_LIMIT_MS),
    lockdown: await run("kernel lockdown", readLockdown),
    unit,
    workload,
    preload: await run("/etc/ld.so.preload", readPreload),
    preloadVariable: await run("LD_PRELOAD", (context) => readPreloadVariable(context, workload, unit)),
    shimFiles: await run("shim files", (context) => readShimFiles(context, workload, unit)),
    log,
    stateFiles: await run("state files", (context) => readStateFiles(context, workload)),
    locks: await run("locks", (context) => readLocks(context, workload)),
  };
}

type Run = <T>(
  name: string,
  sensor: (context: SensorContext) => Promise<Reading<T>>,
  limitMs?: number,
) => Promise<Reading<T>>;

function sensorRunner(options: CollectOptions, fs: RootFs, scope: Scope): Run {
  return (name, sensor, limitMs = LIMIT_MS) => {
    options.onSensor(name);
    return withLimit(name, limitMs, (signal) => sensor({ fs, scope, signal, now: options.now }));
  };
}

async function defaultLog(
  options: CollectOptions,
  run: Run,
  given: Reading<LogChoice>,
  unit: Reading<UnitFacts>,
  workload: Reading<WorkloadFacts>,
): Promise<Reading<LogFacts>> {
  // A log that was asked for and could not be read is never replaced by another one.
  if (options.journal !== null || options.log !== null) return given.state === "read" ? logReading(given.value) : given;
  const found = await run("log", (context) => readDefaultLogs(context, unit, workload), LOG_LIMIT_MS);
  return found.state === "read" ? logReading(found.value) : found;
}

function logReading({ facts }: LogChoice): Reading<LogFacts> {
  const lines = facts.sources.reduce((sum, source) => sum + source.entries, 0);
  return wasRead(facts, `${lines} lines of ${facts.sources.map(({ path }) => path).join(", ")}`);
}

/**
 * A log given without --root is of this machine when the journal carries this machine's id, or when a process of the
 * workload writes to that very file. Anything else is a capture.
 */
function isOfThisMachine(given: LogChoice, host: Reading<HostFacts>, workload: Reading<WorkloadFacts>): boolean {
  const machineId = valueIn(host)?.machineId;
  if (machineId != null && given.facts.sources.some(({ machineIds }) => machineIds.includes(machineId))) return true;
  const targets = (valueIn(workload)?.processes ?? []).flatMap(({ stdout, stderr }) => [
    valueIn(stdout),
    valueIn(stderr),
  ]);
  return targets.some((target) => target?.to === "file" && given.files.includes(target.path));
}

/**
 * The moment that is judged. A capture stands still: its own uptime is not in it, so the newest thing that it tells
 * of is the best known.
 */
function momentOf(scope: Scope, host: Reading<HostFacts>, log: Reading<LogFacts>, now: number): number {
  if (scope.subject === "live") return now;
  const newest = (valueIn(log)?.sources ?? []).flatMap(({ lastAt }) => lastAt ?? []);
  return valueIn(host)?.capturedAt ?? (newest.length > 0 ? Math.max(...newest) : now);
}

/** Why there is nothing below a root to read; null when there is something. */
async function rootMissing(fs: RootFs): Promise<NotRead | null> {
  if (fs.live) return null;
  try {
    await fs.list("/");
    return null;
  } catch (error) {
    return notReadFromError(error, `--root ${fs.root}`);
  }
}

async function evidenceOnly(options: CollectOptions, scope: Scope, facts: LogFacts): Promise<Facts> {
  const lastAt = facts.sources.flatMap((source) => source.lastAt ?? []);
  const collectedAt = lastAt.length > 0 ? Math.max(...lastAt) : options.now();
  const machineId = facts.sources.flatMap(({ machineIds }) => machineIds).at(-1) ?? null;
  const bootId = facts.servers.at(-1)?.bootId ?? null;
  const host: HostFacts = { hostname: null, machineId, bootId, bootedAt: null, kernel: null, capturedAt: null };
  return {
    ...(await withoutSubject(collectedAt, scope, notRead("skipped", OTHER_MACHINE))),
    host: wasRead(host, "as the log names it"),
    log: logReading({ facts, files: [] }),
  };
}

/** Facts of a run that reads nothing but the agent itself, with the reason in every other place. */
async function withoutSubject(collectedAt: number, scope: Scope, reason: NotRead): Promise<Facts> {
  return {
    schema: "vgpu-agent/facts/1",
    collectedAt,
    scope,
    self: await withLimit("the agent itself", LIMIT_MS, readSelf),
    host: reason,
    pci: reason,
    bars: reason,
    lockdown: reason,
    unit: reason,
    workload: reason,
    preload: reason,
    preloadVariable: reason,
    shimFiles: reason,
    log: reason,
    stateFiles: reason,
    locks: reason,
  };
}
