import { crc32 } from "node:zlib";

/**
 * A record of a segment, little-endian:
 *
 *      0  4  magic FF 56 47 00
 *      4  4  bytes of the payload
 *      8  4  bytes of the document, which is the first part of the payload; the rest is the position, empty for none
 *     12  4  CRC-32 of the payload
 *     16  1  kind (KIND_CODES)
 *     17  3  zero
 *     20  4  number in its stream
 *     24  8  ordinal, a double: counts the records of the whole spool
 *     32  8  at, a double: milliseconds since 1970
 *     40 16  agent id
 *     56 16  boot id
 *     72  4  CRC-32 of the 72 bytes before
 *     76  …  payload: JSON, UTF-8
 *
 * The magic begins with a byte that UTF-8 never has: no document, whoever wrote what is in it, can hold a record. So after
 * damage the next record is found by its magic and proven by its checksums.
 */

export const SPOOL_KINDS = ["report", "guest-evidence", "condition", "dropped"] as const;
export type SpoolKind = (typeof SPOOL_KINDS)[number];

const KIND_CODES: Readonly<Record<SpoolKind, number>> = {
  report: 1,
  "guest-evidence": 2,
  condition: 3,
  dropped: 4,
};
const MAGIC = Buffer.from([0xff, 0x56, 0x47, 0x00]);
export const HEAD_BYTES = 76;
const CHECKED_BYTES = 72;

/** What is known of a record without its payload. */
export interface RecordHead {
  readonly kind: SpoolKind;
  readonly agentId: string;
  readonly bootId: string;
  readonly seq: number;
  readonly ordinal: number;
  readonly at: number;
  readonly payloadBytes: number;
  readonly documentBytes: number;
  readonly checksum: number;
}

/** A record in a segment: its head and where it begins. */
export interface PlacedRecord extends RecordHead {
  readonly offset: number;
}

/** What a record takes on the disk. */
export const bytesOf = (head: RecordHead): number => HEAD_BYTES + head.payloadBytes;
/** Streams are numbered each for itself. */
export const streamOf = ({ agentId, bootId }: Pick<RecordHead, "agentId" | "bootId">): string => `${agentId}/${bootId}`;

export interface Encoded {
  readonly head: RecordHead;
  readonly bytes: Buffer;
}

export function encodeRecord(
  head: Omit<RecordHead, "payloadBytes" | "documentBytes" | "checksum">,
  document: Buffer,
  position: Buffer,
): Encoded {
  const payload = Buffer.concat([document, position]);
  const checksum = crc32(payload);
  const bytes = Buffer.alloc(HEAD_BYTES + payload.length);
  MAGIC.copy(bytes);
  bytes.writeUInt32LE(payload.length, 4);
  bytes.writeUInt32LE(document.length, 8);
  bytes.writeUInt32LE(checksum, 12);
  bytes.writeUInt8(KIND_CODES[head.kind], 16);
  bytes.writeUInt32LE(head.seq, 20);
  bytes.writeDoubleLE(head.ordinal, 24);
  bytes.writeDoubleLE(head.at, 32);
  uuidBytes(head.agentId).copy(bytes, 40);
  uuidBytes(head.bootId).copy(bytes, 56);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, CHECKED_BYTES)), CHECKED_BYTES);
  payload.copy(bytes, HEAD_BYTES);
  return {
    head: { ...head, payloadBytes: payload.length, documentBytes: document.length, checksum },
    bytes,
  };
}

/** A stretch of a segment where records were not whole. */
export interface Damage {
  readonly bytes: number;
  /** Head of the record, where that much is known. */
  readonly head: RecordHead | null;
  /** How many whole records of the segment stand before it. */
  readonly before: number;
}

export interface Scan {
  readonly records: readonly PlacedRecord[];
  readonly damage: readonly Damage[];
  /** Bytes behind the last record that are the beginning of one: its write was never finished. */
  readonly cutBytes: number;
}

/** Every whole record from `start` on. What is not one is passed over, and said. */
export function scanRecords(bytes: Buffer, start: number): Scan {
  const records: PlacedRecord[] = [];
  const damage: Damage[] = [];
  let at = start;
  while (at < bytes.length) {
    const head = headAt(bytes, at);
    if (head === null) {
      const next = nextHead(bytes, at + 1);
      if (next === -1 && isUnfinished(bytes.subarray(at))) break;
      const end = next === -1 ? bytes.length : next;
      damage.push({ bytes: end - at, head: null, before: records.length });
      at = end;
      continue;
    }
    const end = at + bytesOf(head);
    if (end > bytes.length) {
      // Cut off, unless another record follows: then its length is a lie.
      const next = nextHead(bytes, at + HEAD_BYTES);
      if (next === -1) break;
      damage.push({ bytes: next - at, head, before: records.length });
      at = next;
      continue;
    }
    if (isPayload(head, bytes.subarray(at + HEAD_BYTES, end))) records.push({ ...head, offset: at });
    else damage.push({ bytes: end - at, head, before: records.length });
    at = end;
  }
  return { records, damage, cutBytes: bytes.length - at };
}

export const isPayload = (head: RecordHead, payload: Buffer): boolean =>
  payload.length === head.payloadBytes && crc32(payload) === head.checksum;

function headAt(bytes: Buffer, at: number): RecordHead | null {
  if (at + HEAD_BYTES > bytes.length || bytes.compare(MAGIC, 0, 4, at, at + 4) !== 0) return null;
  const head = bytes.subarray(at, at + HEAD_BYTES);
  if (crc32(head.subarray(0, CHECKED_BYTES)) !== head.readUInt32LE(CHECKED_BYTES)) return null;
  const code = head.readUInt8(16);
  const kind = SPOOL_KINDS.find((one) => KIND_CODES[one] === code);
  const [payloadBytes, documentBytes] = [head.readUInt32LE(4), head.readUInt32LE(8)];
  if (kind === undefined || documentBytes > payloadBytes) return null;
  return {
    kind,
    agentId: uuidText(head, 40),
    bootId: uuidText(head, 56),
    seq: head.readUInt32LE(20),
    ordinal: head.readDoubleLE(24),
    at: head.readDoubleLE(32),
    payloadBytes,
    documentBytes,
    checksum: head.readUInt32LE(12),
  };
}

/** Where the next head that is proven begins; -1: nowhere. */
function nextHead(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(MAGIC, from); at !== -1; at = bytes.indexOf(MAGIC, at + 1)) {
    if (headAt(bytes, at) !== null) return at;
  }
  return -1;
}

/** The beginning of a head, or zeros: the file's length was written and its content was not. */
function isUnfinished(rest: Buffer): boolean {
  if (rest.every((byte) => byte === 0)) return true;
  const beginning = Math.min(MAGIC.length, rest.length);
  return rest.length < HEAD_BYTES && rest.compare(MAGIC, 0, beginning, 0, beginning) === 0;
}

function uuidBytes(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll("-", ""), "hex");
  if (bytes.length !== 16) throw new TypeError("an agent id or boot id is no UUID");
  return bytes;
}

/** The same text for the same bytes one after the other: a spool has many records and few ids. */
let lastText: readonly [hex: string, text: string] = ["", ""];
let lastButOne = lastText;

function uuidText(bytes: Buffer, at: number): string {
  const hex = bytes.toString("hex", at, at + 16);
  for (const [known, text] of [lastText, lastButOne]) if (known === hex) return text;
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)];
  lastButOne = lastText;
  lastText = [hex, parts.join("-")];
  return lastText[1];
}
