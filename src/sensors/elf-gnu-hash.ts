import { type Image, InvalidElf } from "./elf-image.ts";

/**
 * GNU's hash table of dynamic symbols (DT_GNU_HASH), which is how the loader finds one:
 *
 *     u32 buckets, first symbol, bloom words, bloom shift; u64 bloom[]; u32 bucket[]; u32 chain[]
 *
 * The bloom filter says of most names at once that they are not there. A bucket holds the first symbol of its chain; a
 * chain has the hash of each symbol with the lowest bit set on its last.
 */

export interface Candidate {
  readonly name: string;
  /** In the dynamic symbol table. Its hash is the name's; whether it has the name is for the reader to look. */
  readonly index: number;
}

const HEADER = 16;
const MAX_TABLE = 1 << 20;
/** A larger filter is read by the word. */
const WHOLE_BLOOM = 1 << 13;
/** Real chains have a handful. */
const MAX_CHAIN = 1 << 14;
const CHAIN_STEP = 64;

/** The symbols that may be the `names`. Throws InvalidElf for a table that is not sound. */
export async function findByGnuHash(image: Image, offset: number, names: readonly string[]): Promise<Candidate[]> {
  const header = await image.bytes(offset, HEADER, "GNU hash table");
  const buckets = header.readUInt32LE(0);
  const first = header.readUInt32LE(4);
  const bloomWords = header.readUInt32LE(8);
  const shift = header.readUInt32LE(12);
  if (buckets > MAX_TABLE || bloomWords > MAX_TABLE) throw new InvalidElf(`${buckets} hash buckets`);
  if (buckets === 0 || bloomWords === 0) return [];
  const bloomAt = offset + HEADER;
  const bucketsAt = bloomAt + bloomWords * 8;
  const chainsAt = bucketsAt + buckets * 4;
  image.assertHas(bloomAt, chainsAt - bloomAt, "GNU hash table");
  const bloom = bloomWords <= WHOLE_BLOOM ? await image.bytes(bloomAt, bloomWords * 8, "bloom filter") : null;
  const candidates: Candidate[] = [];
  for (const name of names) {
    const hash = hashOf(name);
    const at = (Math.floor(hash / 64) % bloomWords) * 8;
    const word = bloom?.subarray(at, at + 8) ?? (await image.bytes(bloomAt + at, 8, "bloom filter"));
    if (!hasBit(word, hash % 64) || !hasBit(word, (hash >>> shift) % 64)) continue;
    const bucket = await image.bytes(bucketsAt + (hash % buckets) * 4, 4, "hash bucket");
    const start = bucket.readUInt32LE(0);
    if (start < first) continue;
    for (const index of await followChain(image, chainsAt, start - first, hash)) {
      candidates.push({ name, index: first + index });
    }
  }
  return candidates;
}

/** Places in the chain that have the hash. */
async function followChain(image: Image, chainsAt: number, start: number, hash: number): Promise<number[]> {
  const found: number[] = [];
  for (let index = start; index < start + MAX_CHAIN; index += CHAIN_STEP) {
    const at = chainsAt + index * 4;
    const chain = await image.bytes(at, Math.min(CHAIN_STEP * 4, Math.max(4, image.size - at)), "hash chain");
    for (let step = 0; step + 4 <= chain.length; step += 4) {
      const entry = chain.readUInt32LE(step);
      if ((entry | 1) === (hash | 1)) found.push(index + step / 4);
      if ((entry & 1) === 1) return found;
    }
  }
  throw new InvalidElf("a hash chain without an end");
}

function hasBit(word: Buffer, bit: number): boolean {
  return (((word[bit >> 3] ?? 0) >> (bit & 7)) & 1) === 1;
}

/** Bernstein's hash times 33, as dl_new_hash of glibc. */
function hashOf(name: string): number {
  let hash = 5381;
  for (const byte of Buffer.from(name, "latin1")) hash = (Math.imul(hash, 33) + byte) >>> 0;
  return hash;
}
