import type { FileCount } from "./bulk-count.ts";

/** A file's count with what its header says of the sequence that its entries are numbered in. */
interface Part {
  readonly file: { readonly header: { readonly seqnumId: string } };
  readonly count: FileCount;
}

/**
 * The parts one after another in time, or null where that is not how they lie: two that overlap may hold the same entry
 * twice, and a line without a pid may be of a process that an earlier file names. Files without an entry of the unit
 * (a user's journal beside the system's) overlap with nothing.
 */
export function inOrder<T extends Part>(parts: readonly T[]): readonly T[] | null {
  const matching = parts.filter(({ count }) => count.span !== null);
  const sequences = new Map<string, { lastSeqnum: number; maxRealtime: number }>();
  const oneSequence = new Set(matching.map(({ file }) => file.header.seqnumId)).size < 2;
  const key = ({ count: { span } }: T) => (oneSequence ? span?.firstSeqnum : span?.minRealtime) ?? 0;
  matching.sort((one, other) => key(one) - key(other));
  for (const [index, { file, count }] of matching.entries()) {
    const { seqnumId } = file.header;
    const { span } = count;
    if (span === null || (count.unnamed && index > 0)) return null;
    for (const [id, before] of sequences) {
      const apart = id === seqnumId ? before.lastSeqnum < span.firstSeqnum : before.maxRealtime < span.minRealtime;
      if (!apart) return null;
    }
    const known = sequences.get(seqnumId);
    sequences.set(seqnumId, {
      lastSeqnum: span.lastSeqnum,
      maxRealtime: Math.max(known?.maxRealtime ?? 0, span.maxRealtime),
    });
  }
  return [...matching, ...parts.filter(({ count }) => count.span === null)];
}
