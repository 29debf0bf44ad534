import { type Finding, severityOf } from "../../checks/finding.ts";
import type { Condition } from "../../report/wire/condition.ts";
import { endsWithMediator, isBad, OBSERVATION, ruleOf, stateOfCheck } from "./condition-rules.ts";
import {
  type ConditionState,
  isSameProcess,
  NO_CONDITIONS,
  type OpenCondition,
  type Past,
  type ProcessKey,
  TRACKED_LIMITS,
} from "./condition-state.ts";
import { endOfEarlierRuns, type MediatorRun, nameOfRun } from "./mediator-run.ts";
import { addSighting, linesOf, type Sighting, saysTheSame } from "./sighting.ts";
import { TrackedCondition } from "./tracked-condition.ts";

export interface ConditionOptions {
  /** Milliseconds that something has to be so before it is a condition. */
  readonly visibleMs: number;
  /** Milliseconds that it has to be well again, without a break, before it is over. */
  readonly clearMs: number;
  /** Two looks further apart than this say nothing of the time between them. Above twice the longest period. */
  readonly mostGapMs: number;
  /** Checks of this version and its settings: a condition of any other is not judged any more. */
  readonly checks: ReadonlySet<string>;
}

/** One look at the VM, as the checks judged it. */
export interface Observation {
  /** Epoch milliseconds by the guest's clock: for documents. It may jump. */
  readonly at: number;
  /** CLOCK_MONOTONIC in milliseconds, after everything was read. */
  readonly monotonic: number;
  readonly bootId: string;
  readonly agent: ProcessKey;
  /** Findings of the checks that were judged. */
  readonly findings: readonly Finding[];
  /**
   * By check: when the oldest reading that it rests on was made, monotonic milliseconds since boot. A check that is not
   * here was not judged: its facts are too old, or not there.
   */
  readonly asOf: ReadonlyMap<string, number>;
  /** All processes of the workload that live; null when that is not known for certain. */
  readonly processes: readonly ProcessKey[] | null;
  /** The workload's main process, where it runs. */
  readonly server: ProcessKey | null;
  /** As the counterpart told it last; null when it is not known. */
  readonly mediator: MediatorRun | null;
}

/** Being unknown is normal for a while: a process that has just started, a log that is still short. */
const BLIND_VISIBLE_MS = 180_000;
/** As many beginnings within the window, and it comes and goes: it is said at once, and cleared late. */
const FLAPS = 4;
const FLAP_WINDOW_CLEARS = 10;
const MOST_CLEAR_FACTOR = 16;
const MESSAGE_LIMIT = 2000;
/** In an id, for a failure that names no cause. */
const OTHER = "other";
const PID_LOCATOR = /^pid (\d{1,10})$/;

type Ending = NonNullable<Condition["ended_by"]>;

/**
 * Makes conditions, which hold for a while, of findings, which are of a moment.
 *
 * INVARIANTS
 * - An id is open or it is not: it opens, perhaps becomes worse (said with another `open`), closes, in this order.
 * - `unknown`, a check that did not run, and old readings neither open nor clear what a check judges.
 * - Time is counted by the monotonic clock, and only while it was looked.
 */
export class ConditionTracker {
  readonly #options: ConditionOptions;
  readonly #tracked = new Map<string, TrackedCondition>();
  readonly #past = new Map<string, Past>();
  #bootId: string | null;
  #agent: ProcessKey | null;
  #mediatorEpoch: string | null;
  #unlisted = 0;

  constructor(options: ConditionOptions, state: ConditionState = NO_CONDITIONS) {
    this.#options = options;
    this.#bootId = state.bootId;
    this.#agent = state.agent;
    this.#mediatorEpoch = state.mediatorEpoch;
    for (const facts of state.open) this.#tracked.set(facts.id, new TrackedCondition(facts, true));
    for (const past of state.past) this.#past.set(past.id, past);
  }

  /** Conditions that would have opened and found no room. */
  get unlisted(): number {
    return this.#unlisted;
  }

  state(): ConditionState {
    return {
      version: 1,
      bootId: this.#bootId,
      agent: this.#agent,
      mediatorEpoch: this.#mediatorEpoch,
      open: [...this.#tracked.values()].filter(({ open }) => open).map((one) => one.kept()),
      past: [...this.#past.values()],
    };
  }

  /** Whether something that was read since (monotonic milliseconds) has not held for its time-to-visible yet. */
  isWaiting(since: number): boolean {
    return [...this.#tracked.values()].some((one) => !one.open && one.isSeenSince(since));
  }

  /** Takes one look, and gives what began, became worse or ended by it, in that order of being found. */
  observe(look: Observation): Condition[] {
    const said = this.#endBound(look);
    const byCheck = Map.groupBy(look.findings, ({ check }) => check);
    const sightings = new Map<string, Sighting>();
    for (const [check, findings] of byCheck) {
      if (!look.asOf.has(check)) continue;
      for (const one of this.#sightingsOf(check, findings, look)) addSighting(sightings, one);
    }
    this.#forgetWords(byCheck, look);
    for (const { facts } of sightings.values()) this.#begin(facts, look);
    for (const [id, one] of this.#tracked) {
      const asOf = look.asOf.get(one.facts.check);
      const findings = byCheck.get(one.facts.check);
      if (asOf === undefined || findings === undefined) continue;
      const sighting = sightings.get(id);
      const document = this.#look(one, sighting, findings, asOf, look);
      if (document !== null) said.push(document);
    }
    return said;
  }

  /** Ends what a reboot, an end of a process, a new mediator, a new agent or a changed set of checks ends. */
  #endBound(look: Observation): Condition[] {
    const rebooted = this.#bootId !== null && this.#bootId !== look.bootId;
    const restarted = this.#agent !== null && (rebooted || !isSameProcess(this.#agent, look.agent));
    const earlierRunEnd = endOfEarlierRuns(this.#mediatorEpoch, look.mediator);
    const said: Condition[] = [];
    for (const [id, one] of this.#tracked) {
      const { boundTo, process, check, cause, bootId } = one.facts;
      const gone = process !== null && look.processes?.every((other) => !isSameProcess(other, process)) === true;
      let ending: Ending | null = null;
      if (boundTo !== "machine" && bootId !== look.bootId) ending = "reboot";
      else if (boundTo === "agent" && restarted) ending = "process-ended";
      else if (boundTo === "process" && gone) ending = "process-ended";
      else if (boundTo === "boot" && isSubstitute(one.facts) && look.processes !== null) ending = "no-longer-judged";
      // What was new since this run began may be its own.
      else if (earlierRunEnd !== null && endsWithMediator(cause) && one.newsAt < earlierRunEnd)
        ending = "mediator-restarted";
      else if (!this.#options.checks.has(check)) ending = "no-longer-judged";
      if (ending === null) {
        if (rebooted || restarted) one.seeNothing();
        continue;
      }
      const document = this.#end(id, one, ending, look);
      if (document !== null) said.push(document);
    }
    for (const [id, { process, bootId }] of this.#past) {
      const ended = process !== null && look.processes?.every((other) => !isSameProcess(other, process)) === true;
      if (ended || bootId !== look.bootId) this.#past.delete(id);
    }
    this.#bootId = look.bootId;
    this.#agent = look.agent;
    this.#mediatorEpoch = look.mediator === null ? this.#mediatorEpoch : nameOfRun(look.mediator);
    return said;
  }

  /** What a check's findings say holds now. */
  #sightingsOf(check: string, findings: readonly Finding[], look: Observation): Sighting[] {
    const bad = findings.filter(isBad).flatMap((finding) => this.#sighting(finding, finding.cause, look) ?? []);
    const { tellsWhenBlind } = ruleOf(check, null);
    const blind = findings.every(({ outcome }) => outcome === "unknown" || outcome === "crashed");
    const [first] = findings;
    if (!blind || !tellsWhenBlind || first === undefined) return bad;
    return [...bad, this.#sighting({ ...first, outcome: "unknown" }, null, look)].filter((one) => one !== null);
  }

  /** Null: it tells of a process that has ended. */
  #sighting(finding: Finding, cause: Finding["cause"], look: Observation): Sighting | null {
    const { check, outcome } = finding;
    const { boundTo } = ruleOf(check, cause);
    const process = boundTo === "process" ? processOf(finding, look) : boundTo === "agent" ? look.agent : null;
    // Old lines never count for a new process, and none is there to count for.
    if (boundTo === "process" && process === null && look.processes !== null) return null;
    // Which processes live is not known: the log is all there is, and that is of this boot.
    const bound = boundTo === "process" && process === null ? "boot" : boundTo;
    const subject = process === null ? bound : `${process.pid}@${process.startTicks}`;
    const facts: OpenCondition = {
      id: `${check}/${cause ?? (outcome === "unknown" ? "blind" : OTHER)}/${subject}`,
      check,
      cause,
      boundTo: bound,
      bootId: look.bootId,
      process,
      mediatorEpoch: this.#mediatorEpoch,
      outcome: outcome === "fail" || outcome === "warn" ? outcome : "unknown",
      since: Math.max(0, Math.trunc(look.at)),
      newsAt: look.monotonic,
      message: finding.message.slice(0, MESSAGE_LIMIT),
      lines: linesOf(finding.evidence),
      clearMs: this.#options.clearMs,
    };
    return { facts, worst: outcome };
  }

  /** What was well since it ended is new when it says the same again. */
  #forgetWords(byCheck: ReadonlyMap<string, readonly Finding[]>, look: Observation): void {
    for (const [id, past] of this.#past) {
      const [check = "", cause] = id.split("/");
      const findings = look.asOf.has(check) ? byCheck.get(check) : undefined;
      if (past.seen === null || findings === undefined || stateOfCheck(findings) !== "speaks") continue;
      const holds = findings.some((one) => isBad(one) && (one.cause ?? OTHER) === cause);
      if (!holds) this.#past.set(id, { ...past, seen: null, lines: null });
    }
  }

  /** Begins to watch what was not bad before. */
  #begin(facts: OpenCondition, look: Observation): void {
    if (this.#tracked.has(facts.id)) return;
    const past = this.#past.get(facts.id);
    if (saysTheSame(facts, past)) return;
    if (this.#tracked.size >= TRACKED_LIMITS.open) {
      this.#unlisted += 1;
      return;
    }
    this.#tracked.set(facts.id, new TrackedCondition(facts, false));
    const asOf = look.asOf.get(facts.check);
    if (asOf === undefined) return;
    const recent = this.#onsetsOf(past, asOf);
    const onsets = [...recent, asOf].slice(-TRACKED_LIMITS.onsets);
    this.#remember({ id: facts.id, bootId: look.bootId, process: facts.process, seen: null, lines: null, onsets });
  }

  #look(
    one: TrackedCondition,
    sighting: Sighting | undefined,
    findings: readonly Finding[],
    asOf: number,
    look: Observation,
  ): Condition | null {
    const { id, check, cause } = one.facts;
    const { recovery } = ruleOf(check, cause);
    const unchanged = recovery === "no-new-sighting" && one.open && sighting?.facts.message === one.message;
    if (sighting !== undefined && !unchanged) return this.#lookBad(one, sighting.facts, asOf, look);
    if (!unchanged && !speaksWell(one, findings)) {
      one.seeNothing();
      return null;
    }
    if (!one.see("good", asOf, this.#options.mostGapMs)) return null;
    if (!one.open) {
      this.#tracked.delete(id);
      return null;
    }
    if (one.heldMs < one.clearMs) return null;
    return this.#end(id, one, "recovered", look);
  }

  #lookBad(one: TrackedCondition, now: OpenCondition, asOf: number, look: Observation): Condition | null {
    const worse = severityOf(now.outcome) > severityOf(one.outcome);
    if (!one.see("bad", asOf, this.#options.mostGapMs, one.open && worse)) return null;
    one.says(now);
    const { visibleMs } = this.#options;
    if (one.open) {
      if (one.worseMs === null || one.worseMs < visibleMs) return null;
      one.outcome = now.outcome;
      return this.#document(one, "open", null, look);
    }
    if (worse) one.outcome = now.outcome;
    const { check, cause, outcome, id } = one.facts;
    const onsets = this.#onsetsOf(this.#past.get(id), asOf).length;
    const flaps = outcome !== "unknown" && onsets >= FLAPS;
    const atOnce = flaps || check === OBSERVATION || ruleOf(check, cause).recovery === "no-new-sighting";
    const needed = atOnce ? 0 : outcome === "unknown" ? Math.max(visibleMs, BLIND_VISIBLE_MS) : visibleMs;
    if (one.heldMs < needed) return null;
    one.open = true;
    one.clearMs = this.#options.clearMs * Math.min(MOST_CLEAR_FACTOR, 2 ** Math.max(0, onsets - 1));
    return this.#document(one, "open", null, look, flaps ? `comes and goes (${onsets} times of late): ` : "");
  }

  /** Beginnings of late, in this boot. */
  #onsetsOf(past: Past | undefined, asOf: number): readonly number[] {
    const from = asOf - FLAP_WINDOW_CLEARS * this.#options.clearMs;
    return (past?.onsets ?? []).filter((onset) => onset >= from && onset <= asOf);
  }

  #end(id: string, one: TrackedCondition, ending: Ending, look: Observation): Condition | null {
    this.#tracked.delete(id);
    // What had only begun would begin again with the same old lines.
    if (!one.open && ending !== "mediator-restarted") return null;
    const { check, cause } = one.facts;
    const keepsSaying = ending === "mediator-restarted" || ruleOf(check, cause).recovery === "no-new-sighting";
    const seen = keepsSaying ? one.message : null;
    // What only happens, and is over at once, is known again by what it says alone.
    const lines = ending === "mediator-restarted" ? one.lines : null;
    const onsets = this.#past.get(id)?.onsets ?? [];
    if (ending === "recovered" || ending === "mediator-restarted") {
      this.#remember({ id, bootId: look.bootId, process: one.facts.process, seen, lines, onsets });
    }
    return one.open ? this.#document(one, "closed", ending, look) : null;
  }

  #remember(past: Past): void {
    this.#past.delete(past.id);
    this.#past.set(past.id, past);
    const [oldest] = this.#past.keys();
    if (this.#past.size > TRACKED_LIMITS.past && oldest !== undefined) this.#past.delete(oldest);
  }

  #document(
    one: TrackedCondition,
    state: Condition["state"],
    ending: Ending | null,
    look: Observation,
    note = "",
  ): Condition {
    const { id, check, cause, bootId, since, process } = one.facts;
    return {
      schema: "vgpu-agent/condition/1",
      boot_id: bootId,
      id,
      check,
      cause,
      outcome: one.outcome,
      state,
      since,
      at: Math.max(0, Math.trunc(look.at)),
      pid: process?.pid ?? null,
      ended_by: ending,
      message: `${note}${one.message}`.slice(0, MESSAGE_LIMIT),
    };
  }
}

/** Whether findings without this cause mean that it is over. */
function speaksWell({ facts: { cause, outcome } }: TrackedCondition, findings: readonly Finding[]): boolean {
  const wasBlind = cause === null && outcome === "unknown";
  if (!wasBlind) return stateOfCheck(findings) === "speaks";
  return findings.some((one) => one.outcome !== "unknown" && one.outcome !== "crashed" && one.outcome !== "not-run");
}

/** Of a process that could not be told; now it can, and has a condition of its own where it still holds. */
function isSubstitute({ check, cause }: OpenCondition): boolean {
  return ruleOf(check, cause).boundTo === "process";
}

/** The process that a finding shows; else the workload's main one. */
function processOf(finding: Finding, { processes, server }: Observation): ProcessKey | null {
  for (const { locator } of finding.evidence) {
    const pid = Number(PID_LOCATOR.exec(locator)?.[1] ?? Number.NaN);
    const found = processes?.find((process) => process.pid === pid);
    if (found !== undefined) return found;
  }
  return server;
}
