/**
 * The words of a judgement. They are part of the published report schema: append, never rename.
 */

/** Outcomes of a check, design: a missing source is `unknown`, a broken ancestor makes `not-run`, a bug `crashed`. */
export const OUTCOMES = ["pass", "info", "warn", "fail", "unknown", "not-run", "crashed"] as const;
/** The ladder, lowest first. */
export const RUNGS = ["unconfigured", "configured", "discovered", "connected", "executing", "correct"] as const;
/** The chain, in the direction a call takes. The first four are in the guest. */
export const HOPS = ["workload", "shim", "transport", "device", "mediator", "executor", "gpu"] as const;
export const HOP_STATES = ["ok", "broken", "idle", "unknown"] as const;

export type Outcome = (typeof OUTCOMES)[number];
export type Rung = (typeof RUNGS)[number];
export type Hop = (typeof HOPS)[number];
export type HopState = (typeof HOP_STATES)[number];
