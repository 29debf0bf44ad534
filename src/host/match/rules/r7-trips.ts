import { TRANSPORT_FAILED_RESULT } from "../../../protocol/status.ts";
import type { GuestRoundTrip } from "../guest-evidence.ts";
import type { HostRecord } from "../record-ring.ts";

/* What R7 compares: the round trips of a guest's process, and the host's records of one. */

/** Lines that print request id and sequence number, one after the other with the same difference. */
export interface Anchor {
  /** Request id minus sequence number. */
  readonly offset: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** The host's records of one process. */
export interface HostSequence {
  readonly pid: number;
  /** Requests of the first and the last record that name it. */
  readonly first: number;
  readonly last: number;
  /** Requests of the VM before `first` that have no record: the process may have begun with them. */
  readonly missingBefore: number;
  /** Where its lines print both numbers, in order. */
  readonly anchors: readonly Anchor[];
  /** Requests of its INIT calls. */
  readonly inits: readonly number[];
  /** No other process of the VM can have made a call between these requests. */
  readonly isAlone: (from: number, to: number) => boolean;
  /** The VM's record of a request; null: there is none, or it is no longer held. */
  readonly recordOf: (requestId: number) => HostRecord | null;
}

/** Calls whose lines print their sequence number. */
export const PAYLOAD: ReadonlySet<number> = new Set([0x32, 0x3c, 0x40, 0x41, 0x42, 0xa8]);
export const INIT = 0x01;

/** The record may be the trip's: the right call, a fitting result and no other process's name. */
export function fits(trip: GuestRoundTrip, record: HostRecord, pid: number): boolean {
  if (record.callId !== trip.call_id) return false;
  if (record.pid !== null && record.pid !== pid) return false;
  return trip.status === null || trip.status === record.status;
}

/** The trip went through, and a result came back. */
export function wasAnswered({ status }: GuestRoundTrip): boolean {
  return status !== null && status !== TRANSPORT_FAILED_RESULT;
}

/**
 * The first round trips of a list, until a sequence number is left out. A process that numbers its calls leaves none out, so
 * from there on calls of it are missing, or they are another's: two processes have one pid in two containers.
 */
export function upToJump(sequence: readonly GuestRoundTrip[]): ReadonlySet<GuestRoundTrip> {
  const jump = sequence.findIndex(({ transport, seq }, index) => {
    const before = sequence[index - 1];
    return before !== undefined && seq !== (before.transport === transport ? before.seq + 1 : 1);
  });
  return new Set(jump < 0 ? sequence : sequence.slice(0, jump));
}

/** Each connection counts up from 1, but for the first one, whose start may lie before the evidence. */
export function isOrderly(sequence: readonly GuestRoundTrip[]): boolean {
  return sequence.every(({ transport, seq }, index) => {
    const before = sequence[index - 1];
    if (before === undefined) return true;
    return transport === before.transport ? seq > before.seq : transport > before.transport && seq === 1;
  });
}
