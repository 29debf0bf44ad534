import type { Ledger } from "../facts/ledger.ts";
import { valueIn } from "../facts/reading.ts";
import { buildCallsReport, type CallsReport } from "../report/calls.ts";
import { type CallsTableOptions, renderCallsTable } from "../report/calls-table.ts";
import type { SensorContext } from "../sensors/context.ts";
import { readWorkload } from "../sensors/processes.ts";
import { RootFs } from "../sensors/root-fs.ts";
import { liveLedger } from "../sensors/trace/live.ts";
import { readUnit } from "../sensors/unit.ts";
import { TOOL_VERSION } from "../version.ts";

export interface LiveOptions extends CallsTableOptions {
  readonly unit: string;
  readonly pid: number | null;
  /** Seconds to count; null follows until `signal` is aborted. */
  readonly seconds: number | null;
  readonly json: boolean;
  /** Given each interim state when following: a screen for a terminal, a line of NDJSON for a program. */
  readonly onTick: ((text: string) => void) | null;
  readonly signal: AbortSignal;
}

/** The kernel offers no way to count, with what the reader can do. */
export class CannotCountLive extends Error {}

const EXIT = { full: 0, partial: 4, none: 1 } as const;

/**
 * Counts transport calls as they happen, by probes in every mapped copy of the shim: no line of a log is needed. It
 * puts a breakpoint into the library's code while it counts, which is what the user asks for with --live.
 */
export async function callsLive(options: LiveOptions): Promise<{ readonly text: string; readonly exitCode: number }> {
  const { unit, pid, signal } = options;
  const scope = { subject: "live", root: "/", unit, pid, since: null, until: null } as const;
  const context: SensorContext = { fs: new RootFs("/"), scope, signal, now: Date.now };
  const workload = valueIn(await readWorkload(context, await readUnit(context)));
  const processes = workload === undefined || workload.processes.length === 0 ? null : workload.processes;
  // Asked for one process, its descendants' calls count too, and nobody else's; asked for a unit, every process that
  // maps the shim does: a runner that starts meanwhile is nobody's yet.
  const only = pid === null ? null : new Set(processes?.map((process) => process.pid) ?? [pid]);
  const report = (ledger: Ledger, refused: string): CallsReport =>
    buildCallsReport(only === null ? ledger : callsOf(ledger, only), {
      toolVersion: TOOL_VERSION,
      unit,
      chosenBecause: refused,
      debugCost: null,
    });
  const result = await liveLedger(context, processes, options.seconds, signal, (ledger) => {
    options.onTick?.(render(report(ledger, ""), options));
  });
  const refused = result.refused.map(({ way, reason }) => `${way}: ${reason}`).join("; ");
  if (result.ledger === null) {
    throw new CannotCountLive(
      `calls cannot be counted live here. ${refused}. \`vgpu-agent calls\` reads the log instead.`,
    );
  }
  const last = report(result.ledger, refused);
  return { text: render(last, options), exitCode: EXIT[last.coverage] };
}

function callsOf(ledger: Ledger, pids: ReadonlySet<number>): Ledger {
  const mine = <T extends { readonly pid: number }>(all: readonly T[]) => all.filter(({ pid }) => pids.has(pid));
  return { ...ledger, calls: mine(ledger.calls), open: mine(ledger.open), processes: mine(ledger.processes) };
}

function render(report: CallsReport, options: LiveOptions): string {
  return options.json ? `${JSON.stringify(report)}\n` : renderCallsTable(report, options);
}
