import { z } from "zod";
import type { CallCount, Ledger } from "../facts/ledger.ts";
import { callName, formatCallId } from "../protocol/call-ids.ts";
import { percentileOf } from "../protocol/latency.ts";

/** Schema of `calls --json`, first version. The published JSON Schema (schema/calls-1.json) is generated from it. */

const time = z.iso.datetime();
const count = z.number().int().nonnegative();

export const callRowSchema = z.strictObject({
  call_id: z.string().regex(/^0x[0-9a-f]{4}$/),
  name: z.string(),
  pids: z.array(count).describe("processes that made it"),
  count: count.describe("calls entered"),
  share: z.number().min(0).max(1).describe("of all calls counted"),
  per_second: z.number().nonnegative().nullable().describe("of the window really covered; null when it is not known"),
  bytes_to_host: count,
  bytes_back: count.nullable().describe("null where the source does not see it"),
  errors: count.nullable().describe("returned with another value than 0; null where returns are not seen"),
  results: z.record(z.string(), count).nullable().describe("by return value; a log tells of failures alone"),
  p50_us: z.number().nonnegative().nullable(),
  p99_us: z.number().nonnegative().nullable(),
  latency_ns: z.record(z.string(), count).nullable().describe("key n: calls of [2^n, 2^(n+1)) ns"),
});

export const callsReportSchema = z.strictObject({
  schema: z.literal("vgpu-agent/calls/1"),
  tool_version: z.string(),
  unit: z.string(),
  source: z.enum(["ebpf", "tracefs", "journal", "file"]),
  chosen_because: z.string().describe("why not a better source; empty when there is none better"),
  window: z.strictObject({ from: time.nullable(), to: time.nullable(), seconds: z.number().nonnegative().nullable() }),
  coverage: z.enum(["full", "partial", "none"]),
  gaps: z.array(z.string()),
  dropped: count,
  total: count,
  calls: z.array(callRowSchema),
  open: z.array(
    z.strictObject({ pid: count, tid: count, call_id: z.string(), name: z.string(), age_ms: z.number().nonnegative() }),
  ),
  processes: z.array(z.strictObject({ pid: count, comm: z.string(), libraries: z.array(z.string()) })),
  debug_cost: z
    .strictObject({ lines: count, bytes: count, per_call_lines: z.number(), per_call_bytes: z.number() })
    .nullable()
    .describe("what per-call logging wrote into the log; null where it is off or not seen"),
});

export type CallRow = z.infer<typeof callRowSchema>;
export type CallsReport = z.infer<typeof callsReportSchema>;

export interface CallsInfo {
  readonly toolVersion: string;
  readonly unit: string;
  readonly chosenBecause: string;
  readonly debugCost: { readonly lines: number; readonly bytes: number } | null;
}

/** The ledger as it is published: one row a call id, over all processes, most frequent first. */
export function buildCallsReport(ledger: Ledger, info: CallsInfo): CallsReport {
  const total = ledger.calls.reduce((sum, call) => sum + call.count, 0);
  const seconds = ledger.from === null || ledger.to === null ? null : Math.max(0, ledger.to - ledger.from) / 1000;
  const ids = [...new Set(ledger.calls.map(({ callId }) => callId))];
  const rows = ids.map((id) =>
    rowOf(
      id,
      ledger.calls.filter(({ callId }) => callId === id),
      total,
      seconds,
    ),
  );
  return {
    schema: "vgpu-agent/calls/1",
    tool_version: info.toolVersion,
    unit: info.unit,
    source: ledger.source,
    chosen_because: info.chosenBecause,
    window: { from: iso(ledger.from), to: iso(ledger.to), seconds },
    coverage: ledger.coverage,
    gaps: [...ledger.gaps],
    dropped: ledger.dropped,
    total,
    calls: rows.sort((a, b) => b.count - a.count || a.call_id.localeCompare(b.call_id)),
    open: ledger.open.map(({ pid, tid, callId, ageMs }) => ({
      pid,
      tid,
      call_id: formatCallId(callId),
      name: callName(callId),
      age_ms: Math.max(0, ageMs),
    })),
    processes: ledger.processes.map(({ pid, comm, libraries }) => ({ pid, comm, libraries: [...libraries] })),
    debug_cost: costOf(info.debugCost, total),
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

function costOf(cost: CallsInfo["debugCost"], total: number): CallsReport["debug_cost"] {
  if (cost === null || total === 0) return null;
  return { ...cost, per_call_lines: cost.lines / total, per_call_bytes: cost.bytes / total };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function iso(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}
