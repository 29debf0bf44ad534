import type { MediatorReading } from "../../protocol/mediator-grammar.ts";
import { type MediatorMatch, matchMediatorLine } from "../../protocol/mediator-lines.ts";
import type { Assembler } from "./assembler.ts";
import { FastLines } from "./fast-lines.ts";
import { Cursor } from "./words.ts";

/** Longer lines are no lines of a mediator: their start is looked at, the rest skipped. */
export const LONGEST_LINE = 64 * 1024;
/** Of a line that is read by grammars, no more is decoded. */
const DECODED = 8192;
/** Parts of one line between holes that are looked at. */
const MOST_PARTS = 16;
/** Lines of a compiler's message. */
const MOST_JIT_LINES = 100;
/** What the fast comparisons may read behind the end: the longest text that they look for at once, and a number. */
export const SLACK = 128;

const NEWLINE = 0x0a;
/** A hole can be as long as the log was: it is skipped in steps of this. */
const NULS = Buffer.alloc(64 * 1024);
/** Payload that a line shows, and what follows when another thread's line came between. */
const SHOWN = /(?:[0-9a-f]{2} ?){0,4096}[0-9a-f]?/y;

/** What a later parser needs to go on where this one stopped. Plain JSON; offsets are of the log. */
export interface ParserState {
  /** The line that is being skipped because it is too long began here. */
  longLine: number | null;
  /** The run of NUL bytes that is being skipped began here. */
  hole: number | null;
}

/**
 * Reads lines from one buffer. Whoever fills it gives it whole or in parts; what is not a whole line yet is left there,
 * and must be given again with what follows it. No more than LONGEST_LINE bytes are ever left.
 */
export class MediatorParser {
  readonly #buffer: Buffer;
  readonly #cursor: Cursor;
  readonly #fast: FastLines;
  readonly #sink: Assembler;
  #longLine: number | null;
  #hole: number | null;
  #jitLines = 0;

  /** The last SLACK bytes of the buffer must not be filled. */
  constructor(buffer: Buffer, sink: Assembler, state: ParserState = { longLine: null, hole: null }) {
    this.#buffer = buffer;
    this.#cursor = new Cursor(buffer);
    this.#sink = sink;
    this.#fast = new FastLines(this.#cursor, sink);
    this.#longLine = state.longLine;
    this.#hole = state.hole;
  }

  state(): ParserState {
    return { longLine: this.#longLine, hole: this.#hole };
  }

  /** What was read ended with a whole line, and nothing of it is waited for. */
  get isAtRest(): boolean {
    return this.#longLine === null && this.#hole === null && this.#jitLines === 0;
  }

  /**
   * Reads what stands from `start` to `end` in the buffer; `base` plus a place in the buffer is an offset in the log.
   * Returns where the rest begins that is no whole line.
   */
  read(start: number, end: number, base: number): number {
    let at = start;
    if (this.#longLine !== null) {
      const newline = this.#newline(at, end);
      if (newline === -1) return end;
      at = newline + 1;
      this.#sink.unread(this.#longLine, base + at, "long-line");
      this.#longLine = null;
    }
    if (this.#hole !== null) {
      at = this.#pastHole(at, end, base);
      if (at === end) return end;
    }
    const last = this.#buffer.lastIndexOf(NEWLINE, end - 1);
    const limit = last < at ? at : last + 1;
    const fast = this.#fast;
    while (at < limit) {
      if (fast.read(at, limit, base)) {
        at = fast.end;
        this.#jitLines = 0;
      } else at = this.#slowLine(at, limit, base);
    }
    return this.#rest(at, end, base);
  }

  /** The log is over, and what is left from `start` to `end` has no newline. */
  finish(start: number, end: number, base: number): void {
    if (this.#longLine !== null) this.#sink.unread(this.#longLine, base + end, "long-line");
    else if (this.#hole !== null) this.#sink.unread(this.#hole, base + start, "nul-hole");
    if (this.#longLine === null && start < end) this.#partialLine(start, end, base);
    this.#longLine = null;
    this.#hole = null;
  }

  /** Lets go of the payload bytes that the buffer holds. */
  wipe(): void {
    this.#buffer.fill(0);
  }

  #newline(at: number, end: number): number {
    const found = this.#buffer.indexOf(NEWLINE, at);
    return found >= end ? -1 : found;
  }

  /** What is left has no newline: perhaps NUL bytes, or the start of a line longer than any real one. */
  #rest(start: number, end: number, base: number): number {
    const at = this.#pastHole(start, end, base);
    if (end - at <= LONGEST_LINE) return at;
    this.#sink.closeSlice();
    this.#longLine = base + at;
    return end;
  }

  /** Skips NUL bytes at the start of a line: a file that was truncated under its writer. */
  #pastHole(start: number, end: number, base: number): number {
    const bytes = this.#buffer;
    let at = start;
    if (bytes[at] === 0) {
      while (at + NULS.length <= end && bytes.compare(NULS, 0, NULS.length, at, at + NULS.length) === 0)
        at += NULS.length;
    }
    while (at < end && bytes[at] === 0) at += 1;
    if (at > start && this.#hole === null) this.#hole = base + start;
    if (at < end && this.#hole !== null) {
      this.#sink.unread(this.#hole, base + at, "nul-hole");
      this.#hole = null;
    }
    return at;
  }

  #slowLine(start: number, limit: number, base: number): number {
    const at = this.#pastHole(start, limit, base);
    if (at >= limit) return limit;
    const newline = this.#buffer.indexOf(NEWLINE, at);
    const end = newline + 1;
    if (newline - at > LONGEST_LINE) {
      this.#sink.closeSlice();
      this.#sink.unread(base + at, base + end, "long-line");
      return end;
    }
    this.#text(at, newline, end, base);
    return end;
  }

  /** A line from `at` to its newline. A hole in it cut something off; what stands behind it was the start of a line. */
  #text(start: number, newline: number, end: number, base: number): void {
    const bytes = this.#buffer;
    let at = start;
    for (let part = 0; part < MOST_PARTS; part += 1) {
      const text = bytes.toString("latin1", at, Math.min(newline, at + DECODED));
      const hole = text.indexOf("\0");
      if (hole === -1) {
        this.#line(text, at, end, base);
        return;
      }
      if (hole > 0) this.#sink.unread(base + at, base + at + hole, "torn-line");
      let next = at + hole;
      while (next < newline && bytes[next] === 0) next += 1;
      this.#sink.unread(base + at + hole, base + next, "nul-hole");
      if (next === newline) return;
      at = next;
    }
    this.#sink.unread(base + at, base + end, "torn-line");
  }

  #line(text: string, at: number, end: number, base: number): void {
    const match = matchMediatorLine(text);
    if (match === null) {
      this.#unknown(text, at, end, base);
      return;
    }
    this.#jitLines = 0;
    const { reading, grammar } = match;
    if (isCut(text, match)) {
      this.#sink.unread(base + at, base + end, "torn-line");
      return;
    }
    this.#sink.reading(base + at, base + end, reading, grammar.stream === "stdout");
    if (reading.role === "input" || reading.role === "owned") this.#behindPayload(text, match.length, at, end, base);
    if (reading.role !== "line") return;
    if (reading.line.kind === "module-jit-log" && !text.endsWith('"')) this.#jitLines = MOST_JIT_LINES;
    if (match.length === text.length) this.#fast.learn(at, end, reading.line);
  }

  #unknown(text: string, at: number, end: number, base: number): void {
    if (this.#jitLines > 0) {
      this.#jitLines = text.endsWith('"') ? 0 : this.#jitLines - 1;
      return;
    }
    if (text !== "") this.#sink.unread(base + at, base + end, "unknown-line");
  }

  /** Another thread's line may stand in the middle of one that shows payload: those alone are written in parts. */
  #behindPayload(text: string, from: number, at: number, end: number, base: number): void {
    if (text[from - 1] !== "[") return;
    SHOWN.lastIndex = from;
    SHOWN.exec(text);
    const behind = SHOWN.lastIndex;
    if (behind >= text.length - 1 && (text[behind] === "]" || behind === text.length)) return;
    const match = text[behind] === "[" ? matchMediatorLine(text, behind) : null;
    if (match === null || (match.reading.role !== "other" && match.reading.role !== "nothing")) {
      this.#sink.unread(base + at + behind, base + end, "torn-line");
      return;
    }
    this.#sink.reading(base + at + behind, base + end, match.reading, match.grammar.stream === "stdout");
  }

  /** The last line of a log that ended in the middle of it. What it says may be cut, so its call is not trusted whole. */
  #partialLine(start: number, end: number, base: number): void {
    const text = this.#buffer.toString("latin1", start, Math.min(end, start + DECODED));
    const match = text.includes("\0") ? null : matchMediatorLine(text);
    if (match?.reading.role === "line") {
      this.#sink.reading(base + start, base + end, match.reading, false);
      this.#sink.distrust();
    } else {
      this.#sink.unread(base + start, base + end, "torn-line");
    }
  }
}

const COUNTED: ReadonlySet<MediatorReading["role"]> = new Set(["line", "terminator", "refusal"]);

/** The line goes on in the middle of a word where the grammar's text ends: another text is stuck to it. */
function isCut(text: string, match: MediatorMatch): boolean {
  if (match.length >= text.length || !COUNTED.has(match.reading.role)) return false;
  const last = text.charCodeAt(match.length - 1);
  return isWord(last) && isWord(text.charCodeAt(match.length));
}

/** Letters, digits, "_", "=" and "-". */
const isWord = (code: number): boolean =>
  (code >= 48 && code <= 57) ||
  (code >= 65 && code <= 90) ||
  (code >= 97 && code <= 122) ||
  code === 0x5f ||
  code === 0x3d ||
  code === 0x2d;
