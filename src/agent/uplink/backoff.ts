/** How long to wait before the next attempt. */
export interface BackoffOptions {
  /** The bound of the first wait, milliseconds; it doubles with each failure. */
  readonly firstMs: number;
  readonly mostMs: number;
  /** At least 0 and below 1. */
  readonly random: () => number;
}

/** No wait is shorter: chance may give 0. */
const LEAST_MS = 100;
/** What is added to a time that the host named, so that those who were told the same do not come back together. */
const SPREAD = 0.1;

/**
 * Exponential, with full jitter: each wait is anywhere between nothing and its bound. Guests that lost their host together
 * do not come back together.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Milliseconds. `retryAfterMs`: what the host asked for, which is a lower bound; more than `mostMs` of it is not believed. */
  next(retryAfterMs: number | null = null): number {
    const { firstMs, mostMs, random } = this.#options;
    const bound = Math.min(mostMs, firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    const wait = Math.max(LEAST_MS, random() * bound);
    if (retryAfterMs === null) return wait;
    const asked = Math.min(retryAfterMs, mostMs);
    return Math.max(wait, asked + random() * asked * SPREAD);
  }

  reset(): void {
    this.#failures = 0;
  }
}
