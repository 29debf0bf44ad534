import type { PciFunction } from "../facts/device.ts";
import type { Facts } from "../facts/facts.ts";
import type { LogSample, Seen, ServerLog, ShimProcessLog } from "../facts/log.ts";
import { type Reading, valueIn } from "../facts/reading.ts";
import type { MappedLibrary, ProcessFacts } from "../facts/workload.ts";
import { classifyPciFunction } from "../protocol/pci-identity.ts";
import { isDriverResult } from "../protocol/status.ts";
import { type Evidence, evidence } from "./finding.ts";

/** Clock steps between the boot time in /proc/stat and the log's own times are below this. */
const CLOCK_TOLERANCE_MS = 2000;

/**
 * The workload's process that everything else belongs to: the one asked for, the server, else the first process that
 * uses the GPU, else the unit's main process (a program that has loaded no shim is still the workload).
 */
export function serverOf(facts: Facts): ProcessFacts | undefined {
  const processes = processesOf(facts);
  const mainPid = valueIn(facts.unit)?.mainPid ?? null;
  return (
    processes.find((process) => process.pid === facts.scope.pid) ??
    processes.find((process) => process.role === "server") ??
    gpuProcessesOf(facts)[0] ??
    processes.find((process) => process.pid === mainPid) ??
    processes[0]
  );
}

export function processesOf(facts: Facts): readonly ProcessFacts[] {
  return valueIn(facts.workload)?.processes ?? [];
}

/**
 * The processes whose calls matter: model runners, and whatever else has a driver shim or the device mapped. The
 * server of a stock installation never maps the shim; a discovery runner lives for less than a second.
 */
export function gpuProcessesOf(facts: Facts): ProcessFacts[] {
  return processesOf(facts).filter((process) => {
    if (process.role === "discovery-runner") return false;
    return (
      process.role === "model-runner" || driverShimsOf(process).length > 0 || barMappedBy(facts, process) !== undefined
    );
  });
}

/**
 * Why it cannot be said that no process uses the GPU: a program whose mappings may not be read could be using it (a
 * runner tells itself by its arguments, and Ollama's server does not use it itself). Null when nothing speaks against.
 */
export function idleDoubt(facts: Facts): string | null {
  if (facts.workload.state !== "read") return facts.workload.detail;
  const { processes, incomplete } = facts.workload.value;
  for (const { role, maps, pid } of processes) {
    if (role === "program" && maps.state !== "read")
      return `the mappings of pid ${pid} could not be read: ${maps.detail}`;
  }
  return incomplete[0] ?? null;
}

export function librariesOf(process: ProcessFacts): readonly MappedLibrary[] {
  return valueIn(process.maps)?.libraries ?? [];
}

export function driverShimsOf(process: ProcessFacts): MappedLibrary[] {
  return librariesOf(process).filter((library) => valueIn(library.kind) === "driver-shim");
}

/** The BDF of the vGPU whose BAR0 the process has mapped. Other devices' BARs do not count once the PCI list is known. */
export function barMappedBy(facts: Facts, process: ProcessFacts): string | undefined {
  const pci = valueIn(facts.pci);
  const isOurs = (bdf: string) => pci === undefined || vgpusIn(pci.candidates).some((device) => device.bdf === bdf);
  return valueIn(process.maps)?.bars.find(({ bar, bdf }) => bar === 0 && isOurs(bdf))?.bdf;
}

/** The vGPU of this VM, the first when there are several. */
export function vgpuOf(facts: Facts): PciFunction | undefined {
  return vgpusIn(valueIn(facts.pci)?.candidates ?? [])[0];
}

function vgpusIn(candidates: readonly PciFunction[]): PciFunction[] {
  return candidates.filter((device) => classifyPciFunction(device).kind === "vgpu");
}

/** The process started less than `ms` ago; one whose start is not known may have. */
export function isYoungerThan(facts: Facts, process: ProcessFacts, ms: number): boolean {
  return process.startedAt === null || facts.collectedAt - process.startedAt < ms;
}

export function describe(process: ProcessFacts): string {
  return `${process.role === "program" ? process.comm : process.role} (pid ${process.pid})`;
}

/** The last life of the server in the log that is the life of the process that runs now, and otherwise why not. */
export function currentLife(facts: Facts): Reading<ServerLog> {
  if (facts.log.state !== "read") return facts.log;
  const lives = facts.log.value.servers;
  const last = lives.at(-1);
  if (last === undefined) return { state: "absent", detail: "the log has no line of the workload in the window" };
  const server = serverOf(facts);
  if (server === undefined || facts.scope.subject === "evidence") return { state: "read", value: last };
  const invocation = server.unit === facts.scope.unit ? (valueIn(facts.unit)?.invocationId ?? null) : null;
  const own = invocation === null ? undefined : lives.findLast((life) => life.invocationId === invocation);
  if (own !== undefined) return { state: "read", value: own };
  const otherInvocation = invocation !== null && last.invocationId !== null;
  if (otherInvocation || isBefore(last.lastAt, server) || (last.lastAt === null && !namesLiving(facts, last))) {
    return {
      state: "absent",
      detail: `no line of the log is known to be of ${describe(server)}: the newest are of an earlier process and do not count`,
    };
  }
  return { state: "read", value: last };
}

function isBefore(at: number | null, process: ProcessFacts): boolean {
  return at !== null && process.startedAt !== null && at < process.startedAt - CLOCK_TOLERANCE_MS;
}

/** Lines without times can only be told to be of now by a pid that lives. */
function namesLiving(facts: Facts, life: ServerLog): boolean {
  return processesOf(facts).some((process) => logOf(process, life) !== undefined);
}

/** Lives before the current one: they count for nothing but a word of warning. */
export function earlierLives(facts: Facts): readonly ServerLog[] {
  const lives = valueIn(facts.log)?.servers ?? [];
  const current = valueIn(currentLife(facts));
  return lives.filter((life) => life !== current);
}

/**
 * The log stands for the processes: a log alone was given, or a captured tree has no process of the workload (it was
 * taken after the fact). On a live machine a process that is gone is gone, whatever it wrote.
 */
export function judgedByLog(facts: Facts): boolean {
  return facts.scope.subject !== "live" && processesOf(facts).length === 0;
}

/** What the log says of a process, by the pid that its lines name; not what an earlier process of that pid said. */
export function logOf(process: ProcessFacts, life: ServerLog | undefined): ShimProcessLog | undefined {
  const current = (life?.processes ?? []).filter(({ lastAt }) => !isBefore(lastAt, process));
  return current.find((log) => log.pid === process.nsPid) ?? current.find((log) => log.pid === process.pid);
}

/**
 * A process whose mapped libraries cannot all be told apart (a capture without the files) wrote lines of its own that
 * only a loaded shim writes.
 */
export function shimSpokeIn(process: ProcessFacts, life: ServerLog | undefined): boolean {
  if (librariesOf(process).every(({ kind }) => kind.state === "read")) return false;
  const log = logOf(process, life);
  return log !== undefined && (log.connected !== null || log.deviceFound !== null || log.answered !== null);
}

/**
 * The last round trip that the log proves: an answer, or a first call that came back with the driver's own result
 * (older device models deliver it without an error of the transport).
 */
export function answerOf(log: ShimProcessLog): Seen | null {
  const { answered, initCallFailed } = log;
  const byResult = initCallFailed !== null && isDriverResult(initCallFailed.rc) ? initCallFailed : null;
  return lastOrdinal([byResult]) > lastOrdinal([answered]) ? byResult : answered;
}

/** The lines of a process log that change its transport's state. */
export function transportEvents(log: ShimProcessLog): Seen[] {
  const events = [
    log.connected,
    log.deviceMissing,
    log.bar0OpenFailed,
    log.bar0MapFailed,
    log.initCallFailed,
    log.answered,
    ...log.transportErrors,
    ...log.hostErrors,
    ...log.timeouts,
  ];
  return events.filter((seen): seen is NonNullable<typeof seen> => seen !== null);
}

export function lastOrdinal(seen: readonly (Seen | null)[]): number {
  return seen.reduce((last, next) => Math.max(last, next?.last.ordinal ?? -1), -1);
}

/**
 * The process logs to judge: those of the living GPU processes; when none lives, the last process of this life that
 * used the transport.
 */
export function judgedLogs(facts: Facts): { readonly logs: readonly ShimProcessLog[]; readonly alive: boolean } {
  const life = valueIn(currentLife(facts));
  const living = gpuProcessesOf(facts).flatMap((process) => logOf(process, life) ?? []);
  if (living.length > 0) return { logs: living, alive: true };
  const used = (life?.processes ?? []).filter((log) => transportEvents(log).length > 0);
  const last = used.sort((a, b) => lastOrdinal(transportEvents(a)) - lastOrdinal(transportEvents(b))).at(-1);
  return { logs: last === undefined ? [] : [last], alive: false };
}

/** "process 384 of the log": how a log's process is named where no living process is known. */
export function nameOfLog(log: ShimProcessLog): string {
  return log.pid === null ? "a process of the log" : `process ${log.pid}`;
}

/** The whole of the current life was seen: lines are there, none dropped, none cut, and they come to this log. */
export function logCovers(facts: Facts): boolean {
  return valueIn(facts.log)?.coverage === "full" && currentLife(facts).state === "read" && sinkGap(facts) === null;
}

/** Why the workload's lines do not come to the log that was read; null when they do. */
function sinkGap(facts: Facts): string | null {
  const server = serverOf(facts);
  if (server === undefined) return null;
  const who = `stderr of ${describe(server)}`;
  if (server.stderr.state !== "read") return spoke(facts) ? null : `where ${who} goes is not known`;
  const target = server.stderr.value;
  if (target.to === "journal") return null;
  const files = valueIn(facts.log)?.sources.some(({ kind, entries }) => kind === "file" && entries > 0) === true;
  if (target.to === "null") return `${who} goes to /dev/null`;
  if (target.to === "file" && target.deleted) return `${who} goes to a file that was deleted`;
  return files || spoke(facts)
    ? null
    : `${who} goes to ${target.to === "file" ? target.path : `a ${target.to}`}, which was not read`;
}

/** The log has lines that only the workload itself writes, not only the service manager's. */
function spoke(facts: Facts): boolean {
  const life = valueIn(currentLife(facts));
  return life !== undefined && (life.listening !== null || life.discovery.length > 0 || life.processes.length > 0);
}

/** Why the log does not prove an absence, in words. */
export function coverageGap(facts: Facts): string {
  if (facts.log.state !== "read") return facts.log.detail;
  const life = currentLife(facts);
  if (life.state !== "read") return life.detail;
  const gaps = facts.log.value.sources.flatMap((source) => source.gaps);
  const none = facts.log.value.coverage === "none" ? "the log has no line" : "the log is not whole";
  const sink = sinkGap(facts);
  if (sink !== null) return sink;
  const dropped = facts.log.value.sources.reduce((sum, source) => sum + source.suppressed, 0);
  if (dropped > 0) return `journald dropped ${dropped} lines`;
  return gaps[0] ?? (facts.log.value.coverage === "full" ? "the log is complete" : none);
}

/** What the log was, as evidence for an absence: which source, how many lines, from when to when. */
export function coverageEvidence(facts: Facts): Evidence[] {
  return (valueIn(facts.log)?.sources ?? []).map((source) =>
    evidence(source.kind, source.path, `${source.entries} lines read, ${source.suppressed} dropped`, source.lastAt),
  );
}

export function processEvidence(process: ProcessFacts, file: string, text: string): Evidence {
  return evidence(`/proc/${process.pid}/${file}`, `pid ${process.pid}`, text, null);
}

/**
 * Whether `a` is known to have been written after `b`: by order within one source, by time across sources. Two
 * samples that cannot be compared are in no order.
 */
export function isAfter(a: LogSample, b: LogSample): boolean {
  if (sourceOf(a) === sourceOf(b)) return a.ordinal > b.ordinal;
  return a.at !== null && b.at !== null && a.at > b.at;
}

/** A file's locator is its path and an offset; everything else is a journal cursor. */
function sourceOf({ locator }: LogSample): string {
  return locator.startsWith("/") ? locator.slice(0, locator.lastIndexOf(":")) : "journal";
}
