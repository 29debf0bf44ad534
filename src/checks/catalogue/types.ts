import type { Hop, Rung } from "../../protocol/vocabulary.ts";
import type { CauseId } from "../finding.ts";

export interface Cause {
  readonly id: CauseId;
  readonly title: string;
  readonly hop: Hop;
  /** Outcome of a finding that names it. */
  readonly severity: "fail" | "warn" | "info";
  readonly fixedBy: "guest operator" | "host operator" | "workload owner";
  /** The highest rung that can hold while this is so. */
  readonly cap: Rung;
  /**
   * A symptom has other causes beneath it: it is the cause of a verdict only when nothing more telling failed
   * ("exit status 2" is never a root cause by itself).
   */
  readonly symptom?: boolean;
  /** Placeholders in braces are filled by the finding: "{user} may not open {path}". */
  readonly message: string;
  readonly remedy: {
    /** Prose; anything that can end a running load says "when idle". */
    readonly text: string;
    /** Runnable as they stand; read-only or reversible; none ends a running load. `{unit}` and `{bdf}` are filled. */
    readonly commands: readonly string[];
  };
}
