import { buildCallsReport } from "../report/build-calls.ts";
import type { CallsReport } from "../report/calls.ts";
import { renderCallsTable } from "../report/calls-table.ts";
import { countCalls } from "../sensors/ledger/count-calls.ts";
import { DEFAULT_RATE_LIMIT, type RateLimit } from "../sensors/ledger/rate-cap.ts";
import { readRateLimit } from "../sensors/ledger/rate-limit.ts";
import { defaultSources, givenSources, type LogSources } from "../sensors/logs.ts";
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
  const rateLimit = await rateLimitOf(options, sources);
  // Of this machine's own journal, now is when it was read; another log ends where it ends.
  const isOwn = options.journal === null && options.log === null && options.root === null;
  const ledger = await countCalls(sources.readers, { ...sources.options, rateLimit, nowMs: isOwn ? Date.now() : null });
  const report = buildCallsReport(ledger, {
    toolVersion: TOOL_VERSION,
    unit: sources.options.unit,
    pid: null,
    chosenBecause: "",
    isAskedFor: null,
  });
  return { text: render(report, options), exitCode: EXIT[report.coverage] };
}

/** What limited the journal's lines. Of a journal from elsewhere nobody knows, unless its root is here, too. */
async function rateLimitOf({ root, journal }: CallsOptions, { options }: LogSources): Promise<RateLimit | null> {
  if (journal !== null && root === null) return DEFAULT_RATE_LIMIT;
  return await readRateLimit(new RootFs(root ?? "/"), options.unit);
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
