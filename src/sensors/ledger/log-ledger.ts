import type { CallCount, Ledger, PossibleDrops } from "../../facts/ledger.ts";
import { type EventMatch, pidOf } from "../../protocol/grammar.ts";
import type { GuestEvent } from "../../protocol/guest-events.ts";
import { matchLine, matchManagerLine, SHIM_LINES } from "../../protocol/guest-lines.ts";
import { TRANSPORT_FAILED_RESULT, transportError } from "../../protocol/status.ts";
import { counted } from "../log-limits.ts";
import type { CountedCalls, LogEntry, LogFold, LogReadSummary } from "../log-reader.ts";
import { DEFAULT_RATE_LIMIT, RateCap, type RateLimit } from "./rate-cap.ts";

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
  /** Beginnings of a call's line that do not come to what the line says. */
  readonly torn: number;
}

/** Marks of the shims' lines: only those name a process that later lines are of. */
const SHIM = /\[(?:cuda-transport|libvgpu-\w{1,16})\]/;

export interface LogLedgerOptions {
  /** journald's limit for the unit; null: it has none. journald's default where it is not given. */
  readonly rateLimit?: RateLimit | null;
  /**
   * Every line comes by here, through `add` or summed up in `addDebugLines`: what debug logging costs is then known. Not
   * so where only lines with calls are handed on.
   */
  readonly everyLine?: boolean;
}

/** journald's record of what it dropped, in the words that only its own lines are believed for. */
const SUPPRESSED = Buffer.from("Suppressed ");

/**
 * Counts transport calls by the lines that VGPU_DEBUG makes ("INVOKED": one for each call, before it is cut into
 * chunks), and the failures, which are printed without it. Exact for what the log has; what it lacks is a gap.
 */
export class LogLedger implements LogFold {
  readonly #groups = new Map<string, Group>();
  readonly #remembered = new Map<Buffer, Line>();
  /** The pid that each stream (journal _PID) named last: a line without a pid is of the process named before it. */
  readonly #named = new Map<number | null, number>();
  #debugLines = 0;
  #debugBytes = 0;
  #invoked = 0;
  #beyond = 0;
  #torn = 0;
  readonly #cap: RateCap;
  readonly #absorbed: RateCap[] = [];
  readonly #everyLine: boolean;

  constructor({ rateLimit = DEFAULT_RATE_LIMIT, everyLine = false }: LogLedgerOptions = {}) {
    this.#cap = new RateCap(rateLimit);
    this.#everyLine = everyLine;
  }

  add(entry: LogEntry): void {
    if (entry.fromManager) {
      this.#noteManager(entry.message);
      return;
    }
    if (entry.folded !== undefined) {
      // Its calls are told in `addCounted`; what it does here is to name the process of lines that name none.
      const pid = lineOf(entry.message.toString("latin1")).events.find((event) => event.pid !== null)?.pid ?? null;
      if (pid !== null) this.#named.set(entry.pid, pid);
      return;
    }
    // A journal's entry has a boot, a file's line has none: journald's limit is for the first alone.
    if (entry.at !== null && entry.bootId !== null) this.noteLines(entry.at, 1);
    let perCall = false;
    const { events, names, torn } = this.#lineOf(entry.message);
    this.#torn += torn;
    if (names !== null) this.#named.set(entry.pid, names);
    for (const { event, pid: named } of events) {
      if (named !== null) this.#named.set(entry.pid, named);
      const known = named ?? this.#named.get(entry.pid);
      const pid = known ?? entry.pid ?? 0;
      switch (event.kind) {
        case "call-invoked":
          this.#count(pid, event.callId, event.dataLen, entry.at);
          perCall = true;
          break;
        case "call-sent":
        case "call-doorbell":
        case "call-done":
          perCall = true;
          break;
        default: {
          const failure = failureOf(event);
          if (failure !== null) this.#fail(pid, failure.callId, failure.result);
        }
      }
    }
    if (perCall) this.addDebugLines(1, entry.message.length);
  }

  /**
   * Lines of the unit in a journal, whatever they say, that were kept at a time (epoch ms): those of a second, or of
   * less, together. In the order of time; `add` does it by itself.
   */
  noteLines(atMs: number, lines: number): void {
    this.#cap.note(atMs, lines);
  }

  /** journald's record of dropped lines, told before the lines of its second; `add` does it by itself. */
  noteReported(): void {
    this.#cap.reported();
  }

  /** Lines that exist for single calls alone (docs/wire.md, "Shim lines: calls"), and their bytes. */
  addDebugLines(lines: number, bytes: number): void {
    this.#debugLines += lines;
    this.#debugBytes += bytes;
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

  /** Adds what another log of the same workload came to. */
  absorb(other: LogLedger): void {
    for (const calls of other.counted()) this.addCounted(calls);
    this.addDebugLines(other.#debugLines, other.#debugBytes);
    this.#beyond += other.#beyond;
    this.#torn += other.#torn;
    this.#absorbed.push(other.#cap, ...other.#absorbed);
  }

  /** What was counted. */
  counted(): readonly CountedCalls[] {
    return [...this.#groups.values()].map((group) => ({ ...group, failures: [...group.failures] }));
  }

  /** `nowMs`: now (epoch ms) where the log is this machine's own and silence means something; null for any other log. */
  ledger(summaries: readonly LogReadSummary[], nowMs: number | null = null): Ledger {
    const dropped = summaries.reduce((sum, { suppressed }) => sum + suppressed, 0);
    const ofJournal = summaries.some(({ kind }) => kind === "journal");
    const possibleDrops = ofJournal ? this.#possibleDrops(nowMs ?? newestOf(summaries)) : null;
    const gaps = summaries.flatMap((summary) => summary.gaps);
    if (dropped > 0)
      gaps.push(`journald dropped ${counted(dropped, "line", "lines")} of the unit: calls among them are not counted`);
    if (possibleDrops !== null) gaps.push(possibleGap(possibleDrops));
    if (this.#beyond > 0) gaps.push(`${this.#beyond} calls of further processes or call ids were not counted`);
    if (this.#torn > 0) {
      gaps.push(`${counted(this.#torn, "call's line is", "calls' lines are")} torn: what they say is not counted`);
    }
    if (this.#invoked === 0) {
      gaps.push("no per-call line: they exist only with VGPU_DEBUG set, so this log counts no call, not none");
    }
    const read = summaries.some(({ entries }) => entries > 0);
    const times = summaries.flatMap(({ firstAt, lastAt }) => [firstAt ?? [], lastAt ?? []].flat());
    const pids = [...new Set([...this.#groups.values()].map(({ pid }) => pid))];
    return {
      source: ofJournal ? "journal" : "file",
      from: times.length === 0 ? null : Math.min(...times),
      to: times.length === 0 ? null : Math.max(...times),
      coverage: !read || this.#invoked === 0 ? "none" : gaps.length > 0 ? "partial" : "full",
      gaps,
      notes: [],
      dropped,
      possibleDrops,
      debugCost: this.#everyLine ? { lines: this.#debugLines, bytes: this.#debugBytes } : null,
      calls: [...this.#groups.values()].map(countOf),
      open: [],
      processes: pids.map((pid) => ({ pid, comm: "", libraries: [], unit: null, group: null, ppid: null })),
    };
  }

  #possibleDrops(nowMs: number): PossibleDrops | null {
    for (const cap of [this.#cap, ...this.#absorbed]) {
      const found = cap.result(nowMs);
      if (found !== null) return found;
    }
    return null;
  }

  #noteManager(message: Buffer): void {
    if (!message.includes(SUPPRESSED)) return;
    const events = matchManagerLine(message.toString("latin1"));
    if (events.some(({ event }) => event.kind === "messages-suppressed")) this.noteReported();
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

const TAG = "[cuda-transport] ";
/** What the message of a call begins with, as its grammar has it. */
const BEGINNINGS = SHIM_LINES.filter(({ id }) => id === "call-invoked").flatMap(({ markers }) => markers);

/** journald cuts a line in two when another process writes to the same stream in its middle. */
function tornIn(text: string, events: readonly EventMatch[]): number {
  let torn = 0;
  for (let tag = text.indexOf(TAG); tag >= 0; tag = text.indexOf(TAG, tag + 1)) {
    const at = tag + TAG.length;
    const next = text.indexOf(TAG, at);
    const said = text.slice(at, next < 0 ? text.length : next);
    const begins = BEGINNINGS.some(
      (beginning) => said !== "" && (said.startsWith(beginning) || beginning.startsWith(said)),
    );
    if (begins && !events.some(({ event, start }) => event.kind === "call-invoked" && start === at)) torn += 1;
  }
  return torn;
}

/** What a line holds. The text is the line's bytes decoded as latin1. */
export function lineOf(text: string): Line {
  const events = matchLine(text);
  return { events, names: events.length === 0 && SHIM.test(text) ? pidOf(text) : null, torn: tornIn(text, events) };
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

/** After its newest entry nothing is known: a log that ends there is not silent. */
function newestOf(summaries: readonly LogReadSummary[]): number {
  return Math.max(0, ...summaries.flatMap(({ newestAt }) => newestAt ?? []));
}

function possibleGap({ intervals, intervalMs, lines, exact }: PossibleDrops): string {
  const many = `${counted(intervals, "interval", "intervals")} of ${intervalMs / 1000} s`;
  const kept = exact
    ? `exactly as many lines were kept as a limit of journald lets through (${lines})`
    : `${lines} lines were kept and then none, which journald's limit may have caused`;
  return `possibly more lines dropped without a record: in ${many} ${kept}`;
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
