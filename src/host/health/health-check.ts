import type { CauseId, Judgement } from "../../checks/finding.ts";
import type { MediatorHealthFacts } from "./facts.ts";

/** One question about the mediator. Reads nothing; gives at least one judgement; what was not read is `unknown`. */
export interface HealthCheck {
  /** Kebab-case, stable. */
  readonly name: string;
  readonly title: string;
  /** Every cause that it can name. */
  readonly causes: readonly CauseId[];
  judge(facts: MediatorHealthFacts): readonly Judgement[];
}
