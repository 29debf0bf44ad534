/** Offsets are numbers of 32 bits here; journald's own files are 128 MiB at most unless it is told otherwise. */
export const FILE_LIMIT = 2 ** 32 - 1;

/** A set of offsets of objects, which all are multiples of 8: a bit each, a 64th of the file's size. */
export class OffsetSet {
  readonly #bits: Int32Array;

  constructor(end: number) {
    this.#bits = new Int32Array((Math.min(end, FILE_LIMIT) >>> 8) + 1);
  }

  add(offset: number): void {
    const index = offset >>> 8;
    this.#bits[index] = (this.#bits[index] ?? 0) | (1 << ((offset >>> 3) & 31));
  }

  has(offset: number): boolean {
    return (offset & 7) === 0 && ((this.#bits[offset >>> 8] ?? 0) & (1 << ((offset >>> 3) & 31))) !== 0;
  }
}

/** Raised where a file is not what a sound journal file is: it is then read by the reader that checks every entry. */
export class Doubt extends Error {}
