import { TRANSPORT_FAILED_RESULT } from "../../../protocol/status.ts";
import type { Effort } from "../effort.ts";
import type { GuestRoundTrip } from "../guest-evidence.ts";
import type { HostRecord } from "../record-ring.ts";
import { fits, type HostSequence, INIT, isOrderly, PAYLOAD, upToJump, wasAnswered } from "./r7-trips.ts";

/** Records between two neighbours of a process that are looked at. */
const MOST_BETWEEN = 4096;
/** Calls whose lines name their process also when they succeed. */
const NAMED: ReadonlySet<number> = new Set([
  0x01, 0x30, 0x32, 0x33, 0x3c, 0x40, 0x41, 0x42, 0x44, 0x50, 0x51, 0xa8, 0xaa,
]);
/** Copies in: the guest prints nothing when they are answered well. */
const SILENT_IN_GUEST: ReadonlySet<number> = new Set([0x32, 0x3c]);
/** All trips are told: what is left of the records is of trips that the guest had not told when its list was made. */
const BEYOND = Number.POSITIVE_INFINITY;

/** A record that names the process, and the trip that it belongs to where nothing is missing. */
interface Named {
  readonly trip: GuestRoundTrip;
  readonly request: number;
  readonly record: HostRecord;
  /** Requests behind the one before it that may have been the process's too: without a record, or without a name. */
  readonly doubtful: number;
  /** Requests from the one behind it up to this one that no other process is named for. */
  readonly room: number;
}

/** What tells where a record may belong. */
interface Ways {
  readonly isPair: (trip: GuestRoundTrip, named: Pick<Named, "request" | "record">) => boolean;
  /** The record at an index belongs to a trip so much later than where nothing is missing, and the one before it so much. */
  readonly isRoom: (index: number, before: number, shift: number) => boolean;
}

/**
 * All records that name the process against all round trips that would be named, one by one; null when they differ
 * anywhere. Only what can be no other way is given: behind a request without a record, which may have been the process's,
 * records may belong to later trips than where nothing is missing, and the last ones to trips that nobody told yet.
 */
export function alignByNames(
  sequence: readonly GuestRoundTrip[],
  host: HostSequence,
  effort: Effort,
): Map<GuestRoundTrip, number> | null {
  const trips = sequence.filter(isNamed);
  // Only a list that begins with the process itself can be the same list.
  if (trips[0]?.call_id !== INIT) return null;
  // And only lists that agree with the numbers that lines show are.
  const shown = new Set(host.anchors.map(({ offset }) => offset));
  const isPair: Ways["isPair"] = (trip, { request, record }) =>
    fits(trip, record, host.pid) && (!PAYLOAD.has(trip.call_id) || shown.has(request - trip.seq));
  const named: Named[] = [];
  let [doubtful, room] = [host.missingBefore, host.missingBefore];
  for (let request = host.first; request <= host.last; request += 1) {
    if (!effort.spend()) return null;
    const record = host.recordOf(request);
    if (record !== null && record.pid !== null && record.pid !== host.pid) continue;
    room += 1;
    const isNamed = record !== null && isNamedRecord(record);
    if (record === null || (isNamed && record.pid === null)) doubtful += 1;
    else if (isNamed) {
      const trip = trips[named.length];
      if (trip === undefined || !isPair(trip, { request, record })) return null;
      named.push({ trip, request, record, doubtful, room });
      doubtful = 0;
      room = 0;
    }
  }
  if (named.length < trips.length) return null;
  const isRoom = roomOf(sequence, named);
  if (!named.every((_, index) => isRoom(index, 0, 0))) return null;
  const certain = certainOf(named, { isPair, isRoom }, effort);
  const known = upToJump(sequence);
  const requests = new Map<GuestRoundTrip, number>();
  for (const { trip, request } of named.slice(0, certain)) if (known.has(trip)) requests.set(trip, request);
  if (requests.size === 0) return null;
  fillBetween(sequence, requests, host);
  return requests;
}

/**
 * The records may be the beginning of a process that made these calls, or these calls the beginning of what it did: where both
 * are known, one by one, they do not differ.
 */
export function mayBegin(sequence: readonly GuestRoundTrip[], host: HostSequence, effort: Effort): boolean {
  // The records may begin in the middle of a process.
  if (host.missingBefore > 0 || host.inits[0] !== host.first) return true;
  const trips = sequence.filter(isNamed).values();
  for (let request = host.first; request <= host.last; request += 1) {
    const record = host.recordOf(request);
    // From here on nobody knows which record belongs to which trip.
    if (record === null || !effort.spend()) return true;
    if (!isNamedRecord(record)) continue;
    if (record.pid === null) return true;
    if (record.pid !== host.pid) continue;
    const { value: trip } = trips.next();
    if (trip === undefined) return true;
    if (!fits(trip, record, host.pid)) return false;
  }
  return true;
}

/**
 * How many of the records, from the first one on, belong to their trips however many of the doubtful requests were the
 * process's. Each that was makes what follows belong to one trip later; once it is so it stays, and it was not so where a
 * record does not fit its later trip, or where two records are too close for all that was answered between their trips.
 * Zero also when it took too much to find out.
 */
function certainOf(named: readonly Named[], { isPair, isRoom }: Ways, effort: Effort): number {
  /** How many trips later, and from which record on at the earliest. */
  let later = new Map<number, number>();
  for (const [index, one] of named.entries()) {
    const reached = new Map<number, number>();
    const most = Math.min(one.doubtful, named.length);
    if (!effort.spend((later.size + 1) * (most + 1))) return 0;
    for (const [shift, since] of [[0, index] as const, ...later]) {
      for (let more = shift === 0 ? 1 : 0; more <= most; more += 1) {
        const to = index + shift + more < named.length ? shift + more : BEYOND;
        const other = named[index + to];
        const fits = other === undefined || isPair(other.trip, one);
        if (fits && isRoom(index, shift, to)) reached.set(to, Math.min(since, reached.get(to) ?? since));
        if (to === BEYOND) break;
      }
    }
    later = reached;
  }
  return [...later.values()].reduce((first, since) => Math.min(first, since), named.length);
}

/** Between a record and the one before it are enough requests for what was answered between the trips that they belong to. */
function roomOf(sequence: readonly GuestRoundTrip[], named: readonly Named[]): Ways["isRoom"] {
  // Where connections took turns their calls may have been told in another order.
  if (!isOrderly(sequence)) return () => true;
  const upTo = new Map<GuestRoundTrip, number>();
  let answered = 0;
  for (const trip of sequence) {
    if (wasAnswered(trip)) answered += 1;
    upTo.set(trip, answered);
  }
  const answeredUpTo = (index: number): number => {
    const trip = named[index]?.trip;
    return (trip === undefined ? undefined : upTo.get(trip)) ?? answered;
  };
  return (index, before, shift) => {
    const one = named[index];
    if (one === undefined || before === BEYOND) return true;
    return one.room >= answeredUpTo(index + shift) - (index === 0 ? 0 : answeredUpTo(index - 1 + before));
  };
}

function isNamed({ call_id, status }: GuestRoundTrip): boolean {
  if (status === TRANSPORT_FAILED_RESULT) return false;
  if (status === null) return SILENT_IN_GUEST.has(call_id);
  return NAMED.has(call_id) || status !== 0;
}

/** A call like this names its process when its line is whole. */
const isNamedRecord = ({ callId, status }: HostRecord): boolean => NAMED.has(callId) || status !== 0;

/** Round trips that no line names, between two that are found: theirs when as many records as trips stand there. */
function fillBetween(
  sequence: readonly GuestRoundTrip[],
  requests: Map<GuestRoundTrip, number>,
  { pid, recordOf }: HostSequence,
): void {
  let before: number | null = null;
  let waiting: GuestRoundTrip[] = [];
  for (const trip of sequence) {
    const request = requests.get(trip);
    if (request === undefined) {
      waiting.push(trip);
      continue;
    }
    const answered = waiting.filter(wasAnswered);
    const sure = answered.length === waiting.length;
    if (before !== null && sure && answered.length > 0 && request - before <= MOST_BETWEEN) {
      const free: number[] = [];
      let isWhole = true;
      for (let between = before + 1; between < request; between += 1) {
        const record = recordOf(between);
        // One of the trips may be where the log has nothing, and what is there another process's.
        if (record === null) isWhole = false;
        else if (record.pid === null || record.pid === pid) free.push(between);
      }
      const right =
        isWhole &&
        free.length === answered.length &&
        answered.every((one, index) => {
          const record = recordOf(free[index] ?? -1);
          return record !== null && fits(one, record, pid);
        });
      if (right) for (const [index, one] of answered.entries()) requests.set(one, free[index] ?? 0);
    }
    before = request;
    waiting = [];
  }
}
