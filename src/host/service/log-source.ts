import type { ConfidenceLevel, MatchResult } from "../match/result.ts";
import type { OperationCount, Span } from "../store/store.ts";

/**
 * The mediator's log and what matches guests' evidence with it, as the service needs them. All calls come from one loop,
 * never two at once.
 */
export interface HostLogSource {
  /** Reads what is new, a bounded amount: guests are answered between two calls. */
  poll(): LogPoll;
  /** What a restart needs, as JSON; saved now and then, and given back when the source is made again. */
  state(): unknown;
  /**
   * Evidence that came up to this time (milliseconds since 1970, the host's clock) can be joined now: the log will bring
   * no more of it. Null: none can.
   */
  settledUntil(): number | null;
  /**
   * Joins a guest's evidence (a `vgpu-agent/guest-evidence/1` document that passed its schema) with the log so far. Null:
   * nothing will ever come of it.
   */
  join(evidence: PendingEvidence): Joined | null;
  /** Null: no log is followed. */
  following(): LogFollowing | null;
  close(): void;
}

/** How far the log has been read. Times are milliseconds since 1970 on the host's clock. */
export interface LogFollowing {
  /** Why it cannot be read; null: it can. */
  readonly problem: string | null;
  /** When its end was reached last; null: never yet. */
  readonly readAt: number | null;
  /** Null: there is no such file. */
  readonly behindBytes: number | null;
  /** Since when it is watched without a hole. */
  readonly watchedSince: number | null;
}

export interface LogPoll {
  readonly bytes: number;
  /** Of these, bytes that no grammar reads. */
  readonly notUnderstood: number;
  /** There is more to read now. */
  readonly more: boolean;
  /** Why the log cannot be read, in the system's words. */
  readonly problem: string | null;
}

export interface PendingEvidence {
  readonly vmId: number;
  readonly document: unknown;
  /** Milliseconds since 1970 on the host's clock, when it came. */
  readonly receivedAt: number;
}

export interface JoinedOperation extends OperationCount {
  readonly operation: MatchResult["operations"][number]["operation"];
  readonly confidence: ConfidenceLevel;
}

export interface Joined {
  /** On the guest's clock. */
  readonly window: Span | null;
  /** A `vgpu-agent/match/1` document: nothing of another VM is in it. */
  readonly result: unknown;
  readonly verdict: { readonly state: "executing" | "refuted" | "not known"; readonly cause: string | null };
  readonly operations: readonly JoinedOperation[];
}
