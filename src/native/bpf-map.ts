import { closeSync } from "node:fs";
import { addressOf, type Kernel, SystemCallError, stableBuffer } from "./syscall.ts";

/**
 * The maps of bpf(2), as much of them as counting needs. Field offsets are those of `union bpf_attr` in the kernel's
 * include/uapi/linux/bpf.h, which only ever grows at its end.
 */

const MAP_CREATE = 0;
const MAP_LOOKUP = 1;
const MAP_UPDATE = 2;
const MAP_DELETE = 3;
const MAP_GET_NEXT_KEY = 4;
const MAP_LOOKUP_BATCH = 24;
const MAP_TYPE_HASH = 1;
const MAP_TYPE_ARRAY = 2;
const ATTR_BYTES = 72;
/** Offsets of `batch` in the union, and how much of it is given. */
const BATCH = { in: 0, out: 8, keys: 16, values: 24, count: 32, fd: 36, bytes: 56 } as const;
const RLIMIT_MEMLOCK = 8;
/** Room that is made first. */
const FIRST_ROWS = 64;

export interface MapShape {
  readonly kind: "hash" | "array";
  /** At most 15 characters; for those who list maps. */
  readonly name: string;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
}

/** What a map had at one moment: its rows in the kernel's order, which is the same while none is added or deleted. */
export class MapContents {
  count = 0;
  capacity = 0;
  #keyBytes = 0;
  #valueBytes = 0;
  #keys = stableBuffer(0);
  #values = stableBuffer(0);

  /** The bytes of a row's key, until it is read anew. */
  key(row: number): Buffer {
    return this.#keys.subarray(row * this.#keyBytes, (row + 1) * this.#keyBytes);
  }

  /** The bytes of a row's value, until it is read anew. */
  value(row: number): Buffer {
    return this.#values.subarray(row * this.#valueBytes, (row + 1) * this.#valueBytes);
  }

  /** Whether it has the same rows, with the same values. */
  equals(other: MapContents): boolean {
    const isSame = (mine: Buffer, its: Buffer, bytes: number) => mine.compare(its, 0, bytes, 0, bytes) === 0;
    return (
      this.count === other.count &&
      isSame(this.#keys, other.#keys, this.count * this.#keyBytes) &&
      isSame(this.#values, other.#values, this.count * this.#valueBytes)
    );
  }

  /** Whether another's row of the same place is the same. */
  hasSameRow(row: number, other: MapContents): boolean {
    return this.key(row).equals(other.key(row)) && this.value(row).equals(other.value(row));
  }

  begin({ keyBytes, valueBytes }: MapShape): void {
    this.count = 0;
    this.#keyBytes = keyBytes;
    this.#valueBytes = valueBytes;
  }

  /** Where the next row goes. */
  free(): { readonly keys: bigint; readonly values: bigint } {
    return {
      keys: addressOf(this.#keys) + BigInt(this.count * this.#keyBytes),
      values: addressOf(this.#values) + BigInt(this.count * this.#valueBytes),
    };
  }

  add(key: Buffer, value: Buffer): void {
    this.makeRoom();
    key.copy(this.#keys, this.count * this.#keyBytes);
    value.copy(this.#values, this.count * this.#valueBytes);
    this.count += 1;
  }

  makeRoom(): void {
    if (this.count === this.capacity) this.grow();
  }

  grow(): void {
    this.capacity = Math.max(FIRST_ROWS, this.capacity * 2);
    const grown = (before: Buffer, bytes: number) => {
      const after = stableBuffer(bytes);
      before.copy(after);
      return after;
    };
    this.#keys = grown(this.#keys, this.capacity * this.#keyBytes);
    this.#values = grown(this.#values, this.capacity * this.#valueBytes);
  }
}

/** Kernels before 5.11 charge maps to RLIMIT_MEMLOCK, 64 KiB by default, and answer EPERM. */
function raiseMemlock(kernel: Kernel): void {
  const unlimited = stableBuffer(16).fill(0xff);
  kernel("prlimit64", 0, RLIMIT_MEMLOCK, addressOf(unlimited), 0);
}

/** A map of the kernel, filled by programs and read here. It is gone when its last user closes it. */
export class BpfMap {
  readonly fd: number;
  readonly shape: MapShape;
  readonly #kernel: Kernel;
  readonly #attr = stableBuffer(ATTR_BYTES);
  readonly #key: Buffer;
  readonly #next: Buffer;
  readonly #value: Buffer;
  #hasBatch = true;

  /** @throws SystemCallError: EPERM without CAP_BPF or CAP_SYS_ADMIN. */
  constructor(kernel: Kernel, shape: MapShape) {
    this.#kernel = kernel;
    this.shape = shape;
    this.#key = stableBuffer(shape.keyBytes);
    this.#next = stableBuffer(shape.keyBytes);
    this.#value = stableBuffer(shape.valueBytes);
    const attr = stableBuffer(ATTR_BYTES);
    attr.writeUInt32LE(shape.kind === "hash" ? MAP_TYPE_HASH : MAP_TYPE_ARRAY, 0);
    attr.writeUInt32LE(shape.keyBytes, 4);
    attr.writeUInt32LE(shape.valueBytes, 8);
    attr.writeUInt32LE(shape.maxEntries, 12);
    attr.write(shape.name, 28, 15, "latin1");
    this.fd = createMap(kernel, attr);
    this.#attr.writeUInt32LE(this.fd, 0);
    this.#attr.writeBigUInt64LE(addressOf(this.#key), 8);
  }

  /** A copy of the value of `key`; null when there is none. */
  get(key: Buffer): Buffer | null {
    key.copy(this.#key);
    return this.#call(MAP_LOOKUP, this.#value) ? Buffer.from(this.#value) : null;
  }

  set(key: Buffer, value: Buffer): void {
    key.copy(this.#key);
    value.copy(this.#value);
    this.#call(MAP_UPDATE, this.#value);
  }

  /** Nothing happens when there is no such key. */
  delete(key: Buffer): void {
    key.copy(this.#key);
    this.#call(MAP_DELETE, null);
  }

  /**
   * Reads all entries into `contents`, in place of what it had. Entries that programs add meanwhile may be missed; each key is
   * there once.
   */
  read(contents: MapContents): void {
    contents.begin(this.shape);
    // Linux 5.6 has the batch. A row by itself costs two system calls: too much for a table that is read each second.
    if (this.#hasBatch) this.#hasBatch = this.#readBatches(contents);
    if (!this.#hasBatch) this.#readOneByOne(contents);
  }

  /** A copy of all entries. */
  entries(): { readonly key: Buffer; readonly value: Buffer }[] {
    const contents = new MapContents();
    this.read(contents);
    return Array.from({ length: contents.count }, (_, row) => ({
      key: Buffer.from(contents.key(row)),
      value: Buffer.from(contents.value(row)),
    }));
  }

  /** False: this kernel does not know the batch. */
  #readBatches(contents: MapContents): boolean {
    const attr = stableBuffer(BATCH.bytes);
    const [from, to] = [stableBuffer(4), stableBuffer(4)];
    attr.writeBigUInt64LE(addressOf(to), BATCH.out);
    attr.writeUInt32LE(this.fd, BATCH.fd);
    for (let steps = 0; steps <= this.shape.maxEntries; steps += 1) {
      contents.makeRoom();
      const { keys, values } = contents.free();
      attr.writeBigUInt64LE(keys, BATCH.keys);
      attr.writeBigUInt64LE(values, BATCH.values);
      attr.writeUInt32LE(contents.capacity - contents.count, BATCH.count);
      const end = this.#batch(attr);
      if (end === "unknown") return false;
      contents.count += attr.readUInt32LE(BATCH.count);
      if (end === "last") break;
      // What comes next does not fit into what is left.
      if (end === "crowded") contents.grow();
      else {
        to.copy(from);
        attr.writeBigUInt64LE(addressOf(from), BATCH.in);
      }
    }
    return true;
  }

  #batch(attr: Buffer): "more" | "last" | "crowded" | "unknown" {
    try {
      this.#kernel("bpf", MAP_LOOKUP_BATCH, addressOf(attr), BATCH.bytes);
      return "more";
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      if (error.code === "ENOENT") return "last";
      if (error.code === "ENOSPC") return "crowded";
      if (error.code === "EINVAL") return "unknown";
      throw error;
    }
  }

  /** A deleted entry can make the kernel start over. */
  #readOneByOne(contents: MapContents): void {
    const seen = new Set<string>();
    const keys: Buffer[] = [];
    // A null key asks for the first one.
    this.#attr.writeBigUInt64LE(0n, 8);
    let more = this.#call(MAP_GET_NEXT_KEY, this.#next);
    this.#attr.writeBigUInt64LE(addressOf(this.#key), 8);
    for (let steps = 0; more && steps < this.shape.maxEntries * 4; steps += 1) {
      const name = this.#next.toString("latin1");
      if (!seen.has(name)) keys.push(Buffer.from(this.#next));
      seen.add(name);
      this.#next.copy(this.#key);
      more = this.#call(MAP_GET_NEXT_KEY, this.#next);
    }
    for (const key of keys) {
      const value = this.get(key);
      if (value !== null) contents.add(key, value);
    }
  }

  close(): void {
    closeSync(this.fd);
  }

  /** False for ENOENT; every other error is thrown. */
  #call(command: number, value: Buffer | null): boolean {
    this.#attr.writeBigUInt64LE(value === null ? 0n : addressOf(value), 16);
    try {
      this.#kernel("bpf", command, addressOf(this.#attr), ATTR_BYTES);
      return true;
    } catch (error) {
      if (error instanceof SystemCallError && error.code === "ENOENT") return false;
      throw error;
    }
  }
}

function createMap(kernel: Kernel, attr: Buffer): number {
  const create = () => kernel("bpf", MAP_CREATE, addressOf(attr), ATTR_BYTES);
  try {
    return create();
  } catch (error) {
    if (!(error instanceof SystemCallError) || error.code !== "EPERM") throw error;
    try {
      raiseMemlock(kernel);
    } catch {
      throw error;
    }
    return create();
  }
}
