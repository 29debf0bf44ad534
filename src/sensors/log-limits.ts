/** Bytes of one message or line that a reader keeps. */
export const MESSAGE_LIMIT = 64 << 10;

/** Gaps kept by one reading; the rest is counted. */
const GAP_LIMIT = 50;

/** The gaps of a reading, bounded: a directory of a thousand broken files must not become a thousand lines. */
export class Gaps {
  readonly #kept: string[] = [];
  #more = 0;

  add(gap: string): void {
    if (this.#kept.length < GAP_LIMIT) this.#kept.push(gap);
    else this.#more += 1;
  }

  list(): readonly string[] {
    return this.#more === 0 ? [...this.#kept] : [...this.#kept, `and ${this.#more} more gaps`];
  }
}

/** "1 entry", "2 entries". */
export function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
