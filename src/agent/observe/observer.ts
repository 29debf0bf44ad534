import type { Check } from "../../checks/check.ts";
import type { Finding } from "../../checks/finding.ts";
import { CHECKS } from "../../checks/registry.ts";
import { serverOf } from "../../checks/view.ts";
import type { Facts } from "../../facts/facts.ts";
import { valueIn } from "../../facts/reading.ts";
import type { Rung } from "../../protocol/vocabulary.ts";
import { buildReport } from "../../report/build.ts";
import type { Report } from "../../report/report.ts";
import type { Condition } from "../../report/wire/condition.ts";
import { judge } from "../../verdict/verdict.ts";
import { TOOL_VERSION } from "../../version.ts";
import { OBSERVATION } from "./condition-rules.ts";
import type { ProcessKey } from "./condition-state.ts";
import type { ConditionTracker } from "./conditions.ts";
import type { FactsReader } from "./facts-reader.ts";
import { judgeFacts } from "./judge-facts.ts";
import type { MediatorRun } from "./mediator-run.ts";
import type { ProcessLook } from "./process-watch.ts";
import { LEVELS, type Level, type LevelName, type Parked } from "./schedule.ts";

/** Names that conditions may have: the checks, and the agent's own looking. */
export const OBSERVED_CHECKS: ReadonlySet<string> = new Set([...CHECKS.map(({ name }) => name), OBSERVATION]);

export interface ObserveSeconds {
  readonly light_seconds: number;
  readonly device_seconds: number;
  readonly status_seconds: number;
  readonly full_seconds: number;
}

const MILLISECONDS = 1000;
/** A level that is looked at so many times less often than it should be still counts. */
const AGE_PERIODS = 3;
const AGE_SLACK_MS = 30_000;

/** Periods by level, milliseconds. */
export function periodsOf(observe: ObserveSeconds): Readonly<Record<LevelName, number>> {
  return {
    light: observe.light_seconds * MILLISECONDS,
    device: observe.device_seconds * MILLISECONDS,
    status: observe.status_seconds * MILLISECONDS,
    full: observe.full_seconds * MILLISECONDS,
  };
}

/** How old a reading of each level may be, milliseconds: `FactsReaderOptions.mostAgeMs`. */
export function agesOf(observe: ObserveSeconds): Readonly<Record<LevelName, number>> {
  const age = (period: number) => AGE_PERIODS * period + AGE_SLACK_MS;
  const { light, device, status, full } = periodsOf(observe);
  return { light: age(light), device: age(device), status: age(status), full: age(full) };
}

/** What each level may take: above the limits of its sensors together, so that these are the ones that speak. */
const LIMITS: Readonly<Record<LevelName, { readonly limitMs: number; readonly cpuMs: number }>> = {
  light: { limitMs: 10_000, cpuMs: 500 },
  device: { limitMs: 30_000, cpuMs: 1500 },
  status: { limitMs: 30_000, cpuMs: 1500 },
  full: { limitMs: 60_000, cpuMs: 5000 },
};

export function levelsOf(
  observe: ObserveSeconds,
  look: (level: LevelName, signal: AbortSignal) => Promise<void>,
): Level[] {
  const periods = periodsOf(observe);
  const level = (name: LevelName): Level => {
    return { name, periodMs: periods[name], ...LIMITS[name], run: (signal) => look(name, signal) };
  };
  return [level("light"), level("device"), level("status"), level("full")];
}

/** What was seen and has to be kept. */
export type Observed =
  | { readonly kind: "condition"; readonly at: number; readonly document: Condition }
  | { readonly kind: "report"; readonly at: number; readonly document: Report };

export interface ObserverOptions {
  readonly reader: FactsReader;
  readonly tracker: ConditionTracker;
  readonly agent: ProcessKey;
  readonly checks?: readonly Check[];
  /** The last look at the workload's processes. */
  readonly processes: () => ProcessLook;
  readonly parked: () => readonly Parked[];
  /** The workload's log was read up to its end once, or that is not waited for any more. */
  readonly isLogRead: () => boolean;
  /** The mediator's run as the counterpart told it last; null: not known. */
  readonly mediator: () => MediatorRun | null;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** CLOCK_MONOTONIC in milliseconds. */
  readonly monotonic: () => number;
  /** Names a report; nothing rests on it but telling two apart. */
  readonly newId: () => string;
  readonly onObserved: (observed: Observed) => void;
  /** The level has read something bad that is told only when another look of it sees the same. */
  readonly onWaiting: (level: LevelName) => void;
}

/**
 * One look: reads what the level reads, judges all that is known, and tells what began or ended by it; after a full look,
 * and whenever the verdict has changed, a whole report. The first report waits until everything was read once, or was tried
 * and given up: before that it would say `unknown` of what is merely not read yet.
 */
export class Observer {
  readonly #options: ObserverOptions;
  #verdict: string | null = null;
  #rung: Rung | null = null;
  /** What the first report waits for. */
  readonly #unread = new Set<LevelName>(LEVELS);

  constructor(options: ObserverOptions) {
    this.#options = options;
  }

  /** Of the last look's verdict; null: there is none yet, or none can be given. */
  get rung(): Rung | null {
    return this.#rung;
  }

  async look(level: LevelName, signal: AbortSignal): Promise<void> {
    const { reader, tracker, agent, checks = CHECKS, parked, mediator, now, monotonic, onObserved } = this.#options;
    const startedAt = now();
    const begun = monotonic();
    await reader.read(level, signal);
    // The light level looks at what the others have found: it counts when it comes after them.
    if (this.#unread.delete(level) && level !== "light") this.#unread.add("light");
    const facts = reader.facts();
    const bootId = valueIn(facts.host)?.bootId;
    // Until it is known which boot this is, nothing that is bound to one can be said.
    if (bootId == null) return;
    const judged = judgeFacts(checks, facts, (name) => reader.readAt(name));
    const { processes, server } = this.#processes(facts);
    const said = tracker.observe({
      at: now(),
      monotonic: monotonic(),
      bootId,
      agent,
      findings: [...judged.findings, observationFinding(parked())],
      asOf: new Map([...judged.asOf, [OBSERVATION, monotonic()]]),
      processes,
      server,
      mediator: mediator(),
    });
    for (const document of said) onObserved({ kind: "condition", at: now(), document });
    // A light look comes soon enough by itself.
    if (level !== "light" && tracker.isWaiting(begun)) this.#options.onWaiting(level);
    this.#report(level, facts, judged.findings, startedAt, monotonic() - begun);
  }

  #processes(facts: Facts): { readonly processes: readonly ProcessKey[] | null; readonly server: ProcessKey | null } {
    const { processes } = this.#options.processes();
    const pid = serverOf(facts)?.pid;
    return { processes, server: processes?.find((one) => one.pid === pid) ?? null };
  }

  #report(level: LevelName, facts: Facts, findings: readonly Finding[], startedAt: number, durationMs: number): void {
    const verdict = judge(facts, findings);
    const { rung, cause, firstBrokenHop, refuted, evidence } = verdict;
    this.#rung = rung;
    const shown = JSON.stringify([rung, cause, firstBrokenHop, refuted, evidence]);
    if (this.#verdict === null ? !this.#isAllRead() : level !== "full" && this.#verdict === shown) return;
    this.#verdict = shown;
    const { newId, now, onObserved } = this.#options;
    const run = { runId: newId(), toolVersion: TOOL_VERSION, startedAt, durationMs: Math.round(durationMs) };
    onObserved({ kind: "report", at: now(), document: buildReport(facts, findings, verdict, run) });
  }

  /** A level that is parked was tried: what it could not read says so. */
  #isAllRead(): boolean {
    const { parked, isLogRead } = this.#options;
    const tried = new Set(parked().map(({ level }) => level));
    return isLogRead() && [...this.#unread].every((level) => tried.has(level));
  }
}

/** Whether the agent looks as it should: a level that is parked leaves its facts to grow old. */
export function observationFinding(parked: readonly Parked[]): Finding {
  const text = parked
    .map(({ level, reason, failures }) => `${level}: ${reason} (${failures} times in a row)`)
    .join("; ");
  const finding = { check: OBSERVATION, title: "Does the agent look as often as it should?", hop: null, because: [] };
  const evidence = [{ source: "schedule", locator: "levels", text: text || "all levels run", at: null }];
  if (parked.length === 0) {
    return { ...finding, outcome: "pass", cause: null, message: "all levels run", evidence, durationMs: 0 };
  }
  const message = `parked, and tried again less often: ${text}`;
  return { ...finding, outcome: "unknown", cause: null, message, evidence, durationMs: 0 };
}
