import { MESSAGE_LIMIT } from "../log-limits.ts";

/** Bytes kept of one field; the rest of a longer one is passed over. */
export const FIELD_KEPT = MESSAGE_LIMIT + 1;
/** A text field is looked for its end within this many bytes before it is passed over piece by piece. */
const LINE_BYTES = FIELD_KEPT + 256;
/** Longest field name that journald takes. */
const NAME_BYTES = 64;
const NEWLINE = 10;
const EQUALS = 61;

export interface ExportHandler {
  /** Whether a field is wanted whose name starts with these four bytes (a little-endian number); asked for speed. */
  wants(firstFourBytes: number): boolean;
  /** A field of the current entry. `value` is a view that is gone after the call. */
  field(name: string, value: Buffer, truncated: boolean): void;
  /**
   * The entry that started at byte `start` is over. `damaged`: something in it was not a field; `unterminated`: the
   * stream ended without the empty line after it, and perhaps without more of its fields.
   */
  entry(start: number, state: "whole" | "damaged" | "unterminated"): void;
  /** Bytes that are no field, at byte `offset`. */
  damage(offset: number): void;
}

type State =
  | { readonly at: "line" }
  /** In the value of a binary field: bytes to come, with the newline after them. */
  | { readonly at: "binary"; readonly name: string; readonly size: number }
  /** In what is left of a value that is not kept. */
  | { readonly at: "skip"; left: number }
  | { readonly at: "skip-line" };

const AT_LINE: State = { at: "line" };

/**
 * Parses the Journal Export Format (systemd's JOURNAL_EXPORT_FORMATS document) from pieces of any size: `NAME=value`
 * lines, or a line `NAME` followed by 64 bits of size, the value and a newline; an empty line ends an entry.
 */
export class ExportParser {
  readonly #handler: ExportHandler;
  #state: State = AT_LINE;
  /** Bytes not yet taken, and the offset of the first of them in the stream. */
  #bytes: Buffer = Buffer.alloc(0);
  #offset = 0;
  #entryStart: number | null = null;
  #damaged = false;

  constructor(handler: ExportHandler) {
    this.#handler = handler;
  }

  push(piece: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? piece : Buffer.concat([this.#bytes, piece]);
    let at = 0;
    while (at < this.#bytes.length) {
      const next = this.#step(at);
      if (next === at) break;
      at = next;
    }
    this.#bytes = Buffer.from(this.#bytes.subarray(at));
    this.#offset += at;
  }

  /**
   * The stream is over. `cut`: the last entry breaks off at byte `at` and was not handed on; `unterminated`: the
   * empty line after it is missing, and perhaps more of its fields.
   */
  end(): { readonly end: "whole" } | { readonly end: "cut" | "unterminated"; readonly at: number } {
    const at = this.#entryStart ?? this.#offset;
    if (this.#bytes.length > 0 || this.#state.at !== "line") return { end: "cut", at };
    if (this.#entryStart === null) return { end: "whole" };
    this.#endEntry("unterminated");
    return { end: "unterminated", at };
  }

  /** Takes what can be taken at `at`; returns where to go on, `at` itself when more bytes are needed. */
  #step(at: number): number {
    const state = this.#state;
    const available = this.#bytes.length - at;
    if (state.at === "skip") {
      const taken = Math.min(state.left, available);
      this.#state = taken === state.left ? AT_LINE : { at: "skip", left: state.left - taken };
      return at + taken;
    }
    if (state.at === "skip-line") {
      const newline = this.#bytes.indexOf(NEWLINE, at);
      if (newline >= 0) this.#state = AT_LINE;
      return newline < 0 ? this.#bytes.length : newline + 1;
    }
    if (state.at === "binary") return this.#binary(state.name, state.size, at, available);
    return this.#line(at, available);
  }

  #binary(name: string, size: number, at: number, available: number): number {
    const kept = Math.min(size, FIELD_KEPT);
    if (available < kept) return at;
    this.#handler.field(name, this.#bytes.subarray(at, at + kept), kept < size);
    // The newline behind the value.
    this.#state = { at: "skip", left: size - kept + 1 };
    return at + kept;
  }

  #line(at: number, available: number): number {
    const newline = this.#bytes.indexOf(NEWLINE, at);
    if (newline < 0 && available < LINE_BYTES) return at;
    const end = newline < 0 ? at + LINE_BYTES : newline;
    if (end === at) {
      this.#endEntry();
      return at + 1;
    }
    this.#entryStart ??= this.#offset + at;
    const nameEnd = endOfName(this.#bytes, at, end);
    const hasValue = nameEnd < end && this.#bytes[nameEnd] === EQUALS;
    if (nameEnd === at || (nameEnd < end && !hasValue)) return this.#notAField(at, end, newline);
    if (hasValue) {
      if (end - at < 4 || this.#handler.wants(this.#bytes.readUInt32LE(at))) {
        const value = nameEnd + 1;
        const kept = Math.min(end, value + FIELD_KEPT);
        const name = this.#bytes.toString("latin1", at, nameEnd);
        this.#handler.field(name, this.#bytes.subarray(value, kept), kept < end || newline < 0);
      }
      if (newline < 0) this.#state = { at: "skip-line" };
      return newline < 0 ? end : newline + 1;
    }
    if (newline < 0) return this.#notAField(at, end, newline);
    if (this.#bytes.length < newline + 9) return at;
    const size = this.#bytes.readBigUInt64LE(newline + 1);
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) return this.#notAField(at, end, newline);
    this.#state = { at: "binary", name: this.#bytes.toString("latin1", at, nameEnd), size: Number(size) };
    return newline + 9;
  }

  #notAField(at: number, end: number, newline: number): number {
    if (!this.#damaged) this.#handler.damage(this.#offset + at);
    this.#damaged = true;
    if (newline < 0) this.#state = { at: "skip-line" };
    return newline < 0 ? end : newline + 1;
  }

  #endEntry(state: "whole" | "unterminated" = "whole"): void {
    if (this.#entryStart !== null) this.#handler.entry(this.#entryStart, this.#damaged ? "damaged" : state);
    this.#entryStart = null;
    this.#damaged = false;
  }
}

/** Where the field name at `at` ends: at the first byte that no name has, or after the longest name. */
function endOfName(bytes: Buffer, at: number, end: number): number {
  const limit = Math.min(end, at + NAME_BYTES);
  let next = at;
  while (next < limit) {
    const byte = bytes[next] ?? 0;
    const isLetter = (byte >= 65 && byte <= 90) || byte === 95 || (byte >= 97 && byte <= 122);
    if (!isLetter && (next === at || byte < 48 || byte > 57)) break;
    next += 1;
  }
  return next;
}
