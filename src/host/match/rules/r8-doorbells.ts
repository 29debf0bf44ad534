import type { HostRecord } from "../record-ring.ts";

/** A doorbell that the stub saw, in the order of its log. */
export interface Doorbell {
  readonly callId: number;
  readonly seq: number;
  /** False: no mediator could be reached, so no request id was used up. */
  readonly sent: boolean;
  /** Milliseconds since 1970 (syslog, to the second); null: the log has no times. */
  readonly at: number | null;
}

export interface DoorbellAlignment {
  /** Request id of each doorbell; null: it used none up, or nothing is known of it. */
  readonly requests: readonly (number | null)[];
  /** Doorbells that lie where the mediator's log has the same call. */
  readonly aligned: number;
}

/** Doorbells that have to agree before a place is believed. */
const NEEDED = 8;
const MOST_TRIED = 4096;

/**
 * R8: each doorbell that reached a mediator uses up one request id, so the calls of both logs lie side by side. The place
 * where they begin is the one from which the most calls agree; the first call that differs ends the alignment, because syslog may
 * have dropped lines.
 */
export function alignDoorbells(
  rings: readonly Doorbell[],
  firstRequest: number,
  lastRequest: number,
  recordOf: (requestId: number) => HostRecord | null,
): DoorbellAlignment {
  const sent = rings.filter((ring) => ring.sent);
  const needed = Math.min(NEEDED, sent.length);
  let best = { start: 0, aligned: 0, ties: 0 };
  for (let start = firstRequest; start <= lastRequest && start - firstRequest < MOST_TRIED; start += 1) {
    const aligned = agreeing(sent, start, recordOf);
    if (aligned < needed || aligned < best.aligned) continue;
    best = { start, aligned, ties: aligned === best.aligned ? best.ties + 1 : 1 };
  }
  const { start, aligned, ties } = best;
  // Two places that fit equally well are none.
  if (aligned === 0 || ties > 1) return { requests: rings.map(() => null), aligned: 0 };
  let used = 0;
  const requests = rings.map((ring) => {
    if (!ring.sent) return null;
    used += 1;
    return used <= aligned ? start + used - 1 : null;
  });
  return { requests, aligned };
}

/** How many doorbells from the first on lie where a record of the same call is. A hole in the log agrees with any. */
function agreeing(
  sent: readonly Doorbell[],
  start: number,
  recordOf: (requestId: number) => HostRecord | null,
): number {
  const differs = sent.findIndex((ring, index) => recordOf(start + index)?.callId !== ring.callId);
  return differs < 0 ? sent.length : differs;
}
