import type { Hop, HopState, Outcome } from "../protocol/vocabulary.ts";

/**
 * What the host's record says of this VM's calls in a window, joined with what the guest saw of them: the part of a
 * `vgpu-agent/match/1` document (schema/match-1.json) that a verdict on this VM rests on. The names are the document's.
 */
export interface HostMatch {
  readonly vm_id: number;
  /** Epoch milliseconds. */
  readonly window: { readonly from: number | null; readonly to: number | null };
  readonly host: {
    /** Whether a record that is not there was not made. */
    readonly coverage: "full" | "partial" | "none";
    readonly reasons: readonly string[];
    readonly calls: number;
  };
  readonly operations: readonly HostOperation[];
  readonly verdict: {
    readonly state: "executing" | "refuted" | "not known";
    readonly statement: string;
    readonly hops: readonly { readonly hop: Hop; readonly state: HopState; readonly why: string }[];
    readonly cause: string | null;
    readonly next: readonly string[];
  };
  /** What the host's record makes doubtful without showing it: a fault of another VM, a payload that may be wrong. */
  readonly suspicions: readonly { readonly what: string; readonly text: string }[];
  /** The operators' success criteria. */
  readonly criteria: readonly HostCriterion[];
  /** Who compared: this program with a file of the mediator's, or the counterpart on the host. */
  readonly source: { readonly kind: "log" | "host"; readonly name: string };
  /** Epoch milliseconds on the clock of whoever compared. */
  readonly joined_at: number;
  /** When the answer with it was given, on the same clock. */
  readonly answered_at: number;
  /** How the host itself is; null where it did not look, and for a file. */
  readonly health: HostHealth | null;
}

/** What the counterpart says of its mediator, as far as it concerns this VM. All times are the host's clock's. */
export interface HostHealth {
  readonly checked_at: number;
  readonly findings: readonly HostFinding[];
  readonly log: {
    /** `none`: the counterpart was not told where the mediator's log is. */
    readonly state: "followed" | "unreadable" | "none";
    /** When its end was reached last. */
    readonly read_at: number | null;
    readonly behind_bytes: number | null;
    /** Since when it is watched without a gap. */
    readonly watched_since: number | null;
  };
}

/** A finding of the host about its mediator. Text of another machine: for people only after it was made visible. */
export interface HostFinding {
  readonly check: string;
  readonly outcome: Outcome;
  readonly cause: string | null;
  readonly message: string;
}

/** One of the four operations, with what both sides saw of it; null where a side cannot tell. */
export interface HostOperation {
  readonly operation: "alloc" | "copy-in" | "launch" | "copy-out";
  readonly guest: HostSide | null;
  readonly host: HostSide | null;
  readonly confidence: { readonly level: string; readonly candidates: number | null; readonly reason: string };
}

export interface HostFigures {
  readonly count: number;
  readonly bytes: number | null;
  readonly failed: number | null;
}

export interface HostSide extends HostFigures {
  /**
   * What surely lies in the window, where its edges are as unsure as the clocks: the figures beside it are then the most
   * that may. Null: they are no range.
   */
  readonly least: HostFigures | null;
}

export interface HostCriterion {
  readonly text: string;
  readonly answer: "proven" | "refuted" | "not known";
  readonly reason: string;
}
