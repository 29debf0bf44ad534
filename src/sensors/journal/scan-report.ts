import { counted, MESSAGE_LIMIT } from "../log-limits.ts";
import { INCOMPATIBLE } from "./header.ts";
import type { JournalFile } from "./journal-file.ts";

/** Damaged stretches of one file that are named one by one. */
const DAMAGE_NAMED = 3;

interface Damage {
  readonly from: number;
  /** Offset of the next sound object; null when there was none. */
  readonly to: number | null;
}

/** What reading one journal file came to, and what is missing from it. */
export class ScanReport {
  /** Entries looked at. */
  entries = 0;
  bytes = 0;
  suppressed = 0;
  /** Messages that were cut. */
  cut = 0;
  cursorSeen = false;
  readonly machineIds = new Set<string>();
  /** Bytes that the file has; less than it had when it was opened if it became shorter. */
  size: number;
  readonly #file: JournalFile;
  readonly #damage: Damage[] = [];
  #damages = 0;
  #lostAt: number | null = null;
  #objects = 0;
  #lastObject = 0;
  #shrank = false;
  #doubted = 0;
  #doubtedAt = 0;
  #packed = 0;
  #packedAt = 0;
  #undecoded = 0;
  #undecodedAt = 0;
  #lastSeqnum = -1;
  #disorderAt: number | null = null;
  #endedAt: number | null = null;

  constructor(file: JournalFile) {
    this.#file = file;
    this.size = file.size;
  }

  /** Looking for the next sound object. */
  get lost(): boolean {
    return this.#lostAt !== null;
  }

  lose(offset: number): void {
    this.#lostAt = offset;
  }

  found(offset: number): void {
    if (this.#lostAt !== null) this.#addDamage(this.#lostAt, offset);
    this.#lostAt = null;
  }

  #addDamage(from: number, to: number | null): void {
    this.#damages += 1;
    if (this.#damage.length < DAMAGE_NAMED) this.#damage.push({ from, to });
  }

  shrank(size: number): void {
    this.#shrank = true;
    this.size = size;
  }

  object(offset: number): void {
    this.#objects += 1;
    this.#lastObject = offset;
  }

  /** An entry that refers to damaged objects, or does not match its checksum. */
  doubt(offset: number): void {
    if (this.#doubted === 0) this.#doubtedAt = offset;
    this.#doubted += 1;
  }

  /** An entry with a field that could not be decompressed or kept: it may be a wanted one. */
  packed(offset: number): void {
    if (this.#packed === 0) this.#packedAt = offset;
    this.#packed += 1;
  }

  /** A wanted entry whose message could not be had. */
  undecoded(offset: number): void {
    if (this.#undecoded === 0) this.#undecodedAt = offset;
    this.#undecoded += 1;
  }

  seqnum(seqnum: number, offset: number): void {
    if (seqnum <= this.#lastSeqnum) this.#disorderAt ??= offset;
    this.#lastSeqnum = seqnum;
  }

  /** The file was read to `offset`, its end as far as it can be read. */
  ended(offset: number): void {
    if (this.#lostAt !== null) this.#addDamage(this.#lostAt, null);
    this.#lostAt = null;
    this.#endedAt = offset;
  }

  /** The gaps of this file, each starting with its path. */
  gaps(): readonly string[] {
    const gaps = [...this.#structure(), ...this.#content()];
    return gaps.map((gap) => `${this.#file.path}: ${gap}`);
  }

  /** Objects that are not where the header says they are. Only known when the file was read to its end. */
  #structure(): readonly string[] {
    if (this.#endedAt === null) return [];
    const { header } = this.#file;
    const gaps: string[] = [];
    const missing = this.#missing();
    if (this.#shrank) gaps.push(`became shorter while it was read (it ends at byte ${this.size})${missing}`);
    else if (this.#endedAt <= header.tailObject && this.#endedAt + 16 > this.size) {
      gaps.push(`cut off at byte ${this.size}, its last object was at byte ${header.tailObject}${missing}`);
    }
    for (const { from, to } of this.#damage) {
      const until = to === null ? "no sound object after it" : `next sound object at byte ${to}`;
      gaps.push(`damaged at byte ${from} (${until})${missing}`);
    }
    if (this.#damages > this.#damage.length) gaps.push(`damaged at ${this.#damages - this.#damage.length} more places`);
    if (gaps.length > 0) return gaps;
    if (missing !== "" || (header.entries < this.entries && !header.online)) {
      return [`its header (byte 152) counts ${header.entries} entries, ${this.entries} are there${missing}`];
    }
    if (header.online) return [];
    if (this.#objects !== header.objects || (this.#objects > 0 && this.#lastObject !== header.tailObject)) {
      const counts = `${header.objects} objects, the last at byte ${header.tailObject}`;
      const seen = `${this.#objects}, the last at byte ${this.#lastObject}`;
      return [`its header (byte 136) names ${counts}; there are ${seen}: an unknown number of fields may be missing`];
    }
    return [];
  }

  #missing(): string {
    const missing = this.#file.header.entries - this.entries;
    if (missing <= 0) return "";
    return `; up to ${missing} of ${counted(this.#file.header.entries, "entry", "entries")} may be missing`;
  }

  #xzMissing(): boolean {
    return this.#file.xz === null && (this.#file.header.incompatible & INCOMPATIBLE.xz) !== 0;
  }

  #content(): readonly string[] {
    const gaps: string[] = [];
    if (this.#doubted > 0) {
      const entries = counted(this.#doubted, "entry does", "entries do");
      gaps.push(
        `${entries} not match the checksum or the fields (the first at byte ${this.#doubtedAt}) and may be missing or altered`,
      );
    }
    if (this.#packed > 0) {
      const why = this.#xzMissing() ? "no liblzma.so.5 here for its XZ data" : "damaged, or too many";
      const entries = counted(this.#packed, "entry has", "entries have");
      gaps.push(
        `${entries} fields that could not be read (${why}; the first at byte ${this.#packedAt}) and may be missing`,
      );
    }
    if (this.#undecoded > 0) {
      const entries = counted(this.#undecoded, "entry", "entries");
      gaps.push(`the message of ${entries} could not be decoded (the first at byte ${this.#undecodedAt})`);
    }
    if (this.#disorderAt !== null) gaps.push(`entries are out of order at byte ${this.#disorderAt}: damaged`);
    if (this.cut > 0) {
      gaps.push(`${counted(this.cut, "message was", "messages were")} longer than ${MESSAGE_LIMIT} bytes and cut`);
    }
    return gaps;
  }
}
