import type { Check } from "../../checks/check.ts";
import { runChecks } from "../../checks/engine.ts";
import type { Finding } from "../../checks/finding.ts";
import type { Facts } from "../../facts/facts.ts";
import type { FactName } from "./facts-reader.ts";

export interface Judged {
  readonly findings: readonly Finding[];
  /** By check: when the oldest reading that it looked at was made, monotonic milliseconds. */
  readonly asOf: ReadonlyMap<string, number>;
}

/**
 * Runs the checks, and sees which facts each of them looks at: a check's judgement is as old as the oldest reading that
 * it rests on. One that looked at something that was not read, or too long ago, or did not run, has no `asOf`.
 */
export function judgeFacts(
  checks: readonly Check[],
  facts: Facts,
  readAt: (name: FactName) => number | null,
  run: typeof runChecks = runChecks,
): Judged {
  const looked = new Map<string, Set<FactName>>();
  const watched = checks.map((check): Check => {
    const seen = new Set<FactName>();
    looked.set(check.name, seen);
    return { ...check, judge: () => check.judge(recording(facts, seen)) };
  });
  const findings = run(watched, facts);
  const asOf = new Map<string, number>();
  for (const [name, seen] of looked) {
    const times = [...seen].map(readAt);
    const known = times.filter((at) => at !== null);
    if (known.length > 0 && known.length === times.length) asOf.set(name, Math.min(...known));
  }
  return { findings, asOf };
}

/** The facts, with a note of which were looked at. */
function recording(facts: Facts, seen: Set<FactName>): Facts {
  return new Proxy(facts, {
    get(target, name, receiver) {
      if (isFactName(name, target)) seen.add(name);
      return Reflect.get(target, name, receiver);
    },
  });
}

function isFactName(name: string | symbol, facts: Facts): name is FactName {
  return typeof name === "string" && name in facts && name !== "schema" && name !== "collectedAt" && name !== "scope";
}
