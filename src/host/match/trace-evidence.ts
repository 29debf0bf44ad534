import type { CallCount, Ledger, TraceFacts } from "../../facts/ledger.ts";
import { TRANSPORT_FAILED_RESULT } from "../../protocol/status.ts";
import {
  emptyProcess,
  type GuestCalls,
  type GuestEvidence,
  type GuestFailure,
  type GuestProcess,
  noEvidence,
} from "./guest-evidence.ts";
import { LIMITS } from "./guest-limits.ts";

/** Whose counts they are, and how the guest's clock stands to the host's: guest minus host, and how far that may be off. */
export interface TraceSubject {
  readonly vmId: number | null;
  readonly bootId: string | null;
  readonly clock: { readonly offsetMs: number; readonly errorMs: number } | null;
}

const MOST_GAPS = 64;
const LONGEST_GAP = 300;

/**
 * What the kernel counted of the workload's calls, as evidence for `match`: one process for each of the workload's pids
 * that called, with the exact window. Calls of other pids are left out, and the gaps say how many. Pids are the kernel's:
 * of a process in another pid namespace the host knows another pid, and it will not be found.
 */
export function evidenceOfTrace(trace: TraceFacts, { vmId, bootId, clock }: TraceSubject): GuestEvidence {
  const { ledger } = trace;
  const workload = new Set(trace.workload);
  const pids = [...new Set([...ledger.calls, ...ledger.open].map(({ pid }) => pid))];
  const own = pids.filter((pid) => workload.has(pid)).sort((a, b) => callsOf(ledger, b) - callsOf(ledger, a));
  const gaps = [
    ...ledger.gaps,
    ...leftOut(trace, pids),
    ...(own.length > LIMITS.processes ? [`${own.length - LIMITS.processes} processes with the fewest calls`] : []),
  ];
  return {
    ...noEvidence(vmId),
    boot_id: bootId,
    window: { from: ledger.from, to: ledger.to },
    clock_offset_ms: clock?.offsetMs ?? null,
    clock_error_ms: clock?.errorMs ?? null,
    gaps: gaps.slice(0, MOST_GAPS).map((gap) => gap.slice(0, LONGEST_GAP)),
    processes: own.slice(0, LIMITS.processes).map((pid) => processOf(pid, ledger)),
  };
}

const callsOf = ({ calls }: Ledger, pid: number): number =>
  calls.reduce((sum, call) => sum + (call.pid === pid ? call.count : 0), 0);

function leftOut({ ledger, workload, others }: TraceFacts, pids: readonly number[]): string[] {
  const say = (of: readonly number[], whose: string): string[] => {
    const calls = of.reduce((sum, pid) => sum + callsOf(ledger, pid), 0);
    return of.length === 0 ? [] : [`left out: ${calls} calls of ${of.length} processes ${whose}`];
  };
  const foreign = pids.filter((pid) => !workload.includes(pid));
  return [
    ...say(
      foreign.filter((pid) => others.includes(pid)),
      "of other programs",
    ),
    ...say(
      foreign.filter((pid) => !others.includes(pid)),
      "that had ended: whose they were is not known",
    ),
  ];
}

function processOf(pid: number, ledger: Ledger): GuestProcess {
  const calls = ledger.calls.filter((call) => call.pid === pid);
  const times = calls.flatMap(({ firstAt, lastAt }) => [firstAt, lastAt].filter((time) => time !== null));
  const open = ledger.open.filter((call) => call.pid === pid);
  return {
    ...emptyProcess(pid),
    first_at: times.length === 0 ? null : Math.min(...times),
    last_at: times.length === 0 ? null : Math.max(...times),
    counted_by: "kernel",
    // The list of ids has a limit, too.
    coverage: calls.length > LIMITS.callIds && ledger.coverage === "full" ? "partial" : ledger.coverage,
    calls: calls.slice(0, LIMITS.callIds).map(guestCalls),
    open: open.slice(0, LIMITS.open).map(({ callId, ageMs }) => ({ call_id: callId, age_ms: ageMs })),
    failures: calls.flatMap(failuresOf).slice(0, LIMITS.failures),
    cut: { allocations: true, copies: true, sequence: true, failures: true },
  };
}

function guestCalls({
  callId,
  count,
  returned,
  bytesToHost,
  bytesBack,
  results,
  firstAt,
  lastAt,
}: CallCount): GuestCalls {
  const failed = results === null ? null : failuresIn(results).reduce((sum, [, times]) => sum + times, 0);
  return {
    call_id: callId,
    count,
    bytes_to_host: bytesToHost,
    bytes_back: bytesBack,
    failed,
    returned,
    first_at: firstAt,
    last_at: lastAt,
  };
}

const failuresIn = (results: Readonly<Record<string, number>>): [number, number][] =>
  Object.entries(results)
    .map(([result, times]): [number, number] => [Number(result), times])
    .filter(([result, times]) => result !== 0 && times > 0);

function failuresOf({ callId, results }: CallCount): GuestFailure[] {
  return failuresIn(results ?? {}).map(([status, count]) => ({
    call_id: callId,
    seq: null,
    transport: null,
    transport_error: null,
    status,
    timeout: false,
    count,
    at: null,
  }));
}

/**
 * The kernel's counts and, of the same processes, what their log tells one by one: pointers, sequence numbers, errors of
 * the transport. Counts stay the kernel's, so nothing is counted twice; requests are those that lie in the window.
 * Lines that cannot be of these processes are left out: of another boot, or from before `startedAt`, the start of each
 * process (milliseconds since 1970), where that is known. A pid that was used again since is not told apart without it.
 */
export function mergeEvidence(
  trace: GuestEvidence,
  logs: GuestEvidence,
  startedAt: ReadonlyMap<number, number> = new Map(),
): GuestEvidence {
  if (trace.boot_id !== null && logs.boot_id !== null && trace.boot_id !== logs.boot_id) return trace;
  const told = new Map(logs.processes.map((process) => [process.pid, process]));
  return {
    ...trace,
    vm_id: trace.vm_id ?? logs.vm_id,
    boot_id: trace.boot_id ?? logs.boot_id,
    gaps: [...new Set([...trace.gaps, ...logs.gaps])].slice(0, MOST_GAPS),
    processes: trace.processes.map((counted) => {
      const lines = told.get(counted.pid);
      return lines === undefined || isOlder(lines, counted, startedAt) ? counted : joined(counted, lines, trace.window);
    }),
    requests: logs.requests.filter(({ at, duration_ms }) => isWithin(at, duration_ms, trace.window)),
    cpu_fallback: logs.cpu_fallback,
    known_answers: trace.known_answers ?? logs.known_answers,
  };
}

/** Times of a process's start come in hundredths of a second, and of a log's lines in microseconds. */
const START_ERROR_MS = 1000;

function isOlder(lines: GuestProcess, { pid }: GuestProcess, startedAt: ReadonlyMap<number, number>): boolean {
  const start = pid === null ? undefined : startedAt.get(pid);
  return start !== undefined && lines.first_at !== null && lines.first_at < start - START_ERROR_MS;
}

/** From its beginning to its end: work for a request that began before the window may have been done before it. */
function isWithin(at: number | null, duration: number | null, { from, to }: GuestEvidence["window"]): boolean {
  return at !== null && from !== null && to !== null && at <= to && at - (duration ?? 0) >= from;
}

function joined(counted: GuestProcess, lines: GuestProcess, { from, to }: GuestEvidence["window"]): GuestProcess {
  // A log is longer than the window; what it tells of before is no failure of these calls.
  const inWindow = ({ at }: GuestFailure): boolean =>
    at === null || ((from === null || at >= from) && (to === null || at <= to));
  return {
    ...counted,
    first_at: lines.first_at ?? counted.first_at,
    last_at: later(lines.last_at, counted.last_at),
    data_path: lines.data_path,
    allocations: lines.allocations,
    copies_in: lines.copies_in,
    sequence: lines.sequence,
    payloads: lines.payloads,
    failures: joinedFailures(counted.failures, lines.failures.filter(inWindow)).slice(0, LIMITS.failures),
    cut: lines.cut,
    ended: lines.ended,
  };
}

const later = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : Math.max(a, b));

/** A failure that the kernel counted and the log has a line of is one: what the log does not have is added. */
function joinedFailures(counted: readonly GuestFailure[], lines: readonly GuestFailure[]): GuestFailure[] {
  const more = counted.flatMap((failure) => {
    const told = lines.filter((line) => isSame(line, failure)).reduce((sum, { count }) => sum + count, 0);
    return told < failure.count ? [{ ...failure, count: failure.count - told }] : [];
  });
  return [...lines, ...more];
}

/** The log knows which error of the transport it was, or that no answer came; the kernel only sees 999. */
function isSame(line: GuestFailure, { call_id, status }: GuestFailure): boolean {
  if (line.call_id !== call_id) return false;
  if (status === TRANSPORT_FAILED_RESULT) return line.timeout || line.status === TRANSPORT_FAILED_RESULT;
  return line.status === status && !line.timeout;
}
