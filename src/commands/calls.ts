import type { Ledger } from "../facts/ledger.ts";
import { buildCallsReport, type CallsReport } from "../report/calls.ts";
import { renderCallsTable } from "../report/calls-table.ts";
import { bulkFileLedger } from "../sensors/ledger/bulk-file-ledger.ts";
import { bulkLedger } from "../sensors/ledger/bulk-ledger.ts";
import { type DebugCost, LogLedger } from "../sensors/ledger/log-ledger.ts";
import type { LogReadSummary } from "../sensors/log-reader.ts";
import { defaultSources, givenSources, type LogSources } from "../sensors/logs.ts";
import { kindOfLog } from "../sensors/open-log.ts";
import { readWorkload } from "../sensors/processes.ts";
import { RootFs } from "../sensors/root-fs.ts";
import { readUnit } from "../sensors/unit.ts";
import { TOOL_VERSION } from "../version.ts";
import type { Window } from "./time-option.ts";

export interface CallsOptions {
  readonly root: string | null;
  readonly unit: string;
  readonly pid: number | null;
  readonly window: Window;
  readonly journal: string | null;
  readonly log: string | null;
  /** Measure what per-call logging writes, too: it takes reading every line. */
  readonly cost: boolean;
  readonly json: boolean;
  readonly width: number;
  readonly ascii: boolean;
}

/** Counting is for any size of log: the limit is for a file system that never answers. */
const LIMIT_MS = 600_000;
/** Design: 1 when nothing could be counted, 4 when what was counted is not all. */
const EXIT = { full: 0, partial: 4, none: 1 } as const;

/** The ledger of transport calls of a log: as text, and the exit code that it means. */
export async function calls(options: CallsOptions): Promise<{ readonly text: string; readonly exitCode: number }> {
  const signal = AbortSignal.timeout(LIMIT_MS);
  const sources = await sourcesOf(options, signal);
  const bulk = options.cost ? null : await countInBulk(options, sources);
  const report = bulk === null ? await countEveryLine(sources) : reportOf(bulk, sources, null);
  return { text: render(report, options), exitCode: EXIT[report.coverage] };
}

/** The fast way, for one journal or one plain file; null where lines of several sources belong together. */
async function countInBulk(options: CallsOptions, sources: LogSources): Promise<Ledger | null> {
  const { journal, log, root } = options;
  if (journal !== null && log !== null) return null;
  if (journal === null && log === null) {
    return sources.files.length > 0 ? null : await bulkLedger(new RootFs(root ?? "/"), null, sources.options);
  }
  const path = journal ?? log ?? "";
  const fs = new RootFs("/");
  const kind = await kindOfLog(path, fs).catch(() => null);
  if (kind === "text") return await bulkFileLedger(fs, path, sources.options);
  return kind === "directory" || kind === "journal" ? await bulkLedger(fs, path, sources.options) : null;
}

async function countEveryLine(sources: LogSources): Promise<CallsReport> {
  const ledger = new LogLedger();
  const summaries: LogReadSummary[] = [];
  for (const reader of sources.readers) {
    summaries.push(await reader.read((entry) => ledger.add(entry), sources.options));
  }
  return reportOf(ledger.ledger(summaries), sources, ledger.debugCost());
}

function reportOf(ledger: Ledger, sources: LogSources, debugCost: DebugCost | null): CallsReport {
  return buildCallsReport(ledger, {
    toolVersion: TOOL_VERSION,
    unit: sources.options.unit,
    chosenBecause: "",
    debugCost,
  });
}

async function sourcesOf(options: CallsOptions, signal: AbortSignal): Promise<LogSources> {
  const { unit, pid, window, root } = options;
  const given = await givenSources({ ...window, unit, journal: options.journal, log: options.log }, signal);
  if (given !== null) return given;
  const fs = new RootFs(root ?? "/");
  const scope = { subject: fs.live ? "live" : "tree", root: fs.root, unit, pid, ...window } as const;
  const context = { fs, scope, signal, now: Date.now };
  const described = await readUnit(context);
  return await defaultSources(context, described, await readWorkload(context, described));
}

function render(report: CallsReport, { json, width, ascii }: CallsOptions): string {
  return json ? `${JSON.stringify(report)}\n` : renderCallsTable(report, { width, ascii });
}
