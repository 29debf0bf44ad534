import type { Rate } from "./limits.ts";

interface Bucket {
  tokens: number;
  /** Milliseconds of the clock that was given. */
  at: number;
}

/** Token buckets by key: a bounded number of them; a key that was forgotten starts with a full one. */
export class TokenBuckets<K> {
  readonly #rate: Rate;
  readonly #most: number;
  readonly #now: () => number;
  /** In the order of use. */
  readonly #buckets = new Map<K, Bucket>();

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(rate: Rate, now: () => number, most = 4096) {
    this.#rate = rate;
    this.#now = now;
    this.#most = most;
  }

  /** 0: taken. Otherwise nothing was, and so many seconds are to be waited. More than a burst is taken as a whole one. */
  take(key: K, amount = 1): number {
    const bucket = this.#filled(key);
    const wanted = Math.min(amount, this.#rate.burst);
    if (bucket.tokens >= wanted) {
      bucket.tokens -= wanted;
      return 0;
    }
    return Math.max(1, Math.ceil((wanted - bucket.tokens) / this.#rate.perSecond));
  }

  /** Seconds until there is one; 0: now. Takes none. */
  wait(key: K): number {
    const { tokens } = this.#filled(key);
    return tokens >= 1 ? 0 : Math.max(1, Math.ceil((1 - tokens) / this.#rate.perSecond));
  }

  #filled(key: K): Bucket {
    const now = this.#now();
    const { perSecond, burst } = this.#rate;
    const bucket = this.#buckets.get(key) ?? { tokens: burst, at: now };
    bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * perSecond);
    bucket.at = now;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > this.#most) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return bucket;
  }
}
