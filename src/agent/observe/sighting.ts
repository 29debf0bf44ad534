import type { Evidence, Finding } from "../../checks/finding.ts";
import { severityOf } from "../../checks/finding.ts";
import { type OpenCondition, type Past, TRACKED_LIMITS } from "./condition-state.ts";

/** What one look says of one subject. */
export interface Sighting {
  readonly facts: OpenCondition;
  readonly worst: Finding["outcome"];
}

/** A file's "path:offset"; the path may be another one after a rotation. */
const OFFSET = /:(\d{1,15})$/;

/**
 * Which lines a finding shows, each by its time and its place in a file. Of what keeps no history, as registers, nothing
 * tells two occurrences apart: it has none.
 */
export function linesOf(evidence: readonly Evidence[]): readonly string[] {
  const lines = evidence.flatMap(({ source, locator, at }) => {
    if (source !== "log" && source !== "state file") return [];
    const offset = OFFSET.exec(locator)?.[1] ?? "";
    return at === null && offset === "" ? [] : [`${at ?? ""}:${offset}`];
  });
  return [...new Set(lines)].slice(-TRACKED_LIMITS.lines);
}

/** Says the same as another one did, and shows no line that the other did not. */
export function isNoNews(facts: OpenCondition, before: Pick<OpenCondition, "message" | "lines">): boolean {
  return facts.message === before.message && facts.lines.every((line) => before.lines.includes(line));
}

/** As above, of what has ended. */
export function saysTheSame(facts: OpenCondition, past: Past | undefined): boolean {
  if (past === undefined || past.seen === null) return false;
  return isNoNews(facts, { message: past.seen, lines: past.lines ?? facts.lines });
}

/** Adds a sighting: of several of one subject the worst speaks, and the lines of all are shown. */
export function addSighting(sightings: Map<string, Sighting>, one: Sighting): void {
  const { id } = one.facts;
  const known = sightings.get(id);
  if (known === undefined) {
    sightings.set(id, one);
    return;
  }
  const { facts, worst } = severityOf(one.worst) > severityOf(known.worst) ? one : known;
  const lines = [...new Set([...known.facts.lines, ...one.facts.lines])].slice(-TRACKED_LIMITS.lines);
  sightings.set(id, { facts: { ...facts, lines }, worst });
}
