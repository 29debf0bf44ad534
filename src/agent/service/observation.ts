import { readFileSync } from "node:fs";
import type { Facts } from "../../facts/facts.ts";
import type { TraceFacts } from "../../facts/ledger.ts";
import type { SensorContext } from "../../sensors/context.ts";
import { defaultSince, sinkFile } from "../../sensors/logs.ts";
import { parseStat } from "../../sensors/proc.ts";
import { readWorkload } from "../../sensors/processes.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { readUnit } from "../../sensors/unit.ts";
import { withLimit } from "../../sensors/with-limit.ts";
import type { ConditionState, ProcessKey } from "../observe/condition-state.ts";
import { ConditionTracker } from "../observe/conditions.ts";
import { FactsReader } from "../observe/facts-reader.ts";
import { FollowedLog } from "../observe/followed-log.ts";
import type { LogPositions } from "../observe/log-position.ts";
import type { MediatorRun } from "../observe/mediator-run.ts";
import { agesOf, levelsOf, OBSERVED_CHECKS, type Observed, Observer } from "../observe/observer.ts";
import { type ProcessLook, ProcessWatch } from "../observe/process-watch.ts";
import type { RegisterGuard } from "../observe/register-guard.ts";
import { type Parked, REAL_CLOCK, Schedule } from "../observe/schedule.ts";
import { type CutWindow, type LogSource, WindowCutter } from "../observe/windows.ts";
import type { Settings } from "../settings/settings.ts";
import type { LiveCounts } from "./live-counts.ts";
import { monotonicMs } from "./monotonic.ts";
import { WorkloadLog } from "./workload-log.ts";

export interface ObservationOptions {
  readonly settings: Settings;
  /** How far an earlier agent read the log; null: there was none. */
  readonly positions: LogPositions | null;
  /** From when the journal is read where no place in it is known, epoch milliseconds; null: from the workload's start. */
  readonly since: number | null;
  readonly conditions: ConditionState;
  /** One for the agent's whole life: a reload is no reason to read the registers again. */
  readonly guard: RegisterGuard;
  /** The kernel's counts; null: the settings do not want them. */
  readonly live: LiveCounts | null;
  /** The mediator's run as the host told it last; null: not known. */
  readonly mediator: () => MediatorRun | null;
  readonly onObserved: (observed: Observed) => void;
  /** A window that the kernel alone has counted. */
  readonly onCounted: (trace: TraceFacts) => void;
  readonly onWindow: (window: CutWindow) => void;
  readonly onLogProblem: (source: LogSource, problem: string | null) => void;
  readonly onParked: (parked: Parked | null, level: string) => void;
  readonly onError: (error: unknown) => void;
}

const TICK_MS = 1000;
const FIND_LIMIT_MS = 10_000;
/** How long the first report waits for a log that is long: what is judged then says that it was not read to its end. */
const FIRST_LOG_MS = 60_000;
const NOTHING_SEEN: ProcessLook = { processes: null, events: [], doubt: "not looked yet" };

/** Everything that looks, with one set of settings: made anew when they change. */
export class Observation {
  readonly #options: ObservationOptions;
  readonly #fs = new RootFs("/");
  readonly #stop = new AbortController();
  readonly #schedule: Schedule;
  readonly #cutter: WindowCutter;
  readonly #followed: FollowedLog;
  readonly #tracker: ConditionTracker;
  readonly #watch: ProcessWatch;
  readonly #reader: FactsReader;
  readonly #observer: Observer;
  #look: ProcessLook = NOTHING_SEEN;
  #log: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;
  #since: number | null = null;

  constructor(options: ObservationOptions) {
    this.#options = options;
    const { settings, guard, live, onWindow, onObserved, conditions } = options;
    const { unit } = settings.workload;
    const madeAt = monotonicMs();
    this.#followed = new FollowedLog(unit);
    this.#cutter = new WindowCutter({
      onWindow,
      start: options.positions ?? {},
      server: () => this.#followed.server,
      now: Date.now,
    });
    this.#watch = new ProcessWatch({ fs: this.#fs, unit, monotonic: monotonicMs, kernel: live?.processEvents ?? null });
    this.#reader = new FactsReader({
      fs: this.#fs,
      unit,
      now: Date.now,
      monotonic: monotonicMs,
      guard,
      log: () => this.#followed.reading(),
      ...(live === null ? {} : { trace: () => live.reading() }),
      mostAgeMs: agesOf(settings.observe),
    });
    this.#tracker = new ConditionTracker(
      {
        visibleMs: settings.conditions.visible_seconds * 1000,
        clearMs: settings.conditions.clear_seconds * 1000,
        mostGapMs: 3 * settings.observe.full_seconds * 1000,
        checks: OBSERVED_CHECKS,
      },
      conditions,
    );
    this.#observer = new Observer({
      reader: this.#reader,
      tracker: this.#tracker,
      agent: ownProcess(),
      processes: () => this.#look,
      parked: () => this.#schedule.parked(),
      isLogRead: () => this.#followed.isRead || monotonicMs() - madeAt > FIRST_LOG_MS,
      mediator: options.mediator,
      now: Date.now,
      monotonic: monotonicMs,
      newId: () =>
        Math.floor(Math.random() * 0x1000000)
          .toString(16)
          .padStart(6, "0"),
      onObserved,
      // Else it would wait for the level's period, however short its time-to-visible is.
      onWaiting: (level) => this.#schedule.trigger(level),
    });
    this.#schedule = new Schedule(
      levelsOf(settings.observe, async (level, signal) => {
        await this.#lookAtProcesses();
        await this.#observer.look(level, signal);
      }),
      { ...REAL_CLOCK, monotonic: monotonicMs },
      { onParked: (level, parked) => options.onParked(parked, level) },
    );
  }

  /** Looks from now on; resolves when the log is found, which says where to read. */
  async start(): Promise<void> {
    const { settings, positions, onLogProblem, onError } = this.#options;
    const { file, lifeSince } = await this.#findLog();
    this.#since = this.#options.since ?? lifeSince;
    const log = new WorkloadLog({
      fs: this.#fs,
      unit: settings.workload.unit,
      file,
      lifeSince: this.#since,
      positions: positions ?? {},
      cutter: this.#cutter,
      followed: this.#followed,
      monotonic: monotonicMs,
      now: Date.now,
      onProblem: onLogProblem,
    });
    this.#log = log.run(this.#stop.signal).catch(onError);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#schedule.start();
  }

  /** Ends what looks. What is in an open window is read again from its beginning by the next observation. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#stop.abort();
    await Promise.all([this.#schedule.stop(), this.#log]);
  }

  slowDown(factor: number): void {
    this.#schedule.slowDown(factor);
  }

  /** Up to where everything was handed on in windows, or needs none. */
  get settled(): LogPositions {
    return this.#cutter.settled;
  }

  /** From when the journal is read, while no place in it is known; else null. */
  get since(): number | null {
    return this.settled.journal === undefined ? (this.#since ?? this.#options.since) : null;
  }

  get conditions(): ConditionState {
    return this.#tracker.state();
  }

  get facts(): Facts {
    return this.#reader.facts();
  }

  /** Of the last look's verdict; null: there is none. */
  get rung(): Observer["rung"] {
    return this.#observer.rung;
  }

  #tick(): void {
    this.#cutter.tick(monotonicMs());
    const counted = this.#options.live?.tick(this.#cutter.hasOpenWindow) ?? null;
    if (counted !== null) this.#options.onCounted(counted);
  }

  async #lookAtProcesses(): Promise<void> {
    this.#look = await this.#watch.look();
    this.#options.live?.looked(this.#look);
    for (const event of this.#look.events) {
      if (event.kind === "ended") this.#cutter.processEnded(event.process.pid, event.at);
      // What is known of the unit and its processes is of before.
      if (event.kind !== "came-and-went") this.#schedule.trigger("device");
    }
  }

  /** Where the workload's log goes, and since when it is this life's. */
  async #findLog(): Promise<{ readonly file: string | null; readonly lifeSince: number }> {
    const { unit: name, log } = this.#options.settings.workload;
    const scope = { subject: "live", root: "/", unit: name, pid: null, since: null, until: null } as const;
    const context = (signal: AbortSignal): SensorContext => ({ fs: this.#fs, scope, signal, now: Date.now });
    const unit = await withLimit("unit", FIND_LIMIT_MS, (signal) => readUnit(context(signal)));
    const workload = await withLimit("processes", FIND_LIMIT_MS, (signal) => readWorkload(context(signal), unit));
    const own = context(this.#stop.signal);
    return {
      file: log === "" ? await sinkFile(own, unit, workload) : log,
      lifeSince: defaultSince(own, unit, workload) ?? Date.now(),
    };
  }
}

function ownProcess(): ProcessKey {
  const startTicks = parseStat(readFileSync("/proc/self/stat"))?.startTicks ?? 0;
  return { pid: process.pid, startTicks };
}
