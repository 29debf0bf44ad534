import { activityText } from "./activity.ts";
import type { Finding, Report } from "./report.ts";
import { Page } from "./text.ts";
import {
  brokenHop,
  closingLine,
  HOP_NAMES,
  headline,
  messageOf,
  nameOf,
  nextLabel,
  refutedRungs,
  subjectLine,
  troubles,
  unjudged,
  unreadSources,
} from "./words.ts";

export interface ShortOptions {
  /** ASCII alone. */
  readonly ascii: boolean;
}

/** Fixed, so that what is pasted does not depend on the terminal it was printed on. */
const WIDTH = 100;
const FINDINGS_SHOWN = 5;
const CALLS_SHOWN = 3;
const HOP_WORDS = { ok: "ok", broken: "BROKEN", idle: "idle", unknown: "?" } as const;

/**
 * The report for a chat message or a mail: under 40 lines whatever the report. Lines at most, by part: tool and
 * subject 3, headline and statement 4, refuted 1, chain 1, broken hop 2, findings 5 × 4 + 1, unjudged and calls 2,
 * next 2, sources 2, counts 1 = 39.
 */
export function renderShort(report: Report, options: ShortOptions): string {
  const page = new Page(WIDTH, options.ascii);
  const { verdict } = report;
  page.put(`vgpu-agent ${report.tool_version} · report ${report.run_id} · ${report.started_at}`, {
    limit: 1,
    hard: true,
  });
  page.put(subjectLine(report), { limit: 2, hang: 2, hard: true });
  page.put(headline(verdict), { limit: 1 });
  page.put(verdict.statement, { limit: 3, hard: true });
  const refuted = refutedRungs(verdict);
  if (refuted !== "") page.put(refuted, { limit: 1 });
  page.put(verdict.hops.map(({ hop, state }) => `${HOP_NAMES[hop]} ${HOP_WORDS[state]}`).join(", "), { limit: 1 });
  const broken = brokenHop(verdict);
  if (broken !== null) page.put(`First broken hop: ${broken}`, { limit: 2, hang: 2, hard: true });
  putFindings(page, report);
  const groups = unjudged(report).map(({ label, checks }) => `${label} (${checks.length}): ${checks.join(", ")}`);
  const calls = activityText(report, CALLS_SHOWN);
  // The line of the calls takes one from the list of what was not judged.
  if (groups.length > 0) page.put(groups.join("; "), { limit: calls === null ? 2 : 1, hang: 2, hard: true });
  if (calls !== null) page.put(calls.brief, { limit: 1, hard: true });
  if (verdict.next.length > 0) {
    page.put(`${nextLabel(verdict)}: ${verdict.next.join(" ")}`, { limit: 2, hang: 2, hard: true });
  }
  const { skipped, failed } = unreadSources(report);
  if (failed.length > 0) page.put(`Not read: ${failed.join(" · ")}`, { limit: 1, hard: true });
  if (skipped.length > 0) page.put(`Not looked at: ${skipped.join(" · ")}`, { limit: 1, hard: true });
  page.put(closingLine(report, report.run_id), { limit: 1, hard: true });
  return page.toString();
}

function putFindings(page: Page, report: Report): void {
  const found = troubles(report);
  for (const finding of found.slice(0, FINDINGS_SHOWN)) putFinding(page, finding);
  const left = found.slice(FINDINGS_SHOWN);
  if (left.length > 0) {
    page.put(`and ${left.length} more: ${left.map(nameOf).join(", ")}`, { limit: 1, hard: true });
  }
}

/** At most four lines: what is wrong, the first piece of evidence, what to do. */
function putFinding(page: Page, finding: Finding): void {
  page.put(`${finding.outcome.toUpperCase()} ${nameOf(finding)}: ${messageOf(finding)}`, {
    limit: 2,
    hang: 4,
    hard: true,
  });
  const [first] = finding.evidence;
  if (first !== undefined) page.put(`${first.source}: ${first.text}`, { indent: 4, limit: 1, hard: true });
  if (finding.remedy !== null) {
    page.put(`→ ${finding.remedy.who}: ${finding.remedy.text}`, { indent: 4, limit: 1, hard: true });
  }
}
