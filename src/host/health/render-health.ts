import { causeOf } from "../../checks/catalogue.ts";
import { type Evidence, type Finding, severityOf } from "../../checks/finding.ts";
import type { Outcome } from "../../protocol/vocabulary.ts";
import { duration, isoTime, Page, type Placement } from "../../report/text.ts";
import { OUTCOME_GLYPHS } from "../../report/words.ts";
import type { MediatorHealthFacts } from "./facts.ts";
import { livingMediators } from "./health-view.ts";

export interface HealthTtyOptions {
  readonly colour: boolean;
  readonly width: number;
  readonly verbose: boolean;
  readonly ascii: boolean;
}

/** What came of a question on the admin socket; null: it was not asked for. */
export interface AdminText {
  /** "health", … */
  readonly question: string;
  readonly answered: boolean;
  /** The mediator's own words, or why there are none. */
  readonly text: string;
}

const MIN_WIDTH = 40;
const MAX_WIDTH = 120;
const INDENT = 2;
const EVIDENCE_SHOWN = 2;
const ANSWER_LINES = 60;

const COLOURS: Readonly<Record<Outcome, number>> = {
  pass: 32,
  info: 2,
  warn: 33,
  fail: 31,
  unknown: 33,
  "not-run": 2,
  crashed: 31,
};

/** The health for a person at a terminal: one line on the mediator, then the findings, worst first. */
export function renderHealth(
  facts: MediatorHealthFacts,
  findings: readonly Finding[],
  admin: AdminText | null,
  options: HealthTtyOptions,
): string {
  const width = Math.min(MAX_WIDTH, Math.max(MIN_WIDTH, Math.floor(options.width) || MIN_WIDTH));
  const page = new Page(width, options.ascii);
  const paint = (code: number) => (text: string) =>
    options.colour && text !== "" ? `\x1b[${code}m${text}\x1b[0m` : text;
  page.put(headline(facts), { hang: INDENT, hard: true, paint: paint(1) });
  page.gap();
  for (const finding of [...findings].sort((a, b) => severityOf(b.outcome) - severityOf(a.outcome))) {
    putFinding(page, finding, options.verbose, paint);
  }
  if (admin !== null) putAdmin(page, admin, paint);
  page.gap();
  page.put(countsOf(findings), { indent: INDENT });
  return page.toString();
}

function headline(facts: MediatorHealthFacts): string {
  const living = livingMediators(facts);
  if (living === null) return "mediator · not known whether it runs";
  const [only] = living;
  if (only === undefined) return facts.unseen.length > 0 ? "mediator · not seen" : "mediator · does not run";
  if (living.length > 1) return `mediator · ${living.length} run: pids ${living.map(({ pid }) => pid).join(", ")}`;
  const up = only.startedAt === null ? "" : `, up ${duration(Math.max(0, facts.collectedAt - only.startedAt))}`;
  const path = only.executable.state === "read" ? ` · ${only.executable.value.path}` : "";
  return `mediator · pid ${only.pid}${up}${path}`;
}

function putFinding(page: Page, finding: Finding, verbose: boolean, paint: (code: number) => (text: string) => string) {
  const name = finding.cause === null ? finding.check : `${finding.cause} ${finding.check}`;
  page.put(finding.message, {
    indent: INDENT,
    hang: 4,
    lead: `${OUTCOME_GLYPHS[finding.outcome]} ${name}  `,
    paintLead: paint(COLOURS[finding.outcome]),
  });
  const isTrouble = severityOf(finding.outcome) >= severityOf("warn");
  const detail: Placement = { indent: INDENT + 4, hang: 2, hard: true, paint: paint(2) };
  const shown = verbose ? finding.evidence : isTrouble ? finding.evidence.slice(0, EVIDENCE_SHOWN) : [];
  for (const one of shown) page.put(evidenceText(one, verbose), { ...detail, limit: verbose ? 20 : 2 });
  if (finding.cause === null || !isTrouble) return;
  const { remedy, fixedBy } = causeOf(finding.cause);
  page.put(`${fixedBy}: ${remedy.text}`, { indent: INDENT + 4, hang: 2, lead: "→ " });
  for (const command of remedy.commands) page.put(command, { indent: INDENT + 6, hang: 2, lead: "$ " });
}

function evidenceText({ source, locator, text, at }: Evidence, verbose: boolean): string {
  const time = isoTime(at);
  return `${source} ${locator}: ${text}${verbose && time !== null ? ` (${time})` : ""}`;
}

function putAdmin(
  page: Page,
  { question, answered, text }: AdminText,
  paint: (code: number) => (text: string) => string,
) {
  page.gap();
  page.put(`Admin socket, ${question}`, { indent: INDENT, paint: paint(1) });
  const lines = answered ? text.split("\n").filter((line) => line.trim() !== "") : [text];
  for (const line of lines.slice(0, ANSWER_LINES)) page.put(line, { indent: INDENT * 2, hang: 2, hard: true });
}

function countsOf(findings: readonly Finding[]): string {
  const counted = (outcome: Outcome) => findings.filter((finding) => finding.outcome === outcome).length;
  const parts = (["fail", "crashed", "warn", "unknown", "info", "pass"] as const)
    .map((outcome) => [counted(outcome), outcome] as const)
    .filter(([count]) => count > 0)
    .map(([count, outcome]) => `${count} ${outcome}`);
  return parts.join(" · ");
}
