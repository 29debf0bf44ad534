import type { Facts } from "../facts/facts.ts";
import type { LogSample, Seen, ServerLog, ShimProcessLog } from "../facts/log.ts";
import { type Reading, valueIn } from "../facts/reading.ts";
import type { MappedLibrary, ProcessFacts } from "../facts/workload.ts";
import { type Evidence, evidence } from "./finding.ts";

/** Clock steps between the boot time in /proc/stat and the log's own times are below this. */
const CLOCK_TOLERANCE_MS = 2000;

/** The workload's process that everything else belongs to: the server, else the first process that uses the GPU. */
export function serverOf(facts: Facts): ProcessFacts | undefined {
  const processes = processesOf(facts);
  return (
    processes.find((process) => process.pid === facts.scope.pid) ??
    processes.find((process) => process.role === "server") ??
    gpuProcessesOf(facts)[0]
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
    return process.role === "model-runner" || driverShimsOf(process).length > 0 || barMappedBy(process) !== undefined;
  });
}

export function librariesOf(process: ProcessFacts): readonly MappedLibrary[] {
  return valueIn(process.maps)?.libraries ?? [];
}

export function driverShimsOf(process: ProcessFacts): MappedLibrary[] {
  return librariesOf(process).filter((library) => valueIn(library.kind) === "driver-shim");
}

/** The BDF whose BAR0 the process has mapped. */
export function barMappedBy(process: ProcessFacts): string | undefined {
  return valueIn(process.maps)?.bars.find((mapping) => mapping.bar === 0)?.bdf;
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
  const unit = valueIn(facts.unit);
  const server = serverOf(facts);
  if (server === undefined || facts.scope.subject === "evidence") return { state: "read", value: last };
  if (unit?.invocationId != null && last.invocationId === unit.invocationId) return { state: "read", value: last };
  if (last.lastAt !== null && server.startedAt !== null && last.lastAt < server.startedAt - CLOCK_TOLERANCE_MS) {
    return {
      state: "absent",
      detail: `the log's newest line is older than ${describe(server)}: it is of an earlier process and does not count`,
    };
  }
  return { state: "read", value: last };
}

/** Lives before the current one: they count for nothing but a word of warning. */
export function earlierLives(facts: Facts): readonly ServerLog[] {
  const lives = valueIn(facts.log)?.servers ?? [];
  return currentLife(facts).state === "read" ? lives.slice(0, -1) : lives;
}

/**
 * The log stands for the processes: a log alone was given, or a captured tree has no process of the workload (it was
 * taken after the fact). On a live machine a process that is gone is gone, whatever it wrote.
 */
export function judgedByLog(facts: Facts): boolean {
  return facts.scope.subject !== "live" && processesOf(facts).length === 0;
}

/** What the log says of a process, by the pid that its lines name. */
export function logOf(process: ProcessFacts, life: ServerLog | undefined): ShimProcessLog | undefined {
  return life?.processes.find((log) => log.pid === process.nsPid || log.pid === process.pid);
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

/** The whole of the current life was seen: lines are there, none dropped, none cut. */
export function logCovers(facts: Facts): boolean {
  return valueIn(facts.log)?.coverage === "full" && currentLife(facts).state === "read";
}

/** Why the log does not prove an absence, in words. */
export function coverageGap(facts: Facts): string {
  if (facts.log.state !== "read") return facts.log.detail;
  const life = currentLife(facts);
  if (life.state !== "read") return life.detail;
  const gaps = facts.log.value.sources.flatMap((source) => source.gaps);
  const dropped = facts.log.value.sources.reduce((sum, source) => sum + source.suppressed, 0);
  if (dropped > 0) return `journald dropped ${dropped} lines`;
  return gaps[0] ?? "the log is complete";
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

export function sampleBefore(a: LogSample, b: LogSample): boolean {
  return a.ordinal < b.ordinal;
}
