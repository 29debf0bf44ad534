import { MESSAGE_LIMIT } from "../log-limits.ts";
import { DECOMPRESSED_LIMIT, decompress } from "./decompress.ts";
import { payloadHash } from "./hash.ts";
import { readU64 } from "./header.ts";
import type { JournalFile } from "./journal-file.ts";
import { type Message, MessageCache } from "./message-cache.ts";
import { COMPRESSED_MASK, DATA_ENTRIES_AT, DATA_HASH_AT, type Layout } from "./objects.ts";

const NAME = Buffer.from("MESSAGE=", "latin1");
const NAME_BYTES = NAME.length;
const FIRST_READ = 4096;

/** Reads the messages of one journal file, by the offset of their DATA object. */
export class MessageLoader {
  readonly #file: JournalFile;
  readonly #layout: Layout;
  readonly #cache = new MessageCache();

  constructor(file: JournalFile, layout: Layout) {
    this.#file = file;
    this.#layout = layout;
  }

  /**
   * The message whose DATA is at `at` of a window of `length` bytes, or one of the cache: undefined when it is in
   * neither, null when it is damaged. `verify` checks it against the hash that the object carries.
   */
  fromWindow(
    bytes: Buffer,
    view: DataView,
    at: number,
    length: number,
    offset: number,
    verify: boolean,
  ): Message | null | undefined {
    const inWindow = at >= 0 && at + this.#layout.dataPayload <= length;
    const size = inWindow ? readU64(view, at + 8) : 0;
    if (inWindow && at + size <= length) {
      // Most messages are their entry's alone, and not worth a place in the cache.
      if (!verify && readU64(view, at + DATA_ENTRIES_AT) > 1) {
        const cached = this.#cache.get(offset);
        if (cached !== undefined) return cached;
        const message = this.#decode(bytes.subarray(at, at + size), verify);
        return message === null ? null : this.#keep(offset, message);
      }
      return this.#decode(bytes.subarray(at, at + size), verify);
    }
    return verify ? undefined : this.#cache.get(offset);
  }

  /** The message of the DATA at `offset`, read from the file. */
  async load(offset: number, verify: boolean): Promise<Message | null> {
    const cached = verify ? undefined : this.#cache.get(offset);
    if (cached !== undefined) return cached;
    const first = await this.#read(offset, FIRST_READ);
    if (first.length <= this.#layout.dataPayload) return null;
    const size = first.readUInt32LE(8) + first.readUInt32LE(12) * 4294967296;
    const compressed = (first.readUInt8(1) & COMPRESSED_MASK) !== 0;
    const limit = this.#layout.dataPayload + (compressed ? DECOMPRESSED_LIMIT : NAME_BYTES + MESSAGE_LIMIT + 1);
    if (size <= this.#layout.dataPayload || (compressed && size > limit)) return null;
    // Of a huge message only the start is read, and its hash not looked at.
    const wanted = Math.min(size, limit);
    const object = wanted <= first.length ? first.subarray(0, wanted) : await this.#read(offset, wanted);
    if (object.length < wanted) return null;
    const message = this.#decode(object, verify && wanted === size);
    return message === null ? null : this.#keep(offset, message);
  }

  /** With memory of its own: small buffers share slabs of 64 KiB, and one that stays would hold all of its slab. */
  #keep(offset: number, { bytes, truncated }: Message): Message {
    const own = Buffer.allocUnsafeSlow(bytes.length);
    bytes.copy(own);
    const message = { bytes: own, truncated };
    this.#cache.set(offset, message);
    return message;
  }

  async #read(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    const { bytesRead } = await this.#file.handle.read(bytes, 0, length, offset);
    return bytes.subarray(0, bytesRead);
  }

  #decode(object: Buffer, verify: boolean): Message | null {
    const stored = object.subarray(this.#layout.dataPayload);
    const flags = object.readUInt8(1) & COMPRESSED_MASK;
    const payload = flags === 0 ? stored : decompress(flags, stored, this.#file.xz);
    if (payload === null || NAME.compare(payload, 0, Math.min(NAME_BYTES, payload.length)) !== 0) return null;
    if (verify && object.readBigUInt64LE(DATA_HASH_AT) !== this.#hashOf(payload)) return null;
    const end = Math.min(payload.length, NAME_BYTES + MESSAGE_LIMIT);
    return { bytes: Buffer.from(payload.subarray(NAME_BYTES, end)), truncated: payload.length > end };
  }

  #hashOf(payload: Buffer): bigint {
    const { keyedHash, fileId } = this.#file.header;
    return payloadHash(keyedHash ? fileId : null, payload);
  }
}
