import { readU64 } from "./header.ts";

/**
 * Objects of a journal file (systemd's JOURNAL_FILE_FORMAT): they follow one another from the end of the header, each
 * aligned to 8 bytes, each with type (byte 0), flags (byte 1) and size (byte 8).
 */

export const OBJECT = {
  data: 1,
  field: 2,
  entry: 3,
  dataHashTable: 4,
  fieldHashTable: 5,
  entryArray: 6,
  tag: 7,
} as const;

/** DATA flags: how its payload is compressed. */
export const COMPRESSED = { xz: 1, lz4: 2, zstd: 4 } as const;
export const COMPRESSED_MASK = 7;

export const OBJECT_HEADER_BYTES = 16;
/** Where DATA keeps its hash and the number of entries that refer to it. */
export const DATA_HASH_AT = 16;
export const DATA_ENTRIES_AT = 56;
/** Offsets inside ENTRY. */
export const ENTRY = { seqnum: 16, realtime: 24, monotonic: 32, bootId: 40, xorHash: 56, items: 64 } as const;

/** What differs between regular and compact files. */
export interface Layout {
  /** Where the payload of DATA starts. */
  readonly dataPayload: number;
  /** Bytes of one item of ENTRY. */
  readonly entryItem: number;
  readonly entryArrayItem: number;
}

const REGULAR: Layout = { dataPayload: 64, entryItem: 16, entryArrayItem: 8 };
const COMPACT: Layout = { dataPayload: 72, entryItem: 4, entryArrayItem: 4 };

export function layoutOf(compact: boolean): Layout {
  return compact ? COMPACT : REGULAR;
}

/** Rounds an object's size up to where the next object starts. */
export function align8(size: number): number {
  return Math.ceil(size / 8) * 8;
}

/** Whether the 16 bytes at `at` can be the header of an object that ends within `room` bytes. */
export function isObject(view: DataView, at: number, room: number, layout: Layout): boolean {
  const size = readU64(view, at + 8);
  if (size > room) return false;
  const flags = view.getUint8(at + 1);
  const type = view.getUint8(at);
  if (type === OBJECT.data) {
    return size > layout.dataPayload && (flags === 0 || flags === 1 || flags === 2 || flags === 4);
  }
  if (flags !== 0) return false;
  switch (type) {
    case OBJECT.field:
      return size > 40;
    case OBJECT.entry:
      return size >= ENTRY.items && (size - ENTRY.items) % layout.entryItem === 0;
    case OBJECT.dataHashTable:
    case OBJECT.fieldHashTable:
      return size > OBJECT_HEADER_BYTES && size % 16 === 0;
    case OBJECT.entryArray:
      return size > 24 && (size - 24) % layout.entryArrayItem === 0;
    case OBJECT.tag:
      return size === 64;
    default:
      return false;
  }
}

/**
 * The same test for a place that is only guessed to be an object: the reserved bytes have to be zero too. Payload
 * bytes pass it by chance once in 2^60.
 */
export function looksLikeObject(view: DataView, at: number, room: number, layout: Layout): boolean {
  const reserved = view.getUint16(at + 2, true) + view.getUint32(at + 4, true);
  return reserved === 0 && isObject(view, at, room, layout);
}
