import type { Facts } from "../../facts/facts.ts";
import type { TraceFacts } from "../../facts/ledger.ts";
import { valueIn } from "../../facts/reading.ts";
import type { GuestEvidence, GuestProcess } from "../../host/match/guest-evidence.ts";
import { evidenceOfTrace, mergeEvidence } from "../../host/match/trace-evidence.ts";
import { WIRE_LIMITS } from "../../report/wire/limits.ts";
import type { ClockOffset } from "../uplink/clock.ts";

/** What the workload's logs tell, and how they were read. */
export interface ReadLogs {
  readonly evidence: GuestEvidence;
  /** A plain file is among them: not each of its lines has a time. */
  readonly hasFiles: boolean;
  /** Epoch milliseconds, after the last line was read. */
  readonly readAt: number;
}

export interface EvidenceInput {
  readonly facts: Facts;
  readonly vmId: number;
  readonly logs: ReadLogs | null;
  readonly clock: ClockOffset | null;
}

/** Evidence whose window is whole milliseconds, so that it can be asked for. */
export interface Evidence {
  readonly basis: "kernel" | "log";
  readonly window: { readonly from: number; readonly to: number };
  readonly document: GuestEvidence;
}

/** Start times of processes come in hundredths of a second, and not every clock of a log is this one. */
const START_ERROR_MS = 1000;
/** How far two clocks may drift apart, as a part of the time: no offset is measured in the past. */
const DRIFT = 1e-4;
/** A count begins and ends when the kernel has put its probes into each process, or taken them out. */
const PROBING_MS = 250;
const MOST_GAPS = 64;

/**
 * What the host is given to compare, strongest first: what the kernel counted, with its exact window, joined with what
 * the same processes' log tells one by one; and what the logs tell of the whole life of those processes.
 *
 * A window claims that nothing of its evidence lies outside: a record that the host lacks in it may be taken for absent.
 * So a log's window begins with the start of the oldest process in it, and ends when the log was read, not at the last
 * line that has a time; what cannot be placed in it is left out, and the gaps say so.
 */
export function evidenceOfFacts({ facts, vmId, logs, clock }: EvidenceInput): readonly Evidence[] {
  const own = logs === null ? null : ofTheLiving(logs, facts);
  const trace = valueIn(facts.trace);
  const counted = trace === undefined ? null : countedEvidence(facts, trace, vmId, own?.evidence ?? null, clock);
  return [counted, loggedEvidence(own, vmId, clock)].flatMap((one) => one ?? []);
}

/** What the kernel counted in a window, joined with what the log tells of it; null: the window has no ends. */
export function countedEvidence(
  facts: Facts,
  trace: TraceFacts,
  vmId: number | null,
  logs: GuestEvidence | null,
  clock: ClockOffset | null,
): Evidence | null {
  const { from, to } = trace.ledger;
  if (from === null || to === null) return null;
  const bootId = valueIn(facts.host)?.bootId ?? null;
  // As if the clocks could be off by so much more: the host then expects neither more nor less at the window's ends.
  const edged = clock === null ? null : { ...clock, errorMs: clock.errorMs + PROBING_MS };
  const counted = evidenceOfTrace(withOwnPids(trace, facts), { vmId, bootId, clock: edged });
  const merged = logs === null ? counted : mergeEvidence(counted, logs, startsOf(facts));
  return evidenceIn("kernel", { ...merged, vm_id: vmId ?? merged.vm_id }, from, to);
}

function loggedEvidence(
  own: { readonly evidence: GuestEvidence; readonly from: number; readonly to: number } | null,
  vmId: number,
  clock: ClockOffset | null,
): Evidence | null {
  if (own === null) return null;
  const { evidence, from, to } = own;
  const error = clock === null ? null : clock.errorMs + DRIFT * Math.max(0, to - from);
  const offset = clock?.offsetMs ?? null;
  return evidenceIn("log", { ...evidence, vm_id: vmId, clock_offset_ms: offset, clock_error_ms: error }, from, to);
}

function evidenceIn(basis: Evidence["basis"], evidence: GuestEvidence, from: number, to: number): Evidence {
  const window = { from: Math.floor(from), to: Math.ceil(to) };
  return { basis, window, document: fitting({ ...evidence, window }) };
}

/**
 * The counts under the pids that the processes see themselves, which the shim sends and the host knows. Where the workload
 * has a pid namespace of its own, a process that ended in the count has no such pid any more, and is left out.
 */
function withOwnPids(trace: TraceFacts, facts: Facts): TraceFacts {
  const own = new Map((valueIn(facts.workload)?.processes ?? []).map(({ pid, nsPid }) => [pid, nsPid]));
  if (trace.workload.every((pid) => (own.get(pid) ?? pid) === pid)) return trace;
  const named = trace.workload.filter((pid) => own.has(pid));
  // Another program may have that pid outside: its calls go.
  const renamed = <T extends { readonly pid: number }>(list: readonly T[]): T[] =>
    list.flatMap((one) => (named.includes(one.pid) ? [{ ...one, pid: own.get(one.pid) ?? one.pid }] : []));
  const { ledger } = trace;
  const left = trace.workload.length - named.length;
  const which = left === 1 ? "a process" : `${left} processes`;
  const gaps = left === 0 ? [] : [`left out: ${which} of a pid namespace of its own, ended meanwhile`];
  return {
    ledger: { ...ledger, gaps: [...gaps, ...ledger.gaps], calls: renamed(ledger.calls), open: renamed(ledger.open) },
    workload: named.map((pid) => own.get(pid) ?? pid),
    others: [],
  };
}

/** Start times of the workload's processes that run, by the pid that they themselves see: the log's and the host's. */
function startsOf(facts: Facts): ReadonlyMap<number, number> {
  const { foundBy = "none", processes = [] } = valueIn(facts.workload) ?? {};
  const isOwn = ({ unit, role }: (typeof processes)[number]) =>
    foundBy === "pid" || unit === facts.scope.unit || role !== "program";
  return new Map(
    processes.flatMap((one) => (isOwn(one) && one.startedAt !== null ? [[one.nsPid, one.startedAt] as const] : [])),
  );
}

/**
 * The part of the logs that surely lies in a window that is known. Lines of a file have no times of their own, so only a
 * process that still runs can be placed; a journal's entries all have one.
 */
function ofTheLiving(
  { evidence, hasFiles, readAt }: ReadLogs,
  facts: Facts,
): { readonly evidence: GuestEvidence; readonly from: number; readonly to: number } | null {
  const starts = startsOf(facts);
  const startOf = (process: GuestProcess): number | null => {
    const start = process.pid === null ? undefined : starts.get(process.pid);
    const isItself =
      process.first_at === null ? isPidOnce(process.pid, facts) : process.first_at >= (start ?? 0) - START_ERROR_MS;
    if (start !== undefined && isItself) return start - START_ERROR_MS;
    return hasFiles ? null : process.first_at;
  };
  const placed = evidence.processes.flatMap((process) => {
    const start = startOf(process);
    return start === null ? [] : [{ process, start }];
  });
  const begins = [...placed.map(({ start }) => start), ...starts.values()];
  if (begins.length === 0) return null;
  const from = Math.min(...begins);
  const left = evidence.processes.length - placed.length;
  const whose =
    left === 1 ? "a process of the log that no longer runs" : `${left} processes of the log that no longer run`;
  const gaps = left === 0 ? [] : [`left out: ${whose}: from when to when is not known`];
  return {
    from,
    to: readAt,
    evidence: {
      ...evidence,
      gaps: [...gaps, ...evidence.gaps].slice(0, MOST_GAPS),
      processes: placed.map(({ process }) => process),
      // Work for a request that began earlier may have been done earlier.
      requests: evidence.requests.filter(
        ({ at, duration_ms }) => at !== null && duration_ms !== null && at - duration_ms >= from && at <= readAt,
      ),
    },
  };
}

/**
 * Whether lines without a time that name a pid are surely of the process that has it now. Pids of a namespace of its own
 * begin at 1 again with each container, and a log may go on; others come again after a long time, in another life.
 */
function isPidOnce(pid: number | null, facts: Facts): boolean {
  const process = valueIn(facts.workload)?.processes.find(({ nsPid }) => nsPid === pid);
  if (process === undefined || process.pid !== pid) return false;
  const earlier = valueIn(facts.log)?.servers.slice(0, -1) ?? [];
  return earlier.every(({ processes }) => processes.every((one) => one.pid !== pid));
}

/** The same within what a host takes: lists of single calls go first, and are said to be cut; counts stay. */
export function fitting(evidence: GuestEvidence): GuestEvidence {
  const isSmall = (one: GuestEvidence) => Buffer.byteLength(JSON.stringify(one)) <= WIRE_LIMITS.documentBytes;
  const without = (change: (process: GuestProcess) => GuestProcess) => (one: GuestEvidence) => ({
    ...one,
    processes: one.processes.map(change),
  });
  const steps = [
    without((process) => ({ ...process, sequence: [], cut: { ...process.cut, sequence: true } })),
    without((process) => ({ ...process, payloads: [], copies_in: [], cut: { ...process.cut, copies: true } })),
    without((process) => ({ ...process, allocations: [], cut: { ...process.cut, allocations: true } })),
    without((process) => ({ ...process, failures: [], cut: { ...process.cut, failures: true } })),
  ];
  let fits = evidence;
  for (const step of steps) {
    if (isSmall(fits)) break;
    fits = step(fits);
  }
  return fits;
}
