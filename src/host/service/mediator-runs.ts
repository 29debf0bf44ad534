import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { MediatorEvent } from "../../protocol/mediator-events.ts";

/** One run of the mediator, as its log tells of it. */
export interface MediatorRun {
  /** Names the counting: made anew where what was counted is not known any more. */
  readonly series: string;
  /** Beginnings that were seen in this series. */
  readonly run: number;
  /** Milliseconds since 1970: it did not begin before; null: nobody looked before. */
  readonly beganAt: number | null;
}

/** How long the mediator's first lines may wait in its own buffer, milliseconds. */
const BUFFERED_MS = 2000;

const time = z.number().int().nonnegative().nullable();
const savedSchema = z.object({
  runs: z.object({
    series: z.string().regex(/^[0-9a-f]{16}$/),
    run: z.number().int().nonnegative(),
    beganAt: time,
    lookedAt: time,
  }),
});

/**
 * Counts the mediator's runs by their banners (docs/wire.md, "Mediator log: epochs").
 *
 * INVARIANTS
 * - Each banner counts once, over restarts of the counterpart too: what was read before a state was saved is in its count,
 *   and is not counted when it is read again.
 * - A log that goes on in another file, or from the start of a truncated one, is no other run. A run whose banner nobody
 *   could read is not counted: the same number proves nothing.
 */
export class MediatorRuns {
  readonly #series: string;
  #run: number;
  #beganAt: number | null;
  /** When the log's end was reached last. */
  #lookedAt: number | null;

  /** `saved`: an object with what `state()` gave as its `runs`; anything else begins a new series. */
  constructor(saved: unknown) {
    const known = savedSchema.safeParse(saved).data?.runs;
    this.#series = known?.series ?? randomBytes(8).toString("hex");
    this.#run = known?.run ?? 0;
    this.#beganAt = known?.beganAt ?? null;
    this.#lookedAt = known?.lookedAt ?? null;
  }

  get current(): MediatorRun {
    return { series: this.#series, run: this.#run, beganAt: this.#beganAt };
  }

  state(): z.infer<typeof savedSchema>["runs"] {
    return { ...this.current, lookedAt: this.#lookedAt };
  }

  /** `isKnown`: it was read before the state was saved that this one began with. */
  take(event: MediatorEvent, isKnown: boolean): void {
    if (event.kind !== "epoch" || event.version === null || isKnown) return;
    this.#run += 1;
    // A new file has no look before it; its name's last one will do.
    const notBefore = event.when?.notBefore ?? this.#lookedAt;
    this.#beganAt = notBefore === null ? null : Math.max(0, Math.floor(notBefore) - BUFFERED_MS);
  }

  /** Everything that was in the log at this time (milliseconds since 1970) was taken. */
  looked(at: number): void {
    this.#lookedAt = Math.max(0, Math.floor(at));
  }
}
