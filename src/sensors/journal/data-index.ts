/**
 * What is known of each DATA object of one file, by its offset.
 *
 * A DATA object is at least 65 bytes long, so no two start in the same block of 64 bytes: one byte a block holds the
 * kind and which of the block's eight slots it is in, and eight bytes hold the hash of its payload. That is a seventh
 * of the file's size, freed with the file.
 */

export const KIND = {
  none: 0,
  /** Nothing that the reader looks at. */
  other: 1,
  message: 2,
  /** A field that decides on the unit, or says something of the entry: see the reader's table. */
  relevant: 3,
  /** Its payload could not be had: damaged, or compressed in a way that cannot be undone here. */
  unreadable: 4,
  /** Compressed and larger than a window: too long for anything but a message or a payload. */
  huge: 5,
} as const;

/** Flag beside the kind: the payload was too long to be hashed. */
const UNHASHED = 8;
const KIND_MASK = 7;

const PAGE_BYTES = 1 << 18;
const BLOCKS = PAGE_BYTES / 64;

interface Page {
  readonly tags: Uint8Array;
  readonly hashes: DataView;
}

export class DataIndex {
  readonly #pages: (Page | undefined)[] = [];
  /** Hash of the object that `find` found last. */
  hi = 0;
  lo = 0;
  hashed = false;

  add(offset: number, kind: number, hi: number, lo: number, hashed: boolean): void {
    const number = Math.floor(offset / PAGE_BYTES);
    let page = this.#pages[number];
    if (page === undefined) {
      page = { tags: new Uint8Array(BLOCKS), hashes: new DataView(new ArrayBuffer(BLOCKS * 8)) };
      this.#pages[number] = page;
    }
    const inPage = offset - number * PAGE_BYTES;
    const block = inPage >>> 6;
    page.tags[block] = (((inPage >>> 3) & 7) << 4) | (hashed ? kind : kind | UNHASHED);
    page.hashes.setInt32(block * 8, hi, true);
    page.hashes.setInt32(block * 8 + 4, lo, true);
  }

  /** The kind of the DATA object at `offset`, KIND.none when no DATA starts there; sets `hi`, `lo` and `hashed`. */
  find(offset: number): number {
    const number = Math.floor(offset / PAGE_BYTES);
    const page = this.#pages[number];
    if (page === undefined) return KIND.none;
    const inPage = offset - number * PAGE_BYTES;
    const block = inPage >>> 6;
    const tag = page.tags[block] ?? 0;
    if (tag === 0 || tag >>> 4 !== ((inPage >>> 3) & 7) || (inPage & 7) !== 0) return KIND.none;
    this.hi = page.hashes.getInt32(block * 8, true);
    this.lo = page.hashes.getInt32(block * 8 + 4, true);
    this.hashed = (tag & UNHASHED) === 0;
    return tag & KIND_MASK;
  }
}
