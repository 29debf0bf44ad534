import type { HostStore, Removed, RetentionLimits } from "../store/store.ts";

/** Removes what is too old or too much, in small steps, until it is stopped. */
export class Upkeep {
  readonly #store: HostStore;
  readonly #limits: RetentionLimits;
  readonly #now: () => number;
  readonly #onRemoved: (removed: Removed) => void;
  readonly #onError: (error: unknown) => void;
  #timer: NodeJS.Timeout | null = null;
  #step: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(
    store: HostStore,
    limits: RetentionLimits,
    now: () => number,
    on: { readonly removed: (removed: Removed) => void; readonly error: (error: unknown) => void },
  ) {
    this.#store = store;
    this.#limits = limits;
    this.#now = now;
    this.#onRemoved = on.removed;
    this.#onError = on.error;
  }

  start(everyMs: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#step = this.#once().then((more) => this.start(more ? 50 : 30_000));
    }, everyMs);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#step;
  }

  async #once(): Promise<boolean> {
    try {
      const removed = await this.#store.retain(this.#limits, this.#now());
      if (removed.reports + removed.results > 0) this.#onRemoved(removed);
      return removed.more;
    } catch (error) {
      this.#onError(error);
      return false;
    }
  }
}
