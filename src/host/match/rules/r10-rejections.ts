import type { Confidence } from "../result.ts";

export interface Rejections {
  /** Refusals that the guest was given (rate or quarantine); null: it cannot tell. */
  readonly guest: number | null;
  /** `[REJECT]` lines of this VM. */
  readonly host: number;
  /** Request ids of this VM without a record. */
  readonly missing: number;
  /** This log would show refusals. */
  readonly shown: boolean;
}

/**
 * R10: no line says which call was refused, so refusals are matched by number: each has used up a request id, and the
 * guest was told of each.
 */
export function matchRejections({ guest, host, missing, shown }: Rejections): Confidence {
  const rules: Confidence["rules"] = ["R10"];
  if (!shown) {
    return {
      level: "UNKNOWN",
      candidates: null,
      rules,
      reason: "this log has no line of standard output, which refusals are",
    };
  }
  if (host === 0 && (guest ?? 0) === 0) {
    return { level: "STRONG", candidates: null, rules, reason: "nobody tells of a refusal" };
  }
  if (guest === null)
    return { level: "UNKNOWN", candidates: null, rules, reason: "the guest's evidence does not count refusals" };
  if (guest === host && missing >= host) {
    return {
      level: "STRONG",
      candidates: null,
      rules,
      reason: `${host} on both sides, and as many request ids are missing`,
    };
  }
  return {
    level: "AMBIGUOUS",
    candidates: Math.max(guest, host),
    rules,
    reason: `${guest} in the guest, ${host} on the host`,
  };
}
