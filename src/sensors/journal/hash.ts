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

/**
 * SipHash-2-4, the hash of DATA in KEYED_HASH files; the key is the file id. In 32-bit halves, which are ten times as
 * fast as BigInt: the state is local variables, and a 64-bit addition is two of 32 bits with a carry.
 */
export function sipHash24(keyBytes: Buffer, payload: Buffer): bigint {
  const key = viewOf(keyBytes);
  const bytes = viewOf(payload);
  const length = payload.length;
  const k0l = key.getInt32(0, true);
  const k0h = key.getInt32(4, true);
  const k1l = key.getInt32(8, true);
  const k1h = key.getInt32(12, true);
  let v0l = k0l ^ 0x70736575;
  let v0h = k0h ^ 0x736f6d65;
  let v1l = k1l ^ 0x6e646f6d;
  let v1h = k1h ^ 0x646f7261;
  let v2l = k0l ^ 0x6e657261;
  let v2h = k0h ^ 0x6c796765;
  let v3l = k1l ^ 0x79746573;
  let v3h = k1h ^ 0x74656462;
  const words = length >>> 3;
  // Words of the payload, then the last bytes with the length, then four rounds more with nothing.
  for (let word = 0; word <= words + 1; word += 1) {
    let ml = 0;
    let mh = 0;
    if (word < words) {
      ml = bytes.getInt32(word * 8, true);
      mh = bytes.getInt32(word * 8 + 4, true);
    } else if (word === words) {
      mh = (length & 0xff) << 24;
      for (let at = words * 8; at < length; at += 1) {
        const shift = (at & 7) * 8;
        if (shift < 32) ml |= bytes.getUint8(at) << shift;
        else mh |= bytes.getUint8(at) << (shift - 32);
      }
    } else v2l ^= 0xff;
    v3l ^= ml;
    v3h ^= mh;
    for (let round = word <= words ? 2 : 4; round > 0; round -= 1) {
      let sum = (v0l >>> 0) + (v1l >>> 0);
      v0h = (v0h + v1h + (sum > 0xffffffff ? 1 : 0)) | 0;
      v0l = sum | 0;
      let turned = (v1l << 13) | (v1h >>> 19);
      v1h = (v1h << 13) | (v1l >>> 19);
      v1l = turned ^ v0l;
      v1h ^= v0h;
      turned = v0l;
      v0l = v0h;
      v0h = turned;
      sum = (v2l >>> 0) + (v3l >>> 0);
      v2h = (v2h + v3h + (sum > 0xffffffff ? 1 : 0)) | 0;
      v2l = sum | 0;
      turned = (v3l << 16) | (v3h >>> 16);
      v3h = (v3h << 16) | (v3l >>> 16);
      v3l = turned ^ v2l;
      v3h ^= v2h;
      sum = (v0l >>> 0) + (v3l >>> 0);
      v0h = (v0h + v3h + (sum > 0xffffffff ? 1 : 0)) | 0;
      v0l = sum | 0;
      turned = (v3l << 21) | (v3h >>> 11);
      v3h = (v3h << 21) | (v3l >>> 11);
      v3l = turned ^ v0l;
      v3h ^= v0h;
      sum = (v2l >>> 0) + (v1l >>> 0);
      v2h = (v2h + v1h + (sum > 0xffffffff ? 1 : 0)) | 0;
      v2l = sum | 0;
      turned = (v1l << 17) | (v1h >>> 15);
      v1h = (v1h << 17) | (v1l >>> 15);
      v1l = turned ^ v2l;
      v1h ^= v2h;
      turned = v2l;
      v2l = v2h;
      v2h = turned;
    }
    v0l ^= ml;
    v0h ^= mh;
  }
  const high = (v0h ^ v1h ^ v2h ^ v3h) >>> 0;
  return (BigInt(high) << 32n) | BigInt((v0l ^ v1l ^ v2l ^ v3l) >>> 0);
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

const PADDING = 12;

/** The hash that DATA with this payload carries: keyed with the file id, or not (null). */
export function payloadHash(key: Buffer | null, payload: Buffer): bigint {
  if (key !== null) return sipHash24(key, payload);
  const padded = Buffer.from(new ArrayBuffer(payload.length + PADDING));
  payload.copy(padded);
  const hash: Hash64 = { hi: 0, lo: 0 };
  jenkinsHash(new DataView(padded.buffer), 0, payload.length, hash);
  return (BigInt(hash.hi >>> 0) << 32n) | BigInt(hash.lo >>> 0);
}
