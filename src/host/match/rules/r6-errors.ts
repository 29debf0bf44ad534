/** A call that failed, as the host's log has it. */
export interface HostError {
  readonly requestId: number | null;
  readonly callId: number;
  readonly status: number;
}

export interface GuestError {
  readonly call_id: number;
  readonly status: number | null;
  /** The request id that the sequence number foretells (R7); null: none does. */
  readonly foretold: number | null;
  /** The stub wrote that it gave this result for this sequence number. */
  readonly applied: boolean;
}

export type ErrorMatch =
  | { readonly level: "EXACT" | "STRONG"; readonly error: HostError }
  | { readonly level: "AMBIGUOUS"; readonly candidates: number }
  | { readonly level: "NONE" };

/**
 * R6: an error of the guest by its call and CUDA result. One record that fits is strong; with the sequence number (R7),
 * or the stub's word that it gave this result, it is exact. Several are ambiguous. `host` holds records of the same VM,
 * and of the same process where owners tell it.
 */
export function matchError(guest: GuestError, host: readonly HostError[]): ErrorMatch {
  const fitting = host.filter(({ callId, status }) => callId === guest.call_id && status === guest.status);
  const foretold = fitting.find(({ requestId }) => requestId !== null && requestId === guest.foretold);
  if (foretold !== undefined) return { level: "EXACT", error: foretold };
  const [only] = fitting;
  if (only === undefined) return { level: "NONE" };
  if (fitting.length > 1) return { level: "AMBIGUOUS", candidates: fitting.length };
  return { level: guest.applied ? "EXACT" : "STRONG", error: only };
}
