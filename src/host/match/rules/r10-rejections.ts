import type { WrittenBetween } from "../../../protocol/mediator-events.ts";
import { rangeOf } from "../../../report/quantities.ts";
import type { Confidence } from "../result.ts";

/** A refusal that the log tells of. */
export interface Rejected {
  readonly reason: "quarantined" | "rate-limited";
  readonly code: number | null;
  /** Null where the log has no times. */
  readonly when: WrittenBetween | null;
  /** The VM's last request before it. */
  readonly after: number;
}

export interface Rejections {
  /** Refusals that the guest was given (rate or quarantine); null: it cannot tell. */
  readonly guest: number | null;
  /** `[REJECT]` lines of this VM: between how many and how many, where the edges of a window are not sharp. */
  readonly host: { readonly least: number; readonly most: number };
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
  const { least, most } = host;
  if (most === 0 && (guest ?? 0) === 0) {
    return { level: "STRONG", candidates: null, rules, reason: "nobody tells of a refusal" };
  }
  if (guest === null)
    return { level: "UNKNOWN", candidates: null, rules, reason: "the guest's evidence does not count refusals" };
  const has = rangeOf(least, most, String);
  if (guest >= least && guest <= most && missing >= guest) {
    return {
      level: "STRONG",
      candidates: null,
      rules,
      reason:
        least === most
          ? `${guest} on both sides, and as many request ids are missing`
          : `${guest} in the guest, ${has} on the host, and as many request ids are missing`,
    };
  }
  return {
    level: "AMBIGUOUS",
    candidates: Math.max(guest, most),
    rules,
    reason: `${guest} in the guest, ${has} on the host`,
  };
}
