import { notRead, type Reading, wasRead } from "../../facts/reading.ts";
import type { HostHealth } from "../../report/wire/answers.ts";
import { collectMediatorHealth } from "../health/collect-health.ts";
import type { LogHealth, MediatorHealthFacts } from "../health/facts.ts";
import { healthForVm } from "../health/health-for-vm.ts";
import { livingMediators } from "../health/health-view.ts";
import type { LogFollowing } from "./log-source.ts";

export interface HealthWatchOptions {
  /** The mediator's log; null: none is followed. */
  readonly logPath: string | null;
  readonly log: () => LogHealth | null;
  readonly following: () => LogFollowing | null;
  readonly now: () => number;
  /** After each look. */
  readonly onFacts: (facts: MediatorHealthFacts) => void;
  readonly onError: (error: unknown) => void;
  /** Milliseconds between two looks. */
  readonly everyMs: number;
  /** Below it /proc, /var and /tmp are read; for tests. */
  readonly root?: string;
}

const NO_LOG = notRead("skipped", "no log of the mediator is followed");
const NOT_YET = notRead("skipped", "the log has not been read to its end yet");
const NO_GUESTS = notRead("skipped", "what guests report of their processes is not compared");
/** A mediator writes a heartbeat every 10 s (docs/wire.md). */
const FRESH_MS = 30_000;
const NOT_HERE = {
  check: "mediator-process",
  outcome: "unknown",
  cause: null,
  message: "the mediator does not run on the machine that follows its log: whether exactly one runs is not known",
} as const;
const MOST_FINDINGS = 64;
const MOST_MESSAGE = 2000;

/** Looks at the mediator's health now and then, beside what answers guests, and tells each VM its part of it. */
export class HealthWatch {
  readonly #options: HealthWatchOptions;
  #facts: MediatorHealthFacts | null = null;
  #timer: NodeJS.Timeout | null = null;
  #look: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: HealthWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#schedule(0);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#look;
  }

  async look(): Promise<void> {
    const { logPath, now, onFacts, root = "/" } = this.#options;
    this.#facts = await collectMediatorHealth({
      root,
      logPath,
      log: this.#readLog(),
      guests: NO_GUESTS,
      pid: null,
      now,
    });
    onFacts(this.#facts);
  }

  /** What this VM may be told; null: nothing was looked at yet, or the mediator does not run on this machine. */
  forVm(vmId: number): HostHealth | null {
    return this.#facts === null ? null : toldHealth(this.#facts, vmId, this.#options.following());
  }

  #readLog(): Reading<LogHealth> {
    if (this.#options.logPath === null) return NO_LOG;
    const log = this.#options.log();
    return log === null ? NOT_YET : wasRead(log);
  }

  #schedule(milliseconds: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#look = this.look()
        .catch(this.#options.onError)
        .then(() => this.#schedule(this.#options.everyMs));
    }, milliseconds);
  }
}

/** What a VM may be told of these facts, and of how far the log was read (null: none is followed). */
export function toldHealth(facts: MediatorHealthFacts, vmId: number, following: LogFollowing | null): HostHealth {
  const findings = runsElsewhere(facts) ? [NOT_HERE] : healthForVm(facts, vmId);
  return {
    checked_at: facts.collectedAt,
    findings: findings.slice(0, MOST_FINDINGS).map(({ check, outcome, cause, message }) => ({
      check,
      outcome,
      cause,
      message: message.slice(0, MOST_MESSAGE),
    })),
    log: logState(following),
  };
}

function logState(following: LogFollowing | null): HostHealth["log"] {
  if (following === null) return { state: "none", read_at: null, behind_bytes: null, watched_since: null };
  const { problem, readAt, behindBytes, watchedSince } = following;
  return {
    state: problem === null && behindBytes !== null ? "followed" : "unreadable",
    read_at: whole(readAt),
    behind_bytes: behindBytes,
    watched_since: whole(watchedSince),
  };
}

const whole = (time: number | null): number | null => (time === null ? null : Math.floor(time));

/** The log goes on, and neither a mediator nor a VM is here: the log comes from another machine. */
export function runsElsewhere(facts: MediatorHealthFacts): boolean {
  const { deviceModels, logFile, collectedAt, unseen } = facts;
  return (
    unseen.length === 0 &&
    livingMediators(facts)?.length === 0 &&
    deviceModels.state === "read" &&
    deviceModels.value.length === 0 &&
    logFile.state === "read" &&
    collectedAt - logFile.value.writtenAt < FRESH_MS
  );
}
