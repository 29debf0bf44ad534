/**
 * The header of a systemd journal file, as systemd's JOURNAL_FILE_FORMAT document lays it out. All numbers are little
 * endian. Offsets and counts are read as doubles: exact up to 2^53, and anything larger is refused by its bounds.
 */

/** Bytes of a header as systemd 187 wrote it; younger headers are longer and say so in `header_size`. */
export const HEADER_MIN_BYTES = 208;

const SIGNATURE = Buffer.from("LPKSHHRH", "latin1");

/** `incompatible_flags`: a reader that does not know one of the set bits must not read the file. */
export const INCOMPATIBLE = { xz: 1, lz4: 2, keyedHash: 4, zstd: 8, compact: 16 } as const;
const KNOWN_INCOMPATIBLE = 31;

/** `state`: a writer has the file open. An unclean stop leaves this value behind. */
const STATE_ONLINE = 1;

/** Offsets in the header. */
const AT = {
  incompatible: 12,
  state: 16,
  fileId: 24,
  machineId: 40,
  seqnumId: 72,
  headerSize: 88,
  tailObject: 136,
  objects: 144,
  entries: 152,
  tailSeqnum: 160,
  headSeqnum: 168,
  entryArray: 176,
  headRealtime: 184,
  tailRealtime: 192,
} as const;

export interface JournalHeader {
  readonly incompatible: number;
  readonly compact: boolean;
  /** DATA hashes are SipHash-2-4 keyed with the file id, not Jenkins lookup3. */
  readonly keyedHash: boolean;
  readonly online: boolean;
  readonly fileId: Buffer;
  readonly machineId: string;
  readonly seqnumId: string;
  readonly headerSize: number;
  /** Offset of the last object that was appended. */
  readonly tailObject: number;
  readonly objects: number;
  readonly entries: number;
  /** Offset of the first array of entries; 0 when there is none. */
  readonly entryArray: number;
  readonly headSeqnum: number;
  readonly tailSeqnum: number;
  /** Epoch microseconds of the first and the last entry; 0 when there is none. */
  readonly headRealtime: number;
  readonly tailRealtime: number;
}

/** Why a file cannot be read as a journal, in words that follow the file's name. */
export interface HeaderProblem {
  readonly problem: string;
}

/** An unsigned 64-bit number as a double. */
export function readU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 4294967296;
}

/** Reads a header from the first bytes of a file of `fileSize` bytes. */
export function parseHeader(bytes: Buffer, fileSize: number): JournalHeader | HeaderProblem {
  if (fileSize === 0) return { problem: "the file is empty (zero bytes)" };
  if (bytes.length < SIGNATURE.length || !bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) {
    return { problem: "not a journal file (byte 0: the signature LPKSHHRH is missing)" };
  }
  if (bytes.length < HEADER_MIN_BYTES) {
    return { problem: `cut off inside its header (${bytes.length} bytes of at least ${HEADER_MIN_BYTES})` };
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const incompatible = view.getUint32(AT.incompatible, true);
  const entries = readU64(view, AT.entries);
  if ((incompatible & ~KNOWN_INCOMPATIBLE) !== 0) {
    const flags = incompatible.toString(16);
    return {
      problem: `written with features that this reader does not know (byte 12: flags 0x${flags}); ${entries} entries were not read`,
    };
  }
  const headerSize = readU64(view, AT.headerSize);
  if (headerSize < HEADER_MIN_BYTES || headerSize > fileSize || headerSize % 8 !== 0) {
    return {
      problem: `damaged header (byte 88: header size ${headerSize}); ${entries} entries may be missing`,
    };
  }
  return {
    incompatible,
    compact: (incompatible & INCOMPATIBLE.compact) !== 0,
    keyedHash: (incompatible & INCOMPATIBLE.keyedHash) !== 0,
    online: view.getUint8(AT.state) === STATE_ONLINE,
    fileId: Buffer.from(bytes.subarray(AT.fileId, AT.fileId + 16)),
    machineId: bytes.toString("hex", AT.machineId, AT.machineId + 16),
    seqnumId: bytes.toString("hex", AT.seqnumId, AT.seqnumId + 16),
    headerSize,
    tailObject: readU64(view, AT.tailObject),
    objects: readU64(view, AT.objects),
    entries,
    entryArray: readU64(view, AT.entryArray),
    headSeqnum: readU64(view, AT.headSeqnum),
    tailSeqnum: readU64(view, AT.tailSeqnum),
    headRealtime: readU64(view, AT.headRealtime),
    tailRealtime: readU64(view, AT.tailRealtime),
  };
}
