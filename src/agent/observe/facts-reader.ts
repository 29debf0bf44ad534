import type { BarFacts } from "../../facts/device.ts";
import type { Facts, Scope } from "../../facts/facts.ts";
import type { Ledger, TraceFacts } from "../../facts/ledger.ts";
import type { LogFacts } from "../../facts/log.ts";
import { type NotRead, notRead, type Reading, valueIn } from "../../facts/reading.ts";
import type { WorkloadFacts } from "../../facts/workload.ts";
import { type BarRunner, readBars } from "../../sensors/bar.ts";
import type { SensorContext } from "../../sensors/context.ts";
import { readHost } from "../../sensors/host.ts";
import { readLockdown } from "../../sensors/lockdown.ts";
import { readLocks } from "../../sensors/locks.ts";
import { readPci } from "../../sensors/pci.ts";
import { readPreload } from "../../sensors/preload.ts";
import { readPreloadVariable } from "../../sensors/preload-variable.ts";
import { readWorkload } from "../../sensors/processes.ts";
import type { RootFs } from "../../sensors/root-fs.ts";
import { readSelf } from "../../sensors/self.ts";
import { readShimFiles } from "../../sensors/shim-files.ts";
import { readStateFiles } from "../../sensors/state-files.ts";
import { readUnit } from "../../sensors/unit.ts";
import { withLimit } from "../../sensors/with-limit.ts";
import type { RegisterGuard } from "./register-guard.ts";
import type { LevelName } from "./schedule.ts";

/** What is read of the machine, apart from what says of what and when it is. */
export type Readings = Omit<Facts, "schema" | "collectedAt" | "scope">;
export type FactName = keyof Readings;
type Values = { [Name in FactName]: Readings[Name] extends Reading<infer Value> ? Value : never };
type Store = { [Name in FactName]: Reading<Values[Name]> };

export interface FactsReaderOptions {
  readonly fs: RootFs;
  readonly unit: string;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Milliseconds since boot of a clock that only goes forward. */
  readonly monotonic: () => number;
  readonly guard: RegisterGuard;
  /** What the followed log has told so far. */
  readonly log: () => { readonly log: Reading<LogFacts>; readonly ledger: Reading<Ledger> };
  /** What the probes have counted so far, where they are on. */
  readonly trace?: () => Reading<TraceFacts>;
  /** How old a reading of a level may be, milliseconds; older ones are not judged. */
  readonly mostAgeMs: Readonly<Record<LevelName, number>>;
  readonly barRunner?: BarRunner;
}

/** Milliseconds; the doctor's own limits, which a level's limit must leave room for. */
const LIMIT_MS = 5000;
const WORKLOAD_LIMIT_MS = 8000;
const BAR_LIMIT_MS = 7000;

const NOT_YET = "the agent has just started and has not read it yet";
const NO_HOST = "the host's record is compared on the host";
const NO_TRACE = "no probe is put into the workload unless the settings say so (observe.live)";

/**
 * Which level reads what. Cost decides: what costs below a millisecond is light; the device, its processes and what
 * the service manager says are next; files that have to be hashed or parsed, and the agent itself, are last.
 */
const LEVEL_OF: Readonly<Record<FactName, LevelName>> = {
  preload: "light",
  locks: "light",
  log: "light",
  ledger: "light",
  trace: "light",
  hostMatch: "light",
  host: "device",
  lockdown: "device",
  pci: "device",
  // Read with the device while somebody uses it, with STATUS when nobody does.
  bars: "status",
  unit: "device",
  workload: "device",
  preloadVariable: "device",
  stateFiles: "device",
  shimFiles: "full",
  self: "full",
};

/** Registers that change with every call: while they stand still, a STATUS that says that a call has ended does too. */
const CALL_REGISTERS = ["CUDA_SEQ", "CUDA_OP", "SCRATCH", "CUDA_DATA_LEN"] as const;
const STATUS_BUSY = 1;

/**
 * The facts of a machine that is watched: each sensor read at its level, the others carried over with their age. A
 * reading that is older than its level allows is not handed on: its place says so, and no check judges by it.
 */
export class FactsReader {
  readonly #options: FactsReaderOptions;
  readonly #scope: Scope;
  readonly #readings: Store = nothingRead();
  /** When each was read, monotonic milliseconds. */
  readonly #at = new Map<FactName, number>();

  constructor(options: FactsReaderOptions) {
    this.#options = options;
    const { fs, unit } = options;
    this.#scope = { subject: fs.live ? "live" : "tree", root: fs.root, unit, pid: null, since: null, until: null };
  }

  /** Reads what the level reads. Never rejects: what cannot be read is a reading that says why. */
  async read(level: LevelName, signal: AbortSignal): Promise<void> {
    switch (level) {
      case "light":
        return await this.#light(signal);
      case "device":
        return await this.#device(signal, false);
      case "status":
        return await this.#device(signal, true);
      case "full":
        return await this.#full(signal);
    }
  }

  /** What is known now, for a judgement. */
  facts(): Facts {
    const tooOld: Partial<Record<FactName, NotRead>> = {};
    for (const [name, at] of this.#at) {
      const age = this.#options.monotonic() - at;
      if (age > this.#mostAge(name)) tooOld[name] = notRead("timed-out", `last read ${Math.round(age / 1000)} s ago`);
    }
    const collectedAt = this.#options.now();
    return { schema: "vgpu-agent/facts/1", collectedAt, scope: this.#scope, ...this.#readings, ...tooOld };
  }

  /** When a fact was read, monotonic milliseconds; null: it was not, or too long ago. */
  readAt(name: FactName): number | null {
    const at = this.#at.get(name);
    return at === undefined || this.#options.monotonic() - at > this.#mostAge(name) ? null : at;
  }

  #mostAge(name: FactName): number {
    return this.#options.mostAgeMs[LEVEL_OF[name]];
  }

  #keep<Name extends FactName>(name: Name, reading: Reading<Values[Name]>, at: number): void {
    // Name and reading belong together by this function's type.
    Object.assign(this.#readings, { [name]: reading });
    this.#at.set(name, at);
  }

  /** A reading counts from when it was begun: what happened meanwhile may not be in it. */
  async #read<Name extends FactName>(
    name: Name,
    signal: AbortSignal,
    sensor: (context: SensorContext) => Promise<Reading<Values[Name]>>,
    limitMs = LIMIT_MS,
  ): Promise<void> {
    const at = this.#options.monotonic();
    const { fs, now } = this.#options;
    const reading = await withLimit(name, limitMs, (own) =>
      sensor({ fs, scope: this.#scope, signal: AbortSignal.any([own, signal]), now }),
    );
    this.#keep(name, reading, at);
  }

  async #light(signal: AbortSignal): Promise<void> {
    const { log, trace, monotonic } = this.#options;
    const { workload } = this.#readings;
    await Promise.all([
      this.#read("preload", signal, readPreload),
      this.#read("locks", signal, (context) => readLocks(context, workload)),
    ]);
    const at = monotonic();
    const followed = log();
    this.#keep("log", followed.log, at);
    this.#keep("ledger", followed.ledger, at);
    this.#keep("trace", trace?.() ?? notRead("skipped", NO_TRACE), at);
    this.#keep("hostMatch", notRead("skipped", NO_HOST), at);
  }

  async #device(signal: AbortSignal, withStatus: boolean): Promise<void> {
    await Promise.all([
      this.#read("host", signal, readHost),
      this.#read("lockdown", signal, readLockdown),
      this.#read("pci", signal, readPci),
      this.#read("unit", signal, readUnit),
    ]);
    await this.#bars(signal, withStatus);
    const { unit } = this.#readings;
    await this.#read("workload", signal, (context) => readWorkload(context, unit), WORKLOAD_LIMIT_MS);
    const { workload } = this.#readings;
    await Promise.all([
      this.#read("preloadVariable", signal, (context) => readPreloadVariable(context, workload, unit)),
      this.#read("stateFiles", signal, (context) => readStateFiles(context, workload)),
    ]);
  }

  async #full(signal: AbortSignal): Promise<void> {
    await this.#device(signal, false);
    const { workload, unit } = this.#readings;
    await this.#read("shimFiles", signal, (context) => readShimFiles(context, workload, unit));
    await this.#read("self", signal, readSelf);
  }

  /** The registers, where they may be read now; else the last reading stays, as old as it is. */
  async #bars(signal: AbortSignal, withStatus: boolean): Promise<void> {
    const { guard, barRunner } = this.#options;
    const { pci, bars: before } = this.#readings;
    const isRecent = this.readAt("bars") !== null;
    if (!withStatus && isRecent && !mayHaveChanged(before, this.#readings.workload)) return;
    if (!guard.take("registers")) return;
    const status = withStatus && guard.take("status");
    const read = (context: SensorContext) => readBars(context, pci, barRunner, status);
    await this.#read("bars", signal, read, BAR_LIMIT_MS);
    if (!status) this.#readings.bars = withKnownStatus(before, this.#readings.bars);
  }
}

/**
 * Whether another look at the registers may say something else than the last one. One that this machine was too slow for
 * has said nothing.
 */
export function mayHaveChanged(before: Reading<BarFacts>, workload: Reading<WorkloadFacts>): boolean {
  return before.state === "timed-out" || usesDevice(workload);
}

/**
 * Whether a process may be making calls. Registers that nobody writes to stay as they are, and a look at them costs a
 * process of its own. What is not known counts as use.
 */
export function usesDevice(workload: Reading<WorkloadFacts>): boolean {
  const found = valueIn(workload);
  if (found === undefined || found.incomplete.length > 0) return true;
  return found.processes.some(({ maps }) => maps.state !== "read" || maps.value.bars.length > 0);
}

/** Fills in a STATUS that was read earlier, where the registers show that it is the same now. */
export function withKnownStatus(before: Reading<BarFacts>, now: Reading<BarFacts>): Reading<BarFacts> {
  const [old, read] = [valueIn(before), valueIn(now)];
  if (now.state !== "read" || old?.outcome !== "read" || read?.outcome !== "read" || read.status !== null) return now;
  if (old.status === null || old.status === STATUS_BUSY) return now;
  const [then, first, last] = [old.passes.at(-1), read.passes.at(0), read.passes.at(-1)];
  const same = CALL_REGISTERS.every((name) => {
    const value = then?.registers[name];
    return value !== undefined && first?.registers[name] === value && last?.registers[name] === value;
  });
  return same ? { ...now, value: { ...read, status: old.status } } : now;
}

function nothingRead(): Store {
  const none = notRead("skipped", NOT_YET);
  return {
    host: none,
    self: none,
    pci: none,
    bars: none,
    lockdown: none,
    unit: none,
    workload: none,
    preload: none,
    preloadVariable: none,
    shimFiles: none,
    log: none,
    ledger: none,
    trace: none,
    hostMatch: none,
    stateFiles: none,
    locks: none,
  };
}
