/**
 * SipHash-2-4 in 32-bit halves: what the journal reader does with BigInt for single entries, for thousands of payloads.
 * Written for speed: the state is local variables, and a 64-bit addition is two of 32 bits with a carry.
 */

/** Whether `hash` (low and high half) is the hash of the payload under the key of a KEYED_HASH file (its file id). */
export function isSipHash(
  key: DataView,
  bytes: DataView,
  start: number,
  length: number,
  low: number,
  high: number,
): boolean {
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
      ml = bytes.getInt32(start + word * 8, true);
      mh = bytes.getInt32(start + word * 8 + 4, true);
    } else if (word === words) {
      mh = (length & 0xff) << 24;
      for (let at = words * 8; at < length; at += 1) {
        const shift = (at & 7) * 8;
        if (shift < 32) ml |= bytes.getUint8(start + at) << shift;
        else mh |= bytes.getUint8(start + at) << (shift - 32);
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
  return (v0l ^ v1l ^ v2l ^ v3l) >>> 0 === low && (v0h ^ v1h ^ v2h ^ v3h) >>> 0 === high;
}
