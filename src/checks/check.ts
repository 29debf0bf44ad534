import type { Facts } from "../facts/facts.ts";
import type { Hop } from "../protocol/vocabulary.ts";
import type { CauseId, Judgement } from "./finding.ts";

/**
 * One question about the facts. A check reads nothing: everything it says rests on `facts`, so that a saved run can
 * be judged again. It gives at least one judgement; when what it needs was not read, that judgement is `unknown`.
 */
export interface Check {
  /** Kebab-case, stable: it is what --only and --skip take. */
  readonly name: string;
  /** What is asked, for --list and reports. */
  readonly title: string;
  /** The hop that the check looks at; null for the agent itself and for the evidence. */
  readonly hop: Hop | null;
  /** Checks whose failure makes this one pointless. */
  readonly after: readonly string[];
  /** Every cause that it can name. */
  readonly causes: readonly CauseId[];
  /** Milliseconds it may take; null for the engine's own limit. */
  readonly limitMs?: number;
  judge(facts: Facts): readonly Judgement[];
}
