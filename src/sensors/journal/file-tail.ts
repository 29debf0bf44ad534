import { compareToCursor, type EntryPosition } from "./cursor.ts";
import { decompress } from "./decompress.ts";
import { hashText, JournalEntry } from "./entry.ts";
import { EntryIndex } from "./entry-index.ts";
import { type Hash64, jenkinsHash } from "./hash.ts";
import { HEADER_MIN_BYTES, type JournalHeader, parseHeader, readU64 } from "./header.ts";
import type { JournalFile } from "./journal-file.ts";
import { type Known, PADDING, padded, saysOf, TO_BE_READ, UNREADABLE } from "./known-field.ts";
import { EntryFields, type UnitMatch } from "./match.ts";
import { MessageLoader } from "./message-loader.ts";
import { COMPRESSED_MASK, DATA_ENTRIES_AT, ENTRY, type Layout, layoutOf, OBJECT } from "./objects.ts";

const WINDOW_BYTES = 256 << 10;
/** An entry has some twenty fields; ten times that fit. */
const ENTRY_READ = 4096;
/** The least of an object that has to be in the window for a look at it. */
const FIELD_READ = 80;
/** Compressed fields up to this are looked into. */
const PACKED_LIMIT = 1 << 20;
const BATCH = 512;
/** Fields that are remembered; a journal file has a few thousand that come again. */
const KNOWN_LIMIT = 1 << 14;
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
  /** The fields of the entry that is looked at, and where they are: so many. Kept, as each entry has some. */
  readonly #items: Known[] = [];
  #targets = new Float64Array(32);
  #count = 0;
  #lastBoot = { words: [0, 0, 0, 0], text: "" };
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
      // Most of an entry's fields were appended with it: a promise for each entry would cost more than the entry.
      if (!this.#gather(at, size, start, length)) await this.#readElsewhere();
      const message = this.#look(at);
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
      const near = message < 0 ? null : this.#messageInWindow(message, start, length);
      const loaded = near === undefined ? await this.#loader.load(message, false) : near;
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

  /** Finds the fields of the entry at `at` of the window. False: some lie elsewhere, and have to be waited for. */
  #gather(at: number, size: number, start: number, length: number): boolean {
    const width = this.#layout.entryItem;
    this.#count = Math.floor((size - ENTRY.items) / width);
    if (this.#count > this.#targets.length) this.#targets = new Float64Array(2 * this.#count);
    let whole = true;
    for (let index = 0; index < this.#count; index += 1) {
      const item = at + ENTRY.items + index * width;
      const target = width === 4 ? this.#view.getUint32(item, true) : readU64(this.#view, item);
      const known = this.#known.get(target) ?? this.#inWindow(target, start, length) ?? TO_BE_READ;
      whole &&= known !== TO_BE_READ;
      this.#items[index] = known;
      this.#targets[index] = target;
    }
    return whole;
  }

  async #readElsewhere(): Promise<void> {
    for (let index = 0; index < this.#count; index += 1) {
      const target = this.#targets[index] ?? 0;
      if (this.#items[index] !== TO_BE_READ) continue;
      this.#items[index] = this.#known.get(target) ?? (await this.#elsewhere(target));
    }
  }

  /**
   * Fills `#fields` with what was gathered of the entry at `at`; the offset of its message, -1 when it has none, or
   * "damaged" when its fields do not come to its checksum.
   */
  #look(at: number): number | "damaged" {
    this.#fields.clear();
    let message = -1;
    let high = this.#view.getInt32(at + ENTRY.xorHash + 4, true);
    let low = this.#view.getInt32(at + ENTRY.xorHash, true);
    let hashed = true;
    for (let index = 0; index < this.#count; index += 1) {
      const known = this.#items[index] ?? UNREADABLE;
      high ^= known.hi;
      low ^= known.lo;
      hashed &&= known.hashed;
      if (known.says === "message") {
        if (message < 0) message = this.#targets[index] ?? -1;
      } else if (known.says !== null) this.#fields.add(known.says);
    }
    const isOurs = this.#fields.ofWorkload || this.#fields.aboutUnit;
    if (!isOurs && !hashed && this.#has((known) => known === UNREADABLE)) return "damaged";
    if (!hashed || (high | low) === 0) return message;
    // Writers from systemd 252 on drop a field that an entry has twice from its items, but not from its checksum.
    return this.#has(({ hi, lo }) => hi === high && lo === low) ? message : "damaged";
  }

  /** Whether a field of the entry is such. */
  #has(test: (known: Known) => boolean): boolean {
    return this.#items.slice(0, this.#count).some(test);
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
    return { says: saysOf(this.#match, view, bytes, start, length), hi, lo, hashed: true };
  }

  /** Nothing of the file lies behind this: an offset that does is damaged. */
  #end(): number {
    return Math.min(Number.MAX_SAFE_INTEGER, this.#header.tailObject + WINDOW_BYTES);
  }

  #remember(target: number, known: Known): void {
    if (this.#known.size >= KNOWN_LIMIT) this.#known.clear();
    this.#known.set(target, known);
  }

  #messageInWindow(offset: number, start: number, length: number): ReturnType<MessageLoader["fromWindow"]> {
    return this.#loader.fromWindow(this.#window, this.#view, offset - start, length, offset, false);
  }

  #position(view: DataView, bytes: Buffer, at: number): EntryPosition {
    return {
      seqnumId: this.file.header.seqnumId,
      seqnum: readU64(view, at + ENTRY.seqnum),
      bootId: this.#bootId(view, bytes, at + ENTRY.bootId),
      monotonic: readU64(view, at + ENTRY.monotonic),
      realtime: readU64(view, at + ENTRY.realtime),
      xorHash: hashText(view.getUint32(at + ENTRY.xorHash + 4, true), view.getUint32(at + ENTRY.xorHash, true)),
    };
  }

  /** Entries in a row are of one boot. */
  #bootId(view: DataView, bytes: Buffer, at: number): string {
    const { words, text } = this.#lastBoot;
    if (text !== "" && words.every((word, index) => word === view.getUint32(at + 4 * index, true))) return text;
    const boot = bytes.toString("hex", at, at + 16);
    this.#lastBoot = { words: [0, 4, 8, 12].map((offset) => view.getUint32(at + offset, true)), text: boot };
    return boot;
  }
}
