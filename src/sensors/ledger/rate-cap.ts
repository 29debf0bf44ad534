import type { PossibleDrops } from "../../facts/ledger.ts";

/** journald's limit for the lines of one unit (docs/wire.md, "Log sinks"). */
export interface RateLimit {
  readonly intervalMs: number;
  /** Lines of one interval that are kept at least; more where the file system has room. */
  readonly burst: number;
}

/** RateLimitIntervalSec= and RateLimitBurst= where nobody set them (journald.conf(5)). */
export const DEFAULT_RATE_LIMIT: RateLimit = { intervalMs: 30_000, burst: 10_000 };

/** journald keeps burst × n / 4 lines, n being 4 up to 1 MiB of room and one more for each doubling: 24 for 1 TiB. */
const FEWEST_QUARTERS = 4;
const MOST_QUARTERS = 24;
/** A burst that ends so long before its interval, as a part of it, was perhaps cut off. */
const SILENCE = 1 / 10;
/** How far the times of lines may be from those that journald's limit went by, as a part of the interval, and at most. */
const SLACK = 1 / 8;
const MOST_SLACK_MS = 1000;

/**
 * Finds intervals in which a unit's lines reached journald's limit and no record tells how many were dropped. journald
 * writes that record only when the unit logs again after the interval, and forgets it when another unit begins to log
 * first or when it is restarted. So it follows journald: an interval begins with the first line after the one before.
 *
 * An interval counts as at the limit when it kept exactly as many lines as a limit lets through, or as an interval did of
 * which a record tells; or when it kept a number between the least and the greatest limit and was silent from then on.
 * That is a possibility, not a proof: a program can fall silent by itself. It is a few numbers, whatever the size of the log.
 */
export class RateCap {
  /** With the times as they are, and with those that are a little early for the interval that they begin. */
  readonly #followers: readonly Follower[];

  /** `limit` null: the unit has none, nothing is found. */
  constructor(limit: RateLimit | null) {
    const slackMs = limit === null ? 0 : Math.min(MOST_SLACK_MS, limit.intervalMs * SLACK);
    this.#followers = limit === null ? [] : [new Follower(limit, 0), new Follower(limit, slackMs)];
  }

  /**
   * Lines of the unit that were kept at this time (epoch ms), in the order of time: one by one, or those of a span of
   * time together, which is to be an eighth of the interval at most and named by its beginning.
   */
  note(atMs: number, lines: number): void {
    if (lines > 0) for (const follower of this.#followers) follower.note(atMs, lines);
  }

  /** journald's record of dropped lines: they are of the interval that ended. To be told before lines of the same span. */
  reported(): void {
    for (const follower of this.#followers) follower.reported();
  }

  /** What was found up to now (epoch ms). The interval that is under way counts only when it is silent or full. */
  result(nowMs: number): PossibleDrops | null {
    const found = this.#followers.flatMap((follower) => follower.result(nowMs) ?? []);
    return found.find(({ exact }) => exact) ?? found[0] ?? null;
  }
}

/** Follows one unit's intervals. A line may be early by `slackMs` for the interval that it begins, after a silence. */
class Follower {
  readonly #limit: RateLimit;
  readonly #slackMs: number;
  #begin: number | null = null;
  #last = 0;
  #lines = 0;
  /** Lines of the last interval of which a record tells. */
  #known = 0;
  #found: PossibleDrops | null = null;

  constructor(limit: RateLimit, slackMs: number) {
    this.#limit = limit;
    this.#slackMs = slackMs;
  }

  note(atMs: number, lines: number): void {
    if (this.#begin !== null && this.#isOver(this.#begin, atMs)) {
      this.#found = this.result(atMs);
      this.#forget();
    }
    this.#begin ??= atMs;
    this.#last = atMs;
    this.#lines += lines;
  }

  reported(): void {
    if (this.#begin !== null) this.#known = this.#lines;
    this.#forget();
  }

  result(nextAt: number): PossibleDrops | null {
    const at = this.#begin === null ? null : this.#isAtLimit(this.#begin, nextAt);
    if (at === null) return this.#found;
    return {
      intervals: (this.#found?.intervals ?? 0) + 1,
      intervalMs: this.#limit.intervalMs,
      lines: this.#lines,
      exact: at === "exact" || this.#found?.exact === true,
    };
  }

  /** Times of lines are those of a batch: after a silence the first line may seem to come before the interval's end. */
  #isOver(begin: number, at: number): boolean {
    const end = begin + this.#limit.intervalMs;
    const early = this.#slackMs > 0 && at - this.#last >= this.#slackMs && at >= end - this.#slackMs;
    return at > end || early || at < begin;
  }

  #forget(): void {
    this.#begin = null;
    this.#lines = 0;
  }

  #isAtLimit(begin: number, nextAt: number): "exact" | "silent" | null {
    const { intervalMs, burst } = this.#limit;
    // Fewer than the least limit; or more than the greatest, so that the limit is none or another one.
    if (this.#lines < burst || this.#lines * 4 > burst * MOST_QUARTERS) return null;
    if (this.#lines === this.#known || isLimit(burst, this.#lines)) return "exact";
    const silent = Math.min(nextAt, begin + intervalMs) - this.#last;
    return silent >= intervalMs * SILENCE ? "silent" : null;
  }
}

/** Whether journald can keep exactly so many lines of an interval. */
function isLimit(burst: number, lines: number): boolean {
  const quarters = Math.ceil((lines * 4) / burst);
  return quarters >= FEWEST_QUARTERS && Math.floor((burst * quarters) / 4) === lines;
}
