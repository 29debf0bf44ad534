import { realpath } from "node:fs/promises";
import type { Ledger } from "../facts/ledger.ts";
import type { LogFacts } from "../facts/log.ts";
import { notRead, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { UnitFacts, WorkloadFacts } from "../facts/workload.ts";
import type { SensorContext } from "./context.ts";
import { defaultJournal } from "./journal/directory.ts";
import { LogLedger } from "./ledger/log-ledger.ts";
import { DEFAULT_RATE_LIMIT, type RateLimit } from "./ledger/rate-cap.ts";
import { readRateLimit } from "./ledger/rate-limit.ts";
import { LogActivity } from "./log-activity.ts";
import { LogFileReader } from "./log-file.ts";
import type { CountedCalls, LogEntry, LogFold, LogReader, LogReadOptions, LogReadSummary } from "./log-reader.ts";
import { mergeLogs } from "./merge-logs.ts";
import { openLog } from "./open-log.ts";
import { readInBulk } from "./read-in-bulk.ts";
import { RootFs } from "./root-fs.ts";

/** The logs that were read, and which plain files they are. */
export interface LogChoice {
  readonly facts: LogFacts;
  /** Calls by the per-call lines of the same reading. */
  readonly ledger: Ledger;
  /** Real paths of the files given. */
  readonly files: readonly string[];
}

export interface GivenLogs {
  readonly journal: string | null;
  readonly log: string | null;
  readonly unit: string;
  readonly since: number | null;
  readonly until: number | null;
}

/** Lines of the manager about a start come a little before the process that it starts. */
const BEFORE_START_MS = 60_000;
/** How far back a default journal is read when no process of the workload runs. */
const LOOK_BACK_MS = 24 * 3600 * 1000;

/** What to read, in this order, and what of it. */
export interface LogSources {
  readonly readers: readonly LogReader[];
  readonly options: LogReadOptions;
  /** Real paths of plain files among them. */
  readonly files: readonly string[];
}

/** The logs named with --journal and --log; null when none was. Their paths are this machine's, not the root's. */
export async function givenSources(given: GivenLogs, signal: AbortSignal): Promise<LogSources | null> {
  const paths = [given.journal, given.log].filter((path) => path !== null);
  if (paths.length === 0) return null;
  const { unit, since, until } = given;
  const fs = new RootFs("/");
  return {
    readers: await Promise.all(paths.map((path) => openLog(path, fs))),
    options: { unit, since, until, afterCursor: null, signal },
    files: await Promise.all(paths.map((path) => realpath(path).catch(() => path))),
  };
}

/** What the logs named with --journal and --log say; `skipped` when none was named. */
export async function readGivenLogs(given: GivenLogs, signal: AbortSignal): Promise<Reading<LogChoice>> {
  const sources = await givenSources(given, signal);
  if (sources === null) return notRead("skipped", "no log was named");
  return wasRead({ ...(await readAll(sources, DEFAULT_RATE_LIMIT, null)), files: sources.files });
}

/**
 * The log of the workload where it really goes: the file that its stderr leads to, and the journal, which keeps its
 * stdout and the manager's lines. Without a process, where the unit says that its stderr goes.
 */
export async function defaultSources(
  context: SensorContext,
  unit: Reading<UnitFacts>,
  workload: Reading<WorkloadFacts>,
): Promise<LogSources> {
  const readers: LogReader[] = [defaultJournal(context.fs)];
  const file = await sinkFile(context, unit, workload);
  if (file !== null) readers.push(new LogFileReader(file, context.fs));
  const { scope, signal } = context;
  const since = scope.since ?? defaultSince(context, unit, workload);
  const options = { unit: ownUnit(scope.unit, workload), since, until: scope.until, afterCursor: null, signal };
  return { readers, options, files: file === null ? [] : [file] };
}

/** What the workload's log says, where it really goes. */
export async function readDefaultLogs(
  context: SensorContext,
  unit: Reading<UnitFacts>,
  workload: Reading<WorkloadFacts>,
): Promise<Reading<LogChoice>> {
  const sources = await defaultSources(context, unit, workload);
  const rateLimit = await readRateLimit(context.fs, sources.options.unit);
  const nowMs = context.fs.live ? context.now() : null;
  return wasRead({ ...(await readAll(sources, rateLimit, nowMs)), files: sources.files });
}

/** With --pid the process's own unit is the one whose lines count. */
function ownUnit(unit: string, workload: Reading<WorkloadFacts>): string {
  const found = valueIn(workload);
  return found?.foundBy === "pid" ? (found.processes[0]?.unit ?? unit) : unit;
}

/** The file that the workload's stderr goes to; null: it goes to the journal, or nowhere. */
export async function sinkFile(
  context: SensorContext,
  unit: Reading<UnitFacts>,
  workload: Reading<WorkloadFacts>,
): Promise<string | null> {
  const processes = valueIn(workload)?.processes ?? [];
  const server = processes.find(({ role }) => role === "server") ?? processes[0];
  if (server !== undefined) {
    const target = valueIn(server.stderr);
    return target?.to === "file" && !target.deleted ? await context.fs.viewOf(server.pid, target.path) : null;
  }
  const written = /^(?:append|file|truncate):(\/.+)$/.exec(valueIn(unit)?.standardError ?? "");
  return written?.[1] ?? null;
}

/** Since when lines count, epoch milliseconds. A capture is judged whole (null). On a live machine lines before the process's start are of an earlier one. */
export function defaultSince(
  context: SensorContext,
  unit: Reading<UnitFacts>,
  workload: Reading<WorkloadFacts>,
): number | null {
  if (context.scope.subject !== "live") return null;
  const starts = (valueIn(workload)?.processes ?? []).flatMap(({ startedAt }) => startedAt ?? []);
  if (starts.length > 0) return Math.min(...starts) - BEFORE_START_MS;
  const last = valueIn(unit)?.activeEnterAt ?? null;
  return last === null ? context.now() - LOOK_BACK_MS : last - BEFORE_START_MS;
}

/** What the doctor makes of one log: what happened, and the calls by their lines. */
class DoctorFold implements LogFold {
  readonly activity: LogActivity;
  readonly ledger: LogLedger;

  constructor(unit: string, rateLimit: RateLimit | null) {
    this.ledger = new LogLedger({ everyLine: true, rateLimit });
    this.activity = new LogActivity(unit);
  }

  add(entry: LogEntry): void {
    this.activity.add(entry);
    this.ledger.add(entry);
  }

  addCounted(calls: CountedCalls): void {
    this.ledger.addCounted(calls);
  }

  addDebugLines(lines: number, bytes: number): void {
    this.ledger.addDebugLines(lines, bytes);
  }

  noteLines(atMs: number, lines: number): void {
    this.ledger.noteLines(atMs, lines);
  }
}

/** `rateLimit`: journald's for the unit. `nowMs`: null for logs that are not this machine's own. */
async function readAll(
  { readers, options }: LogSources,
  rateLimit: RateLimit | null,
  nowMs: number | null,
): Promise<Omit<LogChoice, "files">> {
  const parts: LogFacts[] = [];
  const summaries: LogReadSummary[] = [];
  const ledger = new LogLedger({ everyLine: true });
  for (const reader of readers) {
    const newFold = () => new DoctorFold(options.unit, rateLimit);
    const { fold, summary } = await readInBulk(reader, { ...options, lines: "all" }, newFold);
    summaries.push(summary);
    parts.push(fold.activity.facts([summary]));
    ledger.absorb(fold.ledger);
  }
  return { facts: mergeLogs(parts), ledger: ledger.ledger(summaries, nowMs) };
}
