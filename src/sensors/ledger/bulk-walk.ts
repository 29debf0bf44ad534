import { readSync } from "node:fs";
import type { EventMatch } from "../../protocol/grammar.ts";
import { decompress } from "../journal/decompress.ts";
import { type Hash64, jenkinsHash } from "../journal/hash.ts";
import { type JournalHeader, readU64 } from "../journal/header.ts";
import { FIELD_LIMIT, mayBeKnownField, type UnitMatch } from "../journal/match.ts";
import { align8, DATA_ENTRIES_AT, DATA_HASH_AT, ENTRY, isObject, type Layout, OBJECT } from "../journal/objects.ts";
import type { XzDecoder } from "../journal/xz.ts";
import { MESSAGE_LIMIT } from "../log-limits.ts";
import { isSipHash } from "./bulk-hash.ts";
import { Doubt, OffsetSet } from "./bulk-offsets.ts";
import { countedEvents, hasCountedWord, NEEDLES } from "./bulk-text.ts";

const WINDOW_BYTES = 1 << 20;
/** Hashing looks at whole words: room past the end of a payload. */
const PADDING = 16;
/** Messages of one file that may hold a counted line; a file of journald's own size has a few thousand at most. */
const CANDIDATE_LIMIT = 200_000;
/** Windows between two pauses, in which timers and signals of the process have their turn. */
const WINDOWS_A_TURN = 16;
const NAME_BYTES = 8;

const wordOf = (text: string): number => Buffer.from(text, "latin1").readUInt32LE(0);
const MESS = wordOf("MESS");
const AGE = wordOf("AGE=");
const TEMD = wordOf("TEMD");
const UNIT_WORD = wordOf("_UNI");

/** An open journal file as a thread needs it. The descriptor is the process's, whichever thread reads from it. */
export interface BulkFile {
  readonly fd: number;
  readonly size: number;
  readonly header: JournalHeader;
}

/** A DATA object and the entries that refer to it, by what it says of them. */
export interface DataObject {
  readonly offset: number;
  readonly entries: number;
  readonly firstEntry: number;
  readonly array: number;
}

/** A message that holds counted lines, or was cut. */
export interface Candidate extends DataObject {
  readonly events: readonly EventMatch[];
  readonly cut: boolean;
}

export interface Window {
  /** Epoch microseconds, inclusive; infinite when open. */
  readonly since: number;
  readonly until: number;
}

/**
 * One pass over the objects of a journal file, in the order they were appended. It looks at the headers of all objects,
 * at the texts of messages as far as `bulk-text.ts` says, and at the hash of everything that it keeps.
 *
 * INVARIANTS
 * - Whatever is not as a sound file has it throws a Doubt: objects that do not follow one another to the tail that the
 *   header names, other counts than the header's, a kept payload that does not match its hash, messages that all
 *   together are referred to by another number of entries than there are.
 * - Only what the header counted when the file was opened is looked at.
 */
export class BulkWalk {
  readonly entries: OffsetSet;
  /** The entries of the window; the same set as `entries` without a window. */
  readonly inWindow: OffsetSet;
  lastEntry = 0;
  counted = 0;
  minRealtime = Infinity;
  maxRealtime = -Infinity;
  /** `_SYSTEMD_UNIT=unit`. */
  readonly units: DataObject[] = [];
  /** Fields that entries of others about the unit have, and the MESSAGE_IDs of the records that count. */
  readonly about: DataObject[] = [];
  readonly records: DataObject[] = [];
  readonly candidates: Candidate[] = [];
  readonly #file: BulkFile;
  readonly #layout: Layout;
  readonly #match: UnitMatch;
  readonly #window: Window;
  readonly #xz: XzDecoder | null;
  readonly #key: DataView;
  readonly #hash: Hash64 = { hi: 0, lo: 0 };
  readonly #buffer = Buffer.from(new ArrayBuffer(WINDOW_BYTES + PADDING));
  readonly #view = new DataView(this.#buffer.buffer);
  readonly #words = new Uint32Array(this.#buffer.buffer);
  #position: number;
  #length = 0;
  #lastObject = 0;
  #objects = 0;
  #tables = 0;
  #seqnum = -1;
  #references = 0;
  #beyond = false;

  constructor(file: BulkFile, layout: Layout, match: UnitMatch, window: Window, xz: XzDecoder | null) {
    this.#file = file;
    this.#layout = layout;
    this.#match = match;
    this.#window = window;
    this.#xz = xz;
    const { fileId, tailObject, headerSize } = file.header;
    this.#key = new DataView(Uint8Array.from(fileId).buffer);
    this.#position = headerSize;
    this.entries = new OffsetSet(tailObject);
    const open = window.since === -Infinity && window.until === Infinity;
    this.inWindow = open ? this.entries : new OffsetSet(tailObject);
  }

  async run(): Promise<void> {
    const { header } = this.#file;
    for (let turn = 1; !this.#beyond && this.#position <= header.tailObject; turn += 1) {
      this.#fill();
      this.#objectsOfWindow();
      if (turn % WINDOWS_A_TURN === 0) await new Promise((next) => setImmediate(next));
    }
    if (this.counted !== header.entries) throw new Doubt("another number of entries than its header counts");
    if (this.#beyond) return;
    if (this.#objects !== header.objects || this.#lastObject !== header.tailObject || this.#tables !== 2) {
      throw new Doubt("other objects than its header counts");
    }
    const { online } = header;
    if (online ? this.#references < this.counted : this.#references !== this.counted) {
      throw new Doubt("its messages are referred to by another number of entries than there are");
    }
  }

  #fill(): void {
    const wanted = Math.min(WINDOW_BYTES, this.#file.size - this.#position);
    let length = 0;
    while (length < wanted) {
      const read = readSync(this.#file.fd, this.#buffer, length, wanted - length, this.#position + length);
      if (read === 0) throw new Doubt("shorter than its header says");
      length += read;
    }
    if (length < 16) throw new Doubt("shorter than its header says");
    this.#length = length;
  }

  /** Takes the objects that are wholly in the window; the next window starts at the first that is not. */
  #objectsOfWindow(): void {
    const view = this.#view;
    const words = this.#words;
    const layout = this.#layout;
    const { tailObject } = this.#file.header;
    const hits = hitsOf(this.#buffer.subarray(0, this.#length));
    let hit = 0;
    let at = 0;
    while (!this.#beyond && at + 16 <= this.#length && this.#position + at <= tailObject) {
      // Four words of an object's header: type, flags and six reserved bytes, and the size.
      const word = at >>> 2;
      const head = words[word] ?? 0;
      const size = words[word + 2] ?? 0;
      const room = this.#file.size - this.#position - at;
      const reserved = (head >>> 16) | (words[word + 1] ?? 0) | (words[word + 3] ?? 0);
      if (reserved !== 0 || size < 16 || size > room) this.#broken(at);
      const type = head & 0xff;
      const flags = head >>> 8;
      const whole = at + size <= this.#length;
      if (type === OBJECT.entry) {
        if (!whole && at > 0) break;
        const items = size - ENTRY.items;
        if (!whole || flags !== 0 || items < 0 || items % layout.entryItem !== 0) this.#broken(at);
        this.#entry(at);
        if (this.#beyond) break;
      } else if (type === OBJECT.data) {
        if (!whole && at > 0) break;
        if (!whole || size <= layout.dataPayload) this.#broken(at);
        while (hit < hits.length && (hits[hit] ?? 0) < at) hit += 1;
        this.#data(at, size, flags, (hits[hit] ?? Infinity) < at + size);
      } else {
        if (!isObject(view, at, room, layout)) this.#broken(at);
        if (type === OBJECT.dataHashTable || type === OBJECT.fieldHashTable) this.#tables += 1;
      }
      this.#lastObject = this.#position + at;
      this.#objects += 1;
      at += align8(size);
    }
    this.#position += at;
  }

  #broken(at: number): never {
    throw new Doubt(`no sound object at byte ${this.#position + at}`);
  }

  #entry(at: number): void {
    const view = this.#view;
    const { header } = this.#file;
    if (this.counted >= header.entries) {
      if (!header.online) throw new Doubt("more entries than its header counts");
      // Being appended while the header was read.
      this.#beyond = true;
      return;
    }
    const offset = this.#position + at;
    const seqnum = readU64(view, at + ENTRY.seqnum);
    if (seqnum <= this.#seqnum) throw new Doubt(`entries are out of order at byte ${offset}`);
    this.#seqnum = seqnum;
    this.counted += 1;
    this.lastEntry = offset;
    this.entries.add(offset);
    const realtime = readU64(view, at + ENTRY.realtime);
    if (realtime < this.minRealtime) this.minRealtime = realtime;
    if (realtime > this.maxRealtime) this.maxRealtime = realtime;
    const inWindow = realtime >= this.#window.since && realtime <= this.#window.until;
    if (inWindow && this.inWindow !== this.entries) this.inWindow.add(offset);
  }

  #data(at: number, size: number, flags: number, hit: boolean): void {
    const view = this.#view;
    const start = at + this.#layout.dataPayload;
    const length = size - this.#layout.dataPayload;
    if (!hit && flags === 0 && length <= NAME_BYTES + MESSAGE_LIMIT) {
      // Most are messages of other lines. Zeroed text is looked into: where it was written so, its hash says it.
      const words = this.#words;
      const word = start >>> 2;
      if (words[word] === MESS && words[word + 1] === AGE) {
        let zeros = 0;
        for (let next = word + 2, end = (start + length) >>> 2; next < end; next += 1)
          if (words[next] === 0) zeros += 1;
        if (zeros === 0 && !hasCountedWord(view, start, length)) {
          this.#references +=
            (words[(at + DATA_ENTRIES_AT) >>> 2] ?? 0) + (words[(at + DATA_ENTRIES_AT + 4) >>> 2] ?? 0) * 2 ** 32;
          return;
        }
      }
    }
    if (flags !== 0) {
      const payload = decompress(flags, this.#buffer.subarray(start, start + length), this.#xz);
      if (payload === null) throw new Doubt(`data that cannot be decompressed at byte ${this.#position + at}`);
      const padded = Buffer.from(new ArrayBuffer(payload.length + PADDING));
      payload.copy(padded);
      // Whether it holds a counted line is for the grammar to say.
      this.#payload(at, new DataView(padded.buffer), padded, 0, payload.length, true);
    } else this.#payload(at, view, this.#buffer, start, length, hit);
  }

  #payload(at: number, view: DataView, bytes: Buffer, start: number, length: number, hit: boolean): void {
    const first = view.getUint32(start, true);
    const second = view.getUint32(start + 4, true);
    if (first === MESS && second === AGE) {
      this.#references += readU64(this.#view, at + DATA_ENTRIES_AT);
      this.#verify(at, view, start, length);
      this.#message(at, bytes, start, length);
      return;
    }
    const initial = first & 0xff;
    if (!((initial >= 0x41 && initial <= 0x5a) || initial === 0x5f)) this.#broken(at);
    // A hit that is no MESSAGE may have been one.
    if (hit || second === TEMD || view.getUint32(start + 8, true) === UNIT_WORD) this.#verify(at, view, start, length);
    if (mayBeKnownField(first)) this.#field(at, view, bytes, start, length);
  }

  #field(at: number, view: DataView, bytes: Buffer, start: number, length: number): void {
    if (length > FIELD_LIMIT) return;
    const text = bytes.toString("latin1", start, start + length);
    if (text.startsWith("_PID=") || text.startsWith("_UID=")) return;
    this.#verify(at, view, start, length);
    const known = this.#match.field(text);
    if (known === null || known.name !== null) return;
    const data = this.#dataObject(at);
    if (text.startsWith("_SYSTEMD_UNIT=")) this.units.push(data);
    else if (text.startsWith("MESSAGE_ID=")) this.records.push(data);
    else this.about.push(data);
  }

  #message(at: number, bytes: Buffer, start: number, length: number): void {
    const from = start + NAME_BYTES;
    const end = Math.min(start + length, from + MESSAGE_LIMIT);
    const cut = end < start + length;
    const events = countedEvents(bytes.subarray(from, end));
    if (events === null && !cut) return;
    if (this.candidates.length >= CANDIDATE_LIMIT) throw new Doubt("too many different messages that speak of calls");
    this.candidates.push({ ...this.#dataObject(at), events: events ?? [], cut });
  }

  #dataObject(at: number): DataObject {
    const view = this.#view;
    return {
      offset: this.#position + at,
      entries: readU64(view, at + DATA_ENTRIES_AT),
      firstEntry: readU64(view, at + DATA_ENTRIES_AT - 16),
      array: readU64(view, at + DATA_ENTRIES_AT - 8),
    };
  }

  /** Compares a payload with the hash that its object carries. */
  #verify(at: number, view: DataView, start: number, length: number): void {
    const low = this.#view.getUint32(at + DATA_HASH_AT, true);
    const high = this.#view.getUint32(at + DATA_HASH_AT + 4, true);
    if (this.#file.header.keyedHash) {
      if (isSipHash(this.#key, view, start, length, low, high)) return;
    } else {
      jenkinsHash(view, start, length, this.#hash);
      if (this.#hash.hi >>> 0 === high && this.#hash.lo >>> 0 === low) return;
    }
    throw new Doubt(`data that does not match its hash at byte ${this.#position + at}`);
  }
}

/** Offsets of all needles in the window, in order. */
function hitsOf(window: Buffer): readonly number[] {
  const hits: number[] = [];
  for (const needle of NEEDLES) {
    for (let at = window.indexOf(needle); at >= 0; at = window.indexOf(needle, at + 1)) hits.push(at);
  }
  return hits.sort((one, other) => one - other);
}
