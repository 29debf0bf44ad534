import type { CallCount, Ledger } from "../../facts/ledger.ts";
import { type EventMatch, pidOf } from "../../protocol/grammar.ts";
import type { GuestEvent } from "../../protocol/guest-events.ts";
import { matchLine } from "../../protocol/guest-lines.ts";
import { TRANSPORT_FAILED_RESULT, transportError } from "../../protocol/status.ts";
import type { LogEntry, LogReadSummary } from "../log-reader.ts";

/** More processes and call ids than any workload has; what comes beyond is a gap. */
const MAX_GROUPS = 4096;
/** Lines whose events are remembered: a journal hands the same bytes on for the same text. */
const MAX_REMEMBERED = 50_000;

interface Group {
  readonly pid: number;
  readonly callId: number;
  count: number;
  bytes: number;
  readonly failures: Map<number, number>;
  firstAt: number | null;
  lastAt: number | null;
}

/** What a line holds: its events, and the process that it names where it is a shim's line without any. */
export interface Line {
  readonly events: readonly EventMatch[];
  readonly names: number | null;
}

/** Marks of the shims' lines: only those name a process that later lines are of. */
const SHIM = /\[(?:cuda-transport|libvgpu-\w{1,16})\]/;

/** Calls of one process by one call id, as a part of the log has them. */
export interface CountedCalls {
  readonly pid: number;
  readonly callId: number;
  readonly count: number;
  readonly bytes: number;
  /** Failures by result. */
  readonly failures: readonly (readonly [result: number, count: number])[];
  /** Epoch milliseconds of the first and the last. */
  readonly firstAt: number | null;
  readonly lastAt: number | null;
}

/** What debug logging itself costs: lines that exist for calls alone, and their bytes before journald adds its own. */
export interface DebugCost {
  readonly lines: number;
  readonly bytes: number;
}

/**
 * Counts transport calls by the lines that VGPU_DEBUG makes ("INVOKED": one for each call, before it is cut into
 * chunks), and the failures, which are printed without it. Exact for what the log has; what it lacks is a gap.
 */
export class LogLedger {
  readonly #groups = new Map<string, Group>();
  readonly #remembered = new Map<Buffer, Line>();
  /** The pid that each stream (journal _PID) named last: a line without a pid is of the process named before it. */
  readonly #named = new Map<number | null, number>();
  #debugLines = 0;
  #debugBytes = 0;
  #invoked = 0;
  #beyond = 0;
  #unnamed = false;

  /** Whether a call without a pid came before any line of its stream named one. */
  get unnamed(): boolean {
    return this.#unnamed;
  }

  add(entry: LogEntry): void {
    if (entry.fromManager) return;
    let perCall = false;
    const { events, names } = this.#lineOf(entry.message);
    if (names !== null) this.#named.set(entry.pid, names);
    for (const { event, pid: named } of events) {
      if (named !== null) this.#named.set(entry.pid, named);
      const known = named ?? this.#named.get(entry.pid);
      if (known === undefined && (event.kind === "call-invoked" || failureOf(event) !== null)) this.#unnamed = true;
      const pid = known ?? entry.pid ?? 0;
      switch (event.kind) {
        case "call-invoked":
          this.#count(pid, event.callId, event.dataLen, entry.at);
          perCall = true;
          break;
        case "call-sent":
        case "call-done":
          perCall = true;
          break;
        default: {
          const failure = failureOf(event);
          if (failure !== null) this.#fail(pid, failure.callId, failure.result);
        }
      }
    }
    if (!perCall) return;
    this.#debugLines += 1;
    this.#debugBytes += entry.message.length;
  }

  /** Adds what was counted in a later part of the log. */
  addCounted({ pid, callId, count, bytes, failures, firstAt, lastAt }: CountedCalls): void {
    this.#invoked += count;
    const group = this.#group(pid, callId);
    if (group === null) {
      // One was noted as beyond already.
      this.#beyond += failures.reduce((sum, [, failed]) => sum + failed, count) - 1;
      return;
    }
    group.count += count;
    group.bytes += bytes;
    for (const [result, failed] of failures) group.failures.set(result, (group.failures.get(result) ?? 0) + failed);
    group.firstAt ??= firstAt;
    group.lastAt = lastAt ?? group.lastAt;
  }

  /** What was counted. */
  counted(): readonly CountedCalls[] {
    return [...this.#groups.values()].map((group) => ({ ...group, failures: [...group.failures] }));
  }

  /** What per-call logging wrote in the window; null where there was none. */
  debugCost(): DebugCost | null {
    return this.#debugLines === 0 ? null : { lines: this.#debugLines, bytes: this.#debugBytes };
  }

  ledger(summaries: readonly LogReadSummary[]): Ledger {
    const dropped = summaries.reduce((sum, { suppressed }) => sum + suppressed, 0);
    const gaps = summaries.flatMap((summary) => summary.gaps);
    if (dropped > 0) gaps.push(`journald dropped ${dropped} lines of the unit: calls among them are not counted`);
    if (this.#beyond > 0) gaps.push(`${this.#beyond} calls of further processes or call ids were not counted`);
    if (this.#invoked === 0) {
      gaps.push("no per-call line: they exist only with VGPU_DEBUG set, so this log counts no call, not none");
    }
    const read = summaries.some(({ entries }) => entries > 0);
    const times = summaries.flatMap(({ firstAt, lastAt }) => [firstAt ?? [], lastAt ?? []].flat());
    const pids = [...new Set([...this.#groups.values()].map(({ pid }) => pid))];
    return {
      source: summaries.some(({ kind }) => kind === "journal") ? "journal" : "file",
      from: times.length === 0 ? null : Math.min(...times),
      to: times.length === 0 ? null : Math.max(...times),
      coverage: !read || this.#invoked === 0 ? "none" : gaps.length > 0 ? "partial" : "full",
      gaps,
      dropped,
      calls: [...this.#groups.values()].map(countOf),
      open: [],
      processes: pids.map((pid) => ({ pid, comm: "", libraries: [] })),
    };
  }

  #lineOf(message: Buffer): Line {
    const known = this.#remembered.get(message);
    if (known !== undefined) return known;
    const line = lineOf(message.toString("latin1"));
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(message, line);
    return line;
  }

  #count(pid: number, callId: number, bytes: number, at: number | null): void {
    this.#invoked += 1;
    const group = this.#group(pid, callId);
    if (group === null) return;
    group.count += 1;
    group.bytes += bytes;
    group.firstAt ??= at;
    group.lastAt = at ?? group.lastAt;
  }

  #fail(pid: number, callId: number, result: number): void {
    const group = this.#group(pid, callId);
    group?.failures.set(result, (group.failures.get(result) ?? 0) + 1);
  }

  #group(pid: number, callId: number): Group | null {
    const key = `${pid}:${callId}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    if (this.#groups.size >= MAX_GROUPS) {
      this.#beyond += 1;
      return null;
    }
    const made: Group = { pid, callId, count: 0, bytes: 0, failures: new Map(), firstAt: null, lastAt: null };
    this.#groups.set(key, made);
    return made;
  }
}

/** What a line holds. The text is the line's bytes decoded as latin1. */
export function lineOf(text: string): Line {
  const events = matchLine(text);
  return { events, names: events.length === 0 && SHIM.test(text) ? pidOf(text) : null };
}

/** The failure that an event tells of; null for any other event. */
export function failureOf(event: GuestEvent): { readonly callId: number; readonly result: number } | null {
  switch (event.kind) {
    case "host-cuda-error":
      return { callId: event.callId, result: event.status };
    case "status-error":
      // The driver's own code stands on a line of its own; every other error is the transport's.
      return transportError(event.err)?.name === "CUDA_ERROR"
        ? null
        : { callId: event.callId, result: TRANSPORT_FAILED_RESULT };
    case "timeout":
      return { callId: event.callId, result: TRANSPORT_FAILED_RESULT };
    default:
      return null;
  }
}

function countOf(group: Group): CallCount {
  return {
    pid: group.pid,
    callId: group.callId,
    count: group.count,
    returned: null,
    bytesToHost: group.bytes,
    bytesBack: null,
    results: Object.fromEntries(group.failures),
    latency: null,
    firstAt: group.firstAt,
    lastAt: group.lastAt,
  };
}
