/** The two hash functions of journal files. */

/** 64 bits as two signed halves. */
export interface Hash64 {
  hi: number;
  lo: number;
}

function rotate(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}

/**
 * Bob Jenkins' lookup3 (hashlittle2, both seeds 0), written to `out`. Every ENTRY carries the XOR of this hash over
 * its payloads; DATA of files without KEYED_HASH carries it too. `view` has to reach 12 bytes past the payload.
 */
export function jenkinsHash(view: DataView, start: number, length: number, out: Hash64): void {
  let a = (0xdeadbeef + length) | 0;
  let b = a;
  let c = a;
  let at = start;
  let left = length;
  while (left > 12) {
    a = (a + view.getInt32(at, true)) | 0;
    b = (b + view.getInt32(at + 4, true)) | 0;
    c = (c + view.getInt32(at + 8, true)) | 0;
    a = (a - c) ^ rotate(c, 4);
    c = (c + b) | 0;
    b = (b - a) ^ rotate(a, 6);
    a = (a + c) | 0;
    c = (c - b) ^ rotate(b, 8);
    b = (b + a) | 0;
    a = (a - c) ^ rotate(c, 16);
    c = (c + b) | 0;
    b = (b - a) ^ rotate(a, 19);
    a = (a + c) | 0;
    c = (c - b) ^ rotate(b, 4);
    b = (b + a) | 0;
    at += 12;
    left -= 12;
  }
  if (left > 0) {
    a = (a + lastBytes(view, at, left)) | 0;
    b = (b + lastBytes(view, at + 4, left - 4)) | 0;
    c = (c + lastBytes(view, at + 8, left - 8)) | 0;
    c = ((c ^ b) - rotate(b, 14)) | 0;
    a = ((a ^ c) - rotate(c, 11)) | 0;
    b = ((b ^ a) - rotate(a, 25)) | 0;
    c = ((c ^ b) - rotate(b, 16)) | 0;
    a = ((a ^ c) - rotate(c, 4)) | 0;
    b = ((b ^ a) - rotate(a, 14)) | 0;
    c = ((c ^ b) - rotate(b, 24)) | 0;
  }
  out.hi = c;
  out.lo = b;
}

/** Up to four bytes as a little-endian number; what is past the payload counts as zero. */
function lastBytes(view: DataView, at: number, left: number): number {
  if (left <= 0) return 0;
  const word = view.getInt32(at, true);
  return left >= 4 ? word : word & ((1 << (left * 8)) - 1);
}

const MASK = 0xffffffffffffffffn;

function rotate64(value: bigint, by: bigint): bigint {
  return ((value << by) | (value >> (64n - by))) & MASK;
}

/**
 * SipHash-2-4, the hash of DATA in KEYED_HASH files; the key is the file id. Slow (BigInt): for entries in doubt only.
 */
export function sipHash24(key: Buffer, bytes: Buffer): bigint {
  const k0 = key.readBigUInt64LE(0);
  const k1 = key.readBigUInt64LE(8);
  let v0 = k0 ^ 0x736f6d6570736575n;
  let v1 = k1 ^ 0x646f72616e646f6dn;
  let v2 = k0 ^ 0x6c7967656e657261n;
  let v3 = k1 ^ 0x7465646279746573n;
  const round = () => {
    v0 = (v0 + v1) & MASK;
    v1 = rotate64(v1, 13n) ^ v0;
    v0 = rotate64(v0, 32n);
    v2 = (v2 + v3) & MASK;
    v3 = rotate64(v3, 16n) ^ v2;
    v0 = (v0 + v3) & MASK;
    v3 = rotate64(v3, 21n) ^ v0;
    v2 = (v2 + v1) & MASK;
    v1 = rotate64(v1, 17n) ^ v2;
    v2 = rotate64(v2, 32n);
  };
  const whole = bytes.length - (bytes.length % 8);
  for (let at = 0; at < whole; at += 8) {
    const word = bytes.readBigUInt64LE(at);
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
  let last = BigInt(bytes.length & 0xff) << 56n;
  for (let at = whole; at < bytes.length; at += 1) last |= BigInt(bytes.readUInt8(at)) << BigInt((at - whole) * 8);
  v3 ^= last;
  round();
  round();
  v0 ^= last;
  v2 ^= 0xffn;
  for (let index = 0; index < 4; index += 1) round();
  return v0 ^ v1 ^ v2 ^ v3;
}
