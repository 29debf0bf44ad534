import type { Facts } from "../facts/facts.ts";
import type { CallCount, Ledger } from "../facts/ledger.ts";
import { valueIn } from "../facts/reading.ts";
import { callName, formatCallId } from "../protocol/call-ids.ts";
import { grouped, spanOf } from "./quantities.ts";
import type { Report } from "./report.ts";
import { isoTime } from "./text.ts";

type Activity = Report["activity"];
type Row = Activity["calls"][number];

/**
 * The calls of the workload: as the kernel counted them, where that was asked for and could be had; else as the log's
 * per-call lines tell of them.
 */
export function activityOf(facts: Facts): Activity {
  const trace = valueIn(facts.trace);
  if (trace !== undefined) {
    const own = trace.ledger.calls.filter(({ pid }) => trace.workload.includes(pid));
    return {
      ...partOf(trace.ledger),
      source: trace.ledger.coverage === "none" ? "none" : "uprobe",
      calls: rowsOf(own),
    };
  }
  const ledger = valueIn(facts.ledger);
  if (ledger === undefined) return { window: { from: null, to: null }, coverage: "none", source: "none", calls: [] };
  const calls = rowsOf(ledger.calls);
  // Without per-call lines a log counts no call; that is not a count of none.
  return { ...partOf(ledger), source: ledger.coverage === "none" ? "none" : "log", calls };
}

function partOf({ from, to, coverage }: Ledger): Pick<Activity, "window" | "coverage"> {
  return { window: { from: isoTime(from), to: isoTime(to) }, coverage };
}

/** One row a call id, over all processes, most frequent first. */
function rowsOf(calls: readonly CallCount[]): Row[] {
  const ids = [...new Set(calls.map(({ callId }) => callId))];
  return ids
    .map((id) => {
      const mine = calls.filter(({ callId }) => callId === id);
      return {
        call_id: formatCallId(id),
        name: callName(id),
        count: sum(mine.map(({ count }) => count)),
        bytes: sum(mine.map(({ bytesToHost, bytesBack }) => bytesToHost + (bytesBack ?? 0))),
        errors: errorsOf(mine),
      };
    })
    .sort((a, b) => b.count - a.count || a.call_id.localeCompare(b.call_id));
}

/** Calls that came back with something else than 0; null where no return was seen. */
function errorsOf(calls: readonly CallCount[]): number | null {
  const seen = calls.map(({ results }) => results).filter((results) => results !== null);
  if (seen.length === 0) return null;
  return sum(seen.flatMap((results) => Object.entries(results)).map(([code, n]) => (code === "0" ? 0 : n)));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** What people read of the calls: a line that says how they were counted, and the most frequent of them. */
export interface ActivityText {
  readonly head: string;
  /** All of it on one line, for where there is no room. */
  readonly brief: string;
  readonly rows: readonly Row[];
  /** Rows left out. */
  readonly left: number;
}

/** Null where no call was counted: the sources say why. */
export function activityText({ activity }: Report, limit: number): ActivityText | null {
  const { source, calls, coverage, window } = activity;
  if (source === "none") return null;
  const total = sum(calls.map(({ count }) => count));
  const how = source === "uprobe" ? "counted by the kernel" : "by the log's per-call lines";
  const time =
    window.from === null || window.to === null
      ? ""
      : ` in ${spanOf(Math.max(0, Date.parse(window.to) - Date.parse(window.from)) * 1000)}`;
  const rows = calls.slice(0, limit);
  const most = rows.map(({ name, count, errors }) => `${name} ${grouped(count)}${errors ? ` (${errors} failed)` : ""}`);
  return {
    head: `Calls of the workload: ${grouped(total)}${time}, ${how}, coverage ${coverage}`,
    brief: `${grouped(total)} calls${time} (${source}, ${coverage})${most.length === 0 ? "" : `: ${most.join(", ")}`}`,
    rows,
    left: Math.max(0, calls.length - limit),
  };
}
