/** Where an entry is, in the terms of journalctl's cursors. */
export interface EntryPosition {
  readonly seqnumId: string;
  readonly seqnum: number;
  readonly bootId: string;
  /** Microseconds since that boot. */
  readonly monotonic: number;
  /** Epoch microseconds. */
  readonly realtime: number;
  /** XOR of the hashes of the entry's fields, 16 hexadecimal digits without leading zeros. */
  readonly xorHash: string;
}

const CURSOR =
  /^s=([0-9a-f]{32});i=([0-9a-f]{1,16});b=([0-9a-f]{32});m=([0-9a-f]{1,16});t=([0-9a-f]{1,16});x=([0-9a-f]{1,16})$/;

/** The cursor as journalctl prints it (`journalctl --show-cursor`). */
export function formatCursor(at: EntryPosition): string {
  const numbers = `m=${at.monotonic.toString(16)};t=${at.realtime.toString(16)};x=${at.xorHash}`;
  return `s=${at.seqnumId};i=${at.seqnum.toString(16)};b=${at.bootId};${numbers}`;
}

/** Reads a cursor; null when it is not one. */
export function parseCursor(text: string): EntryPosition | null {
  const found = CURSOR.exec(text);
  if (found === null) return null;
  const [, seqnumId = "", seqnum = "", bootId = "", monotonic = "", realtime = "", xorHash = ""] = found;
  return {
    seqnumId,
    seqnum: Number.parseInt(seqnum, 16),
    bootId,
    monotonic: Number.parseInt(monotonic, 16),
    realtime: Number.parseInt(realtime, 16),
    xorHash: xorHash.replace(/^0+(?=.)/, ""),
  };
}

/**
 * Orders an entry against a cursor: below 0 before it, 0 the cursor's own entry, above 0 after it. Sequence numbers
 * decide within one sequence, the monotonic clock within one boot, the real-time clock otherwise.
 */
export function compareToCursor(entry: EntryPosition, cursor: EntryPosition): number {
  if (entry.seqnumId === cursor.seqnumId) return entry.seqnum - cursor.seqnum;
  if (entry.bootId === cursor.bootId && entry.monotonic !== cursor.monotonic) return entry.monotonic - cursor.monotonic;
  if (entry.realtime !== cursor.realtime) return entry.realtime - cursor.realtime;
  // Two entries of one microsecond in different sequences: a copy, or a neighbour that must not be lost.
  return entry.xorHash === cursor.xorHash ? 0 : 1;
}
