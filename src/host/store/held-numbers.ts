import { z } from "zod";

/**
 * Which numbers were seen, as pieces [first, last] in order, with a gap between each two. It stays as long as the numbers
 * have few gaps, whatever their count, and outlives the reports themselves: what was removed for its age is known again
 * when it is sent again.
 */
export type Pieces = readonly (readonly [first: number, last: number])[];

/** Pieces of one boot. A guest that skips more than this is broken or hostile. */
export const MOST_PIECES = 512;

const piecesSchema = z.array(z.tuple([z.number().int(), z.number().int()]));

export function parsePieces(text: string): Pieces {
  return piecesSchema.parse(JSON.parse(text));
}

export function holds(pieces: Pieces, number: number): boolean {
  const at = firstEndingFrom(pieces, number);
  const piece = pieces[at];
  return piece !== undefined && piece[0] <= number;
}

/** With `first` to `last` added. */
export function withNumbers(pieces: Pieces, first: number, last: number): Pieces {
  // A piece that ends just before, or begins just after, becomes one with these.
  const from = firstEndingFrom(pieces, first - 1);
  let to = from;
  while ((pieces[to]?.[0] ?? Number.POSITIVE_INFINITY) <= last + 1) to += 1;
  const low = Math.min(first, pieces[from]?.[0] ?? first);
  const high = to > from ? Math.max(last, pieces[to - 1]?.[1] ?? last) : last;
  return [...pieces.slice(0, from), [to > from ? low : first, high], ...pieces.slice(to)];
}

/** All numbers from 1 to this one are held. */
export function heldUpTo(pieces: Pieces): number {
  const [first] = pieces;
  return first !== undefined && first[0] <= 1 ? first[1] : 0;
}

export function highestHeld(pieces: Pieces): number {
  return pieces.at(-1)?.[1] ?? 0;
}

/** Index of the first piece whose end is not before `number`. */
function firstEndingFrom(pieces: Pieces, number: number): number {
  let low = 0;
  let high = pieces.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((pieces[middle]?.[1] ?? Number.POSITIVE_INFINITY) < number) low = middle + 1;
    else high = middle;
  }
  return low;
}
