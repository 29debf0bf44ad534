import type { HostStore, Removed, RetentionLimits, StoreUsage } from "../store/store.ts";

export interface UpkeepEvents {
  readonly removed: (removed: Removed) => void;
  /** After each step. */
  readonly usage: (usage: StoreUsage) => void;
  /** What else is to be done as often as this. */
  readonly step: () => Promise<void>;
  readonly error: (error: unknown) => void;
}

/** Removes what is too old or too much, in small steps, until it is stopped. */
export class Upkeep {
  readonly #store: HostStore;
  readonly #limits: RetentionLimits;
  readonly #now: () => number;
  readonly #on: UpkeepEvents;
  #timer: NodeJS.Timeout | null = null;
  #step: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(store: HostStore, limits: RetentionLimits, now: () => number, on: UpkeepEvents) {
    this.#store = store;
    this.#limits = limits;
    this.#now = now;
    this.#on = on;
  }

  start(everyMs: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#step = this.#once().then((more) => this.start(more ? 50 : 10_000));
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
      if (removed.reports + removed.results > 0) this.#on.removed(removed);
      this.#on.usage(await this.#store.usage());
      await this.#on.step();
      return removed.more;
    } catch (error) {
      this.#on.error(error);
      return false;
    }
  }
}
