import { readSync } from "node:fs";
import { decompress } from "../journal/decompress.ts";
import { readU64 } from "../journal/header.ts";
import { EntryFields, FIELD_LIMIT, type FieldSays, type UnitMatch } from "../journal/match.ts";
import { ENTRY, type Layout, OBJECT } from "../journal/objects.ts";
import type { XzDecoder } from "../journal/xz.ts";
import { MESSAGE_LIMIT } from "../log-limits.ts";
import { Doubt, type OffsetSet } from "./bulk-offsets.ts";
import type { BulkFile, DataObject } from "./bulk-walk.ts";
import { type Line, lineOf } from "./log-ledger.ts";

const PAGE_BYTES = 1 << 16;
const ARRAY_HEADER = 24;
const OBJECT_LIMIT = 1 << 20;
const FIELDS_KEPT = 10_000;
const MESSAGE = "MESSAGE=";

/** What a DATA object says that is looked at through an entry. */
interface Said {
  readonly field: FieldSays | null;
  readonly message: Line | null;
}

export interface EntryRead {
  readonly fields: EntryFields;
  /** What its first message holds. */
  readonly message: Line | null;
}

/** Reads single objects of a file that a `BulkWalk` found sound. */
export class BulkAccess {
  readonly #file: BulkFile;
  readonly #layout: Layout;
  readonly #match: UnitMatch;
  readonly #xz: XzDecoder | null;
  readonly #page = Buffer.from(new ArrayBuffer(PAGE_BYTES));
  #pageStart = 0;
  #pageLength = 0;
  readonly #said = new Map<number, Said>();

  constructor(file: BulkFile, layout: Layout, match: UnitMatch, xz: XzDecoder | null) {
    this.#file = file;
    this.#layout = layout;
    this.#match = match;
    this.#xz = xz;
  }

  /** `length` bytes at `offset`, good until the next call. */
  #bytes(offset: number, length: number): Buffer {
    if (!(offset >= 0 && offset + length <= this.#file.size)) throw new Doubt(`nothing to read at byte ${offset}`);
    if (offset >= this.#pageStart && offset + length <= this.#pageStart + this.#pageLength) {
      return this.#page.subarray(offset - this.#pageStart, offset - this.#pageStart + length);
    }
    const own = length > PAGE_BYTES / 2;
    const target = own ? Buffer.allocUnsafe(length) : this.#page;
    if (!own) this.#pageLength = 0;
    const read = readSync(this.#file.fd, target, 0, own ? length : pageFor(length), offset);
    if (read < length) throw new Doubt(`nothing to read at byte ${offset}`);
    if (own) return target;
    this.#pageStart = offset;
    this.#pageLength = read;
    return target.subarray(0, length);
  }

  /** The whole object at `offset`, which has to be of `type`. */
  #object(offset: number, type: number): Buffer {
    const size = readU64(viewOf(this.#bytes(offset, 16)), 8);
    const object = size >= 16 && size <= OBJECT_LIMIT ? this.#bytes(offset, size) : null;
    if (object === null || object[0] !== type) throw new Doubt(`no such object at byte ${offset}`);
    return object;
  }

  /**
   * The entries that refer to `data`, in the order of the file, up to `last`, each of which has to be one that the walk
   * saw. A file that is being written to may list more.
   */
  entriesOf(data: DataObject, seen: OffsetSet, last: number): Uint32Array {
    const { online } = this.#file.header;
    // A writer lists an entry before it counts it.
    const most = Math.min(data.entries + (online ? 1 : 0), this.#file.header.entries);
    if (data.entries > most && !online) throw new Doubt(refuse(data, "count"));
    const list = new Uint32Array(most);
    if (data.entries === 0) return list.subarray(0, 0);
    let found = 0;
    let previous = 0;
    let array = data.array;
    let items = singleItem(data.firstEntry);
    let compact = false;
    for (;;) {
      const width = compact ? 4 : 8;
      for (let at = 0; at + width <= items.byteLength; at += width) {
        const entry = compact ? items.getUint32(at, true) : readU64(items, at);
        if (entry === 0 || (online && entry > last)) return this.#listed(list, found, data, entry);
        if (found === most) throw new Doubt(refuse(data, "more entries than counted"));
        if (entry > last) throw new Doubt(refuse(data, `entry ${entry}`));
        if (entry <= previous || !seen.has(entry)) throw new Doubt(refuse(data, `entry ${entry}`));
        list[found] = entry;
        found += 1;
        previous = entry;
      }
      if (array === 0 || (found === most && !online)) return this.#listed(list, found, data, 0);
      ({ items, next: array } = this.#array(data, array, most - found));
      compact = this.#file.header.compact;
    }
  }

  #listed(list: Uint32Array, found: number, data: DataObject, stoppedAt: number): Uint32Array {
    if (found < data.entries && stoppedAt === 0) throw new Doubt(refuse(data, "fewer entries than counted"));
    return list.subarray(0, found);
  }

  /** The items of an entry array, one more of them than are wanted, and where the next array is. */
  #array(data: DataObject, array: number, wanted: number): { readonly items: DataView; readonly next: number } {
    const head = viewOf(this.#bytes(array, ARRAY_HEADER));
    const size = readU64(head, 8);
    const next = readU64(head, 16);
    const sound = head.getUint8(0) === OBJECT.entryArray && size > ARRAY_HEADER && array + size <= this.#file.size;
    // Arrays are appended when they are needed: the next one is always behind.
    if (!sound || (next !== 0 && next <= array)) throw new Doubt(refuse(data, `array ${array}`));
    const length = Math.min(size - ARRAY_HEADER, (wanted + 1) * this.#layout.entryArrayItem);
    return { items: viewOf(this.#bytes(array + ARRAY_HEADER, length)), next };
  }

  /** Offsets of the DATA objects that an entry refers to. */
  itemsOf(entry: number): readonly number[] {
    const object = this.#object(entry, OBJECT.entry);
    const view = viewOf(object);
    const items: number[] = [];
    for (let at = ENTRY.items; at + this.#layout.entryItem <= object.length; at += this.#layout.entryItem) {
      items.push(this.#file.header.compact ? view.getUint32(at, true) : readU64(view, at));
    }
    return items;
  }

  /** Epoch microseconds and sequence number of an entry. */
  timeOf(entry: number): { readonly realtime: number; readonly seqnum: number } {
    const view = viewOf(this.#bytes(entry, ENTRY.items));
    return { realtime: readU64(view, ENTRY.realtime), seqnum: readU64(view, ENTRY.seqnum) };
  }

  /** What an entry says, its first message with it. */
  read(entry: number): EntryRead {
    const fields = new EntryFields();
    let message: Line | null = null;
    for (const item of this.itemsOf(entry)) {
      const said = this.#saidBy(item);
      if (said.field !== null) fields.add(said.field);
      message ??= said.message;
    }
    return { fields, message };
  }

  #saidBy(offset: number): Said {
    const known = this.#said.get(offset);
    if (known !== undefined) return known;
    const object = this.#object(offset, OBJECT.data);
    const stored = object.subarray(this.#layout.dataPayload);
    const flags = object.readUInt8(1);
    const payload = flags === 0 ? stored : decompress(flags, stored, this.#xz);
    if (payload === null) throw new Doubt(`data that cannot be decompressed at byte ${offset}`);
    let said: Said;
    if (payload.toString("latin1", 0, MESSAGE.length) === MESSAGE) {
      const text = payload.toString("latin1", MESSAGE.length, MESSAGE.length + MESSAGE_LIMIT);
      said = { field: null, message: lineOf(text) };
    } else {
      said = { field: this.#match.field(payload.toString("latin1", 0, FIELD_LIMIT)), message: null };
    }
    if (this.#said.size >= FIELDS_KEPT) this.#said.clear();
    this.#said.set(offset, said);
    return said;
  }
}

/** Small objects stand near one another when a list of them is followed. */
function pageFor(length: number): number {
  return Math.max(length, 4096);
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function singleItem(offset: number): DataView {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(offset), true);
  return view;
}

function refuse(data: DataObject, what: string): string {
  return `the list of entries of the data at byte ${data.offset} does not fit (${what})`;
}
