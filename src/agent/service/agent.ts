import { readFileSync } from "node:fs";
import type { TraceFacts } from "../../facts/ledger.ts";
import type { GuestEvidence } from "../../host/match/guest-evidence.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { TOOL_VERSION } from "../../version.ts";
import { countedWindow } from "../evidence/counted-window.ts";
import type { ConditionState } from "../observe/condition-state.ts";
import type { LogPositions } from "../observe/log-position.ts";
import type { Observed } from "../observe/observer.ts";
import { RegisterGuard } from "../observe/register-guard.ts";
import type { CutWindow } from "../observe/windows.ts";
import { changedSettings, loadSettings } from "../settings/load-settings.ts";
import { problemLine } from "../settings/problem.ts";
import type { Settings } from "../settings/settings.ts";
import { readCheckpoint } from "../store/checkpoint.ts";
import { writeFileDurable } from "../store/durable-file.ts";
import { StorageError } from "../store/storage-error.ts";
import { baseOfCount, type ClockBase, type WaitingEvidence } from "../uplink/placement.ts";
import { AgentLog } from "./agent-log.ts";
import { Delivery } from "./delivery.ts";
import { LiveCounts } from "./live-counts.ts";
import { monotonicMs } from "./monotonic.ts";
import { Observation } from "./observation.ts";
import { type Covered, coveredOf, NOTHING_COVERED, type Reading, readingFrom, sinceFrom } from "./reading-place.ts";
import { SelfWatch } from "./self-watch.ts";
import type { ServiceManager } from "./service-manager.ts";
import { CannotRun, jsonIn, StateDirectory } from "./state-directory.ts";
import { statusLine } from "./status-line.ts";
import { type Said, ToldConditions } from "./told-conditions.ts";

export interface AgentOptions {
  /** Another one than the installed; null: that. */
  readonly settingsFile: string | null;
  /** What has to outlive a restart. */
  readonly stateDirectory: string;
  readonly manager: ServiceManager;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Called with what reads the settings again. */
  readonly onReload: (reload: () => void) => void;
}

/** Where an observation goes on. */
interface ReadingStart {
  readonly positions: LogPositions | null;
  readonly since: number | null;
}

/** How an agent ended. */
export type AgentEnd = "stopped" | "memory";

const SELF_MS = 5000;
const SAVE_MS = 30_000;
const SAVE_SOON_MS = 2000;
const BYTES_A_MEBIBYTE = 2 ** 20;

/**
 * Observes and reports until the signal. Throws CannotRun before anything was begun.
 *
 * INVARIANTS
 * - A window is in the spool before the place in the log behind it counts as read, and both are one record.
 * - What has to agree after a crash is written in the order in which it was seen, one after the other.
 * - New settings that cannot be used change nothing.
 */
export async function runAgent(options: AgentOptions): Promise<AgentEnd> {
  const settings = settingsFrom(options.settingsFile);
  const log = new AgentLog(settings.limits.log_lines_per_minute, settings.log.level);
  const agent = await Agent.open(options, settings, log);
  return await agent.run();
}

function settingsFrom(file: string | null): Settings {
  const loaded = loadSettings({ ...(file === null ? {} : { file }), mustBeTrusted: true });
  if (loaded.ok) return loaded.settings;
  throw new CannotRun(loaded.problems.map((problem) => problemLine(loaded.file, problem)).join("\n"));
}

class Agent {
  readonly #options: AgentOptions;
  readonly #log: AgentLog;
  readonly #delivery: Delivery;
  readonly #state: StateDirectory;
  readonly #guard = new RegisterGuard(monotonicMs);
  #settings: Settings;
  #self: SelfWatch;
  #observation: Observation;
  /** The kernel's counts; null: the settings do not want them. */
  #live: LiveCounts | null;
  readonly #told: ToldConditions;
  /** What was cut and said, and is on its way to the spool. */
  #onItsWay = 0;
  /** What the spool has. */
  #covered: Covered;
  #savedReading = "";
  /** What is being written; one after the other. */
  #writing: Promise<void> = Promise.resolve();
  #wake: (end: AgentEnd) => void = () => {};
  #reloading: Promise<void> = Promise.resolve();

  private constructor(
    options: AgentOptions,
    log: AgentLog,
    settings: Settings,
    delivery: Delivery,
    start: {
      readonly conditions: ConditionState;
      readonly told: ToldConditions;
      readonly covered: Covered;
      readonly from: ReadingStart;
      readonly live: LiveCounts | null;
      readonly state: StateDirectory;
    },
  ) {
    this.#options = options;
    this.#log = log;
    this.#settings = settings;
    this.#delivery = delivery;
    this.#state = start.state;
    this.#told = start.told;
    this.#covered = start.covered;
    this.#live = start.live;
    this.#self = selfWatch(settings);
    this.#observation = this.#observe(start.from, start.conditions);
  }

  static async open(options: AgentOptions, settings: Settings, log: AgentLog): Promise<Agent> {
    const state = await StateDirectory.open(options.stateDirectory, log);
    const { identity } = state;
    const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
    const checkpointFile = state.file("checkpoint.json");
    // Numbers that were given under a known id, and which ones is not known: a new id begins at 1 again.
    if (identity.isKept && (await readCheckpoint(checkpointFile)).state !== "read") await identity.renew();
    const { delivery, found } = await Delivery.open({ settings, checkpointFile, identity, bootId, log });
    if (found.damagedPlaces > 0 || found.checkpoint === "invalid") {
      log.warn({ ...found, position: undefined }, "the spool was damaged: what is lost is told to the host");
    }
    const known = coveredOf(found.position);
    const saved = await jsonIn(state.file("reading.json"));
    const from = { positions: readingFrom(known, saved), since: sinceFrom(saved) };
    const {
      told,
      state: conditions,
      unsaid,
    } = await ToldConditions.open(state.file("conditions.json"), known?.told ?? 0);
    const covered = known ?? NOTHING_COVERED;
    const live = await probesFor(settings, null, log);
    const start = { conditions, told, covered, from, state, live };
    const agent = new Agent(options, log, settings, delivery, start);
    for (const said of unsaid) agent.#tell(said);
    return agent;
  }

  async run(): Promise<AgentEnd> {
    const { manager, signal, onReload } = this.#options;
    const ended = new Promise<AgentEnd>((resolve) => {
      this.#wake = resolve;
      if (signal.aborted) resolve("stopped");
      signal.addEventListener("abort", () => resolve("stopped"), { once: true });
    });
    await this.#delivery.connect(this.#settings, signal);
    await this.#observation.start();
    this.#log.info({ version: TOOL_VERSION, unit: this.#settings.workload.unit }, "observes");
    this.#delivery.noteDisk();
    manager.ready(this.#status());
    onReload(() => {
      this.#reloading = this.#reloading.then(() => this.#reload());
    });
    const timers = [
      setInterval(() => this.#lookAtSelf(), SELF_MS),
      // Once soon: what is saved at the first start is where the first reading began.
      setTimeout(() => this.#saveReading(), SAVE_SOON_MS),
      setInterval(() => this.#saveReading(), SAVE_MS),
      ...(manager.watchdogMs === null ? [] : [setInterval(() => manager.alive(), manager.watchdogMs)]),
    ];
    const end = await ended;
    manager.stopping();
    for (const timer of timers) clearInterval(timer);
    await this.#reloading;
    await this.#observation.stop();
    this.#saveReading();
    await this.#endProbes();
    await this.#writing;
    await this.#delivery.close();
    await this.#state.release();
    this.#log.info({ end }, "ended");
    return end;
  }

  #observe({ positions, since }: ReadingStart, conditions: ConditionState): Observation {
    const log = this.#log;
    return new Observation({
      settings: this.#settings,
      positions,
      since,
      conditions,
      guard: this.#guard,
      live: this.#live,
      mediator: () => this.#delivery.mediator,
      onObserved: (observed) => this.#keepObserved(observed),
      onWindow: (window) => this.#keepWindow(window),
      onCounted: (trace) => this.#keepCounted(trace),
      onLogProblem: (source, problem) => {
        if (problem === null) log.info({ source }, "the workload's log can be read again");
        else log.warn({ source, problem }, "the workload's log cannot be read");
      },
      onParked: (parked, level) => {
        if (parked === null) log.info({ level }, "a level runs again");
        else log.warn({ ...parked }, "a level takes too much or fails: it is tried less often");
      },
      onError: (error) => log.error({ err: error }, "following the log failed"),
    });
  }

  #keepObserved({ kind, at, document }: Observed): void {
    if (kind === "condition") {
      this.#tell(this.#told.say({ at, document }));
      return;
    }
    this.#write(async () => {
      await this.#delivery.append({ kind, at, document, position: null });
    });
  }

  #tell(said: Said): void {
    this.#keep(async () => {
      // First: what is told and not known here would be told again. Where the disk does not take it, it is told all the same.
      await this.#told.save(said, this.#observation.conditions).catch((error: unknown) => this.#noteNotWritten(error));
      const covered = { ...this.#covered, told: said.number };
      const { at, document } = said;
      this.#told.appended(said, await this.#delivery.append({ kind: "condition", at, document, position: covered }));
      this.#covered = covered;
    });
  }

  #keepWindow({ document: logged, at, positions, base }: CutWindow): void {
    const own = { ...logged, vm_id: this.#delivery.vmId ?? logged.vm_id };
    const trace = this.#live?.cut(own) ?? null;
    const document = (trace === null ? null : this.#counted(trace, own, base)) ?? this.#delivery.placed(own, base);
    this.#keep(async () => {
      const covered = { ...this.#covered, log: positions };
      await this.#delivery.append({ kind: "guest-evidence", at, document, position: covered });
      this.#covered = covered;
    });
  }

  async #endProbes(): Promise<void> {
    const rest = this.#live?.rest() ?? null;
    if (rest !== null) this.#keepCounted(rest);
    await this.#live?.stop();
    this.#live = null;
  }

  /** It covers nothing of the log. */
  #keepCounted(trace: TraceFacts): void {
    const document = this.#counted(trace, null, null);
    if (document === null) return;
    const at = Date.now();
    this.#write(async () => {
      await this.#delivery.append({ kind: "guest-evidence", at, document, position: null });
    });
  }

  #counted(trace: TraceFacts, log: GuestEvidence | null, base: ClockBase | null): WaitingEvidence | null {
    const { vmId } = this.#delivery;
    const document = countedWindow({ facts: this.#observation.facts, trace, log, vmId, clock: null });
    return document === null ? null : this.#delivery.placed(document, baseOfCount(Date.now() - monotonicMs(), base));
  }

  /** How far the log was read since the last window, and what was not written when it should have been. */
  #saveReading(): void {
    this.#write(async () => {
      await this.#state.claim();
      await this.#told.saveRest(this.#observation.conditions);
      // A window that was cut and is not in the spool yet lies before what is settled: another time.
      if (this.#onItsWay > 0) return;
      const { isDelivered } = this.#delivery;
      const { settled, since } = this.#observation;
      const reading: Reading = { base: this.#covered.log, settled, since, isDelivered };
      const text = JSON.stringify(reading);
      if (text !== this.#savedReading) await writeFileDurable(this.#state.file("reading.json"), text);
      this.#savedReading = text;
      this.#state.noteKept();
    });
  }

  /** Something that covers the log, or a condition. */
  #keep(work: () => Promise<void>): void {
    this.#onItsWay += 1;
    this.#write(async () => {
      try {
        await work();
      } finally {
        this.#onItsWay -= 1;
      }
    });
  }

  #write(work: () => Promise<void>): void {
    this.#writing = this.#writing.then(work).catch((error: unknown) => this.#noteNotWritten(error));
  }

  #noteNotWritten(error: unknown): void {
    if (error instanceof StorageError) this.#state.noteTrouble(error);
    else this.#log.error({ err: error }, "what was seen could not be kept");
  }

  #lookAtSelf(): void {
    const state = this.#self.sample();
    this.#observation.slowDown(state.slowness);
    this.#delivery.noteDisk();
    this.#options.manager.status(this.#status());
    if (!state.mustRestart) return;
    this.#log.error({ rss: state.rssBytes }, "above limits.memory_mebibytes for a minute: starts anew");
    this.#wake("memory");
  }

  /** New settings: what looks is made anew and goes on where the old one stopped. */
  async #reload(): Promise<void> {
    const { manager, settingsFile } = this.#options;
    manager.reloading();
    try {
      const settings = settingsFrom(settingsFile);
      const changed = changedSettings(this.#settings, settings);
      await this.#observation.stop();
      await this.#writing;
      const { settled, since, conditions } = this.#observation;
      if (changed.some((name) => name.startsWith("spool."))) {
        this.#log.warn({}, "the settings of the spool are taken over at the next start");
      }
      this.#settings = settings;
      this.#self = selfWatch(settings);
      this.#log.limit(settings.limits.log_lines_per_minute, settings.log.level);
      if (settings.observe.live === "off") await this.#endProbes();
      this.#live = await probesFor(settings, this.#live, this.#log);
      // The enrolment may be another one although no setting is.
      await this.#delivery.connect(settings, this.#options.signal);
      this.#observation = this.#observe({ positions: settled, since }, conditions);
      await this.#observation.start();
      this.#log.info({ changed }, "read its settings again");
    } catch (error) {
      if (!(error instanceof CannotRun)) throw error;
      this.#log.error({ problems: error.message.split("\n") }, "the settings cannot be used: the old ones stay");
    }
    manager.ready(this.#status());
  }

  #status(): string {
    const { rung, conditions } = this.#observation;
    return statusLine(rung, conditions.open.length, this.#delivery.state, this.#state.trouble);
  }
}

/** Puts the kernel's probes in where the settings want them, and takes them out where they no longer do. */
async function probesFor(
  { observe, workload }: Settings,
  before: LiveCounts | null,
  log: AgentLog,
): Promise<LiveCounts | null> {
  const isWanted = observe.live === "on";
  if (before !== null && isWanted && before.unit === workload.unit) return before;
  await before?.stop();
  if (!isWanted) return null;
  const live = await LiveCounts.start({ fs: new RootFs("/"), unit: workload.unit, now: Date.now });
  if (live.refusal === null) log.info({}, "the kernel counts the workload's calls");
  else log.warn({ reason: live.refusal }, "the kernel cannot count calls here: how many there were is not known");
  return live;
}

const selfWatch = ({ limits }: Settings): SelfWatch =>
  new SelfWatch({
    memoryBytes: limits.memory_mebibytes * BYTES_A_MEBIBYTE,
    cpuShare: limits.cpu_percent / 100,
  });
