import type { Ledger, LedgerProcess, TraceFacts } from "../../facts/ledger.ts";
import { ledgerBetween } from "../evidence/ledger-between.ts";

/** What a window of the log spans, epoch milliseconds; null: not known. */
export interface Span {
  readonly from: number | null;
  readonly to: number | null;
}

export interface LiveWindowOptions {
  /** What was counted since the counting began; null: nothing is counted. */
  readonly snapshot: () => Ledger | null;
  readonly unit: string;
}

/** A silence that ends a window which no line of the log ends. */
const QUIET_MS = 10_000;
/** The most that such a window lasts. */
const MOST_MS = 60_000;
/** A line is read a little after the call that it tells of. */
const EDGE_MS = 1000;
/** Processes that are remembered as the workload's. */
const MOST_PIDS = 4096;

/** Until when nothing had happened, and since when. */
interface Idle {
  readonly ledger: Ledger;
  /** Epoch milliseconds: from here to the ledger's end no call was made, and no gap came. */
  readonly since: number;
}

/**
 * Cuts the kernel's counts into windows: at the log's windows where there are any, else by time while calls happen. While
 * nothing happens there are none.
 *
 * INVARIANTS
 * - Each call is in one window. What happened while the log's windows could not be joined is in the next.
 * - A window begins where nothing was under way that it counts: in the silence before its first call, or where the one
 *   before it ended.
 */
export class LiveWindows {
  readonly #options: LiveWindowOptions;
  /** Youngest last. */
  readonly #workload = new Set<number>();
  #alive: ReadonlySet<number> = new Set();
  #idle: Idle | null = null;
  /** Calls at the last look, and when they were another number before. */
  #calls = 0;
  #changedAt = 0;

  constructor(options: LiveWindowOptions) {
    this.#options = options;
  }

  /** The workload's processes by the kernel's pids: those that live, and those that came and went since the last look. */
  saw(alive: readonly number[], gone: readonly number[] = []): void {
    this.#alive = new Set(alive);
    this.#remember([...alive, ...gone]);
  }

  #remember(pids: readonly number[]): void {
    for (const pid of pids) {
      this.#workload.delete(pid);
      this.#workload.add(pid);
    }
    for (const pid of this.#workload) {
      if (this.#workload.size <= MOST_PIDS) break;
      this.#workload.delete(pid);
    }
  }

  /** Nothing was counted since the last window. */
  get isIdle(): boolean {
    return this.#calls === 0;
  }

  /** What is counted from now on is counted from zero. */
  restart(): void {
    this.#idle = null;
    this.#calls = 0;
  }

  /** To be called every second or two. A window that is over by time; null: there is none. */
  tick(hasLogWindow: boolean): TraceFacts | null {
    const after = this.#options.snapshot();
    if (after?.to == null) return null;
    const idle = this.#idleAt(after);
    const trace = this.#between(idle.ledger, after);
    const calls = trace.ledger.calls.reduce((sum, { count, returned }) => sum + count + (returned ?? 0), 0);
    if (calls === 0) {
      // A call that is under way is in the window in which it comes back.
      const isSame = after.gaps.length === idle.ledger.gaps.length && after.dropped === idle.ledger.dropped;
      if (trace.ledger.open.length === 0) this.#idle = { ledger: after, since: isSame ? idle.since : after.to };
      this.#calls = 0;
      return null;
    }
    if (calls !== this.#calls) this.#changedAt = after.to;
    this.#calls = calls;
    const isOver = after.to - this.#changedAt >= QUIET_MS || after.to - (idle.ledger.to ?? after.to) >= MOST_MS;
    if (hasLogWindow || !isOver) return null;
    this.#begin(after);
    return trace;
  }

  /** What was counted since the last window, where nobody waits for its end; null: nothing was. */
  rest(): TraceFacts | null {
    const after = this.#options.snapshot();
    if (after?.to == null) return null;
    const trace = this.#between(this.#idleAt(after).ledger, after);
    if (trace.ledger.calls.length === 0) return null;
    this.#begin(after);
    return trace;
  }

  /** What was counted over a window of the log that ends now; null: it began before the counting, and stands alone. */
  cut({ from, to }: Span, requestsFrom: number | null): TraceFacts | null {
    const after = this.#options.snapshot();
    if (after?.to == null || from === null || to === null || after.coverage === "none") return null;
    const { ledger, since } = this.#idleAt(after);
    const end = ledger.to ?? after.to;
    // Work for a request that began in the silence before the calls has begun there.
    const begin = Math.min(end, Math.max(since, Math.min(from, requestsFrom ?? from) - EDGE_MS));
    if (from < begin - EDGE_MS || to > after.to + EDGE_MS) return null;
    const trace = this.#between({ ...ledger, to: begin }, after);
    this.#begin(after);
    return trace;
  }

  #idleAt(after: Ledger): Idle {
    this.#idle ??= { ledger: { ...after, to: after.from, calls: [], gaps: [], dropped: 0 }, since: after.from ?? 0 };
    return this.#idle;
  }

  #begin(after: Ledger): void {
    this.#idle = { ledger: after, since: after.to ?? 0 };
    this.#calls = 0;
  }

  /**
   * Surely no process of the workload. Where the kernel saw it calling counts more than what was known of its pid, which may
   * have been another's.
   */
  #isOthers({ pid, unit, group, comm }: LedgerProcess): boolean {
    if (unit === this.#options.unit) return false;
    return group !== null || (comm !== "" && !this.#workload.has(pid));
  }

  #between(before: Ledger, after: Ledger): TraceFacts {
    const { unit } = this.#options;
    this.#remember(after.processes.flatMap((one) => (one.unit === unit ? [one.pid] : [])));
    const others = after.processes.flatMap((one) => (this.#isOthers(one) ? [one.pid] : []));
    const strange = new Set(others);
    const ledger = ledgerBetween(before, after);
    // Calls of other programs are no part of a window of the workload.
    const calls = ledger.calls.filter(({ pid }) => !strange.has(pid));
    const open = ledger.open.filter(({ pid }) => !strange.has(pid));
    const calling = new Set([...calls, ...open].map(({ pid }) => pid));
    const workload = [...this.#workload].filter((pid) => this.#alive.has(pid) || calling.has(pid));
    return { ledger: { ...ledger, calls, open }, workload, others };
  }
}
