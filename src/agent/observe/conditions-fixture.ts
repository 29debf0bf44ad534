import type { CauseId, Finding } from "../../checks/finding.ts";
import { CHECKS } from "../../checks/registry.ts";
import { conditionSchema } from "../../report/wire/condition.ts";
import { conditionStateSchema, type ProcessKey } from "./condition-state.ts";
import { type ConditionOptions, ConditionTracker, type Observation } from "./conditions.ts";
import type { MediatorRun } from "./mediator-run.ts";

/* What the tests of the conditions share. */

export const T0 = 1_770_000_000_000;
export const BOOT = "a".repeat(32);
export const SERVER: ProcessKey = { pid: 1187, startTicks: 4200 };
export const AGENT: ProcessKey = { pid: 900, startTicks: 100 };
export const OPTIONS: ConditionOptions = {
  visibleMs: 10_000,
  clearMs: 60_000,
  mostGapMs: 30_000,
  checks: new Set(CHECKS.map(({ name }) => name)),
};

export type Said = Pick<Finding, "outcome"> & Partial<Finding>;
const shown = [{ source: "test", locator: "test", text: "seen", at: null }];
export const finding = (check: string, said: Said): Finding => ({
  check,
  title: check,
  hop: null,
  cause: null,
  message: `${check} ${said.outcome}`,
  evidence: said.outcome === "unknown" || said.outcome === "not-run" ? [] : shown,
  because: [],
  durationMs: 0,
  ...said,
});
export const fail = (cause: CauseId, more: Partial<Finding> = {}): Said => ({ outcome: "fail", cause, ...more });
export const PASS: Said = { outcome: "pass" };

/** A VM in virtual time: each step is one look, `seconds` after the last. */
export class Vm {
  tracker: ConditionTracker;
  options: ConditionOptions;
  mono = 1_000_000;
  at = T0;
  bootId = BOOT;
  agent = AGENT;
  processes: readonly ProcessKey[] | null = [SERVER];
  server: ProcessKey | null = SERVER;
  mediator: MediatorRun | null = null;

  constructor(options: ConditionOptions = OPTIONS) {
    this.options = options;
    this.tracker = new ConditionTracker(options);
  }

  look(seconds: number, findings: Readonly<Record<string, readonly Said[]>>, more: Partial<Observation> = {}) {
    this.mono += seconds * 1000;
    this.at += seconds * 1000;
    const documents = this.tracker.observe({
      at: this.at,
      monotonic: this.mono,
      bootId: this.bootId,
      agent: this.agent,
      findings: Object.entries(findings).flatMap(([check, said]) => said.map((one) => finding(check, one))),
      asOf: new Map(Object.keys(findings).map((check) => [check, this.mono])),
      processes: this.processes,
      server: this.server,
      mediator: this.mediator,
      ...more,
    });
    for (const document of documents) conditionSchema.parse(document);
    return documents;
  }

  /** Looks every five seconds; what was said, in short. */
  for(seconds: number, findings: Readonly<Record<string, readonly Said[]>>): string[] {
    const said: string[] = [];
    for (let passed = 0; passed < seconds; passed += 5) said.push(...this.look(5, findings).map(short));
    return said;
  }

  restart(): void {
    const state = conditionStateSchema.parse(JSON.parse(JSON.stringify(this.tracker.state())));
    this.tracker = new ConditionTracker(this.options, state);
  }
}

export const short = ({ id, state, ended_by, outcome }: ReturnType<Vm["look"]>[number]) =>
  state === "open" ? `open ${id} ${outcome}` : `closed ${id} ${ended_by}`;
