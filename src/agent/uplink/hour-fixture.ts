import { randomUUID } from "node:crypto";
import { answerReports } from "../../host/server/answer-reports.ts";
import { NO_EVENTS } from "../../host/server/events.ts";
import { Guard } from "../../host/server/guard.ts";
import { SERVER_LIMITS, type ServerLimits } from "../../host/server/limits.ts";
import { Refusal } from "../../host/server/refusal.ts";
import { VmView } from "../../host/server/vm-view.ts";
import type { SqliteStore } from "../../host/store/sqlite.ts";
import type { Acknowledgement } from "../../report/wire/answers.ts";
import type { ReportBatch } from "../../report/wire/batch.ts";
import { HostBusy, HostRefused, HostUnreachable } from "./host-errors.ts";
import type { ReportSink } from "./sender.ts";

/* What the simulated hour is made of. */

export const VM = 11;

/** Time that passes only when everybody waits for it. */
export class SimulatedClock {
  time: number;
  #timers: { readonly at: number; readonly who: string; readonly callback: () => void }[] = [];

  constructor(time: number) {
    this.time = time;
  }

  readonly now = () => this.time;

  /** `who`: what waits for nothing else meanwhile. */
  after(who: string, ms: number, callback: () => void): () => void {
    // Whole milliseconds, as the system gives them.
    const timer = { at: Math.ceil(this.time + ms), who, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  sleep(who: string, ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(who, ms, resolve));
  }

  /** Resolves when each of them waits for time to pass. */
  async untilAllWait(all: readonly string[], isQuiet: () => boolean): Promise<void> {
    for (let turn = 0; turn < 1_000_000; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      if (isQuiet() && all.every((who) => this.#timers.some((one) => one.who === who))) return;
    }
    throw new Error("somebody waits for something else than time");
  }

  /** Lets the next timer fire that is due by then; false: there is none, and it is then. */
  fireBefore(then: number): boolean {
    const due = this.#timers.filter(({ at }) => at <= then).sort((a, b) => a.at - b.at);
    const [next] = due;
    this.time = Math.max(this.time, next?.at ?? then);
    if (next === undefined) return false;
    this.#timers = this.#timers.filter((one) => one !== next);
    next.callback();
    return true;
  }
}

/** Chance that is the same each time. */
export function chanceOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state / 2 ** 32;
  };
}

/** What the network does with a request. */
export type Fate = "answered" | "away" | "never-arrives" | "answer-is-lost" | "slow" | "busy";

/** The counterpart's own code and store behind a network that does as it is told. */
export class DoubtfulHost implements ReportSink {
  readonly seen = new Map<Fate | "full", number>();
  readonly #store: SqliteStore;
  readonly #clock: SimulatedClock;
  readonly #fate: () => Fate;
  readonly #chance: () => number;
  readonly #limits: ServerLimits;
  readonly #guard: Guard;

  constructor(store: SqliteStore, clock: SimulatedClock, fate: () => Fate, chance: () => number) {
    this.#store = store;
    this.#clock = clock;
    this.#fate = fate;
    this.#chance = chance;
    this.#limits = { ...SERVER_LIMITS, evidenceWaiting: 60 };
    this.#guard = new Guard(this.#limits, clock.now);
  }

  async postReports(batch: ReportBatch): Promise<{ readonly answer: Acknowledgement }> {
    const fate = this.#fate();
    this.#note(fate);
    const wait = (ms: number) => this.#clock.sleep("sender", ms);
    switch (fate) {
      case "away":
        await wait(this.#chance() < 0.5 ? 5 : 10_000);
        throw new HostUnreachable("EHOSTUNREACH", "there is no way to that machine");
      case "never-arrives":
        await wait(20_000);
        throw new HostUnreachable("TIMEOUT", "no whole answer within 20 s");
      case "answer-is-lost":
        await this.#take(batch);
        await wait(20_000);
        throw new HostUnreachable("TIMEOUT", "no whole answer within 20 s");
      case "busy":
        throw new HostBusy(503, "the host cannot write now", 5000);
      case "slow":
        await wait(10_000 * this.#chance());
        break;
      case "answered":
        await wait(5);
        break;
    }
    const answer = await this.#take(batch);
    if (fate === "slow") await wait(9000 * this.#chance());
    return { answer };
  }

  /** What waits for the mediator's record is joined: nothing comes of it. */
  async joinAll(): Promise<void> {
    const pending = await this.#store.pendingEvidence({ receivedBy: this.#clock.time, limit: 1000 });
    for (const { id } of pending) {
      const nothing = { window: null, document: null, operations: [] };
      await this.#store.putResult({ vmId: VM, madeAt: this.#clock.time, evidenceId: id, ...nothing });
    }
  }

  #note(what: Fate | "full"): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }

  async #take(batch: ReportBatch): Promise<Acknowledgement> {
    const [limits, guard] = [this.#limits, this.#guard];
    const receivedAt = this.#clock.time;
    try {
      const leave = guard.enter(VM, "report");
      leave();
      const body = Buffer.from(JSON.stringify(batch));
      const view = new VmView(this.#store, VM);
      const request = { view, receivedAt, body, encoding: undefined, limits, guard, events: NO_EVENTS };
      const answer = await answerReports(request);
      return { ...answer, clock: { received_at: receivedAt, sent_at: this.#clock.time } };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.code === "too-many-requests") this.#note("full");
      if (error.retryAfter === null) throw new HostRefused(error.status, error.code, error.message);
      throw new HostBusy(error.status, error.message, error.retryAfter * 1000);
    }
  }
}

export const newAgent = async (): Promise<string> => randomUUID();
