/**
 * Steps that one join may take to lay calls side by side (R7): a step is a record looked at, some 30 ns. Ordinary
 * evidence takes thousands; its lists have limits, but a guest chooses the numbers in them, and their products have none
 * that would end before the reader has gone home.
 */
const MOST_STEPS = 32_000_000;

/** How much of the comparing that the evidence of one VM asks for may still be done. */
export class Effort {
  #left: number;

  constructor(most = MOST_STEPS) {
    this.#left = most;
  }

  /** Takes so many steps; false: there are not so many left, and none is left from then on. */
  spend(steps = 1): boolean {
    this.#left = steps > this.#left ? 0 : this.#left - steps;
    return this.#left > 0;
  }
}
