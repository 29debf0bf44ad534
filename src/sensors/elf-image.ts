import type { FileHandle } from "node:fs/promises";

/** A file that is not a sound ELF64 x86-64 object. The message says what is wrong and at which byte. */
export class InvalidElf extends Error {}

/** An open file with bounds: a read outside it is an error in words, and nothing is allocated before the check. */
export class Image {
  readonly #handle: FileHandle;
  readonly size: number;

  constructor(handle: FileHandle, size: number) {
    this.#handle = handle;
    this.size = size;
  }

  /** Throws InvalidElf when the file does not have these bytes. */
  assertHas(offset: number, length: number, what: string): void {
    if (length < 0 || offset < 0 || offset + length > this.size) {
      throw new InvalidElf(
        `${what} at byte ${offset} (${length} bytes) lies beyond the end: the file has ${this.size}`,
      );
    }
  }

  async bytes(offset: number, length: number, what: string): Promise<Buffer> {
    this.assertHas(offset, length, what);
    const buffer = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.#handle.read(buffer, done, length - done, offset + done);
      if (bytesRead === 0) throw new InvalidElf(`${what}: the file became shorter while it was read`);
      done += bytesRead;
    }
    return buffer;
  }
}

/** A 64-bit word as a number; what does not fit is larger than any file and fails the next bounds check. */
export function word(buffer: Buffer, at: number): number {
  const value = buffer.readBigUInt64LE(at);
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}
