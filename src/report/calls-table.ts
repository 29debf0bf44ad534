import { bucketsOf, type LatencyHistogram } from "../protocol/latency.ts";
import type { CallRow, CallsReport } from "./calls.ts";
import { cut, visible, visibleAscii } from "./text.ts";

export interface CallsTableOptions {
  readonly width: number;
  readonly ascii: boolean;
}

const SOURCES: Readonly<Record<CallsReport["source"], string>> = {
  ebpf: "counted in the kernel (uprobes, eBPF)",
  tracefs: "counted from the kernel's trace (uprobes, tracefs)",
  journal: "counted from the journal's per-call lines",
  file: "counted from the log file's per-call lines",
};
const BARS = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] as const;
const ASCII_BARS = [".", ":", "-", "=", "+", "*", "#", "@"] as const;
/** Columns of the histogram: from 1 µs to about 1 min, two powers of two each. */
const FIRST_EXPONENT = 10;
const COLUMNS = 14;
const PER_COLUMN = 2;

const HEADERS = ["call", "count", "share", "/s", "to host", "back", "errors", "p50", "p99", "1µs … 1min"] as const;

/** The ledger for people: what it was counted from, one line a call id, what is open and what it does not cover. */
export function renderCallsTable(report: CallsReport, { width, ascii }: CallsTableOptions): string {
  const safe = ascii ? visibleAscii : visible;
  const lines = [headline(report)];
  if (report.chosen_because !== "") lines.push(`not a better way: ${report.chosen_because}`);
  for (const { pid, comm, libraries } of report.processes) {
    if (libraries.length > 0) lines.push(`pid ${pid} ${comm}: ${libraries.join(", ")}`);
  }
  if (report.calls.length > 0) lines.push("", ...table(report, ascii));
  for (const { pid, tid, name, age_ms } of report.open) {
    lines.push(`waiting: ${name} of pid ${pid} (thread ${tid}), entered ${spanOf(age_ms * 1000)} ago`);
  }
  const cost = report.debug_cost;
  if (cost !== null) {
    lines.push(
      "",
      `VGPU_DEBUG is on: ${cost.per_call_lines.toFixed(1)} lines and ${Math.round(cost.per_call_bytes)} bytes of text a call (${bytesOf(cost.bytes)} here).`,
      "To turn it off, remove the variable from the unit (VGPU_DEBUG=0 turns it on too), daemon-reload, restart when idle.",
    );
  }
  if (cost === null && report.total > 0 && (report.source === "journal" || report.source === "file")) {
    lines.push("", "VGPU_DEBUG was on: its per-call lines are what was counted. --cost measures what they cost.");
  }
  for (const gap of report.gaps) lines.push(`not covered: ${gap}`);
  const spelled = ascii ? lines.map((line) => line.replaceAll("µ", "u")) : lines;
  return `${spelled.map((line) => cut(safe(line), width, ascii ? "..." : "…").trimEnd()).join("\n")}\n`;
}

function headline({ unit, source, window, coverage, total, dropped }: CallsReport): string {
  const seconds = window.seconds === null ? "an unknown time" : spanOf(window.seconds * 1e6);
  const lost = dropped > 0 ? ` + ${dropped} dropped` : "";
  return `${unit}: ${total}${lost} calls in ${seconds}, ${SOURCES[source]}; coverage ${coverage}`;
}

function table(report: CallsReport, ascii: boolean): string[] {
  const rows = report.calls.map((row) => cells(row, ascii));
  const widths = HEADERS.map((header, column) =>
    Math.max(header.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const align = (row: readonly string[]) =>
    row
      .map((text, column) =>
        column === 0 || column === 9 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0),
      )
      .join("  ");
  return [align(HEADERS), ...rows.map(align)];
}

function cells(row: CallRow, ascii: boolean): string[] {
  return [
    `${row.name} ${row.call_id}`,
    String(row.count),
    `${(row.share * 100).toFixed(1)}%`,
    row.per_second === null ? "?" : rateOf(row.per_second),
    bytesOf(row.bytes_to_host),
    row.bytes_back === null ? "?" : bytesOf(row.bytes_back),
    row.errors === null ? "?" : String(row.errors),
    row.p50_us === null ? "?" : spanOf(row.p50_us),
    row.p99_us === null ? "?" : spanOf(row.p99_us),
    row.latency_ns === null ? "" : histogramOf(row.latency_ns, ascii),
  ];
}

/** One character for two powers of two; what is shorter or longer than the scale is in its first or last column. */
function histogramOf(latency: LatencyHistogram, ascii: boolean): string {
  const columns = new Array<number>(COLUMNS).fill(0);
  for (const [exponent, count] of bucketsOf(latency)) {
    const column = Math.min(COLUMNS - 1, Math.max(0, Math.floor((exponent - FIRST_EXPONENT) / PER_COLUMN)));
    columns[column] = (columns[column] ?? 0) + count;
  }
  const most = Math.max(...columns);
  const bars = ascii ? ASCII_BARS : BARS;
  return columns
    .map((count) => (count === 0 ? " " : (bars[Math.min(7, Math.ceil((count / most) * 8) - 1)] ?? " ")))
    .join("");
}

function rateOf(perSecond: number): string {
  return perSecond >= 100 ? String(Math.round(perSecond)) : perSecond.toFixed(1);
}

/** Microseconds as people read them. */
function spanOf(us: number): string {
  if (us < 1000) return `${us < 10 ? us.toFixed(1) : Math.round(us)}µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 1e4 ? 1 : 0)}ms`;
  if (us < 120e6) return `${(us / 1e6).toFixed(us < 1e7 ? 1 : 0)}s`;
  return us < 7200e6 ? `${Math.round(us / 60e6)}min` : `${(us / 3600e6).toFixed(1)}h`;
}

function bytesOf(bytes: number): string {
  if (bytes < 1024) return `${bytes}B`;
  const units = ["KiB", "MiB", "GiB", "TiB"] as const;
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)}${units[unit]}`;
}
