import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TOOL_VERSION } from "../../version.ts";
import { type ConditionState, conditionStateSchema, NO_CONDITIONS } from "../observe/condition-state.ts";
import type { LogPositions } from "../observe/log-position.ts";
import type { Observed } from "../observe/observer.ts";
import { RegisterGuard } from "../observe/register-guard.ts";
import type { CutWindow } from "../observe/windows.ts";
import { changedSettings, loadSettings } from "../settings/load-settings.ts";
import { problemLine } from "../settings/problem.ts";
import type { Settings } from "../settings/settings.ts";
import { readCheckpoint } from "../store/checkpoint.ts";
import { readFileDurable, writeFileDurable } from "../store/durable-file.ts";
import { openIdentity } from "../store/identity.ts";
import { type DirectoryLock, lockDirectory } from "../store/lock.ts";
import { StorageError } from "../store/storage-error.ts";
import { AgentLog } from "./agent-log.ts";
import { Delivery, readingFrom } from "./delivery.ts";
import { monotonicMs } from "./monotonic.ts";
import { Observation } from "./observation.ts";
import { SelfWatch } from "./self-watch.ts";
import type { ServiceManager } from "./service-manager.ts";
import { statusLine } from "./status-line.ts";

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

/** The settings cannot be used: the text has each problem with its line. */
export class CannotRun extends Error {}

/** How an agent ended. */
export type AgentEnd = "stopped" | "memory";

const SELF_MS = 5000;
const SAVE_MS = 30_000;
const BYTES_A_MEBIBYTE = 2 ** 20;

/**
 * Observes and reports until the signal. Throws CannotRun before anything was begun.
 *
 * INVARIANTS
 * - A window is in the spool before the place in the log behind it counts as read.
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
  readonly #lock: DirectoryLock | null;
  readonly #guard = new RegisterGuard(monotonicMs);
  #settings: Settings;
  #self: SelfWatch;
  #observation: Observation;
  #conditions: ConditionState;
  /** Behind the last window that was spooled. */
  #spooled: unknown;
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
      readonly spooled: unknown;
      readonly positions: LogPositions | null;
      readonly lock: DirectoryLock | null;
    },
  ) {
    this.#options = options;
    this.#log = log;
    this.#settings = settings;
    this.#delivery = delivery;
    this.#lock = start.lock;
    this.#conditions = start.conditions;
    this.#spooled = start.spooled;
    this.#self = selfWatch(settings);
    this.#observation = this.#observe(start.positions);
  }

  static async open(options: AgentOptions, settings: Settings, log: AgentLog): Promise<Agent> {
    const file = (name: string) => join(options.stateDirectory, name);
    const lock = await lockState(options.stateDirectory, log);
    const identity = await openIdentity(file("agent.json"));
    const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
    const checkpointFile = file("checkpoint.json");
    // Numbers that were given under a known id, and which ones is not known: a new id begins at 1 again.
    if (identity.isKept && (await readCheckpoint(checkpointFile)).state !== "read") await identity.renew();
    if (identity.trouble !== null)
      log.error({ problem: identity.trouble.message }, "the state directory cannot be used");
    const { delivery, found } = await Delivery.open({ settings, checkpointFile, identity, bootId, log });
    if (found.damagedPlaces > 0 || found.checkpoint === "invalid") {
      log.warn({ ...found, position: undefined }, "the spool was damaged: what is lost is told to the host");
    }
    const saved = await jsonIn(file("reading.json"));
    const conditions = conditionStateSchema.safeParse(await jsonIn(file("conditions.json"))).data ?? NO_CONDITIONS;
    const positions = readingFrom(found, saved);
    return new Agent(options, log, settings, delivery, { conditions, spooled: found.position, positions, lock });
  }

  async run(): Promise<AgentEnd> {
    const { manager, signal, onReload } = this.#options;
    const ended = new Promise<AgentEnd>((resolve) => {
      this.#wake = resolve;
      if (signal.aborted) resolve("stopped");
      signal.addEventListener("abort", () => resolve("stopped"), { once: true });
    });
    await this.#delivery.connect(this.#settings);
    await this.#observation.start();
    this.#log.info({ version: TOOL_VERSION, unit: this.#settings.workload.unit }, "observes");
    manager.ready(this.#status());
    onReload(() => {
      this.#reloading = this.#reloading.then(() => this.#reload());
    });
    const timers = [
      setInterval(() => this.#lookAtSelf(), SELF_MS),
      setInterval(() => void this.#saveReading(), SAVE_MS),
      ...(manager.watchdogMs === null ? [] : [setInterval(() => manager.alive(), manager.watchdogMs)]),
    ];
    const end = await ended;
    manager.stopping();
    for (const timer of timers) clearInterval(timer);
    await this.#reloading;
    await this.#observation.stop();
    await this.#writing;
    await this.#saveReading();
    await this.#delivery.close();
    await this.#lock?.release();
    this.#log.info({ end }, "ended");
    return end;
  }

  #observe(positions: LogPositions | null): Observation {
    const log = this.#log;
    return new Observation({
      settings: this.#settings,
      positions,
      conditions: this.#conditions,
      guard: this.#guard,
      onObserved: (observed) => this.#keepObserved(observed),
      onWindow: (window) => this.#keepWindow(window),
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
    this.#write(async () => {
      await this.#delivery.append({ kind, at, document, position: null });
      if (kind !== "condition") return;
      // After it is on the disk: a crash between the two tells it twice, and not never.
      this.#conditions = this.#observation.conditions;
      await writeFileDurable(this.#file("conditions.json"), JSON.stringify(this.#conditions));
    });
  }

  #keepWindow({ document, at, positions }: CutWindow): void {
    const { clock, vmId } = this.#delivery;
    const placed = {
      ...document,
      vm_id: vmId ?? document.vm_id,
      clock_offset_ms: clock?.offsetMs ?? null,
      clock_error_ms: clock?.errorMs ?? null,
    };
    this.#write(async () => {
      await this.#delivery.append({ kind: "guest-evidence", at, document: placed, position: positions });
      this.#spooled = positions;
    });
  }

  /** How far the log was read where nothing in it was worth a window: else a quiet log would be read again from far back. */
  async #saveReading(): Promise<void> {
    await this.#writing;
    if (!this.#delivery.isDelivered) return;
    const text = JSON.stringify({ base: this.#spooled ?? null, settled: this.#observation.settled });
    if (text === this.#savedReading) return;
    this.#write(async () => {
      await writeFileDurable(this.#file("reading.json"), text);
      this.#savedReading = text;
    });
    await this.#writing;
  }

  #write(work: () => Promise<void>): void {
    this.#writing = this.#writing.then(work).catch((error: unknown) => {
      this.#log.error({ err: error }, "what was seen could not be kept");
    });
  }

  #lookAtSelf(): void {
    const state = this.#self.sample();
    this.#observation.slowDown(state.slowness);
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
      const positions = this.#observation.settled;
      this.#conditions = this.#observation.conditions;
      this.#settings = settings;
      this.#self = selfWatch(settings);
      this.#log.limit(settings.limits.log_lines_per_minute, settings.log.level);
      // The enrolment may be another one although no setting is.
      await this.#delivery.connect(settings);
      this.#observation = this.#observe(positions);
      await this.#observation.start();
      this.#log.info({ changed }, "read its settings again");
    } catch (error) {
      if (!(error instanceof CannotRun)) throw error;
      this.#log.error({ problems: error.message.split("\n") }, "the settings cannot be used: the old ones stay");
    }
    manager.ready(this.#status());
  }

  #status(): string {
    return statusLine(this.#observation.facts, this.#conditions.open.length, this.#delivery.state);
  }

  #file(name: string): string {
    return join(this.#options.stateDirectory, name);
  }
}

/** Two agents of one state would give the same numbers. Null: the directory cannot be locked, and so not be written. */
async function lockState(directory: string, log: AgentLog): Promise<DirectoryLock | null> {
  try {
    return await lockDirectory(directory);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    if (error.fault === "in-use") throw new CannotRun(error.message);
    log.error({ problem: error.message }, "the state directory cannot be used: nothing outlives a restart");
    return null;
  }
}

const selfWatch = ({ limits }: Settings): SelfWatch =>
  new SelfWatch({
    memoryBytes: limits.memory_mebibytes * BYTES_A_MEBIBYTE,
    cpuShare: limits.cpu_percent / 100,
  });

async function jsonIn(path: string): Promise<unknown> {
  const text = await readFileDurable(path);
  try {
    return text.state === "read" ? JSON.parse(text.value) : null;
  } catch {
    return null;
  }
}
