/** Longer words are no slip of a key, and cost time that grows with their length. */
const LONGEST = 64;
const SEPARATORS = /[-\s]/g;

/**
 * The known name that `name` was most likely meant to be, or null where none is near: at most one slip (a letter too
 * many, missing, wrong, or two exchanged) for every three letters. A name that only begins the same, and goes on, is near.
 */
export function nearestKey(name: string, known: readonly string[]): string | null {
  if (name.length > LONGEST) return null;
  const asked = name.toLowerCase().replace(SEPARATORS, "_");
  let nearest: string | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const slips = distance(asked, candidate);
    if (slips < least && slips * 3 <= Math.max(asked.length, candidate.length)) {
      least = slips;
      nearest = candidate;
    }
  }
  return nearest ?? known.find((candidate) => asked.length >= 3 && candidate.startsWith(`${asked}_`)) ?? null;
}

/** Slips between two words: insertions, deletions, substitutions and exchanges of neighbours (optimal string alignment). */
function distance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1];
      const exchanged = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      current[column] = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
        exchanged ? (beforeLast[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}
