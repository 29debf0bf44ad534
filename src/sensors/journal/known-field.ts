import { FIELD_LIMIT, type FieldSays, mayBeKnownField, type UnitMatch } from "./match.ts";

/** Hashing looks at whole words: room past the end of a payload. */
export const PADDING = 16;

/** What a field means. */
export type Says = FieldSays | "message" | null;

/** A field that was looked at, with the hash that its entries' checksums are made of; null: it is too long to be hashed. */
export interface Known {
  readonly says: Says;
  readonly hi: number;
  readonly lo: number;
  readonly hashed: boolean;
}

export const UNREADABLE: Known = { says: null, hi: 0, lo: 0, hashed: false };
/** Lies elsewhere, and is not read yet. */
export const TO_BE_READ: Known = { says: null, hi: 0, lo: 0, hashed: false };

const MESSAGE = "MESSAGE=";
/** Its two halves as little-endian numbers. */
const [MESSAGE_LOW, MESSAGE_HIGH] = [0, 4].map((at) => Buffer.from(MESSAGE, "latin1").readUInt32LE(at));

/** What a payload ("NAME=value", with room past its end) says. Most are messages: of these no text is made. */
export function saysOf(match: UnitMatch, view: DataView, bytes: Buffer, start: number, length: number): Says {
  if (length < 4) return null;
  const low = view.getUint32(start, true);
  if (low === MESSAGE_LOW && length >= MESSAGE.length && view.getUint32(start + 4, true) === MESSAGE_HIGH)
    return "message";
  return mayBeKnownField(low)
    ? match.field(bytes.toString("latin1", start, start + Math.min(length, FIELD_LIMIT)))
    : null;
}

/** A copy with room past its end. */
export function padded(payload: Buffer): Buffer {
  const bytes = Buffer.from(new ArrayBuffer(payload.length + PADDING));
  payload.copy(bytes);
  return bytes;
}
