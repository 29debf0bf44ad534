import { severityOf, worstOf } from "../checks/finding.ts";
import { type Hop, OUTCOMES, type Outcome, RUNGS, type Rung } from "../protocol/vocabulary.ts";
import { NOT_PROVEN } from "../verdict/statement.ts";
import type { Evidence, Finding, Report, Verdict } from "./report.ts";
import { duration } from "./text.ts";

/**
 * What every format says in the same words: the subject, the headline, which findings count, the exit code. Texts
 * come out as they stand in the report; the caller escapes them for its format.
 */

/** A rung from which the words "GPU execution not proven" are left out. */
const PROVING: readonly Rung[] = ["executing", "correct"];

export const HOP_NAMES: Readonly<Record<Hop, string>> = {
  workload: "workload",
  shim: "shim",
  transport: "transport",
  device: "device",
  mediator: "mediator",
  executor: "executor",
  gpu: "GPU",
};

/** The first hop on the host's side of the device: what is left of it can be seen from the guest. */
export const FIRST_HOST_HOP: Hop = "mediator";

export type ExitCode = 0 | 1 | 3 | 4;

/**
 * The exit code of a report: 1 no verdict could be reached; 3 a failure, or a hop that the verdict calls broken; 4 a
 * warning; 0 nothing worse than info.
 *
 * A crashed check counts as a warning: it is a bug of the agent, so 3 would call the VM broken on no evidence, and 0
 * would pass over something that was not judged. `unknown` and `not-run` alone do not raise the code, or an idle VM
 * could never be healthy; but when they leave not even `configured` standing, that is 4: what was not looked at is
 * not healthy.
 */
export function exitCodeOf(report: Report): ExitCode {
  const { rung, first_broken_hop } = report.verdict;
  if (rung === null) return 1;
  const outcomes = new Set(report.findings.map((finding) => finding.outcome));
  if (outcomes.has("fail") || first_broken_hop !== null) return 3;
  return outcomes.has("warn") || outcomes.has("crashed") || rung === "unconfigured" ? 4 : 0;
}

/** "CONNECTED — GPU execution not proven", "EXECUTING (guest evidence)". A refuted execution is said to be refuted, whatever the rung. */
export function headline(verdict: Verdict): string {
  const rung = verdict.rung === null ? "NO VERDICT" : verdict.rung.toUpperCase();
  if (verdict.refuted.includes("executing")) return `${rung} — GPU execution refuted`;
  if (isGuestEvidence(verdict)) return `${rung} (guest evidence)`;
  return isProven(verdict) ? rung : `${rung} — ${NOT_PROVEN}`;
}

/** The rung `executing` by what the guest sees alone: the host's record is missing. */
export function isGuestEvidence({ rung, evidence, refuted }: Verdict): boolean {
  return rung === "executing" && evidence === "guest" && !refuted.includes("executing");
}

/** Both the rung and the flag have to say so: a report that contradicts itself proves nothing. */
export function isProven(verdict: Verdict): boolean {
  const { rung, proven, refuted } = verdict;
  return proven && rung !== null && PROVING.includes(rung) && !refuted.includes("executing");
}

/** "Refuted: connected, executing", in the order of the ladder; empty when the headline says it all. */
export function refutedRungs(verdict: Verdict): string {
  const refuted = RUNGS.filter((rung) => verdict.refuted.includes(rung));
  const said = refuted.every((rung) => rung === "executing");
  return said ? "" : `Refuted: ${refuted.join(", ")}`;
}

/** "mediator (VG-C07): why"; null when the verdict names no broken hop. */
export function brokenHop(verdict: Verdict): string | null {
  const { first_broken_hop: hop, cause } = verdict;
  if (hop === null) return null;
  const why = verdict.hops.find((candidate) => candidate.hop === hop)?.why ?? "";
  return `${HOP_NAMES[hop]}${cause === null ? " (cause not known)" : ` (${cause})`}${why === "" ? "" : `: ${why}`}`;
}

/** "test-10 · vm 11 · 0000:00:05.0 · ollama.service (pid 1187, up 3 h)". "?" stands for what is not known. */
export function subjectLine(report: Report): string {
  const { kind, hostname, vm_id, bdf, unit, pid, up_ms } = report.subject;
  const age = up_ms === null ? "" : `, up ${duration(up_ms)}`;
  const parts = [hostname ?? "host ?", `vm ${vm_id ?? "?"}`, bdf ?? "BDF ?", `${unit} (pid ${pid ?? "?"}${age})`];
  if (kind === "tree") parts.push("a captured tree, not this machine");
  if (kind === "evidence") parts.push("logs alone, not this machine");
  return parts.join(" · ");
}

/** Findings worse than info that say something is wrong, worst first; those of the verdict's cause lead their group. */
export function troubles(report: Report): Finding[] {
  const { cause } = report.verdict;
  const rank = (finding: Finding) =>
    severityOf(finding.outcome) * 2 + (cause !== null && finding.cause === cause ? 1 : 0);
  return report.findings.filter((finding) => isTrouble(finding.outcome)).sort((a, b) => rank(b) - rank(a));
}

function isTrouble(outcome: Outcome): boolean {
  return outcome === "fail" || outcome === "crashed" || outcome === "warn";
}

export interface Unjudged {
  /** "Could not be judged", "Not run because of VG-P01". */
  readonly label: string;
  readonly checks: readonly string[];
}

/** Checks that gave no judgement, in groups by why: nothing that was not judged may look healthy by being left out. */
export function unjudged(report: Report): Unjudged[] {
  const groups = new Map<string, string[]>();
  for (const finding of report.findings) {
    if (finding.outcome !== "unknown" && finding.outcome !== "not-run") continue;
    const label = unjudgedLabel(finding);
    const checks = groups.get(label) ?? [];
    if (!checks.includes(finding.check)) checks.push(finding.check);
    groups.set(label, checks);
  }
  return [...groups].map(([label, checks]) => ({ label, checks }));
}

function unjudgedLabel(finding: Finding): string {
  if (finding.outcome === "unknown") return "Could not be judged";
  return finding.because.length === 0 ? "Not run" : `Not run because of ${finding.because.join(", ")}`;
}

const OUTCOME_WORDS: Readonly<Record<Outcome, string>> = {
  pass: "pass",
  info: "info",
  warn: "warn",
  fail: "fail",
  unknown: "unknown",
  "not-run": "not run",
  crashed: "crashed",
};

/** "31 checks: 24 pass, 2 warn, 5 not run". A check with several findings counts once, by the worst of them. */
export function counts(report: Report): string {
  const byCheck = new Map<string, Outcome>();
  for (const { check, outcome } of report.findings) {
    byCheck.set(check, worstOf([byCheck.get(check) ?? outcome, outcome]));
  }
  const outcomes = [...byCheck.values()];
  const parts = OUTCOMES.flatMap((outcome) => {
    const count = outcomes.filter((candidate) => candidate === outcome).length;
    return count === 0 ? [] : [`${count} ${OUTCOME_WORDS[outcome]}`];
  });
  const total = `${byCheck.size} ${byCheck.size === 1 ? "check" : "checks"}`;
  return parts.length === 0 ? total : `${total}: ${parts.join(", ")}`;
}

/** The last line of a report on a terminal. `id` is the run id, or the part of it that is enough to find it. */
export function closingLine(report: Report, id: string): string {
  return `${counts(report)} · exit ${exitCodeOf(report)} · ${duration(report.duration_ms)} · report ${id}`;
}

/** Sources that nobody tried to read and sources that could not be read, each with its reason. */
export function unreadSources(report: Report): { readonly skipped: string[]; readonly failed: string[] } {
  const of = (wanted: (state: string) => boolean, reason: (state: string, detail: string) => string) => {
    const names = new Map<string, string[]>();
    for (const { name, state, detail } of report.sources) {
      if (!wanted(state)) continue;
      const why = reason(state, detail);
      names.set(why, [...(names.get(why) ?? []), name]);
    }
    return [...names].map(([why, those]) => (why === "" ? those.join(", ") : `${those.join(", ")} (${why})`));
  };
  return {
    skipped: of(
      (state) => state === "skipped",
      (_, detail) => detail,
    ),
    failed: of(
      (state) => state !== "skipped" && state !== "read",
      (state, detail) => (detail === "" ? state : `${state}: ${detail}`),
    ),
  };
}

/** What stands before the next steps: what they are for. */
export function nextLabel(verdict: Verdict): string {
  return verdict.first_broken_hop === null && !isProven(verdict) ? "To prove it" : "Next";
}

/** Where a piece of evidence was read: the source, and the place in it where that says more. */
export function placeOf({ source, locator }: Evidence): string {
  return locator === "" || locator === source ? source : `${source} ${locator}`;
}

/** What a finding is named by: its cause and its check. */
export function nameOf(finding: Finding): string {
  return finding.cause === null ? finding.check : `${finding.cause} ${finding.check}`;
}

/** The message of a finding, with what its outcome means where the message leaves that out. */
export function messageOf({ outcome, message, because }: Finding): string {
  if (outcome === "crashed") return `nothing was judged: ${message}`;
  const unsaid = because.filter((cause) => !message.includes(cause));
  return unsaid.length === 0 ? message : `${message} (because of ${unsaid.join(", ")})`;
}

/** One character for each outcome of a check. */
export const OUTCOME_GLYPHS: Readonly<Record<Outcome, string>> = {
  pass: "✔",
  info: "·",
  warn: "▲",
  fail: "✘",
  unknown: "?",
  "not-run": "-",
  crashed: "!",
};
