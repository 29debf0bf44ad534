import type { Facts, HostFacts, Scope } from "../facts/facts.ts";
import type { TraceFacts } from "../facts/ledger.ts";
import type { LogFacts } from "../facts/log.ts";
import { type NotRead, notRead, notReadFromError, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { UnitFacts, WorkloadFacts } from "../facts/workload.ts";
import { readBars } from "./bar.ts";
import type { SensorContext } from "./context.ts";
import { readHost } from "./host.ts";
import type { LiveRequest } from "./live-calls.ts";
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
  /** Calls to count as they happen, before anything else is judged; null for none. */
  readonly live: LiveRequest | null;
  readonly now: () => number;
  /** Told which sensor is being waited for, for a progress line. */
  readonly onSensor: (name: string) => void;
}

/** Milliseconds. A sensor that needs longer is stuck, not slow; logs are given time for what they are. */
const LIMIT_MS = 5000;
const WORKLOAD_LIMIT_MS = 8000;
/** Above the probe's own limits (5 s to start, 1.5 s for the device), so that they are the ones that speak. */
const BAR_LIMIT_MS = 7000;
const LOG_LIMIT_MS = 60_000;
/** What attaching and detaching may take beside the window itself. */
const LIVE_LIMIT_MS = 30_000;

const NOT_ASKED = "no probe is put into the workload unasked: doctor --live SECONDS counts its calls as they happen";
const NO_HOST =
  "no host was asked for its record (vgpu-agent enroll, then doctor; or --mediator-log): nothing here shows where the calls ran";
const OTHER_ROOT = "a captured tree makes no calls that could be counted";
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
  // A long log keeps this thread busy: nothing else has its time limit running meanwhile.
  const given = await run("given log", ({ signal }) => readGivenLogs(options, signal), LOG_LIMIT_MS);
  // Sensors wait for the kernel more than they work: those that need nothing of each other run side by side.
  const host = run("host", readHost);
  const self = run("the agent itself", readSelf);
  const pci = run("PCI devices", readPci);
  const lockdown = run("kernel lockdown", readLockdown);
  const preload = run("/etc/ld.so.preload", readPreload);
  const unit = await run("unit", readUnit);
  const before = await run("processes", (context) => readWorkload(context, unit), WORKLOAD_LIMIT_MS);
  const { trace, workload } = await traced(options, run, local, unit, before);
  if (given.state === "read" && options.root === null && !isOfThisMachine(given.value, await host, workload)) {
    return evidenceOnly(options, scopeOf("evidence"), given.value);
  }
  const devices = await pci;
  // In a process of its own with limits of its own, which a busy thread here does not disturb.
  const bars = run("BAR registers", (context) => readBars(context, devices), BAR_LIMIT_MS);
  // After the window: a request that ended in it is in the log by now.
  const { log, ledger } = logReadings(await usedLog(options, run, given, unit, workload));
  const preloadVariable = run("LD_PRELOAD", (context) => readPreloadVariable(context, workload, unit));
  const shimFiles = run("shim files", (context) => readShimFiles(context, workload, unit));
  const stateFiles = run("state files", (context) => readStateFiles(context, workload));
  const locks = run("locks", (context) => readLocks(context, workload));
  return {
    schema: "vgpu-agent/facts/1",
    collectedAt: momentOf(local, await host, log, options.now()),
    scope: local,
    host: await host,
    self: await self,
    pci: devices,
    bars: await bars,
    lockdown: await lockdown,
    unit,
    workload,
    preload: await preload,
    preloadVariable: await preloadVariable,
    shimFiles: await shimFiles,
    log,
    ledger,
    trace,
    // Whoever has the host's record adds what it says.
    hostMatch: notRead("skipped", NO_HOST),
    stateFiles: await stateFiles,
    locks: await locks,
  };
}

type Run = <T>(
  name: string,
  sensor: (context: SensorContext) => Promise<Reading<T>>,
  limitMs?: number,
) => Promise<Reading<T>>;

function sensorRunner(options: CollectOptions, fs: RootFs, scope: Scope): Run {
  const running = new Set<string>();
  return async (name, sensor, limitMs = LIMIT_MS) => {
    running.add(name);
    options.onSensor(name);
    const reading = await withLimit(name, limitMs, (signal) => sensor({ fs, scope, signal, now: options.now }));
    running.delete(name);
    // The one that the run has waited for longest.
    const [longest] = running;
    if (longest !== undefined) options.onSensor(longest);
    return reading;
  };
}

/** The calls of a window, where one was asked for, and the processes as they are after it. */
async function traced(
  options: CollectOptions,
  run: Run,
  scope: Scope,
  unit: Reading<UnitFacts>,
  before: Reading<WorkloadFacts>,
): Promise<{ readonly trace: Reading<TraceFacts>; readonly workload: Reading<WorkloadFacts> }> {
  const { live } = options;
  if (live === null) return { trace: notRead("skipped", NOT_ASKED), workload: before };
  if (scope.subject !== "live") return { trace: notRead("skipped", OTHER_ROOT), workload: before };
  // Only now: who does not ask for probes does not wait for what makes them.
  const { attribute, readLiveCalls } = await import("./live-calls.ts");
  const limitMs = live.seconds * 1000 + LIVE_LIMIT_MS;
  const counted = await run("calls as they happen", (context) => readLiveCalls(context, before, live), limitMs);
  if (counted.state !== "read") return { trace: counted, workload: before };
  const after = await run("processes", (context) => readWorkload(context, unit), WORKLOAD_LIMIT_MS);
  return { trace: attribute(counted, scope, unit, before, after), workload: after };
}

async function usedLog(
  options: CollectOptions,
  run: Run,
  given: Reading<LogChoice>,
  unit: Reading<UnitFacts>,
  workload: Reading<WorkloadFacts>,
): Promise<Reading<LogChoice>> {
  // A log that was asked for and could not be read is never replaced by another one.
  if (given.state === "read" || options.journal !== null || options.log !== null) return given;
  return await run("log", (context) => readDefaultLogs(context, unit, workload), LOG_LIMIT_MS);
}

function logReadings(choice: Reading<LogChoice>): Pick<Facts, "log" | "ledger"> {
  if (choice.state !== "read") return { log: choice, ledger: choice };
  const { facts, ledger } = choice.value;
  const lines = facts.sources.reduce((sum, source) => sum + source.entries, 0);
  const what = `${lines} lines of ${facts.sources.map(({ path }) => path).join(", ")}`;
  return { log: wasRead(facts, what), ledger: wasRead(ledger) };
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

async function evidenceOnly(options: CollectOptions, scope: Scope, choice: LogChoice): Promise<Facts> {
  const { facts } = choice;
  const lastAt = facts.sources.flatMap((source) => source.lastAt ?? []);
  const collectedAt = lastAt.length > 0 ? Math.max(...lastAt) : options.now();
  const machineId = facts.sources.flatMap(({ machineIds }) => machineIds).at(-1) ?? null;
  const bootId = facts.servers.at(-1)?.bootId ?? null;
  const host: HostFacts = { hostname: null, machineId, bootId, bootedAt: null, kernel: null, capturedAt: null };
  return {
    ...(await withoutSubject(collectedAt, scope, notRead("skipped", OTHER_MACHINE))),
    host: wasRead(host, "as the log names it"),
    ...logReadings(wasRead(choice)),
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
    ledger: reason,
    trace: reason,
    hostMatch: notRead("skipped", NO_HOST),
    stateFiles: reason,
    locks: reason,
  };
}
