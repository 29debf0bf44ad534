import type { LogSample, Seen } from "../facts/log.ts";
import type { EventMatch } from "../protocol/grammar.ts";
import type { LogEntry } from "./log-reader.ts";

/** Longest sample text, in characters. */
export const SAMPLE_LENGTH = 300;
/** What is copied of a line for a sample: a copy's payload in hex is removed from it before it is cut. */
const COPIED = 640;
/** Longest piece of an error's own text: such texts can quote what was asked of the model. */
const ERROR_TEXT = 200;

/** The tag and the function or unit in front of a message, which belong to its sample. */
const LEAD = /(?:\[[a-z-]{2,24}\] )?(?:[\w@:.()-]{1,64} )?$/;
const LEAD_LENGTH = 96;
/** Where a message of another writer begins in a merged line; nothing behind it is known to be fit to keep. */
const NEXT_MESSAGE = /[\r\n]|\[[a-z-]{2,24}\] |\[GIN\] |\btime=\d{4}-|\bmsg=|\b(?:prompt|images|content|messages)\b/;
const PAYLOADS: readonly (readonly [RegExp, string])[] = [
  [/bytes=\[[^\]]*\]?/g, "bytes=[\u2026]"],
  [/(first8|volatile_g2h0)=[0-9a-fA-F]+/g, "$1=\u2026"],
];
const LONG_ERROR = new RegExp(`\\berror="((?:[^"\\\\]|\\\\.){${ERROR_TEXT}})(?:[^"\\\\]|\\\\.)*"?`, "g");
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** A line kept to be shown later. Only the piece that matters is copied, so that a long line is not held in memory. */
interface Quote {
  /** Latin1-decoded. */
  readonly piece: string;
  /** Characters at the start of `piece` that the grammar has read. */
  readonly read: number;
  readonly at: number | null;
  readonly locator: string;
  readonly ordinal: number;
}

export interface SeenLine {
  readonly entry: LogEntry;
  /** The message, latin1-decoded. */
  readonly text: string;
  readonly at: number | null;
  readonly ordinal: number;
}

/** Lines that this one stands for. */
export function linesOf({ entry }: SeenLine): number {
  return entry.folded ?? 1;
}

/** When was heard of something first; see `laterOf`. */
export function earlierOf({ entry, at }: SeenLine, before: number | null): number | null {
  if (at === null || before === null || entry.folded === undefined) return before ?? at;
  return Math.min(at, before);
}

/** When was heard of something last: by this line, or before. Folded lines are told of late, in no order of time. */
export function laterOf({ entry, at }: SeenLine, before: number | null): number | null {
  if (at === null || before === null || entry.folded === undefined) return at ?? before;
  return Math.max(at, before);
}

function quoteOf(line: SeenLine, match: EventMatch, offset: number): Quote {
  const start = match.start + offset;
  const lead = LEAD.exec(line.text.slice(Math.max(0, start - LEAD_LENGTH), start))?.[0].length ?? 0;
  return {
    // A string of its own: a slice of the text would hold the whole line in memory.
    piece: line.entry.message.toString("latin1", start - lead, start - lead + COPIED),
    read: match.end - match.start + lead,
    at: line.at,
    locator: line.entry.locator,
    ordinal: line.ordinal,
  };
}

/**
 * Lines up to this many bytes are kept whole until they are asked for: most are replaced by the next one before. Not for
 * longer: each holds the whole slab that small buffers share.
 */
const KEPT_WHOLE = 2048;

interface Unquoted {
  readonly line: SeenLine;
  readonly match: EventMatch;
  readonly offset: number;
}

const escaped = (character: string): string => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;

/** Bytes as text: UTF-8 where they are UTF-8, with controls (and the bytes that are not) written as \xNN. */
function readable(latin1: string): string {
  try {
    return utf8.decode(Buffer.from(latin1, "latin1")).replace(/[\x00-\x1f\x7f-\x9f]/g, escaped);
  } catch {
    return latin1.replace(/[\x00-\x1f\x7f-\xff]/g, escaped);
  }
}

function sampleOf(quote: Quote): LogSample {
  const tail = quote.piece.slice(quote.read);
  const stop = NEXT_MESSAGE.exec(tail)?.index ?? tail.length;
  let text = readable((quote.piece.slice(0, quote.read) + tail.slice(0, stop)).trimEnd());
  for (const [payload, mark] of PAYLOADS) text = text.replace(payload, mark);
  text = text.replace(LONG_ERROR, 'error="$1\u2026"');
  if (text.length > SAMPLE_LENGTH) text = `${text.slice(0, SAMPLE_LENGTH - 1)}\u2026`;
  return { text, at: quote.at, locator: quote.locator, ordinal: quote.ordinal };
}

/** Counts one thing and keeps its first and last line. */
export class Tally {
  #count = 0;
  #first: Quote | null = null;
  #last: Quote | Unquoted | null = null;

  /** `offset`: where in the line's text the matched text begins, when the match was made on a part of it. */
  note(line: SeenLine, match: EventMatch, offset = 0): this {
    const isKeptWhole = this.#first !== null && line.text.length <= KEPT_WHOLE;
    this.#last = isKeptWhole ? { line, match, offset } : quoteOf(line, match, offset);
    // What is noted once keeps no line at all.
    this.#first ??= this.#quoteLast();
    this.#count += linesOf(line);
    return this;
  }

  /** The last one, and from now on instead of its line. */
  #quoteLast(): Quote | null {
    const last = this.#last;
    if (last === null || "piece" in last) return last;
    const quote = quoteOf(last.line, last.match, last.offset);
    this.#last = quote;
    return quote;
  }

  get lastOrdinal(): number {
    if (this.#last === null) return -1;
    return "piece" in this.#last ? this.#last.ordinal : this.#last.line.ordinal;
  }

  seen(): Seen | null {
    const last = this.#quoteLast();
    if (this.#first === null || last === null) return null;
    return { count: this.#count, first: sampleOf(this.#first), last: sampleOf(last) };
  }

  /** Seen with the last occurrence's details, or null when it never was or has none. */
  with<T extends object>(details: T | null): (Seen & T) | null {
    const seen = this.seen();
    return seen === null || details === null ? null : { ...seen, ...details };
  }

  sample(): LogSample | null {
    const last = this.#quoteLast();
    return last === null ? null : sampleOf(last);
  }
}

/** A map of at most `limit` entries: a new key beyond it drops the entry that was used longest ago. */
export class BoundedMap<K, V> {
  readonly #entries = new Map<K, V>();
  readonly #limit: number;
  #newest: K | null = null;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The entry of the key, made when there is none; it becomes the most recently used. */
  use(key: K, make: () => V): V {
    const known = this.#entries.get(key);
    // Most lines are of whom the line before was: nothing has to be moved.
    if (known !== undefined && key === this.#newest) return known;
    this.#newest = key;
    const value = known ?? make();
    if (known === undefined && this.#entries.size >= this.#limit) {
      const oldest = this.#entries.keys().next();
      if (!oldest.done) this.#entries.delete(oldest.value);
    }
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  get(key: K): V | undefined {
    return this.#entries.get(key);
  }

  values(): V[] {
    return [...this.#entries.values()];
  }
}
