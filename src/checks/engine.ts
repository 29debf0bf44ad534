import vm from "node:vm";
import type { Facts } from "../facts/facts.ts";
import type { Check } from "./check.ts";
import { type CauseId, type Finding, type Judgement, severityOf } from "./finding.ts";

/**
 * A check works on a few kilobytes of facts in less than a millisecond. The limit is for a bug that never ends, and so
 * long that a machine too busy to run the agent does not look like one.
 */
const DEFAULT_LIMIT_MS = 3000;

/** The checks form no order: a dependency is unknown or leads back to itself, or two checks have one name. */
export class BrokenCheckGraph extends Error {}

/** --only or --skip names a check that does not exist. */
export class UnknownCheck extends Error {
  readonly known: readonly string[];
  constructor(name: string, known: readonly string[]) {
    super(`there is no check named "${name}"; known are: ${known.join(", ")}`);
    this.known = known;
  }
}

export interface Selection {
  readonly only: readonly string[];
  readonly skip: readonly string[];
}

export const ALL_CHECKS: Selection = { only: [], skip: [] };

/**
 * Runs the checks on the facts, each after the ones that it depends on. Prints nothing and never throws for what a
 * check does: an exception or an endless loop in one costs one `crashed` finding.
 *
 * A check does not run when any check above it, at whatever distance, has failed; its finding names the causes. A
 * check that `selection` leaves out is reported as `not-run` too: a report never looks more complete than it is.
 */
export function runChecks(
  checks: readonly Check[],
  facts: Facts,
  selection: Selection = ALL_CHECKS,
  now: () => number = () => performance.now(),
): Finding[] {
  const order = sortChecks(checks);
  const names = order.map((check) => check.name);
  for (const name of [...selection.only, ...selection.skip]) {
    if (!names.includes(name)) throw new UnknownCheck(name, names);
  }
  return runTogether(order, facts, selection, now) ?? runInOrder(order, facts, selection, now, judgeWithin);
}

/**
 * All under one limit: each limit of its own costs a thread, which is more than what most checks do. Null when it was
 * reached; which check is at fault shows when each has its own.
 */
function runTogether(order: readonly Check[], facts: Facts, selection: Selection, now: () => number): Finding[] | null {
  const limitMs = Math.min(DEFAULT_LIMIT_MS, ...order.map((check) => check.limitMs ?? DEFAULT_LIMIT_MS));
  let findings: Finding[] | null = null;
  try {
    within(limitMs, () => {
      findings = runInOrder(order, facts, selection, now, (check) => check.judge(facts));
    });
  } catch (error) {
    if (!isTimeout(error)) throw error;
  }
  return findings;
}

type Judge = (check: Check, facts: Facts) => readonly Judgement[];

function runInOrder(
  order: readonly Check[],
  facts: Facts,
  selection: Selection,
  now: () => number,
  judge: Judge,
): Finding[] {
  const broken = new Map<string, readonly CauseId[]>();
  const findings: Finding[] = [];
  for (const check of order) {
    const because = unique(check.after.flatMap((name) => broken.get(name) ?? []));
    const failedAbove = check.after.filter((name) => broken.has(name));
    if (failedAbove.length > 0) {
      // The closure: what is below this check is as broken as what is above it.
      broken.set(check.name, because);
      findings.push(notRun(check, notRunMessage(because, failedAbove), because));
    } else if (isLeftOut(check.name, selection)) {
      findings.push(notRun(check, "left out with --only or --skip", []));
    } else {
      const found = runOne(check, facts, now, judge);
      const failed = found.filter((finding) => finding.outcome === "fail");
      if (failed.length > 0) {
        broken.set(check.name, unique(failed.flatMap((finding) => (finding.cause === null ? [] : [finding.cause]))));
      }
      findings.push(...found);
    }
  }
  return findings;
}

function runOne(check: Check, facts: Facts, now: () => number, judge: Judge): Finding[] {
  const started = now();
  const finish = (judgement: Judgement | { outcome: "crashed"; message: string }): Finding => ({
    check: check.name,
    title: check.title,
    hop: check.hop,
    outcome: judgement.outcome,
    cause: "cause" in judgement ? judgement.cause : null,
    message: judgement.message,
    evidence: "evidence" in judgement ? judgement.evidence : [],
    because: [],
    durationMs: Math.max(0, now() - started),
    ...("overcome" in judgement && judgement.overcome === true ? { overcome: true } : {}),
  });
  try {
    const judgements = judge(check, facts);
    if (judgements.length === 0) return [finish({ outcome: "crashed", message: "the check said nothing" })];
    return [...judgements].sort((a, b) => severityOf(b.outcome) - severityOf(a.outcome)).map(finish);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return [finish({ outcome: "crashed", message: `the check itself failed: ${text}` })];
  }
}

/** Made when the first check runs: a context takes milliseconds, and not every command judges. */
let sandbox: vm.Context | null = null;
const callRun = new vm.Script("run()");

/** Runs a check with its own limit. */
function judgeWithin(check: Check, facts: Facts): readonly Judgement[] {
  let judgements: readonly Judgement[] = [];
  within(check.limitMs ?? DEFAULT_LIMIT_MS, () => {
    judgements = check.judge(facts);
  });
  return judgements;
}

/** Runs something with a limit that also ends an endless loop: V8 interrupts whatever runs under the script. */
function within(limitMs: number, run: () => void): void {
  sandbox ??= vm.createContext();
  sandbox["run"] = run;
  callRun.runInContext(sandbox, { timeout: limitMs });
}

/** The error is one of the script's own context: no instance of this one's Error. */
function isTimeout(error: unknown): boolean {
  return (
    typeof error === "object" && error !== null && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"
  );
}

function notRun(check: Check, message: string, because: readonly CauseId[]): Finding {
  const { name, title, hop } = check;
  return { check: name, title, hop, outcome: "not-run", cause: null, message, evidence: [], because, durationMs: 0 };
}

function notRunMessage(because: readonly CauseId[], failedAbove: readonly string[]): string {
  return because.length > 0
    ? `not run because of ${because.join(", ")}`
    : `not run because ${failedAbove.join(", ")} failed`;
}

function isLeftOut(name: string, selection: Selection): boolean {
  return selection.skip.includes(name) || (selection.only.length > 0 && !selection.only.includes(name));
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

/** The checks in an order in which each follows what it depends on; otherwise in the order given. */
export function sortChecks(checks: readonly Check[]): Check[] {
  const byName = new Map(checks.map((check) => [check.name, check]));
  if (byName.size < checks.length) throw new BrokenCheckGraph("two checks have the same name");
  const done = new Set<string>();
  const order: Check[] = [];
  const visit = (check: Check, path: readonly string[]) => {
    if (done.has(check.name)) return;
    if (path.includes(check.name)) throw new BrokenCheckGraph(`checks depend in a circle: ${path.join(" → ")}`);
    for (const name of check.after) {
      const above = byName.get(name);
      if (above === undefined) throw new BrokenCheckGraph(`${check.name} depends on ${name}, which does not exist`);
      visit(above, [...path, check.name]);
    }
    done.add(check.name);
    order.push(check);
  };
  for (const check of checks) visit(check, []);
  return order;
}
