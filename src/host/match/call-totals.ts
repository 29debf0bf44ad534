/** Calls of one call id. */
export interface CallTotals {
  count: number;
  failed: number;
}

const MOST_CALL_IDS = 128;

export function addOne(totals: Map<number, CallTotals>, callId: number, failed: boolean): void {
  const known = totals.get(callId);
  if (known === undefined) addTo(totals, callId, { count: 1, failed: failed ? 1 : 0 });
  else {
    known.count += 1;
    if (failed) known.failed += 1;
  }
}

/** The ids are the guest's word, so their number has a limit. */
export function addTo(totals: Map<number, CallTotals>, callId: number, { count, failed }: CallTotals): void {
  const known = totals.get(callId);
  if (known !== undefined) {
    known.count += count;
    known.failed += failed;
  } else if (totals.size < MOST_CALL_IDS) totals.set(callId, { count, failed });
}
