import type { Evidence } from "../../checks/finding.ts";
import { evidence } from "../../checks/finding.ts";
import type { Reading } from "../../facts/reading.ts";
import { isoTime } from "../../report/text.ts";
import type { LogPlace, MediatorHealthFacts, MediatorProcess, Output } from "./facts.ts";

/** What several health checks ask of the facts. Null always means: not known. */

export function livingMediators(facts: MediatorHealthFacts): readonly MediatorProcess[] | null {
  if (facts.processes.state !== "read") return null;
  return facts.processes.value.filter((one) => !one.hasEnded);
}

/** Why there may be more processes than were seen, in words; empty when there are not. */
export function unseenWords({ unseen }: MediatorHealthFacts): string {
  return unseen.length === 0 ? "" : `not every process could be seen: ${unseen.join("; ")}`;
}

/** The same for mediators: when one process was asked for, others were not looked at. */
export function unseenMediators(facts: MediatorHealthFacts): string {
  const hidden = unseenWords(facts);
  return facts.askedFor === null || hidden !== "" ? hidden : `only process ${facts.askedFor} was asked for`;
}

/**
 * Whether the log that is read is where a living mediator's output goes, by inode. Null when the one or the other was
 * not read; in a captured tree, too, where a log may lie anywhere.
 */
export function isLogOfMediator(facts: MediatorHealthFacts): boolean | null {
  const living = livingMediators(facts);
  if (living === null || living.length === 0 || facts.logFile.state !== "read") return null;
  const { inode } = facts.logFile.value;
  const outputs = living.flatMap(({ stdout, stderr }) => [stdout, stderr]);
  if (
    outputs.some((output) => output.state === "read" && output.value.inode !== null && output.value.inode === inode)
  ) {
    return true;
  }
  return outputs.some(isUnknownFile) ? null : false;
}

/** It may be any file. */
function isUnknownFile(output: Reading<Output>): boolean {
  return output.state !== "read" || (output.value.target.to === "file" && output.value.inode === null);
}

/** Why nothing that the log says can be said of the mediator that runs; null when it can. */
export function logTrouble(facts: MediatorHealthFacts): string | null {
  if (facts.log.state !== "read") return facts.log.detail;
  if (isLogOfMediator(facts) === false) return "the log that was read is not the one that the running mediator writes";
  const outputs = (livingMediators(facts) ?? []).flatMap(({ stdout, stderr }) => [stdout, stderr]);
  const isHidden = outputs.length > 0 && outputs.every(({ state }) => state !== "read");
  return isHidden ? "whether this log is the running mediator's could not be seen" : null;
}

/** When the mediator that runs was started, epoch milliseconds: only when exactly one runs. */
export function startOf(facts: MediatorHealthFacts): number | null {
  const living = livingMediators(facts);
  return living?.length === 1 ? (living[0]?.startedAt ?? null) : null;
}

export function processEvidence(one: MediatorProcess): Evidence {
  const path = one.executable.state === "read" ? one.executable.value.path : one.executable.detail;
  const since = isoTime(one.startedAt);
  const state = one.hasEnded ? ", ended" : since === null ? "" : `, since ${since}`;
  return evidence("process", `/proc/${one.pid}`, `${path}${state}`, one.startedAt);
}

export function placeEvidence(facts: MediatorHealthFacts, place: LogPlace, text: string): Evidence {
  const file = facts.logFile.state === "read" ? facts.logFile.value.path : "the mediator's log";
  return evidence(file, `log ${place.log}, byte ${place.at}`, text);
}

/** The file that the only mediator writes its standard output to, to be read as its log; null: none, or not readable. */
export function outputFile(facts: MediatorHealthFacts): string | null {
  const living = livingMediators(facts);
  const [only] = living ?? [];
  if (only === undefined || living?.length !== 1) return null;
  for (const output of [only.stdout, only.stderr]) {
    if (output.state !== "read") continue;
    const { target } = output.value;
    if (target.to === "file" && !target.deleted && target.readable === true) return target.path;
  }
  return null;
}
