/** Where the entries of a file lie that match. */
export interface Span {
  readonly seqnumId: string;
  readonly firstSeqnum: number;
  readonly lastSeqnum: number;
  /** Epoch microseconds of the first and the last, in the order of the file. */
  readonly firstRealtime: number;
  readonly lastRealtime: number;
  /** Epoch microseconds that no entry is outside of. */
  readonly minRealtime: number;
  readonly maxRealtime: number;
}

/**
 * Whether files lie one after another in time, in the order given. Two that overlap may hold the same entry twice. Files
 * without an entry of the unit (a user's journal beside the system's) have no span and overlap with nothing.
 */
export function apartInOrder(spans: readonly Span[]): boolean {
  const sequences = new Map<string, { readonly lastSeqnum: number; readonly maxRealtime: number }>();
  for (const span of spans) {
    for (const [id, before] of sequences) {
      const apart = id === span.seqnumId ? before.lastSeqnum < span.firstSeqnum : before.maxRealtime < span.minRealtime;
      if (!apart) return false;
    }
    const maxRealtime = Math.max(sequences.get(span.seqnumId)?.maxRealtime ?? 0, span.maxRealtime);
    sequences.set(span.seqnumId, { lastSeqnum: span.lastSeqnum, maxRealtime });
  }
  return true;
}
