import type { GuestEvent } from "./guest-events.ts";

/**
 * One shape of one line, in one generation of the program that prints it.
 *
 * A line of threads that write at once can hold several messages, one in the middle of another. So a grammar is never
 * tied to the line's start: it is tried wherever one of its `markers` stands, and its pattern begins with the marker
 * and is sticky. Every quantifier has a bound: hostile text costs time in proportion to its length, no more.
 */
export interface Grammar {
  /** What it reads. Generations of the same line share the id. */
  readonly id: string;
  readonly source: "shim" | "ollama" | "systemd" | "journald";
  /** "head", "apr-1-prebuilt", "mar-2026", "feb-2026", "any", or the program's versions: "ollama <=0.12.3". */
  readonly generation: string;
  /** Literal text that every match begins with, one of these. */
  readonly markers: readonly string[];
  /** Sticky (`y`). Matched against latin1-decoded bytes: must not hold characters outside ASCII. */
  readonly pattern: RegExp;
  /** Format-true lines that it reads, at least one. */
  readonly examples: readonly string[];
  /** Section of docs/wire.md that tells what the line means and how that is known. */
  readonly doc: string;
  /** Null: the shape fits, and the values say that it is nothing. */
  event(match: RegExpExecArray): GuestEvent | null;
}

/** One event of a line. Offsets are into the text, in characters (bytes of the line, as the text is latin1). */
export interface EventMatch {
  readonly grammar: Grammar;
  readonly event: GuestEvent;
  readonly start: number;
  readonly end: number;
  /** The pid that the line names at the event or shortly after it; null when it names none there. */
  readonly pid: number | null;
}

/** How far behind the start of a message its `(pid=N)` may stand: a copy's line has 64 bytes in hex before it. */
const PID_REACH = 400;
/** Not the pid of another process: "stale owner pid=N", "ppid=N", "runner.pid=N". */
const PID = /(?<![\w.])(?<!owner )pid=(\d{1,10})(?!\d)/g;

/** First pid that the text names between two offsets, or null: in the shim's lines `(pid=N)` or `pid=N`. */
export function pidOf(text: string, from = 0, to = text.length): number | null {
  PID.lastIndex = from;
  const match = PID.exec(text.length > to ? text.slice(0, to) : text);
  const pid = Number(match?.[1]);
  return Number.isSafeInteger(pid) && pid > 0 ? pid : null;
}

const escapeRegExp = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** A set of grammars, compiled once. One pass over the text finds the markers; patterns run at markers only. */
export class LineMatcher {
  readonly #marker: RegExp;
  readonly #grammarsAt: ReadonlyMap<string, readonly Grammar[]>;

  constructor(grammars: readonly Grammar[]) {
    const markers = [...new Set(grammars.flatMap((grammar) => grammar.markers))];
    markers.sort((a, b) => b.length - a.length);
    this.#marker = new RegExp(markers.map(escapeRegExp).join("|"), "g");
    this.#grammarsAt = new Map(
      markers.map((found) => [found, grammars.filter((g) => g.markers.some((marker) => found.startsWith(marker)))]),
    );
  }

  /** All events of a line, in the order of the text. The text is the line's bytes decoded as latin1. */
  match(text: string): EventMatch[] {
    const found: Omit<EventMatch, "pid">[] = [];
    this.#marker.lastIndex = 0;
    for (let hit = this.#marker.exec(text); hit !== null; hit = this.#marker.exec(text)) {
      let next = hit.index + 1;
      for (const grammar of this.#grammarsAt.get(hit[0]) ?? []) {
        grammar.pattern.lastIndex = hit.index;
        const match = grammar.pattern.exec(text);
        if (match === null) continue;
        next = Math.max(next, grammar.pattern.lastIndex);
        const event = grammar.event(match);
        if (event !== null) found.push({ grammar, event, start: hit.index, end: grammar.pattern.lastIndex });
        break;
      }
      this.#marker.lastIndex = next;
    }
    return found.map((match, index) => {
      const limit = Math.min(match.start + PID_REACH, found[index + 1]?.start ?? text.length);
      return { ...match, pid: pidOf(text, match.start, limit) };
    });
  }
}

/** Group `index` as a decimal number; NaN where the group is absent, which patterns with a required group exclude. */
export const decimal = (match: RegExpExecArray, index: number): number => Number.parseInt(match[index] ?? "", 10);
export const hexadecimal = (match: RegExpExecArray, index: number): number => Number.parseInt(match[index] ?? "", 16);
export const decimalOrNull = (match: RegExpExecArray, index: number): number | null =>
  match[index] === undefined ? null : decimal(match, index);
export const textOf = (match: RegExpExecArray, index: number): string => (match[index] ?? "").trim();
export const textOrNull = (match: RegExpExecArray, index: number): string | null => textOf(match, index) || null;
