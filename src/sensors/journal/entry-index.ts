import type { FileHandle } from "node:fs/promises";
import { readU64 } from "./header.ts";
import { type Layout, OBJECT } from "./objects.ts";

/** Where the next array and the first item of an ENTRY_ARRAY are. */
const NEXT_AT = 16;
const ITEMS_AT = 24;
/** Each array is twice as large as the one before: more of them are no journal's. */
const MOST_ARRAYS = 64;

interface EntryArray {
  readonly offset: number;
  /** Which entry of the file its first item is. */
  readonly first: number;
  readonly capacity: number;
}

/** The chain of arrays led where it cannot: the file is damaged. */
export class DamagedIndex extends Error {}

/**
 * The offsets of a journal file's entries in the order in which they were appended, by the file's chain of entry arrays:
 * an entry is found without reading what is before it.
 */
export class EntryIndex {
  readonly #handle: FileHandle;
  readonly #layout: Layout;
  readonly #arrays: EntryArray[] = [];

  constructor(handle: FileHandle, layout: Layout) {
    this.#handle = handle;
    this.#layout = layout;
  }

  /**
   * Offsets of entries from number `from` (counted from 0) on: at least one, at most `most`. `start` is the header's
   * offset of the first array. The caller knows from the header that entry `from` is there.
   * @throws DamagedIndex
   */
  async offsets(start: number, from: number, most: number): Promise<readonly number[]> {
    const array = await this.#arrayOf(start, from);
    const width = this.#layout.entryArrayItem;
    const count = Math.min(most, array.first + array.capacity - from);
    const bytes = await this.#read(array.offset + ITEMS_AT + (from - array.first) * width, count * width);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const offsets: number[] = [];
    for (let at = 0; at < bytes.length; at += width) {
      const offset = width === 4 ? view.getUint32(at, true) : readU64(view, at);
      if (offset === 0) break;
      offsets.push(offset);
    }
    if (offsets.length === 0) throw new DamagedIndex(`no offset of entry ${from} at byte ${array.offset}`);
    return offsets;
  }

  async #arrayOf(start: number, entry: number): Promise<EntryArray> {
    let last = this.#arrays.at(-1) ?? (await this.#open(start, 0));
    while (entry >= last.first + last.capacity) {
      const next = await this.#read(last.offset + NEXT_AT, 8);
      const offset = readU64(new DataView(next.buffer, next.byteOffset, 8), 0);
      // Arrays are appended: one that lies before would be a circle.
      if (offset <= last.offset) throw new DamagedIndex(`the array of entries at byte ${last.offset} has no successor`);
      last = await this.#open(offset, last.first + last.capacity);
    }
    return this.#arrays.findLast(({ first }) => first <= entry) ?? last;
  }

  async #open(offset: number, first: number): Promise<EntryArray> {
    const head = await this.#read(offset, ITEMS_AT);
    const view = new DataView(head.buffer, head.byteOffset, ITEMS_AT);
    const size = readU64(view, 8);
    const capacity = Math.floor((size - ITEMS_AT) / this.#layout.entryArrayItem);
    const sound = view.getUint8(0) === OBJECT.entryArray && capacity > 0 && Number.isSafeInteger(capacity);
    if (!sound || this.#arrays.length >= MOST_ARRAYS) throw new DamagedIndex(`no array of entries at byte ${offset}`);
    const array = { offset, first, capacity };
    this.#arrays.push(array);
    return array;
  }

  async #read(offset: number, length: number): Promise<Buffer> {
    if (!Number.isSafeInteger(offset)) throw new DamagedIndex(`no array of entries can be at byte ${offset}`);
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await this.#handle.read(bytes, 0, length, offset);
    if (bytesRead < length) throw new DamagedIndex(`the file ends inside its array of entries at byte ${offset}`);
    return bytes;
  }
}
