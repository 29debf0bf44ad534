import { compareToCursor, type EntryPosition } from "./cursor.ts";
import { DataIndex, KIND } from "./data-index.ts";
import { decompress } from "./decompress.ts";
import { hashText, JournalEntry } from "./entry.ts";
import { type Hash64, jenkinsHash } from "./hash.ts";
import { readU64 } from "./header.ts";
import type { JournalFile } from "./journal-file.ts";
import { EntryFields, FIELD_LIMIT, type FieldSays, mayBeKnownField, type UnitMatch } from "./match.ts";
import { MessageLoader } from "./message-loader.ts";
import {
  align8,
  ENTRY,
  isObject,
  type Layout,
  layoutOf,
  looksLikeObject,
  OBJECT,
  OBJECT_HEADER_BYTES,
} from "./objects.ts";
import { ScanReport } from "./scan-report.ts";

const WINDOW_BYTES = 1 << 20;
/** Hashing looks at whole words: room past the end of a payload. */
const PADDING = 16;
/** Distinct fields of one file that are kept; a file of journald's own size has a tenth of that. */
const RELEVANT_LIMIT = 1 << 19;

/** "MESSAGE=" as two little-endian words. */
const MESSAGE_WORDS = [Buffer.from("MESS").readUInt32LE(0), Buffer.from("AGE=").readUInt32LE(0)] as const;

export interface ScanOptions {
  readonly match: UnitMatch;
  /** Epoch microseconds, inclusive; infinite when open. */
  readonly since: number;
  readonly until: number;
  /** Entries up to this one are passed over. */
  readonly cursor: EntryPosition | null;
}

interface Pending {
  readonly entry: JournalEntry;
  readonly offset: number;
  readonly verify: boolean;
}

/**
 * Reads one journal file from front to back.
 *
 * INVARIANTS
 * - Objects are taken one after another, as they were appended; no chain of offsets is followed, so that no damage
 *   can make a circle, and lost objects show in the counts of the header.
 * - Every entry is checked against its own checksum. What the damage may have cost is in `report`.
 * - Memory is one window, a bounded cache of messages, and a seventh of the file for the index of its DATA.
 */
export class FileScanner {
  readonly file: JournalFile;
  readonly report: ScanReport;
  readonly #options: ScanOptions;
  readonly #layout: Layout;
  readonly #index = new DataIndex();
  readonly #relevant = new Map<number, FieldSays>();
  readonly #fields = new EntryFields();
  readonly #hash: Hash64 = { hi: 0, lo: 0 };
  readonly #loader: MessageLoader;
  readonly #buffer = Buffer.from(new ArrayBuffer(WINDOW_BYTES + PADDING));
  readonly #view: DataView;
  /** The window: its offset in the file, its length, and where the next object to look at is. */
  #start = 0;
  #length = 0;
  #next: number;
  #done = false;
  #pending: Pending[] = [];
  #bootWords: readonly [number, number, number, number] = [0, 0, 0, 0];
  #bootId = "0".repeat(32);

  constructor(file: JournalFile, options: ScanOptions) {
    this.file = file;
    this.#options = options;
    this.#layout = layoutOf(file.header.compact);
    this.#view = new DataView(this.#buffer.buffer);
    this.#next = file.header.headerSize;
    this.report = new ScanReport(file);
    this.#loader = new MessageLoader(file, this.#layout);
  }

  /** The next entries that match, in file order, at least one; null at the end. */
  async next(): Promise<readonly JournalEntry[] | null> {
    while (!this.#done) {
      if (this.#next > this.file.header.tailObject || !(await this.#fill())) break;
      const found = this.#walk();
      const settled = this.#pending.length === 0 ? found : await this.#settle(found);
      if (settled.length > 0) return settled;
    }
    if (!this.#done) this.report.ended(this.#next);
    this.#done = true;
    return null;
  }

  /** Reads the window that starts at the next object. False when there is not one more object header in the file. */
  async #fill(): Promise<boolean> {
    const wanted = Math.min(WINDOW_BYTES, this.report.size - this.#next);
    let length = 0;
    while (length < wanted) {
      const { bytesRead } = await this.file.handle.read(this.#buffer, length, wanted - length, this.#next + length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length < wanted) this.report.shrank(this.#next + length);
    this.report.bytes += length;
    this.#start = this.#next;
    this.#length = length;
    return length >= OBJECT_HEADER_BYTES;
  }

  /** Takes the objects of the window; leaves `#next` at the first that is not wholly in it. */
  #walk(): JournalEntry[] {
    const found: JournalEntry[] = [];
    const { tailObject } = this.file.header;
    const view = this.#view;
    let at = 0;
    while (!this.#done && this.#start + at <= tailObject && at + OBJECT_HEADER_BYTES <= this.#length) {
      const offset = this.#start + at;
      if (this.report.lost) {
        const sound = this.#soundAgain(at);
        if (sound === null) break;
        if (!sound) {
          at += 8;
          continue;
        }
        this.report.found(offset);
      } else if (!isObject(view, at, this.report.size - offset, this.#layout)) {
        this.report.lose(offset);
        at += 8;
        continue;
      }
      const type = view.getUint8(at);
      const size = readU64(view, at + 8);
      if (type === OBJECT.data || type === OBJECT.entry) {
        if (at + size > this.#length) {
          // The next window starts at this object; one larger than a window is not looked into.
          if (at > 0) break;
          this.#oversize(type, offset);
        } else if (type === OBJECT.data) this.#data(at, size, offset);
        else this.#entry(at, size, offset, found);
      }
      this.report.object(offset);
      at += align8(size);
    }
    this.#next = this.#start + at;
    return found;
  }

  /**
   * After damage: whether an object starts here and is followed by another. Null when that cannot be told before the
   * next window.
   */
  #soundAgain(at: number): boolean | null {
    const offset = this.#start + at;
    if (!looksLikeObject(this.#view, at, this.report.size - offset, this.#layout)) return false;
    const after = at + align8(readU64(this.#view, at + 8));
    if (this.#start + after > this.file.header.tailObject) return offset === this.file.header.tailObject;
    if (after + OBJECT_HEADER_BYTES <= this.#length) {
      return looksLikeObject(this.#view, after, this.report.size - this.#start - after, this.#layout);
    }
    return at === 0 ? true : null;
  }

  #oversize(type: number, offset: number): void {
    if (type === OBJECT.entry) {
      this.report.entries += 1;
      this.report.doubt(offset);
      return;
    }
    const compressed = this.#view.getUint8(1) !== 0;
    const kind = compressed
      ? KIND.huge
      : this.#classify(this.#view, this.#buffer, this.#layout.dataPayload, FIELD_LIMIT, offset);
    this.#index.add(offset, kind, 0, 0, false);
  }

  #data(at: number, size: number, offset: number): void {
    const start = at + this.#layout.dataPayload;
    const length = size - this.#layout.dataPayload;
    const flags = this.#view.getUint8(at + 1);
    if (flags === 0) {
      this.#addPayload(this.#view, this.#buffer, start, length, offset);
      return;
    }
    const payload = decompress(flags, this.#buffer.subarray(start, start + length), this.file.xz);
    if (payload === null) {
      this.#index.add(offset, KIND.unreadable, 0, 0, false);
      return;
    }
    const padded = Buffer.from(new ArrayBuffer(payload.length + PADDING));
    payload.copy(padded);
    this.#addPayload(new DataView(padded.buffer), padded, 0, payload.length, offset);
  }

  #addPayload(view: DataView, bytes: Buffer, start: number, length: number, offset: number): void {
    const kind = this.#classify(view, bytes, start, length, offset);
    jenkinsHash(view, start, length, this.#hash);
    this.#index.add(offset, kind, this.#hash.hi, this.#hash.lo, true);
  }

  #classify(view: DataView, bytes: Buffer, start: number, length: number, offset: number): number {
    const first = view.getUint32(start, true);
    if (first === MESSAGE_WORDS[0] && view.getUint32(start + 4, true) === MESSAGE_WORDS[1]) return KIND.message;
    if (!mayBeKnownField(first)) return KIND.other;
    const field = this.#options.match.field(bytes.toString("latin1", start, start + Math.min(length, FIELD_LIMIT)));
    if (field === null) return KIND.other;
    if (this.#relevant.size >= RELEVANT_LIMIT) return KIND.unreadable;
    this.#relevant.set(offset, field);
    return KIND.relevant;
  }

  #entry(at: number, size: number, offset: number, found: JournalEntry[]): void {
    const { header } = this.file;
    const { report } = this;
    if (header.online && report.entries >= header.entries) {
      // Being appended while the header was read: not the reader's any more.
      this.#done = true;
      return;
    }
    report.entries += 1;
    const view = this.#view;
    const fields = this.#fields;
    fields.clear();
    let message = -1;
    let high = view.getInt32(at + ENTRY.xorHash + 4, true);
    let low = view.getInt32(at + ENTRY.xorHash, true);
    let hashed = true;
    let missing = false;
    let packed = false;
    let huge = -1;
    for (let item = at + ENTRY.items; item < at + size; item += this.#layout.entryItem) {
      const target = header.compact ? view.getUint32(item, true) : readU64(view, item);
      const kind = this.#index.find(target);
      if (kind === KIND.none || kind === KIND.unreadable) {
        if (kind === KIND.none) missing = true;
        else packed = true;
        continue;
      }
      high ^= this.#index.hi;
      low ^= this.#index.lo;
      hashed &&= this.#index.hashed;
      if (kind === KIND.message) {
        if (message < 0) message = target;
      } else if (kind === KIND.relevant) {
        const field = this.#relevant.get(target);
        if (field !== undefined) fields.add(field);
      } else if (kind === KIND.huge) huge = target;
    }
    if (packed) report.packed(offset);
    const doubted = missing || (hashed && !packed && (high | low) !== 0 && !this.#isDuplicate(at, size, high, low));
    if (doubted) report.doubt(offset);
    const seqnum = readU64(view, at + ENTRY.seqnum);
    report.seqnum(seqnum, offset);
    if (fields.machineId !== null) report.machineIds.add(fields.machineId);
    if (!this.#wanted(at, seqnum, fields)) return;
    // A field too long to look into while passing may be the message; the loader tells.
    if (message < 0) message = huge;
    if (message < 0 && (doubted || packed)) return;
    const entry = this.#make(at, seqnum, fields);
    if (message >= 0 && !this.#attach(entry, message, doubted || packed)) return;
    found.push(entry);
  }

  /** Whether an entry is the unit's, in the window and after the cursor. Counts what journald suppressed. */
  #wanted(at: number, seqnum: number, fields: EntryFields): boolean {
    const { cursor, since, until } = this.#options;
    if (cursor !== null) {
      const order = compareToCursor({ ...this.#position(at, seqnum), xorHash: this.#xorHash(at) }, cursor);
      if (order === 0) this.report.cursorSeen = true;
      if (order <= 0) return false;
    }
    if (!fields.ofWorkload && !fields.aboutUnit) return false;
    const realtime = readU64(this.#view, at + ENTRY.realtime);
    if (realtime < since || realtime > until) return false;
    this.report.suppressed += fields.suppressed;
    return true;
  }

  /**
   * Writers from systemd 252 on drop a field that an entry has twice from its items, but not from its checksum: the
   * difference is then the hash of one of the items.
   */
  #isDuplicate(at: number, size: number, high: number, low: number): boolean {
    for (let item = at + ENTRY.items; item < at + size; item += this.#layout.entryItem) {
      const target = this.file.header.compact ? this.#view.getUint32(item, true) : readU64(this.#view, item);
      if (this.#index.find(target) !== KIND.none && this.#index.hi === high && this.#index.lo === low) return true;
    }
    return false;
  }

  #make(at: number, seqnum: number, fields: EntryFields): JournalEntry {
    const high = this.#view.getUint32(at + ENTRY.xorHash + 4, true);
    return new JournalEntry(this.#position(at, seqnum), high, this.#view.getUint32(at + ENTRY.xorHash, true), fields);
  }

  #position(at: number, seqnum: number): Omit<EntryPosition, "xorHash"> {
    return {
      seqnumId: this.file.header.seqnumId,
      seqnum,
      bootId: this.#bootIdAt(at + ENTRY.bootId),
      monotonic: readU64(this.#view, at + ENTRY.monotonic),
      realtime: readU64(this.#view, at + ENTRY.realtime),
    };
  }

  #xorHash(at: number): string {
    return hashText(this.#view.getUint32(at + ENTRY.xorHash + 4, true), this.#view.getUint32(at + ENTRY.xorHash, true));
  }

  #bootIdAt(at: number): string {
    const view = this.#view;
    const [a, b, c, d] = this.#bootWords;
    const same =
      view.getUint32(at, true) === a &&
      view.getUint32(at + 4, true) === b &&
      view.getUint32(at + 8, true) === c &&
      view.getUint32(at + 12, true) === d;
    if (!same) {
      this.#bootWords = [
        view.getUint32(at, true),
        view.getUint32(at + 4, true),
        view.getUint32(at + 8, true),
        view.getUint32(at + 12, true),
      ];
      this.#bootId = this.#buffer.toString("hex", at, at + 16);
    }
    return this.#bootId;
  }

  /** Gives an entry its message, now or (from outside the window) before it is handed on. False: it cannot be had. */
  #attach(entry: JournalEntry, offset: number, verify: boolean): boolean {
    const at = offset - this.#start;
    const message = this.#loader.fromWindow(this.#buffer, this.#view, at, this.#length, offset, verify);
    if (message === undefined) {
      this.#pending.push({ entry, offset, verify });
      return true;
    }
    if (message === null) {
      this.report.undecoded(offset);
      return false;
    }
    this.#give(entry, message.bytes, message.truncated);
    return true;
  }

  async #settle(found: readonly JournalEntry[]): Promise<readonly JournalEntry[]> {
    const lost = new Set<JournalEntry>();
    for (const { entry, offset, verify } of this.#pending) {
      const message = await this.#loader.load(offset, verify);
      if (message === null) {
        this.report.undecoded(offset);
        lost.add(entry);
      } else this.#give(entry, message.bytes, message.truncated);
    }
    this.#pending = [];
    return lost.size === 0 ? found : found.filter((entry) => !lost.has(entry));
  }

  #give(entry: JournalEntry, bytes: Buffer, truncated: boolean): void {
    entry.message = bytes;
    entry.truncated = truncated;
    if (truncated) this.report.cut += 1;
  }
}
