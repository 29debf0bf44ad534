import { bucketsOf, type LatencyHistogram } from "../protocol/latency.ts";
import type { CallRow, CallsReport } from "./calls.ts";
import { bytesOf, grouped, rateOf, spanOf } from "./quantities.ts";
import { Page } from "./text.ts";

export interface CallsTableOptions {
  /** Columns: the table leaves out what has no room, everything else is wrapped. */
  readonly width: number;
  readonly ascii: boolean;
}

type Report = CallsReport;

const SOURCES: Readonly<Record<Report["source"], string>> = {
  ebpf: "counted in the kernel (uprobes, eBPF)",
  tracefs: "counted from the kernel's trace (uprobes, tracefs)",
  journal: "counted from the journal's per-call lines",
  file: "counted from the log file's per-call lines",
};
const MIN_WIDTH = 40;
const GAP = "  ";
const HANG = { hang: 2 } as const;
/** Processes that are named, those with the most calls; the rest is summed up. */
const PROCESSES_SHOWN = 8;

/** A call that is under way for so long is named. */
const LONG_MS = 1000;

const BARS = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] as const;
const ASCII_BARS = [".", ":", "-", "=", "+", "*", "#", "@"] as const;
/** Columns of the histogram: from 1 µs to about 1 min, two powers of two each. */
const FIRST_EXPONENT = 10;
const COLUMNS = 14;
const PER_COLUMN = 2;

/** One column of the table. `room` says which goes first where there is not room for all: the highest. */
interface Column {
  readonly header: string;
  readonly room: number;
  readonly left?: true;
  /** Null: this source does not see it. */
  readonly cell: (row: CallRow, ascii: boolean) => string | null;
}

const TABLE: readonly Column[] = [
  { header: "call", room: 0, left: true, cell: ({ name }) => name },
  { header: "id", room: 4, left: true, cell: ({ call_id }) => call_id },
  { header: "count", room: 0, cell: ({ count }) => grouped(count) },
  { header: "share", room: 3, cell: ({ share }) => `${(share * 100).toFixed(1)}%` },
  { header: "/s", room: 5, cell: ({ per_second }) => (per_second === null ? null : rateOf(per_second)) },
  { header: "to host", room: 1, cell: ({ bytes_to_host }) => bytesOf(bytes_to_host) },
  { header: "back", room: 2, cell: ({ bytes_back }) => (bytes_back === null ? null : bytesOf(bytes_back)) },
  { header: "errors", room: 0, cell: ({ errors }) => (errors === null ? null : grouped(errors)) },
  { header: "p50", room: 1, cell: ({ p50_us }) => (p50_us === null ? null : spanOf(p50_us)) },
  { header: "p99", room: 1, cell: ({ p99_us }) => (p99_us === null ? null : spanOf(p99_us)) },
  {
    header: "1µs … 1min",
    room: 6,
    left: true,
    cell: ({ latency_ns }, ascii) => (latency_ns === null ? null : histogramOf(latency_ns, ascii)),
  },
];

/** The ledger for people: what it was counted from, one line a call id, who made them, and what it does not cover. */
export function renderCallsTable(report: Report, { width, ascii }: CallsTableOptions): string {
  const page = new Page(Math.max(MIN_WIDTH, Math.floor(width) || MIN_WIDTH), ascii);
  const put = (text: string, placement: object = HANG) => page.put(ascii ? text.replaceAll("µ", "u") : text, placement);
  put(headline(report));
  if (report.chosen_because !== "") put(`not a better way: ${report.chosen_because}`);
  if (report.calls.length > 0) {
    page.gap();
    putTable(page, report, ascii);
  }
  page.gap();
  putProcesses(report, put);
  putOpen(report, put);
  putDebugCost(report, put);
  for (const gap of report.gaps) put(`not covered: ${gap}`);
  if (report.possible_drops !== null || (report.dropped > 0 && report.source === "journal")) {
    put(
      `To have all lines kept: LogRateLimitIntervalSec=1us in the unit (systemctl edit ${report.unit}), restart when idle. 0 is no limit for journald.conf alone: in a unit it means the default.`,
    );
  }
  for (const note of report.notes) put(`note: ${note}`);
  return page.toString();
}

function headline(report: Report): string {
  const { unit, pid, source, window, coverage, total, dropped, of_others } = report;
  const who = pid === null ? unit : `process ${pid} and its descendants`;
  const lost = source === "journal" ? "lines dropped by journald" : "events lost by the kernel";
  const counted =
    dropped === 0 ? plural(total, "call") : `counted ${plural(total, "call")} + ${grouped(dropped)} ${lost}`;
  const foreign =
    of_others === null || of_others === 0 ? "" : `, ${grouped(of_others)} of them by processes outside of it`;
  return `${who}: ${counted} ${spanned(window.seconds)}${foreign}, ${SOURCES[source]}; coverage ${coverage}`;
}

function spanned(seconds: number | null): string {
  if (seconds === null) return "at unknown times";
  return seconds === 0 ? "at one moment" : `in ${spanOf(seconds * 1e6)}`;
}

function putTable(page: Page, { calls }: Report, ascii: boolean): void {
  const seen = TABLE.filter(({ cell }) => calls.some((row) => cell(row, ascii) !== null));
  const unseen = TABLE.filter((column) => !seen.includes(column));
  const columns = seen.map((column) => {
    const cells = [column.header, ...calls.map((row) => column.cell(row, ascii) ?? "?")].map((text) =>
      page.clean(ascii ? text.replaceAll("µ", "u") : text),
    );
    return { ...column, cells, columns: Math.max(...cells.map((text) => text.length)) };
  });
  const hidden: string[] = [];
  const room = () => columns.reduce((sum, column) => sum + column.columns + GAP.length, -GAP.length);
  while (room() > page.width) {
    const next = columns.reduce((most, column) => (column.room >= most.room && column.room > 0 ? column : most));
    if (next.room === 0) break;
    columns.splice(columns.indexOf(next), 1);
    hidden.unshift(next.header);
  }
  for (let line = 0; line <= calls.length; line += 1) {
    const cells = columns.map(({ cells: all, columns: wide, left }) => {
      const text = all[line] ?? "";
      return left === true ? text.padEnd(wide) : text.padStart(wide);
    });
    page.raw(cells.join(GAP).slice(0, page.width));
  }
  const missing = [
    ...(unseen.length > 0 ? [`not in this source: ${unseen.map(({ header }) => header).join(", ")}`] : []),
    ...(hidden.length > 0 ? [`no room for: ${hidden.join(", ")}`] : []),
  ];
  if (missing.length > 0) page.put(`(${missing.join("; ")})`.replaceAll("µ", ascii ? "u" : "µ"), HANG);
}

function putProcesses({ processes, source, unit, pid }: Report, put: (text: string) => void): void {
  const live = source === "ebpf" || source === "tracefs";
  const named = processes.filter(({ calls, asked_for }) => calls > 0 || asked_for !== false);
  const shown = named.slice(0, PROCESSES_SHOWN);
  for (const one of shown) {
    const who = one.comm === "" ? `pid ${one.pid}` : `pid ${one.pid} ${one.comm}`;
    const others = one.unit === null ? `not of ${unit}` : `not of ${unit} but of ${one.unit}`;
    const whose = {
      true: pid === null ? `of ${unit}` : "",
      false: pid === null ? others : "",
      null: live ? "ended before it was looked at: whose it was is not known" : "",
    }[`${one.asked_for}`];
    put(
      [`${who}: ${plural(one.calls, "call")}`, whose, one.libraries.join(", ")]
        .filter((text) => text !== "")
        .join("; "),
    );
  }
  const rest = named.slice(PROCESSES_SHOWN);
  const calls = rest.reduce((sum, one) => sum + one.calls, 0);
  if (rest.length > 0) put(`and ${rest.length} more processes with ${plural(calls, "call")}`);
}

function putOpen({ open }: Report, put: (text: string) => void): void {
  const long = open.filter(({ age_ms }) => age_ms >= LONG_MS);
  for (const { pid, tid, name, age_ms } of long) {
    put(`waiting: ${name} of pid ${pid} (thread ${tid}), entered ${spanOf(age_ms * 1000)} ago`);
  }
  const brief = open.length - long.length;
  if (brief > 0) put(`${plural(brief, "call")} under way for less than ${spanOf(LONG_MS * 1000)}`);
}

function putDebugCost({ debug_cost: cost, source, total }: Report, put: (text: string) => void): void {
  if (source !== "journal" && source !== "file") return;
  if (cost === null ? total === 0 : cost.lines === 0) return;
  const perCall =
    cost?.per_call_lines == null
      ? ""
      : `, ${cost.per_call_lines.toFixed(1)} lines and ${Math.round(cost.per_call_bytes ?? 0)} bytes a call`;
  put(
    cost === null
      ? "debug logging was on: its lines are what was counted. What they cost was not counted"
      : `debug logging was on: the transport alone wrote ${plural(cost.lines, "line")} for single calls, ${bytesOf(cost.bytes)} of text${perCall}; the shims' own lines come on top`,
  );
  put(
    "To turn it off, remove VGPU_DEBUG from the unit (VGPU_DEBUG=0 turns it on, too), daemon-reload, restart when idle",
  );
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

function plural(count: number, one: string): string {
  return `${grouped(count)} ${count === 1 ? one : `${one}s`}`;
}
