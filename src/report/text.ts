/**
 * Text for people's eyes: escaping, width, wrapping. Everything that comes from the system (log lines, host names,
 * paths) is hostile: it must not move the cursor, reorder a line, hide a part of itself or start a line of its own.
 */

/**
 * What must not reach a terminal or a ticket as it is: controls, everything without a width of its own (bidirectional
 * and zero-width formatting, combining marks, which stack without end), line separators, lone surrogates, and code
 * points whose width nobody knows (private use, unassigned).
 */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\p{Mn}\p{Me}\p{Default_Ignorable_Code_Point}\u2800]/gu;
const NOT_ASCII = /[^\x20-\x7e]/gu;
/** Two columns on a terminal: East Asian wide and full-width characters and pictures. All others take one. */
const WIDE =
  /[\p{Emoji_Presentation}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Yi}\p{Script=Tangut}\p{Script=Bopomofo}\u2e80-\u303e\u3190-\u33ff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]/u;
const PLAIN = /^[\x20-\x7e]*$/;

const SHORT_ESCAPES: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Our own glyphs and punctuation where the locale is not UTF-8. */
const ASCII_FOR: Readonly<Record<string, string>> = {
  "✔": "+",
  "✘": "X",
  "○": "o",
  "▲": "!",
  "→": "->",
  "┊": "|",
  "─": "-",
  "·": "-",
  "—": "-",
  "–": "-",
  "…": "...",
  "’": "'",
};

function escapeOf(character: string): string {
  const short = SHORT_ESCAPES[character];
  if (short !== undefined) return short;
  const code = character.codePointAt(0) ?? 0;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
}

/** The text with everything hidden written out: "\x1b[31m", "\u{202e}". The result is one line. */
export function visible(text: string): string {
  return PLAIN.test(text) ? text : text.replace(HIDDEN, escapeOf);
}

/** As {@link visible}, in ASCII alone: our own glyphs are replaced by look-alikes, all else is escaped. */
export function visibleAscii(text: string): string {
  return PLAIN.test(text) ? text : text.replace(NOT_ASCII, (character) => ASCII_FOR[character] ?? escapeOf(character));
}

/** Columns that a text made {@link visible} takes on a terminal. */
export function widthOf(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let columns = 0;
  for (const character of text) columns += WIDE.test(character) ? 2 : 1;
  return columns;
}

/** The longest beginning of the text that fits in `columns`, and the rest; the beginning has at least one character. */
function splitAt(text: string, columns: number): readonly [string, string] {
  let used = 0;
  let end = 0;
  for (const character of text) {
    used += widthOf(character);
    if (used > columns && end > 0) break;
    end += character.length;
  }
  return [text.slice(0, end), text.slice(end)];
}

/** The text cut to `columns`; a cut shows as "…" (or "..." when `ellipsis` says so). */
export function cut(text: string, columns: number, ellipsis = "…"): string {
  if (widthOf(text) <= columns) return text;
  const [kept] = splitAt(text, Math.max(1, columns - widthOf(ellipsis)));
  return kept.trimEnd() + ellipsis;
}

/**
 * Breaks a visible text at spaces into lines of at most `columns` (the first one `first`). A longer word stands alone
 * on its line, whole, because a broken path cannot be copied; with `hard` it is broken.
 */
export function wrap(text: string, columns: number, hard = false, first = columns): string[] {
  if (widthOf(text) <= first) return [text];
  const lines: string[] = [];
  let line = "";
  const room = () => (lines.length === 0 ? first : columns);
  for (const word of text.split(/ +/)) {
    let rest = word;
    if (line !== "" && widthOf(line) + 1 + widthOf(rest) <= room()) {
      line += ` ${rest}`;
      continue;
    }
    // A word that does not fit beside the lead may fit below it.
    if (line !== "" || (lines.length === 0 && !hard && first < columns && widthOf(rest) > first)) lines.push(line);
    while (hard) {
      const [head, tail] = splitAt(rest, room());
      if (tail === "") break;
      lines.push(head);
      rest = tail;
    }
    line = rest;
  }
  if (line !== "") lines.push(line);
  return lines;
}

export interface Placement {
  /** Columns before every line. */
  readonly indent?: number;
  /** Further columns before the second and later lines. */
  readonly hang?: number;
  /** Stands before the first line and counts as part of it, cut to two thirds of the line; coloured by `paintLead`. */
  readonly lead?: string;
  readonly paintLead?: (text: string) => string;
  /** Applied to each line after it was measured. */
  readonly paint?: (text: string) => string;
  /** At most so many lines; the last one shows the cut. */
  readonly limit?: number;
  /** Break words that are longer than a line. */
  readonly hard?: boolean;
}

const same = (text: string): string => text;

/** A line is never wrapped narrower than this, whatever its indent. */
const MIN_COLUMNS = 10;

/** Lines of a page of a given width. Whatever is put on it is made visible first. */
export class Page {
  readonly #lines: string[] = [];
  readonly #clean: (text: string) => string;
  readonly width: number;

  constructor(width: number, ascii: boolean) {
    this.width = width;
    this.#clean = ascii ? visibleAscii : visible;
  }

  /** The text as it would be put: visible, in the character set of the page. */
  clean(text: string): string {
    return this.#clean(text);
  }

  /** An empty line, unless the page is empty or ends with one. */
  gap(): void {
    if (this.#lines.length > 0 && this.#lines.at(-1) !== "") this.#lines.push("");
  }

  /** One line as it is, already clean and measured by the caller. */
  raw(line: string): void {
    this.#lines.push(line.trimEnd());
  }

  put(text: string, placement: Placement = {}): void {
    const { indent = 0, hang = 0, paint = same, paintLead = same, limit = Number.POSITIVE_INFINITY } = placement;
    const columns = Math.max(MIN_COLUMNS, this.width - indent - hang);
    const ellipsis = this.#clean("…");
    const lead = cut(this.#clean(placement.lead ?? ""), Math.floor(((this.width - indent) * 2) / 3), `${ellipsis} `);
    const first = Math.max(MIN_COLUMNS, this.width - indent - widthOf(lead));
    let lines = wrap(this.#clean(text).trim(), columns, placement.hard ?? false, first);
    if (lines.length > limit) {
      const kept = lines.slice(0, limit);
      const last = `${kept.pop() ?? ""} ${lines.slice(limit).join(" ")}`;
      lines = [...kept, cut(last, limit === 1 ? first : columns, ellipsis)];
    }
    lines.forEach((line, index) => {
      const end = line.trimEnd();
      const before = index > 0 ? " ".repeat(hang) : paintLead(end === "" ? lead.trimEnd() : lead);
      this.#lines.push((" ".repeat(indent) + before + paint(end)).trimEnd());
    });
  }

  /** The page, with a newline after every line. */
  toString(): string {
    return this.#lines.map((line) => `${line}\n`).join("");
  }
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Milliseconds in words: "4 ms", "0.31 s", "12 min", "3 h", "5 d". Whole units that have passed, never more. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return "?";
  if (ms < 100) return `${Math.floor(ms)} ms`;
  if (ms < 10 * SECOND) return `${(Math.floor(ms / 10) / 100).toFixed(2)} s`;
  if (ms < 2 * MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < 2 * HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < 2 * DAY) return `${Math.floor(ms / HOUR)} h`;
  return `${Math.floor(ms / DAY)} d`;
}

/** ISO time of epoch milliseconds; null for null and for what is no time. */
export function isoTime(at: number | null): string | null {
  if (at === null || !Number.isFinite(at) || Math.abs(at) > 8.64e15) return null;
  return new Date(at).toISOString();
}
