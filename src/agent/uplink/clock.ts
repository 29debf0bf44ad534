import type { Clock } from "../../report/wire/answers.ts";

/** How the guest's clock stands to the host's. */
export interface ClockOffset {
  /** Guest's clock minus host's, milliseconds. */
  readonly offsetMs: number;
  /** How far that may be off, milliseconds. */
  readonly errorMs: number;
}

/** One exchange: the guest's times around it, and how long it took by a clock that nobody sets. */
export interface Exchange {
  readonly sentAt: number;
  readonly receivedAt: number;
  readonly tookMs: number;
  readonly host: Clock;
}

/** All four times are whole milliseconds, cut off: each direction may be off by one. */
const CUT_MS = 1;
/** More than this between the two clocks of the guest: its wall clock was set meanwhile. */
const STEP_MS = 20;

/**
 * The offset that an exchange tells, and its bound: the way there and the way back took at least nothing, so the truth
 * lies between the two. Null when one of the clocks was set in the middle of it.
 */
export function offsetOf({ sentAt, receivedAt, tookMs, host }: Exchange): ClockOffset | null {
  const there = sentAt - host.received_at;
  const back = receivedAt - host.sent_at;
  const spare = receivedAt - sentAt - (host.sent_at - host.received_at);
  if (host.sent_at < host.received_at || spare < -2 * CUT_MS) return null;
  if (Math.abs(receivedAt - sentAt - tookMs) > STEP_MS) return null;
  return { offsetMs: (there + back) / 2, errorMs: Math.max(0, spare) / 2 + CUT_MS };
}

/** The one with the smallest error; null where there is none. */
export function bestOf(offsets: readonly (ClockOffset | null)[]): ClockOffset | null {
  return offsets.reduce(
    (best, one) => (one !== null && (best === null || one.errorMs < best.errorMs) ? one : best),
    null,
  );
}

/** An offset whose bounds hold both: of two moments, whatever the clocks did between them. */
export function spanning(one: ClockOffset, other: ClockOffset): ClockOffset {
  const least = Math.min(one.offsetMs - one.errorMs, other.offsetMs - other.errorMs);
  const most = Math.max(one.offsetMs + one.errorMs, other.offsetMs + other.errorMs);
  return { offsetMs: (least + most) / 2, errorMs: (most - least) / 2 };
}
