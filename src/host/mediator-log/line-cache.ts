import type { MediatorLine } from "../../protocol/mediator-events.ts";
import { WORD, wordsOf } from "./words.ts";

const SLOTS = 1024;
/** Lines of one slot: the same kernel with other sizes. */
const WAYS = 4;
/** Longer lines are read each time. */
const LONGEST = 512;

/** The lines that come again. */
export type LaunchLine = Extract<MediatorLine, { readonly kind: "launch" | "launch-ok" }>;

interface Entry {
  /** The line with its newline. */
  readonly words: Float64Array;
  readonly length: number;
  readonly line: LaunchLine;
  readonly owner: number;
}

/**
 * Lines that were read before and come again byte by byte, as launches of the same kernel do, thousands of times a
 * second. The event of the first is given for each: events are never changed. Bounded: 4096 lines of 512 bytes.
 */
export class LineCache {
  readonly #slots: (Entry[] | undefined)[] = new Array(SLOTS).fill(undefined);

  /** The entry whose bytes stand at `at`; `key` is any number that the line's text decides. */
  find(view: DataView, at: number, limit: number, key: number): Entry | undefined {
    const ways = this.#slots[slotOf(key)];
    if (ways === undefined) return undefined;
    for (let index = 0; index < ways.length; index += 1) {
      const entry = ways[index];
      if (entry !== undefined && at + entry.length <= limit && stands(view, at, entry)) return entry;
    }
    return undefined;
  }

  add(view: DataView, at: number, end: number, key: number, line: LaunchLine): void {
    const length = end - at;
    if (length > LONGEST || length < WORD) return;
    const words = wordsOf(view, at, length);
    const slot = slotOf(key);
    const ways = this.#slots[slot] ?? [];
    this.#slots[slot] = ways;
    ways.unshift({ words, length, line, owner: line.owner });
    if (ways.length > WAYS) ways.pop();
  }
}

const slotOf = (key: number): number => (Math.imul(key, 0x9e3779b1) >>> 16) & (SLOTS - 1);

/** The end first: there the sizes and the owner stand, in which lines of one kernel differ. */
function stands(view: DataView, at: number, entry: Entry): boolean {
  const { words } = entry;
  const last = words.length - 1;
  if (view.getFloat64(at + entry.length - WORD, true) !== words[last]) return false;
  for (let index = last - 1; index >= 0; index -= 1) {
    if (view.getFloat64(at + index * WORD, true) !== words[index]) return false;
  }
  return true;
}
