import { zstdDecompressSync } from "node:zlib";
import { readU64 } from "./header.ts";
import { COMPRESSED } from "./objects.ts";
import type { XzDecoder } from "./xz.ts";

/** Decompressed payloads are kept to this size; a larger one counts as unreadable and is named in a gap. */
export const DECOMPRESSED_LIMIT = 16 << 20;

/**
 * The payload of a compressed DATA object, or null when it is damaged, too large, or compressed with XZ where no
 * liblzma was found.
 */
export function decompress(flags: number, payload: Buffer, xz: XzDecoder | null): Buffer | null {
  if (flags === COMPRESSED.zstd) {
    try {
      return zstdDecompressSync(payload, { maxOutputLength: DECOMPRESSED_LIMIT });
    } catch {
      return null;
    }
  }
  if (flags === COMPRESSED.lz4) return decompressLz4(payload);
  return xz === null ? null : xz(payload, DECOMPRESSED_LIMIT);
}

/** journald's LZ4 payload: 64 bits of decompressed size, then one LZ4 block (LZ4 block format). */
export function decompressLz4(payload: Buffer): Buffer | null {
  if (payload.length < 9) return null;
  const size = readU64(new DataView(payload.buffer, payload.byteOffset, payload.length), 0);
  if (size === 0 || size > DECOMPRESSED_LIMIT) return null;
  const output = Buffer.alloc(size);
  let from = 8;
  let to = 0;
  /** Lengths of 15 go on in further bytes, to the first that is not 255. */
  const lengthOf = (nibble: number): number => {
    let length = nibble;
    if (nibble !== 15) return length;
    while (from < payload.length) {
      const more = payload.readUInt8(from);
      from += 1;
      length += more;
      if (more !== 255) break;
    }
    return length;
  };
  while (from < payload.length) {
    const token = payload.readUInt8(from);
    from += 1;
    const literals = lengthOf(token >>> 4);
    if (from + literals > payload.length || to + literals > size) return null;
    payload.copy(output, to, from, from + literals);
    from += literals;
    to += literals;
    // The last sequence is literals alone.
    if (from >= payload.length) break;
    if (from + 2 > payload.length) return null;
    const distance = payload.readUInt16LE(from);
    from += 2;
    const length = lengthOf(token & 15) + 4;
    if (distance === 0 || distance > to || to + length > size) return null;
    // Byte by byte: a match may overlap what it writes.
    for (let left = length; left > 0; left -= 1) {
      output.writeUInt8(output.readUInt8(to - distance), to);
      to += 1;
    }
  }
  return to === size ? output : null;
}
