/** When what is looked at. It knows no sensor: levels are given with what a run of theirs does. */

/** Cheapest first: of several that are due, the cheaper one goes first. */
export const LEVELS = ["light", "device", "status", "full"] as const;
export type LevelName = (typeof LEVELS)[number];

export interface Level {
  readonly name: LevelName;
  readonly periodMs: number;
  /** A run that takes longer is given up. */
  readonly limitMs: number;
  /** CPU time that a run may take, of this process. */
  readonly cpuMs: number;
  readonly run: (signal: AbortSignal) => Promise<void>;
}

/** Time and chance, injected. */
export interface ScheduleClock {
  /** Milliseconds of a clock that only goes forward. */
  readonly monotonic: () => number;
  /** CPU time of this process so far, milliseconds. */
  readonly cpu: () => number;
  /** At least 0 and below 1. */
  readonly random: () => number;
  /** Calls back once after so many milliseconds; what it returns takes that back. */
  readonly after: (ms: number, callback: () => void) => () => void;
}

export const REAL_CLOCK: ScheduleClock = {
  monotonic: () => performance.now(),
  cpu: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  random: Math.random,
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

/** Why a level is not run at its period. */
export interface Parked {
  readonly level: LevelName;
  readonly reason: string;
  /** Runs in a row that went wrong. */
  readonly failures: number;
  /** Milliseconds between this attempt and the next. */
  readonly retryMs: number;
}

export interface ScheduleOptions {
  /** Told when a level is parked, and (null) when a parked one has run well again. */
  readonly onParked?: (level: LevelName, parked: Parked | null) => void;
}

/** The first runs are spread, so that VMs that a host starts together do not look together. */
const START_SPREAD_MS = 10_000;
/** And periods differ a little, so that they do not come together later. */
const SPREAD = 0.1;
const MOST_RETRY_MS = 3600_000;
/** An event asks for a level at most so often: a crash loop is no reason to look all the time. */
const LEAST_BETWEEN_TRIGGERS_MS: Readonly<Record<LevelName, number>> = {
  light: 1000,
  device: 10_000,
  status: Number.POSITIVE_INFINITY,
  full: 60_000,
};

class LevelState {
  readonly level: Level;
  dueAt: number;
  lastStart = Number.NEGATIVE_INFINITY;
  failures = 0;
  parked: Parked | null = null;
  /** A run that was given up and has not come back. */
  stuck = false;

  constructor(level: Level, dueAt: number) {
    this.level = level;
    this.dueAt = dueAt;
  }
}

/**
 * INVARIANTS
 * - One run at a time. One that was given up and hangs on keeps its own level from running again, no other.
 * - After a pause of any length (a suspended VM, a stopped process) every level runs once, not once for each period.
 * - A level that takes more than its time or its CPU, or fails, is parked: tried again after twice its period, then
 *   four times, up to an hour; one good run ends that.
 */
export class Schedule {
  readonly #states: readonly LevelState[];
  readonly #clock: ScheduleClock;
  readonly #options: ScheduleOptions;
  #slowness = 1;
  #running: Promise<void> | null = null;
  #abort: AbortController | null = null;
  #cancel: (() => void) | null = null;
  #stopped = true;

  constructor(levels: readonly Level[], clock: ScheduleClock = REAL_CLOCK, options: ScheduleOptions = {}) {
    this.#clock = clock;
    this.#options = options;
    const order = [...levels].sort((a, b) => LEVELS.indexOf(a.name) - LEVELS.indexOf(b.name));
    this.#states = order.map((level) => new LevelState(level, 0));
  }

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    const now = this.#clock.monotonic();
    for (const state of this.#states) {
      state.dueAt = now + this.#clock.random() * Math.min(START_SPREAD_MS, state.level.periodMs);
    }
    this.#arm();
  }

  /** Starts no more runs, asks the one that is under way to end, and waits for it as long as its limit. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    this.#cancel = null;
    this.#abort?.abort();
    await this.#running;
  }

  /** Looks so many times less often than the periods say; 1 is as they say. */
  slowDown(slowness: number): void {
    this.#slowness = Math.max(1, slowness);
  }

  /**
   * Something happened: the level is run soon, unless it is parked; never more often than its least distance. For STATUS
   * nothing that happens is a reason.
   */
  trigger(name: LevelName): void {
    const state = this.#states.find(({ level }) => level.name === name);
    if (state === undefined || state.parked !== null || this.#stopped) return;
    const least = LEAST_BETWEEN_TRIGGERS_MS[name];
    if (!Number.isFinite(least)) return;
    const soonest = state.lastStart + least;
    const at = Math.max(this.#clock.monotonic(), soonest);
    if (at >= state.dueAt) return;
    state.dueAt = at;
    if (this.#running === null) this.#arm();
  }

  parked(): readonly Parked[] {
    return this.#states.flatMap(({ parked }) => parked ?? []);
  }

  #arm(): void {
    this.#cancel?.();
    this.#cancel = null;
    if (this.#stopped) return;
    const waiting = this.#states.filter(({ stuck }) => !stuck);
    const next = Math.min(...waiting.map(({ dueAt }) => dueAt));
    if (!Number.isFinite(next)) return;
    const wait = Math.max(0, next - this.#clock.monotonic());
    this.#cancel = this.#clock.after(wait, () => {
      this.#cancel = null;
      this.#turn();
    });
  }

  #turn(): void {
    if (this.#stopped || this.#running !== null) return;
    const now = this.#clock.monotonic();
    const due = this.#states.find(({ dueAt, stuck }) => !stuck && dueAt <= now);
    if (due === undefined) {
      this.#arm();
      return;
    }
    this.#running = this.#run(due).finally(() => {
      this.#running = null;
      this.#arm();
    });
  }

  async #run(state: LevelState): Promise<void> {
    const { level } = state;
    const startedAt = this.#clock.monotonic();
    const cpuBefore = this.#clock.cpu();
    state.lastStart = startedAt;
    const abort = new AbortController();
    this.#abort = abort;
    let cancel: (() => void) | undefined;
    const late = new Promise<"late">((resolve) => {
      cancel = this.#clock.after(level.limitMs, () => resolve("late"));
    });
    const run = asOutcome(level.run, abort.signal);
    const outcome = await Promise.race([run, late]);
    cancel?.();
    this.#abort = null;
    if (outcome === "late") {
      abort.abort();
      this.#waitFor(state, run);
    }
    const took = this.#clock.monotonic() - startedAt;
    const cpu = this.#clock.cpu() - cpuBefore;
    const reason = this.#reason(level, outcome, took, cpu);
    if (abort.signal.aborted && outcome !== "late") this.#next(state, startedAt, null);
    else this.#next(state, startedAt, reason);
  }

  #waitFor(state: LevelState, run: Promise<unknown>): void {
    state.stuck = true;
    void run.then(() => {
      state.stuck = false;
      if (this.#running === null) this.#arm();
    });
  }

  #reason({ limitMs, cpuMs }: Level, outcome: string | null, took: number, cpu: number): string | null {
    if (outcome === "late") return `took longer than ${limitMs} ms`;
    if (outcome !== null) return `failed: ${outcome}`;
    if (took > limitMs) return `took ${Math.round(took)} ms, more than ${limitMs} ms`;
    if (cpu > cpuMs) return `took ${Math.round(cpu)} ms of CPU time, more than ${cpuMs} ms`;
    return null;
  }

  #next(state: LevelState, startedAt: number, reason: string | null): void {
    const period = state.level.periodMs * this.#slowness;
    const wasParked = state.parked !== null;
    state.failures = reason === null ? 0 : state.failures + 1;
    const factor = 2 ** Math.min(state.failures, 16);
    const retryMs = state.failures === 0 ? period : Math.max(period, Math.min(MOST_RETRY_MS, period * factor));
    const { name } = state.level;
    state.parked = reason === null ? null : { level: name, reason, failures: state.failures, retryMs };
    const spread = 1 + SPREAD * (this.#clock.random() - 0.5);
    const now = this.#clock.monotonic();
    const due = startedAt + retryMs * spread;
    // What was missed is missed: the next run is one period away, not all at once.
    state.dueAt = due > now ? due : now + retryMs * spread;
    if (reason !== null || wasParked) this.#options.onParked?.(name, state.parked);
  }
}

/** Null when it went well, else what it failed with. Never rejects. */
async function asOutcome(run: Level["run"], signal: AbortSignal): Promise<string | null> {
  try {
    await run(signal);
    return null;
  } catch (error) {
    return (error instanceof Error ? error.message : String(error)).slice(0, 300) || "without a word";
  }
}
