/** What is known of the log around a window. */
export interface Coverage {
  /** Every run of the mediator in the window prints terminators. */
  readonly hasTerminator: boolean;
  /** Request ids of this VM that have no record, among those that the window could hold. */
  readonly missing: number;
  /** Calls of this VM whose lines have no terminator. */
  readonly unframed: number;
  /** The log was watched from before the window until after it, without a longer silence than a living mediator keeps. */
  readonly watched: boolean;
  /** Calls of the guest itself before and after are found in it, so all between must be: which ones, in words. Null: none are. */
  readonly bracketedBy: string | null;
  /** Why it was not watched, in words. */
  readonly whyNot: string;
}

export type Absence = { readonly proven: true; readonly by: string } | { readonly proven: false; readonly why: string };

/** A mediator that is not busy writes at least every 10 s (docs/wire.md, "Mediator log: heartbeats and statistics"). */
export const LONGEST_SILENCE_MS = 12_000;

/**
 * R9: that the host never saw a call is only said when its record could not be missing: terminators are printed, no
 * request id of the VM is without a record, and the log covers the window, either watched with heartbeats on both
 * sides, or by calls of the guest itself on both sides. Otherwise nothing is known.
 */
export function absenceOf(coverage: Coverage): Absence {
  if (!coverage.hasTerminator) return { proven: false, why: "this mediator prints no line for each call" };
  if (coverage.missing > 0) {
    return { proven: false, why: `${coverage.missing} request ids of this VM have no record in the log` };
  }
  if (coverage.unframed > 0) return { proven: false, why: `calls of this VM were cut off (${coverage.unframed})` };
  if (coverage.bracketedBy !== null) {
    return { proven: true, by: `${coverage.bracketedBy}, and no request id between is missing` };
  }
  if (coverage.watched)
    return { proven: true, by: "the log was read as it grew, with heartbeats before, in and after" };
  return { proven: false, why: coverage.whyNot };
}
