import type { Ledger, TraceFacts } from "../facts/ledger.ts";
import { type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { WorkloadFacts } from "../facts/workload.ts";
import { buildCallsReport } from "../report/build-calls.ts";
import type { CallsReport } from "../report/calls.ts";
import { type CallsTableOptions, renderCallsTable } from "../report/calls-table.ts";
import type { SensorContext } from "../sensors/context.ts";
import { attribute } from "../sensors/live-calls.ts";
import { readWorkload } from "../sensors/processes.ts";
import { RootFs } from "../sensors/root-fs.ts";
import { liveLedger } from "../sensors/trace/live.ts";
import { readUnit } from "../sensors/unit.ts";
import { TOOL_VERSION } from "../version.ts";
import { CannotCountLive } from "./cannot-count-live.ts";

export interface LiveOptions {
  readonly unit: string;
  readonly pid: number | null;
  /** Seconds to count; null follows until `signal` is aborted. */
  readonly seconds: number | null;
  readonly json: boolean;
  /** Asked for each state: a terminal's width changes. */
  readonly table: () => CallsTableOptions;
  /** Given each interim state when following: a screen for a terminal, a line of NDJSON for a program. */
  readonly onTick: ((text: string) => void) | null;
  readonly signal: AbortSignal;
}

const EXIT = { full: 0, partial: 4, none: 1 } as const;

/**
 * Counts transport calls as they happen, by probes in every mapped copy of the shim: no line of a log is needed. It
 * puts a breakpoint into the library's code while it counts, which is what the user asks for with --live.
 *
 * Asked for a unit, calls of all processes are in the table, with whose they are: they share the device, and a runner
 * that comes and goes between two looks at /proc must not be lost. Asked for a process, its own and its descendants'.
 */
export async function callsLive(options: LiveOptions): Promise<{ readonly text: string; readonly exitCode: number }> {
  const { unit, pid, signal } = options;
  const scope = { subject: "live", root: "/", unit, pid, since: null, until: null } as const;
  // The count's signal ends the wait; what is looked at afterwards is not to end with it.
  const context: SensorContext = { fs: new RootFs("/"), scope, signal: new AbortController().signal, now: Date.now };
  const unitFacts = await readUnit(context);
  const before = await readWorkload(context, unitFacts);
  const processes = valueIn(before)?.processes ?? [];
  const report = (ledger: Ledger, after: Reading<WorkloadFacts>, refused: string): CallsReport => {
    const whose = valueIn(attribute(wasRead({ ledger }), scope, unitFacts, before, after));
    const isAskedFor = whoseOf(ledger, whose, pid);
    return buildCallsReport(pid === null ? ledger : callsOf(ledger, isAskedFor), {
      toolVersion: TOOL_VERSION,
      unit,
      pid,
      chosenBecause: refused,
      isAskedFor,
    });
  };
  const wanted = processes.length === 0 ? null : processes;
  const result = await liveLedger(context, wanted, options.seconds, signal, (ledger) => {
    options.onTick?.(render(report(ledger, before, ""), options));
  });
  const refused = result.refused.map(({ way, reason }) => `${way}: ${reason}`).join("; ");
  if (result.ledger === null) {
    throw new CannotCountLive(
      `calls cannot be counted live here. ${refused}. \`vgpu-agent calls\` reads the log instead.`,
    );
  }
  const last = report(result.ledger, await readWorkload(context, unitFacts), refused);
  return { text: render(last, options), exitCode: EXIT[last.coverage] };
}

/** Whether a process is of what was asked for; null for one that ended before anybody looked at it. */
function whoseOf(
  { processes }: Ledger,
  whose: TraceFacts | undefined,
  pid: number | null,
): (of: number) => boolean | null {
  const own = new Set([...(whose?.workload ?? []), ...(pid === null ? [] : [pid])]);
  const others = new Set(whose?.others ?? []);
  const looked = new Set(processes.filter(({ ppid }) => ppid !== null).map((one) => one.pid));
  return (of) => (own.has(of) ? true : others.has(of) || looked.has(of) ? false : null);
}

/** The part of the process asked for. Calls of processes that nobody knows are not in it, and are said to be missing. */
function callsOf(ledger: Ledger, isAskedFor: (of: number) => boolean | null): Ledger {
  const mine = <T extends { readonly pid: number }>(all: readonly T[]) => all.filter(({ pid }) => isAskedFor(pid));
  const part = { ...ledger, calls: mine(ledger.calls), open: mine(ledger.open), processes: mine(ledger.processes) };
  const unknown = ledger.calls.filter(({ pid }) => isAskedFor(pid) === null);
  if (unknown.length === 0) return part;
  const calls = unknown.reduce((sum, { count }) => sum + count, 0);
  const gap = `${calls} calls of processes that ended before they were looked at (${[...new Set(unknown.map((one) => one.pid))].slice(0, 5).join(", ")}): they may be descendants`;
  return { ...part, coverage: ledger.coverage === "none" ? "none" : "partial", gaps: [...ledger.gaps, gap] };
}

function render(report: CallsReport, options: LiveOptions): string {
  return options.json ? `${JSON.stringify(report)}\n` : renderCallsTable(report, options.table());
}
