import { TRANSPORT_FAILED_RESULT } from "../../../protocol/status.ts";
import type { Effort } from "../effort.ts";
import type { GuestRoundTrip } from "../guest-evidence.ts";
import { alignByNames } from "./r7-names.ts";
import { fits, type HostSequence, INIT, isOrderly, PAYLOAD, upToJump, wasAnswered } from "./r7-trips.ts";

/** More lost doorbells than these in one connection are not followed. */
const MOST_LOST = 16;
/** Steps for a place that is written down and put in order, and for a stretch's surroundings (decision 20). */
const STEPS = { place: 16, stretch: 512 } as const;

export type SequenceAlignment =
  /** The request of each round trip that has a record. */
  | { readonly level: "EXACT"; readonly requests: ReadonlyMap<GuestRoundTrip, number> }
  /** There are several ways to lay them, and nothing tells which. */
  | { readonly level: "AMBIGUOUS"; readonly candidates: number }
  /** They may lie here: nothing tells, or there was too much to compare. */
  | { readonly level: "UNKNOWN"; readonly why: string }
  /** A round trip of the guest is not where it should be, or there is nothing to align. */
  | { readonly level: "NONE"; readonly why: string };

/** The answer beyond the bound. */
export const TOO_MUCH = {
  level: "UNKNOWN",
  why: "there were too many ways to lay its calls beside the host's records",
} as const satisfies SequenceAlignment;

const NO_TRIPS: ReadonlySet<GuestRoundTrip> = new Set();

/**
 * R7: the round trips of a process and its records, laid side by side. Either all records that name the process are, one
 * by one, all of its calls that would be named; then what stands between two of them is its own as well, where as many
 * records as round trips do. Or, when a part is missing on one side: request id minus sequence number is the same for all
 * calls of a transport that is alone, so one line that prints both foretells where every other call lies. Exact when there
 * is only one way, and each record has the right call, a fitting result and no other process's name. `isFromStart`: the
 * guest's list begins with the process, and lacks nothing. Beyond what `effort` allows nothing is known (`TOO_MUCH`).
 */
export function alignSequence(
  sequence: readonly GuestRoundTrip[],
  isFromStart: boolean,
  host: HostSequence,
  effort: Effort,
): SequenceAlignment {
  if (sequence.length === 0) return { level: "NONE", why: "the guest gave no sequence numbers" };
  if (!effort.spend(sequence.length)) return TOO_MUCH;
  const named = isFromStart ? alignByNames(sequence, host, effort) : null;
  return named === null ? alignByOffsets(sequence, isFromStart, host, effort) : { level: "EXACT", requests: named };
}

function alignByOffsets(
  sequence: readonly GuestRoundTrip[],
  isFromStart: boolean,
  host: HostSequence,
  effort: Effort,
): SequenceAlignment {
  if (!isOrderly(sequence)) return { level: "NONE", why: "several connections of this process took turns" };
  const stretches = stretchesOf(sequence).filter(({ trips }) => trips.some(wasAnswered));
  if (stretches.length === 0) return { level: "NONE", why: "no round trip of the guest was answered" };
  const places = placesOf(sequence, host, effort);
  const answered: (Choice & { readonly transport: number })[] = [];
  for (const { transport, trips, lost } of stretches) {
    const fitting = fittingOf(trips, places(lost), host, effort);
    if (fitting === null) return TOO_MUCH;
    answered.push({ transport, trips, fitting });
  }
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
  const requests = new Map<GuestRoundTrip, number>();
  const known = isFromStart ? upToJump(sequence) : NO_TRIPS;
  for (const [index, { trips }] of answered.entries()) {
    const offset = earliest[index] ?? 0;
    const certain = certainOf(trips, offset, known, host, effort);
    if (certain === null) return TOO_MUCH;
    for (const trip of certain) if (host.recordOf(trip.seq + offset) !== null) requests.set(trip, trip.seq + offset);
  }
  if (requests.size === 0) return { level: "UNKNOWN", why: "nothing shows that the process was alone" };
  return { level: "EXACT", requests };
}

/**
 * The round trips of a stretch for which an offset holds beyond doubt. Each call of another process makes it larger, each
 * lost doorbell smaller. So it takes evidence from the process's start and no other process, or else lines that show
 * the same offset on both sides, for calls of this very stretch. Null: too much to compare.
 */
function certainOf(
  trips: readonly GuestRoundTrip[],
  offset: number,
  known: ReadonlySet<GuestRoundTrip>,
  { anchors, isAlone }: HostSequence,
  effort: Effort,
): readonly GuestRoundTrip[] | null {
  const showing = anchors.filter((anchor) => anchor.offset === offset);
  if (!effort.spend(STEPS.stretch + anchors.length + 2 * showing.length * trips.length)) return null;
  const last = trips.at(-1)?.seq ?? 0;
  const isKnown = trips.filter((trip) => known.has(trip));
  const alone = isKnown.length > 0 && isAlone(offset + 1, offset + last) ? isKnown : [];
  if (alone.length === trips.length) return trips;
  const spans = showing.flatMap((anchor) => {
    const shown = trips.filter(
      ({ call_id, seq }) => PAYLOAD.has(call_id) && seq >= anchor.firstSeq && seq <= anchor.lastSeq,
    );
    const [from, to] = [shown[0]?.seq, shown.at(-1)?.seq];
    return from === undefined || to === undefined ? [] : [{ from, to }];
  });
  const isShown = ({ seq }: GuestRoundTrip): boolean => spans.some(({ from, to }) => seq >= from && seq <= to);
  return trips.filter((trip, index) => index < alone.length || isShown(trip));
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
      if (trip.status === TRANSPORT_FAILED_RESULT) {
        close();
        lost += 1;
      } else current.push(trip);
    }
    close();
    return stretches;
  });
}

/**
 * Where the calls behind so many lost doorbells may lie: each offset that is suggested may be smaller by up to so many. In
 * order; null where they are too many.
 */
function placesOf(
  sequence: readonly GuestRoundTrip[],
  host: HostSequence,
  effort: Effort,
): (lost: number) => readonly number[] | null {
  const offsets = suggestedOffsets(sequence, host, effort);
  const known = new Map<number, readonly number[] | null>();
  return (lost) => {
    const most = Math.min(lost, MOST_LOST);
    const before = known.get(most);
    if (before !== undefined) return before;
    const places = offsets === null ? null : shifted(offsets, most, effort);
    known.set(most, places);
    return places;
  };
}

function shifted(offsets: readonly number[], most: number, effort: Effort): readonly number[] | null {
  if (most === 0) return offsets;
  if (!effort.spend(offsets.length * (most + 1) * STEPS.place)) return null;
  const all = offsets.flatMap((offset) => Array.from({ length: most + 1 }, (_, less) => offset - less));
  return [...new Set(all)].sort((a, b) => a - b);
}

/** Offsets that the host's own lines suggest: from lines with both numbers, and from INIT calls, by the guest's. */
function suggestedOffsets(
  sequence: readonly GuestRoundTrip[],
  { anchors, inits }: HostSequence,
  effort: Effort,
): readonly number[] | null {
  const started = new Set(sequence.filter(({ call_id }) => call_id === INIT).map(({ seq }) => seq));
  if (!effort.spend((anchors.length + inits.length * started.size) * STEPS.place)) return null;
  const fromInits = inits.flatMap((request) => [...started].map((seq) => request - seq));
  return [...new Set([...anchors.map(({ offset }) => offset), ...fromInits])].sort((a, b) => a - b);
}

/** The places where each round trip of a stretch is; null: too many to try. */
function fittingOf(
  trips: readonly GuestRoundTrip[],
  places: readonly number[] | null,
  host: HostSequence,
  effort: Effort,
): readonly number[] | null {
  if (places === null) return null;
  const fitting: number[] = [];
  for (const offset of places) {
    let isFitting = true;
    for (const trip of trips) {
      if (!effort.spend()) return null;
      isFitting = isThere(trip, offset, host);
      if (!isFitting) break;
    }
    if (!isFitting) continue;
    if (!effort.spend(STEPS.place)) return null;
    fitting.push(offset);
  }
  return fitting;
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
