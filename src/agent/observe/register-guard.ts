/**
 * How often the device's registers may be read, whatever settings, events and restarts ask: each read is an exit of the
 * VM, and a read of STATUS makes the device ask its mediator and log that it did.
 */
const LEAST_MS = { registers: 1000, status: 60_000 } as const;

export class RegisterGuard {
  readonly #monotonic: () => number;
  readonly #last: { registers: number; status: number };

  /**
   * `monotonic`: milliseconds of a clock that only goes forward. A new guard counts as having just read both: an agent
   * that is restarted in a loop reads nothing more often than one that runs.
   */
  constructor(monotonic: () => number) {
    this.#monotonic = monotonic;
    const now = monotonic();
    this.#last = { registers: now, status: now };
  }

  /** Whether this may be read now; if so, it counts as read. */
  take(what: keyof typeof LEAST_MS): boolean {
    const now = this.#monotonic();
    if (now - this.#last[what] < LEAST_MS[what]) return false;
    this.#last[what] = now;
    return true;
  }
}
