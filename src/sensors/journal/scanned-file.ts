import type { ScanEntry } from "../../native/log-scan.ts";
import { MESSAGE_LIMIT } from "../log-limits.ts";
import { decompress } from "./decompress.ts";
import { JournalEntry } from "./entry.ts";
import { payloadHash } from "./hash.ts";
import type { JournalFile } from "./journal-file.ts";
import { EntryFields, FIELD_LIMIT, type FieldSays, type UnitMatch } from "./match.ts";

const MESSAGE = Buffer.from("MESSAGE=", "latin1");

/** A journal file as log-scan tells of it: puts its entries together. */
export class ScannedFile {
  readonly file: JournalFile;
  /** Lines that turned out not to be about the unit. */
  refused = 0;
  suppressed = 0;
  cut = 0;
  readonly machineIds = new Set<string>();
  readonly #match: UnitMatch;
  readonly #fields = new Map<number, FieldSays>();
  readonly #entryFields = new EntryFields();

  constructor(file: JournalFile, match: UnitMatch) {
    this.file = file;
    this.#match = match;
  }

  field(offset: number, text: string): void {
    const field = this.#match.field(text.slice(0, FIELD_LIMIT));
    if (field === null) return;
    this.#fields.set(offset, field);
    if (field.name === "machine") this.machineIds.add(field.value);
  }

  /** The entry; null when it is not the unit's, "doubt" when it cannot be read. */
  entry(scanned: ScanEntry): JournalEntry | "doubt" | null {
    const fields = this.#entryFields;
    fields.clear();
    for (const offset of scanned.fields) {
      const field = this.#fields.get(offset);
      if (field !== undefined) fields.add(field);
    }
    let { message, cut } = scanned;
    let found = scanned.messageOffset !== 0;
    for (const packed of scanned.packed) {
      const payload = decompress(packed.flags, packed.payload, this.file.xz);
      if (payload === null || payloadHash(this.#key, payload) !== packed.hash) return "doubt";
      if (MESSAGE.compare(payload, 0, Math.min(MESSAGE.length, payload.length)) !== 0) {
        const field = this.#match.field(payload.toString("latin1", 0, FIELD_LIMIT));
        if (field !== null) fields.add(field);
      } else if (!found) {
        found = true;
        cut = payload.length > MESSAGE.length + MESSAGE_LIMIT;
        message = Buffer.from(payload.subarray(MESSAGE.length, MESSAGE.length + MESSAGE_LIMIT));
      }
    }
    if (!fields.ofWorkload && !fields.aboutUnit) {
      this.refused += 1;
      return null;
    }
    this.suppressed += fields.suppressed;
    if (cut) this.cut += 1;
    const { seqnum, bootId, monotonic, realtime, hashHigh, hashLow, folded } = scanned;
    const position = { seqnumId: this.file.header.seqnumId, seqnum, bootId, monotonic, realtime };
    const entry = new JournalEntry(position, hashHigh, hashLow, fields, folded);
    entry.message = message;
    entry.truncated = cut;
    return entry;
  }

  get #key(): Buffer | null {
    const { keyedHash, fileId } = this.file.header;
    return keyedHash ? fileId : null;
  }
}
