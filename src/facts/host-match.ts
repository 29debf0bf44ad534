import type { Hop, HopState } from "../protocol/vocabulary.ts";

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
  /** The operators' success criteria. */
  readonly criteria: readonly HostCriterion[];
}

/** One of the four operations, with what both sides saw of it; null where a side cannot tell. */
export interface HostOperation {
  readonly operation: "alloc" | "copy-in" | "launch" | "copy-out";
  readonly guest: HostSide | null;
  readonly host: HostSide | null;
  readonly confidence: { readonly level: string; readonly candidates: number | null; readonly reason: string };
}

export interface HostSide {
  readonly count: number;
  readonly bytes: number | null;
  readonly failed: number | null;
}

export interface HostCriterion {
  readonly text: string;
  readonly answer: "proven" | "refuted" | "not known";
  readonly reason: string;
}
