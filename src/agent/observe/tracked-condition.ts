import type { OpenCondition } from "./condition-state.ts";
import { isNoNews } from "./sighting.ts";

export type Sight = "bad" | "good";

/**
 * One condition over time. Time counts only between two looks that saw the same thing and lie close together: what was
 * not looked at was neither good nor bad.
 */
export class TrackedCondition {
  readonly facts: OpenCondition;
  open: boolean;
  /** Changes while it is open: warn may become fail. */
  outcome: OpenCondition["outcome"];
  message: string;
  /** That show it. */
  lines: OpenCondition["lines"];
  /** Monotonic milliseconds: when it said something new last. */
  newsAt: number;
  clearMs: number;
  #sight: Sight | null = null;
  #asOf: number | null = null;
  #heldMs = 0;
  #worseMs = 0;

  constructor(facts: OpenCondition, open: boolean) {
    this.facts = facts;
    this.open = open;
    this.outcome = facts.outcome;
    this.message = facts.message;
    this.lines = facts.lines;
    this.newsAt = facts.newsAt;
    this.clearMs = facts.clearMs;
  }

  /** How long what was seen last has been so without a break, milliseconds. */
  get heldMs(): number {
    return this.#heldMs;
  }

  /** Whether it was seen by readings of `since` (monotonic milliseconds) or later. */
  isSeenSince(since: number): boolean {
    return this.#sight === "bad" && this.#asOf !== null && this.#asOf >= since;
  }

  /** How long a worse outcome than its own has been seen, milliseconds; null: it is not worse. */
  get worseMs(): number | null {
    return this.#sight === "bad" && this.#worse ? this.#worseMs : null;
  }

  #worse = false;

  /** What a look that rests on readings of `asOf` (monotonic milliseconds) saw. False: it is no newer than the last. */
  see(sight: Sight, asOf: number, mostGapMs: number, worse = false): boolean {
    const passed = this.#asOf === null ? null : asOf - this.#asOf;
    if (passed !== null && passed <= 0) return false;
    const goesOn = passed !== null && passed <= mostGapMs && this.#sight === sight;
    this.#heldMs = goesOn ? this.#heldMs + passed : 0;
    this.#worseMs = goesOn && worse && this.#worse ? this.#worseMs + passed : 0;
    this.#worse = worse;
    this.#sight = sight;
    this.#asOf = asOf;
    return true;
  }

  /** What it was seen to say. The same again is no news. */
  says(now: OpenCondition): void {
    if (!isNoNews(now, this)) this.newsAt = now.newsAt;
    this.message = now.message;
    this.lines = now.lines;
  }

  /** A look that could not tell: what was seen before counts no more towards opening or clearing. */
  seeNothing(): void {
    this.#sight = null;
    this.#heldMs = 0;
    this.#worseMs = 0;
  }

  kept(): OpenCondition {
    const { outcome, message, lines, newsAt, clearMs } = this;
    return { ...this.facts, outcome, message, lines, newsAt, clearMs };
  }
}
