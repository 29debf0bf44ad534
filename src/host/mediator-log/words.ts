/**
 * Texts are compared eight bytes at a time, as doubles, which is what the engine does fastest. A pattern of bytes that is
 * no number equals nothing, not even itself, and no ASCII text is one: so equal doubles mean equal bytes, but for zero
 * and minus zero, which no text with a byte other than NUL is.
 */
export const WORD = 8;
const NEWLINE = 0x0a;

/** A literal text for a fast comparison. At least eight bytes, ASCII without NUL. */
export interface Literal {
  readonly length: number;
  readonly words: Float64Array;
}

/** The same for four to eight bytes. */
export interface ShortLiteral {
  readonly length: number;
  readonly first: number;
  readonly last: number;
}

export function literal(ascii: string): Literal {
  const bytes = Buffer.from(ascii, "latin1");
  if (bytes.length < WORD) throw new RangeError(`too short to compare by words: ${ascii}`);
  return { length: bytes.length, words: wordsOf(new DataView(bytes.buffer, bytes.byteOffset), 0, bytes.length) };
}

export function shortLiteral(ascii: string): ShortLiteral {
  const bytes = Buffer.from(ascii, "latin1");
  return { length: bytes.length, first: bytes.readInt32LE(0), last: bytes.readInt32LE(bytes.length - 4) };
}

/** The words of some bytes; the last one overlaps the one before it, so that any length from eight on will do. */
export function wordsOf(view: DataView, at: number, length: number): Float64Array {
  const words = new Float64Array(Math.ceil(length / WORD));
  for (let index = 0; index < words.length; index += 1) {
    words[index] = view.getFloat64(at + Math.min(index * WORD, length - WORD), true);
  }
  return words;
}

/** Reads numbers from bytes, with a place that moves. The bytes must end in something that is no digit. */
export class Cursor {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Moves behind the literal, if it stands here. */
  take(text: Literal): boolean {
    const { view, at } = this;
    const { length, words } = text;
    const last = words.length - 1;
    if (view.getFloat64(at + length - WORD, true) !== words[last]) return false;
    for (let index = 0; index < last; index += 1) {
      if (view.getFloat64(at + index * WORD, true) !== words[index]) return false;
    }
    this.at = at + length;
    return true;
  }

  takeShort(text: ShortLiteral): boolean {
    const { view, at } = this;
    if (view.getInt32(at, true) !== text.first || view.getInt32(at + text.length - 4, true) !== text.last) return false;
    this.at = at + text.length;
    return true;
  }

  /** Where the first newline from `at` on stands; -1 when there is none. */
  newlineFrom(at: number): number {
    return this.bytes.indexOf(NEWLINE, at);
  }

  /** A decimal number of 1 to `most` digits; -1 when there is none here, or a longer one. */
  decimal(most: number): number {
    const { bytes } = this;
    const start = this.at;
    let at = start;
    let value = 0;
    for (let digit = (bytes[at] ?? 0) - 48; digit >= 0 && digit <= 9; digit = (bytes[at] ?? 0) - 48) {
      value = value * 10 + digit;
      at += 1;
    }
    this.at = at;
    return at > start && at - start <= most ? value : -1;
  }

  /** A hexadecimal number (small letters) of 1 to 13 digits, below 2^52; -1 when there is none here, or a longer one. */
  hex(): number {
    const { bytes } = this;
    const start = this.at;
    let at = start;
    let high = 0;
    let low = 0;
    for (; ; at += 1) {
      const byte = bytes[at] ?? 0;
      const digit = byte >= 48 && byte <= 57 ? byte - 48 : byte >= 97 && byte <= 102 ? byte - 87 : -1;
      if (digit < 0) break;
      high = (high << 4) | (low >>> 24);
      low = ((low << 4) | digit) & 0xfffffff;
    }
    this.at = at;
    return at > start && at - start <= 13 ? high * 0x10000000 + low : -1;
  }

  /** A number of exactly 16 hexadecimal digits; null when there is none here. */
  hex64(): number | bigint | null {
    const high = this.#hex32();
    const low = this.#hex32();
    if (high < 0 || low < 0) return null;
    const value = high * 2 ** 32 + low;
    return value <= Number.MAX_SAFE_INTEGER ? value : (BigInt(high) << 32n) | BigInt(low);
  }

  #hex32(): number {
    const end = this.at + 8;
    let value = 0;
    for (; this.at < end; this.at += 1) {
      const byte = this.bytes[this.at] ?? 0;
      const digit = byte >= 48 && byte <= 57 ? byte - 48 : byte >= 97 && byte <= 102 ? byte - 87 : -1;
      if (digit < 0) return -1;
      value = value * 16 + digit;
    }
    return value;
  }
}
