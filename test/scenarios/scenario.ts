import type { Hop, Rung } from "../../src/protocol/vocabulary.ts";

/** What is true of a scenario, written down before the doctor is asked. */
export interface Truth {
  readonly rung: Rung;
  readonly hop: Hop | null;
  readonly cause: string | null;
  readonly exitCode: 0 | 3 | 4;
  /** Causes that have to be told beside the verdict's own, for example a warning. */
  readonly alsoNamed?: readonly string[];
  /** Whose evidence the rung `executing` rests on; none unless said otherwise. */
  readonly evidence?: "guest";
  /** Execution is refuted, not only unproven. */
  readonly refutesExecution?: true;
}

/** What every scenario says of itself; how it is set up is its bench's. */
export interface Scenario {
  readonly name: string;
  /** What is really the case, for a reader. */
  readonly story: string;
  readonly truth: Truth;
}

export const HEALTHY_IDLE: Truth = { rung: "configured", hop: null, cause: null, exitCode: 0 };
export const HEALTHY_CONNECTED: Truth = { rung: "connected", hop: null, cause: null, exitCode: 0 };
/** Launches and copies come back with 0, counted by the kernel: as far as a guest can see. */
export const EXECUTING: Truth = { rung: "executing", hop: null, cause: null, exitCode: 0, evidence: "guest" };
