/** What the agent takes of the machine, and what it may take. */

export interface SelfLimits {
  readonly memoryBytes: number;
  /** CPU time by time, of one CPU: 0.05 is 5 %. */
  readonly cpuShare: number;
}

/** A reading of the agent's own process. */
export interface SelfReading {
  /** Milliseconds of a clock that only goes forward. */
  readonly atMs: number;
  /** User and system time since the start, milliseconds. */
  readonly cpuMs: number;
  /** Resident memory. */
  readonly rssBytes: number;
}

export interface SelfState {
  readonly rssBytes: number;
  /** Over the last `SPAN_MS`; null until that much was seen. */
  readonly cpuShare: number | null;
  /** How much less often it looks than it is set to: 1, 2, 4 … `MOST_SLOW`. */
  readonly slowness: number;
  /** Memory has been above the limit for so long that only a new start helps. */
  readonly mustRestart: boolean;
}

/** Long enough that one look at all files (some 100 ms) is no breach. */
const SPAN_MS = 60_000;
/** Memory that the garbage collector still gives back is not a breach: it has to stay. */
const MEMORY_GRACE_MS = 60_000;
const MOST_SLOW = 16;

export function readSelf(): SelfReading {
  const { user, system } = process.cpuUsage();
  return { atMs: performance.now(), cpuMs: (user + system) / 1000, rssBytes: process.memoryUsage.rss() };
}

/**
 * Holds the agent to its limits. Above its share of CPU time it looks half as often, and again, until it is below half of
 * it for as long; above its memory for a minute it asks for a new start, which a service manager gives it.
 */
export class SelfWatch {
  readonly #limits: SelfLimits;
  readonly #read: () => SelfReading;
  #readings: SelfReading[] = [];
  #slowness = 1;
  #judgedAt = 0;
  #memoryHighSince: number | null = null;

  constructor(limits: SelfLimits, read: () => SelfReading = readSelf) {
    this.#limits = limits;
    this.#read = read;
  }

  /** One look; to be called every few seconds. */
  sample(): SelfState {
    const now = this.#read();
    this.#readings.push(now);
    const share = this.#share(now);
    if (share !== null && now.atMs - this.#judgedAt >= SPAN_MS) {
      this.#judgedAt = now.atMs;
      if (share > this.#limits.cpuShare) this.#slowness = Math.min(MOST_SLOW, this.#slowness * 2);
      else if (share < this.#limits.cpuShare / 2) this.#slowness = Math.max(1, this.#slowness / 2);
    }
    if (now.rssBytes <= this.#limits.memoryBytes) this.#memoryHighSince = null;
    else this.#memoryHighSince ??= now.atMs;
    const mustRestart = this.#memoryHighSince !== null && now.atMs - this.#memoryHighSince >= MEMORY_GRACE_MS;
    return { rssBytes: now.rssBytes, cpuShare: share, slowness: this.#slowness, mustRestart };
  }

  #share(now: SelfReading): number | null {
    const since = now.atMs - SPAN_MS;
    // The last one that is old enough is what is compared with; what is older is of no more use.
    const index = this.#readings.findLastIndex(({ atMs }) => atMs <= since);
    if (index === -1) return null;
    this.#readings = this.#readings.slice(index);
    const [then] = this.#readings;
    return then === undefined ? null : (now.cpuMs - then.cpuMs) / (now.atMs - then.atMs);
  }
}
