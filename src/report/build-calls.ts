import type { CallCount, Ledger } from "../facts/ledger.ts";
import { callName, formatCallId } from "../protocol/call-ids.ts";
import { percentileOf } from "../protocol/latency.ts";
import type { CallRow, CallsReport } from "./calls.ts";

export interface CallsInfo {
  readonly toolVersion: string;
  readonly unit: string;
  /** Live: the process that was asked for instead of a unit. */
  readonly pid: number | null;
  readonly chosenBecause: string;
  /** Live: whether a process is of what was asked for, null where nobody knows. Null for a log. */
  readonly isAskedFor: ((pid: number) => boolean | null) | null;
}

/** The ledger as it is published: one row a call id, over all processes, most frequent first. */
export function buildCallsReport(ledger: Ledger, info: CallsInfo): CallsReport {
  const total = sum(ledger.calls.map((call) => call.count));
  const seconds = ledger.from === null || ledger.to === null ? null : Math.max(0, ledger.to - ledger.from) / 1000;
  const byId = Map.groupBy(ledger.calls, ({ callId }) => callId);
  const rows = [...byId].map(([id, calls]) => rowOf(id, calls, total, seconds));
  const byPid = Map.groupBy(ledger.calls, ({ pid }) => pid);
  const processes = ledger.processes.map(({ pid, comm, libraries, unit }) => ({
    pid,
    comm,
    libraries: [...libraries],
    calls: sum((byPid.get(pid) ?? []).map(({ count }) => count)),
    unit,
    asked_for: info.isAskedFor?.(pid) ?? null,
  }));
  const others = processes.filter(({ asked_for }) => asked_for === false);
  return {
    schema: "vgpu-agent/calls/1",
    tool_version: info.toolVersion,
    unit: info.unit,
    pid: info.pid,
    source: ledger.source,
    chosen_because: info.chosenBecause,
    window: { from: iso(ledger.from), to: iso(ledger.to), seconds },
    coverage: ledger.coverage,
    gaps: [...ledger.gaps],
    notes: [...ledger.notes],
    dropped: ledger.dropped,
    possible_drops: possibleDropsOf(ledger),
    total,
    of_others: info.isAskedFor === null ? null : sum(others.map(({ calls }) => calls)),
    calls: rows.sort((a, b) => b.count - a.count || a.call_id.localeCompare(b.call_id)),
    open: ledger.open.map(({ pid, tid, callId, ageMs }) => ({
      pid,
      tid,
      call_id: formatCallId(callId),
      name: callName(callId),
      age_ms: Math.max(0, ageMs),
    })),
    processes: processes.sort((a, b) => b.calls - a.calls || a.pid - b.pid),
    debug_cost: costOf(ledger, total),
  };
}

function rowOf(callId: number, counts: readonly CallCount[], total: number, seconds: number | null): CallRow {
  const entered = sum(counts.map((one) => one.count));
  const results = mergeCounts(counts.map((one) => one.results));
  const latency = mergeCounts(counts.map((one) => one.latency));
  const failed =
    results === null ? null : sum(Object.entries(results).flatMap(([code, n]) => (code === "0" ? [] : [n])));
  return {
    call_id: formatCallId(callId),
    name: callName(callId),
    pids: [...new Set(counts.map(({ pid }) => pid))].sort((a, b) => a - b),
    count: entered,
    share: total === 0 ? 0 : entered / total,
    per_second: seconds === null || seconds === 0 ? null : entered / seconds,
    bytes_to_host: sum(counts.map((one) => one.bytesToHost)),
    bytes_back: counts.some((one) => one.bytesBack === null) ? null : sum(counts.map((one) => one.bytesBack ?? 0)),
    errors: failed,
    results,
    p50_us: percentileUs(latency, 0.5),
    p99_us: percentileUs(latency, 0.99),
    latency_ns: latency,
  };
}

/** Sums maps of counts; null when none of them was seen. */
function mergeCounts(maps: readonly (Readonly<Record<string, number>> | null)[]): Record<string, number> | null {
  const seen = maps.filter((map) => map !== null);
  if (seen.length === 0) return null;
  const merged = new Map<string, number>();
  for (const [key, value] of seen.flatMap((map) => Object.entries(map)))
    merged.set(key, (merged.get(key) ?? 0) + value);
  return Object.fromEntries(merged);
}

function percentileUs(latency: Readonly<Record<string, number>> | null, share: number): number | null {
  const ns = latency === null ? null : percentileOf(latency, share);
  return ns === null ? null : ns / 1000;
}

function possibleDropsOf({ possibleDrops }: Ledger): CallsReport["possible_drops"] {
  if (possibleDrops === null) return null;
  const { intervals, intervalMs, lines, exact } = possibleDrops;
  return { intervals, interval_ms: intervalMs, lines, exact };
}

function costOf({ debugCost }: Ledger, total: number): CallsReport["debug_cost"] {
  if (debugCost === null) return null;
  const perCall = (of: number) => (total === 0 ? null : of / total);
  return { ...debugCost, per_call_lines: perCall(debugCost.lines), per_call_bytes: perCall(debugCost.bytes) };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function iso(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}
