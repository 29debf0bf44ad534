/** A list of the newest things, and how many older ones it has let go. */
export class BoundedList<T> {
  #items: T[] = [];
  #dropped = 0;
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  push(item: T): void {
    this.#items.push(item);
    // Cut rarely, so that each push costs little.
    if (this.#items.length < this.#most * 2) return;
    this.#dropped += this.#items.length - this.#most;
    this.#items = this.#items.slice(-this.#most);
  }

  /** Puts another thing in the place of the newest. */
  replaceLast(item: T): void {
    if (this.#items.length > 0) this.#items[this.#items.length - 1] = item;
  }

  get items(): readonly T[] {
    return this.#items;
  }

  last(): T | undefined {
    return this.#items[this.#items.length - 1];
  }

  /** Things that are no longer in the list. */
  get dropped(): number {
    return this.#dropped;
  }

  get isWhole(): boolean {
    return this.#dropped === 0;
  }
}
