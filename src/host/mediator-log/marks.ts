import type { WrittenBetween } from "../../protocol/mediator-events.ts";

/**
 * When the parts of a file were read, as far as a later reader needs it. The log has no times, so what was read as it
 * grew would have none when it is read again: the times are what is kept, and not what was made of the text.
 */

/** Bytes up to `end`, from where the mark before ends, were written between the two times (milliseconds since 1970). */
export interface Mark {
  readonly end: number;
  /** Null: nobody knows. */
  readonly notBefore: number | null;
  readonly notAfter: number;
}

/** Marks kept of one file. */
export const MOST_MARKS = 4096;
/** A stretch of the last minutes is as fine as it was read; an older one is still shorter than a mediator's silence. */
const FINE_FOR_MS = 10 * 60_000;
const FINE_MS = 1000;
const COARSE_MS = 10_000;
/** Marks that are added between two thinnings. */
const THIN_EVERY = 512;

/** The marks of one file, in the order of reading. Two that become one are as far apart as the two together: never less. */
export class Marks {
  #marks: Mark[];
  #sinceThinned = 0;

  constructor(marks: readonly Mark[] = []) {
    this.#marks = [...marks];
  }

  get all(): readonly Mark[] {
    return this.#marks;
  }

  add(end: number, { notBefore, notAfter }: WrittenBetween): void {
    // After a restart the beginning of an unfinished record is read twice: its first times are the true ones.
    if (end <= (this.#marks.at(-1)?.end ?? 0)) return;
    this.#marks.push({ end, notBefore, notAfter });
    this.#sinceThinned += 1;
    if (this.#sinceThinned >= THIN_EVERY) this.thin(notAfter);
  }

  /** Joins neighbours that need not be apart any more. */
  thin(now: number): void {
    this.#sinceThinned = 0;
    const kept: Mark[] = [];
    for (const mark of this.#marks) {
      const last = kept.at(-1);
      const widest = now - mark.notAfter < FINE_FOR_MS ? FINE_MS : COARSE_MS;
      if (last !== undefined && widthOf(last, mark) <= widest) kept[kept.length - 1] = joined(last, mark);
      else kept.push(mark);
    }
    while (kept.length > MOST_MARKS) kept.splice(0, 2, ...joinedPair(kept));
    this.#marks = kept;
  }
}

function joinedPair([first, second]: readonly Mark[]): readonly Mark[] {
  return first === undefined || second === undefined ? [] : [joined(first, second)];
}

/** What was read without a time before stays without one: it is not known when it was written, however short the reading. */
const widthOf = (first: Mark, second: Mark): number => {
  if (first.notBefore === null && second.notBefore === null) return 0;
  return first.notBefore === null ? Number.POSITIVE_INFINITY : second.notAfter - first.notBefore;
};

const joined = (first: Mark, second: Mark): Mark => ({
  end: second.end,
  notBefore: first.notBefore,
  notAfter: Math.max(first.notAfter, second.notAfter),
});
