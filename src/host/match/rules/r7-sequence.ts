import type { GuestRoundTrip } from "../guest-evidence.ts";
import type { HostRecord } from "../record-ring.ts";

/** The shim's result for a call that its transport failed. */
const FAILED_TRANSPORT = 999;
/** More lost doorbells than these in one connection are not followed. */
const MOST_LOST = 16;
/** Records between two neighbours of a process that are looked at. */
const MOST_BETWEEN = 4096;

export type SequenceAlignment =
  /** The request of each round trip that has a record. */
  | { readonly level: "EXACT"; readonly requests: ReadonlyMap<GuestRoundTrip, number> }
  /** There are several ways to lay them, and nothing tells which. */
  | { readonly level: "AMBIGUOUS"; readonly candidates: number }
  /** A round trip of the guest is not where it should be, or there is nothing to align. */
  | { readonly level: "NONE"; readonly why: string };

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
  /** Where its lines print both numbers, in order. */
  readonly anchors: readonly Anchor[];
  /** Requests of its INIT calls. */
  readonly inits: readonly number[];
  /** No other process of the VM can have made a call between these requests. */
  readonly isAlone: (from: number, to: number) => boolean;
  /** The VM's record of a request; null: there is none, or it is no longer held. */
  readonly recordOf: (requestId: number) => HostRecord | null;
}

/** Calls whose lines name their process also when they succeed. */
const NAMED: ReadonlySet<number> = new Set([
  0x01, 0x30, 0x32, 0x33, 0x3c, 0x40, 0x41, 0x42, 0x44, 0x50, 0x51, 0xa8, 0xaa,
]);
/** Calls whose lines print their sequence number. */
const PAYLOAD: ReadonlySet<number> = new Set([0x32, 0x3c, 0x40, 0x41, 0x42, 0xa8]);
const INIT = 0x01;
/** Copies in: the guest prints nothing when they are answered well. */
const SILENT_IN_GUEST: ReadonlySet<number> = new Set([0x32, 0x3c]);

/**
 * R7: the round trips of a process and its records, laid side by side. Either all records that name the process are, one
 * by one, all of its calls that would be named; then what stands between two of them is its own as well, where as many
 * records as round trips do. Or, when a part is missing on one side: request id minus sequence number is the same for all
 * calls of a transport that is alone, so one line that prints both foretells where every other call lies. Exact when there
 * is only one way, and each record has the right call, a fitting result and no other process's name. `isFromStart`: the
 * guest's list begins with the process, and lacks nothing.
 */
export function alignSequence(
  sequence: readonly GuestRoundTrip[],
  isFromStart: boolean,
  host: HostSequence,
): SequenceAlignment {
  if (sequence.length === 0) return { level: "NONE", why: "the guest gave no sequence numbers" };
  const named = isFromStart ? alignByNames(sequence, host) : null;
  return named === null ? alignByOffsets(sequence, isFromStart, host) : { level: "EXACT", requests: named };
}

/** All records that name the process against all round trips that would be named; null when they differ anywhere. */
function alignByNames(sequence: readonly GuestRoundTrip[], host: HostSequence): Map<GuestRoundTrip, number> | null {
  const trips = sequence.filter(isNamed);
  const requests = new Map<GuestRoundTrip, number>();
  let at = 0;
  for (let request = host.first; request <= host.last; request += 1) {
    const record = host.recordOf(request);
    if (record === null || record.pid !== host.pid || !(NAMED.has(record.callId) || record.status !== 0)) continue;
    const trip = trips[at];
    if (trip === undefined || !fits(trip, record, host.pid)) return null;
    requests.set(trip, request);
    at += 1;
  }
  // Only lists that begin with the process itself, and agree with the numbers that lines show, are the same list.
  if (at < trips.length || trips[0]?.call_id !== INIT) return null;
  const shown = new Set(host.anchors.map(({ offset }) => offset));
  const differs = trips.some((trip) => PAYLOAD.has(trip.call_id) && !shown.has((requests.get(trip) ?? 0) - trip.seq));
  if (differs) return null;
  fillBetween(sequence, requests, host);
  return requests;
}

function isNamed({ call_id, status }: GuestRoundTrip): boolean {
  if (status === FAILED_TRANSPORT) return false;
  if (status === null) return SILENT_IN_GUEST.has(call_id);
  return NAMED.has(call_id) || status !== 0;
}

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
      for (let between = before + 1; between < request; between += 1) {
        const record = recordOf(between);
        if (record !== null && (record.pid === null || record.pid === pid)) free.push(between);
      }
      const right =
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

function fits(trip: GuestRoundTrip, record: HostRecord, pid: number): boolean {
  if (record.callId !== trip.call_id) return false;
  if (record.pid !== null && record.pid !== pid) return false;
  return trip.status === null || trip.status === record.status;
}

function alignByOffsets(
  sequence: readonly GuestRoundTrip[],
  isFromStart: boolean,
  host: HostSequence,
): SequenceAlignment {
  if (!isOrderly(sequence)) return { level: "NONE", why: "several connections of this process took turns" };
  const offsets = suggestedOffsets(sequence, host);
  const choices = stretchesOf(sequence).map(({ transport, trips, lost }) => ({
    transport,
    trips,
    fitting: shifted(offsets, lost).filter((offset) => trips.every((trip) => isThere(trip, offset, host))),
  }));
  const answered = choices.filter(({ trips }) => trips.some(wasAnswered));
  if (answered.length === 0) return { level: "NONE", why: "no round trip of the guest was answered" };
  const missing = answered.find(({ fitting }) => fitting.length === 0);
  if (missing !== undefined) {
    return { level: "NONE", why: `the host's records do not fit the sequence of connection ${missing.transport + 1}` };
  }
  const earliest = laid(answered);
  const latest = laid(
    answered
      .toReversed()
      .map((choice) => ({ ...choice, fitting: choice.fitting.map((offset) => -offset).toReversed() })),
    -1,
  ).toReversed();
  if (earliest.length < answered.length || latest.length < answered.length) {
    return { level: "NONE", why: "the connections of the guest do not lie in this order in the host's log" };
  }
  if (earliest.some((offset, index) => offset !== -(latest[index] ?? 0))) {
    return { level: "AMBIGUOUS", candidates: Math.max(2, ...answered.map(({ fitting }) => fitting.length)) };
  }
  const pairs = answered.flatMap(({ trips }, index) => {
    const offset = earliest[index] ?? 0;
    const certain = certainOf(trips, offset, isFromStart, host);
    return certain
      .filter((trip) => host.recordOf(trip.seq + offset) !== null)
      .map((trip) => [trip, trip.seq + offset] as const);
  });
  if (pairs.length === 0) return { level: "NONE", why: "nothing shows that the process was alone" };
  return { level: "EXACT", requests: new Map(pairs) };
}

/**
 * The round trips of a stretch for which an offset holds beyond doubt. Each call of another process makes it larger, each
 * lost doorbell smaller. So it takes evidence from the process's start and no other process, or else lines that show
 * the same offset on both sides, for calls of this very stretch.
 */
function certainOf(
  trips: readonly GuestRoundTrip[],
  offset: number,
  isFromStart: boolean,
  { anchors, isAlone }: HostSequence,
): readonly GuestRoundTrip[] {
  const last = trips.at(-1)?.seq ?? 0;
  if (isFromStart && isAlone(offset + 1, offset + last)) return trips;
  const spans = anchors.flatMap((anchor) => {
    if (anchor.offset !== offset) return [];
    const shown = trips.filter(
      ({ call_id, seq }) => PAYLOAD.has(call_id) && seq >= anchor.firstSeq && seq <= anchor.lastSeq,
    );
    const [from, to] = [shown[0]?.seq, shown.at(-1)?.seq];
    return from === undefined || to === undefined ? [] : [{ from, to }];
  });
  return trips.filter(({ seq }) => spans.some(({ from, to }) => seq >= from && seq <= to));
}

/** Each connection counts up from 1, but for the first one, whose start may lie before the evidence. */
function isOrderly(sequence: readonly GuestRoundTrip[]): boolean {
  return sequence.every(({ transport, seq }, index) => {
    const before = sequence[index - 1];
    if (before === undefined) return true;
    return transport === before.transport ? seq > before.seq : transport > before.transport && seq === 1;
  });
}

interface Stretch {
  readonly transport: number;
  readonly trips: readonly GuestRoundTrip[];
  /** Doorbells of this transport, before it, that the transport itself failed to deliver. */
  readonly lost: number;
}

/**
 * The round trips of a transport up to each one that the transport failed: that one has used up a sequence number, and
 * perhaps no request id, so what follows may have another offset.
 */
function stretchesOf(sequence: readonly GuestRoundTrip[]): Stretch[] {
  const transports = [...Map.groupBy(sequence, ({ transport }) => transport)].sort(([a], [b]) => a - b);
  return transports.flatMap(([transport, trips]) => {
    const stretches: { transport: number; trips: GuestRoundTrip[]; lost: number }[] = [];
    let lost = 0;
    let current: GuestRoundTrip[] = [];
    const close = () => {
      if (current.length > 0) stretches.push({ transport, trips: current, lost });
      current = [];
    };
    for (const trip of trips) {
      if (trip.status === FAILED_TRANSPORT) {
        close();
        lost += 1;
      } else current.push(trip);
    }
    close();
    return stretches;
  });
}

/** With doorbells lost before, each offset may be smaller by up to so many. */
function shifted(offsets: readonly number[], lost: number): number[] {
  if (lost === 0) return [...offsets];
  const all = offsets.flatMap((offset) =>
    Array.from({ length: Math.min(lost, MOST_LOST) + 1 }, (_, less) => offset - less),
  );
  return [...new Set(all)].sort((a, b) => a - b);
}

/** Offsets that the host's own lines suggest: from lines with both numbers, and from INIT calls, by the guest's. */
function suggestedOffsets(sequence: readonly GuestRoundTrip[], { anchors, inits }: HostSequence): number[] {
  const started = new Set(sequence.filter(({ call_id }) => call_id === INIT).map(({ seq }) => seq));
  const fromInits = inits.flatMap((request) => [...started].map((seq) => request - seq));
  return [...new Set([...anchors.map(({ offset }) => offset), ...fromInits])].sort((a, b) => a - b);
}

function wasAnswered({ status }: GuestRoundTrip): boolean {
  return status !== null && status !== FAILED_TRANSPORT;
}

function isThere(trip: GuestRoundTrip, offset: number, { recordOf, pid }: HostSequence): boolean {
  const record = recordOf(trip.seq + offset);
  // What was not answered may have no record; what was must have one.
  if (record === null) return !wasAnswered(trip);
  return fits(trip, record, pid);
}

interface Choice {
  readonly trips: readonly GuestRoundTrip[];
  readonly fitting: readonly number[];
}

/** For each transport the first offset that fits behind the one before it; shorter when one has none. */
function laid(choices: readonly Choice[], direction: 1 | -1 = 1): number[] {
  let behind = Number.NEGATIVE_INFINITY;
  const offsets: number[] = [];
  for (const { trips, fitting } of choices) {
    const seqs = trips.map(({ seq }) => direction * seq);
    const [low, high] = [Math.min(...seqs), Math.max(...seqs)];
    const offset = fitting.find((candidate) => candidate + low > behind);
    if (offset === undefined) break;
    behind = offset + high;
    offsets.push(offset);
  }
  return offsets;
}
