import { compareToCursor, type EntryPosition } from "./cursor.ts";
import { decompress } from "./decompress.ts";
import { hashText, JournalEntry } from "./entry.ts";
import { EntryIndex } from "./entry-index.ts";
import { type Hash64, jenkinsHash } from "./hash.ts";
import { HEADER_MIN_BYTES, type JournalHeader, parseHeader, readU64 } from "./header.ts";
import type { JournalFile } from "./journal-file.ts";
import { EntryFields, FIELD_LIMIT, type FieldSays, mayBeKnownField, type UnitMatch } from "./match.ts";
import { MessageLoader } from "./message-loader.ts";
import { COMPRESSED_MASK, DATA_ENTRIES_AT, ENTRY, type Layout, layoutOf, OBJECT } from "./objects.ts";

const WINDOW_BYTES = 256 << 10;
/** An entry has some twenty fields; ten times that fit. */
const ENTRY_READ = 4096;
/** Hashing looks at whole words: room past the end of a payload. */
const PADDING = 16;
/** The least of an object that has to be in the window for a look at it. */
const FIELD_READ = 80;
/** Compressed fields up to this are looked into. */
const PACKED_LIMIT = 1 << 20;
const BATCH = 512;
/** Fields that are remembered; a journal file has a few thousand that come again. */
const KNOWN_LIMIT = 1 << 14;
const MESSAGE = "MESSAGE=";

/** What a field means. */
type Says = FieldSays | "message" | null;

/** A field that was looked at, with the hash that its entries' checksums are made of; null: it is too long to be hashed. */
interface Known {
  readonly says: Says;
  readonly hi: number;
  readonly lo: number;
  readonly hashed: boolean;
}

const UNREADABLE: Known = { says: null, hi: 0, lo: 0, hashed: false };

/** What was read at once. */
export interface TailBatch {
  /** Those of the unit and about it, in order. */
  readonly entries: readonly JournalEntry[];
  /** The entry that was looked at last, of whatever unit; null when there was none. */
  readonly last: EntryPosition | null;
  /** Lines of the unit that journald dropped, by its own record. */
  readonly suppressed: number;
  /** Entries that could not be read. */
  readonly damaged: number;
}

/**
 * Reads one journal file as it grows, from any entry on, without reading what is before it: new entries are found by the
 * file's own index, their fields mostly in what was appended with them.
 *
 * INVARIANTS
 * - Only entries that the header counts are read: journald counts one when it is whole.
 * - Every entry is checked against its own checksum; one that does not match is damaged, and said to be.
 * - Memory is one window, and what is remembered of fields that come again; it does not grow with the file.
 */
export class JournalFileTail {
  readonly file: JournalFile;
  readonly #match: UnitMatch;
  readonly #layout: Layout;
  readonly #index: EntryIndex;
  readonly #loader: MessageLoader;
  readonly #known = new Map<number, Known>();
  readonly #fields = new EntryFields();
  readonly #hash: Hash64 = { hi: 0, lo: 0 };
  /** Made when it is needed: most files of a journal are never read. */
  #window = Buffer.alloc(0);
  #view = new DataView(new ArrayBuffer(0));
  #header: JournalHeader;
  /** Entries of the file that were read or passed over. */
  #read = 0;
  #lastSeqnum = 0;
  /** Where what was appended after the last entry read begins. */
  #from = 0;

  constructor(file: JournalFile, match: UnitMatch) {
    this.file = file;
    this.#match = match;
    this.#header = file.header;
    this.#layout = layoutOf(file.header.compact);
    this.#index = new EntryIndex(file.handle, this.#layout);
    this.#loader = new MessageLoader(file, this.#layout);
  }

  get header(): JournalHeader {
    return this.#header;
  }

  /** Entries that the header counts and that were not read. */
  get unread(): number {
    return Math.max(0, this.#header.entries - this.#read);
  }

  /** Looks how far the file is now. Returns false when it is no journal any more. */
  async refresh(): Promise<boolean> {
    const bytes = Buffer.alloc(HEADER_MIN_BYTES);
    const { bytesRead } = await this.file.handle.read(bytes, 0, bytes.length, 0);
    const header = parseHeader(bytes.subarray(0, bytesRead), Number.MAX_SAFE_INTEGER);
    if ("problem" in header) return false;
    this.#header = header;
    return true;
  }

  /** Nothing of it was read or passed over. */
  get untouched(): boolean {
    return this.#read === 0;
  }

  /** Passes over everything that is there. */
  skipAll(): void {
    this.#read = this.#header.entries;
  }

  /**
   * Goes behind the cursor. The entry that is there under the cursor's own number, when the file has one: a journal that
   * was set back has another there.
   */
  async seekAfter(cursor: EntryPosition): Promise<EntryPosition | null> {
    const index = await this.#firstWhere((entry) => compareToCursor(entry, cursor) > 0);
    this.#read = index;
    const before = index === 0 ? null : await this.#positionOf(index - 1);
    return before !== null && before.seqnumId === cursor.seqnumId && before.seqnum === cursor.seqnum ? before : null;
  }

  /** Goes to the first entry of a time (epoch microseconds), as far as the file's clock went forward. */
  async seekTime(since: number): Promise<void> {
    this.#read = await this.#firstWhere(({ realtime }) => realtime >= since);
  }

  async #firstWhere(isBehind: (entry: EntryPosition) => boolean): Promise<number> {
    let low = 0;
    let high = this.#header.entries;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const entry = await this.#positionOf(middle);
      if (entry !== null && !isBehind(entry)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  async #positionOf(index: number): Promise<EntryPosition | null> {
    const [offset] = await this.#index.offsets(this.#header.entryArray, index, 1);
    if (offset === undefined || offset > this.#end()) return null;
    const bytes = Buffer.alloc(ENTRY.items);
    const { bytesRead } = await this.file.handle.read(bytes, 0, bytes.length, offset);
    if (bytesRead < bytes.length || bytes[0] !== OBJECT.entry) return null;
    return this.#position(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), bytes, 0);
  }

  /** The next entries, up to the one numbered `bound` within the file's sequence. @throws DamagedIndex */
  async next(bound: number): Promise<TailBatch> {
    const entries: JournalEntry[] = [];
    let last: EntryPosition | null = null;
    let suppressed = 0;
    let damaged = 0;
    const offsets =
      this.unread === 0
        ? []
        : await this.#index.offsets(this.#header.entryArray, this.#read, Math.min(BATCH, this.unread));
    let length = 0;
    let start = 0;
    for (const offset of offsets) {
      if (offset > this.#end()) {
        damaged += 1;
        this.#read += 1;
        continue;
      }
      let at = offset - start;
      if (at < 0 || !this.#isWhole(at, length)) {
        // Fields are appended before the entry that brings them.
        const from =
          this.#from > 0 && this.#from <= offset && offset - this.#from < WINDOW_BYTES / 2 ? this.#from : offset;
        start = from;
        length = await this.#fill(from);
        at = offset - start;
      }
      if (!this.#isWhole(at, length) || this.#view.getUint8(at) !== OBJECT.entry) {
        damaged += 1;
        this.#read += 1;
        continue;
      }
      const position = this.#position(this.#view, this.#window, at);
      // Numbers grow within a file, up to the one that its header names.
      if (position.seqnum <= this.#lastSeqnum || position.seqnum > this.#header.tailSeqnum) {
        damaged += 1;
        this.#read += 1;
        continue;
      }
      if (position.seqnum > bound) break;
      this.#lastSeqnum = position.seqnum;
      const size = readU64(this.#view, at + 8);
      const message = await this.#look(at, size, start, length);
      this.#read += 1;
      this.#from = offset + size;
      last = position;
      if (message === "damaged") {
        damaged += 1;
        continue;
      }
      const fields = this.#fields;
      suppressed += fields.aboutUnit || fields.ofWorkload ? fields.suppressed : 0;
      if (!fields.ofWorkload && !fields.aboutUnit) continue;
      const high = this.#view.getUint32(at + ENTRY.xorHash + 4, true);
      const entry = new JournalEntry(position, high, this.#view.getUint32(at + ENTRY.xorHash, true), fields);
      const loaded = message < 0 ? null : await this.#message(message, start, length);
      if (message >= 0 && loaded === null) damaged += 1;
      if (loaded === null) {
        if (message < 0) entries.push(entry);
        continue;
      }
      entry.message = loaded.bytes;
      entry.truncated = loaded.truncated;
      entries.push(entry);
    }
    return { entries, last, suppressed, damaged };
  }

  #isWhole(at: number, length: number): boolean {
    if (at + ENTRY.items > length) return false;
    const size = readU64(this.#view, at + 8);
    return size >= ENTRY.items && at + size <= length;
  }

  async #fill(from: number): Promise<number> {
    // A journal file is larger than what is in it: zeros behind the last object are not worth reading.
    const wanted = Math.min(WINDOW_BYTES, Math.max(0, this.#header.tailObject - from) + ENTRY_READ);
    if (this.#window.length === 0) {
      this.#window = Buffer.from(new ArrayBuffer(WINDOW_BYTES));
      this.#view = new DataView(this.#window.buffer);
    }
    let length = 0;
    while (length < wanted) {
      const { bytesRead } = await this.file.handle.read(this.#window, length, wanted - length, from + length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return length;
  }

  /**
   * Fills `#fields` of the entry at `at` of the window; the offset of its message, -1 when it has none, or "damaged" when
   * its fields do not come to its checksum.
   */
  async #look(at: number, size: number, start: number, length: number): Promise<number | "damaged"> {
    this.#fields.clear();
    let message = -1;
    let high = this.#view.getInt32(at + ENTRY.xorHash + 4, true);
    let low = this.#view.getInt32(at + ENTRY.xorHash, true);
    let hashed = true;
    const items: Known[] = [];
    for (let item = at + ENTRY.items; item + this.#layout.entryItem <= at + size; item += this.#layout.entryItem) {
      const target = this.#layout.entryItem === 4 ? this.#view.getUint32(item, true) : readU64(this.#view, item);
      // Only what lies elsewhere is waited for: most of an entry's fields were appended with it.
      const known = this.#known.get(target) ?? this.#inWindow(target, start, length) ?? (await this.#elsewhere(target));
      high ^= known.hi;
      low ^= known.lo;
      hashed &&= known.hashed;
      items.push(known);
      if (known.says === "message") {
        if (message < 0) message = target;
      } else if (known.says !== null) this.#fields.add(known.says);
    }
    const isOurs = this.#fields.ofWorkload || this.#fields.aboutUnit;
    if (!isOurs && items.includes(UNREADABLE)) return "damaged";
    if (!hashed || (high | low) === 0) return message;
    // Writers from systemd 252 on drop a field that an entry has twice from its items, but not from its checksum.
    return items.some(({ hi, lo }) => hi === high && lo === low) ? message : "damaged";
  }

  /** A field that is whole in the window and plain; undefined when it is not. */
  #inWindow(target: number, start: number, length: number): Known | undefined {
    const at = target - start;
    if (at < 0 || at + FIELD_READ > length || this.#view.getUint8(at) !== OBJECT.data) return undefined;
    const size = readU64(this.#view, at + 8);
    if (size <= this.#layout.dataPayload || at + size + PADDING > length) return undefined;
    if ((this.#view.getUint8(at + 1) & COMPRESSED_MASK) !== 0) return undefined;
    const known = this.#meaningOf(
      this.#view,
      this.#window,
      at + this.#layout.dataPayload,
      size - this.#layout.dataPayload,
    );
    // What is of one entry alone need not be remembered.
    if (readU64(this.#view, at + DATA_ENTRIES_AT) > 1) this.#remember(target, known);
    return known;
  }

  async #elsewhere(target: number): Promise<Known> {
    if (target > this.#end()) return UNREADABLE;
    const head = Buffer.alloc(this.#layout.dataPayload);
    const { bytesRead } = await this.file.handle.read(head, 0, head.length, target);
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    const size = readU64(view, 8) - head.length;
    const sound = bytesRead === head.length && view.getUint8(0) === OBJECT.data && size > 0;
    const known = sound ? await this.#payload(target, view.getUint8(1) & COMPRESSED_MASK, size) : UNREADABLE;
    this.#remember(target, known);
    return known;
  }

  async #payload(target: number, flags: number, size: number): Promise<Known> {
    // Only messages are so long: what it says is looked at when it is wanted.
    if (size > PACKED_LIMIT) return { ...UNREADABLE, says: "message" };
    const stored = Buffer.from(new ArrayBuffer(size + PADDING));
    await this.file.handle.read(stored, 0, size, target + this.#layout.dataPayload);
    const payload = flags === 0 ? stored : decompress(flags, stored.subarray(0, size), this.file.xz);
    if (payload === null) return UNREADABLE;
    const bytes = flags === 0 ? payload : padded(payload);
    const length = flags === 0 ? size : payload.length;
    return this.#meaningOf(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), bytes, 0, length);
  }

  #meaningOf(view: DataView, bytes: Buffer, start: number, length: number): Known {
    jenkinsHash(view, start, length, this.#hash);
    const { hi, lo } = this.#hash;
    const known = length >= 4 && mayBeKnownField(view.getUint32(start, true));
    const text = known ? bytes.toString("latin1", start, start + Math.min(length, FIELD_LIMIT)) : "";
    const says = !known ? null : text.startsWith(MESSAGE) ? ("message" as const) : this.#match.field(text);
    return { says, hi, lo, hashed: true };
  }

  /** Nothing of the file lies behind this: an offset that does is damaged. */
  #end(): number {
    return Math.min(Number.MAX_SAFE_INTEGER, this.#header.tailObject + WINDOW_BYTES);
  }

  #remember(target: number, known: Known): void {
    if (this.#known.size >= KNOWN_LIMIT) this.#known.clear();
    this.#known.set(target, known);
  }

  async #message(offset: number, start: number, length: number): ReturnType<MessageLoader["load"]> {
    const at = offset - start;
    const found = this.#loader.fromWindow(this.#window, this.#view, at, length, offset, false);
    return found === undefined ? await this.#loader.load(offset, false) : found;
  }

  #position(view: DataView, bytes: Buffer, at: number): EntryPosition {
    return {
      seqnumId: this.file.header.seqnumId,
      seqnum: readU64(view, at + ENTRY.seqnum),
      bootId: bytes.toString("hex", at + ENTRY.bootId, at + ENTRY.bootId + 16),
      monotonic: readU64(view, at + ENTRY.monotonic),
      realtime: readU64(view, at + ENTRY.realtime),
      xorHash: hashText(view.getUint32(at + ENTRY.xorHash + 4, true), view.getUint32(at + ENTRY.xorHash, true)),
    };
  }
}

/** With room past its end. */
function padded(payload: Buffer): Buffer {
  const bytes = Buffer.from(new ArrayBuffer(payload.length + PADDING));
  payload.copy(bytes);
  return bytes;
}
