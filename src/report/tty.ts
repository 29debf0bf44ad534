import type { HopState } from "../protocol/vocabulary.ts";
import { activityText } from "./activity.ts";
import { hostMatchText } from "./host-match.ts";
import { bytesOf, grouped } from "./quantities.ts";
import type { Finding, Report } from "./report.ts";
import { cut, Page, type Placement, widthOf } from "./text.ts";
import {
  brokenHop,
  closingLine,
  FIRST_HOST_HOP,
  HOP_NAMES,
  headline,
  isGuestEvidence,
  isProven,
  messageOf,
  nameOf,
  nextLabel,
  OUTCOME_GLYPHS,
  placeOf,
  refutedRungs,
  subjectLine,
  troubles,
  unjudged,
  unreadSources,
} from "./words.ts";

export interface TtyOptions {
  /** ANSI colours. The caller decides: a terminal, no --no-color, no NO_COLOR. */
  readonly colour: boolean;
  /** Columns of the terminal; kept between 40 and 120. */
  readonly width: number;
  /** All findings and all sources, with all evidence. */
  readonly verbose: boolean;
  /** ASCII alone, where the locale is not UTF-8. */
  readonly ascii: boolean;
}

const MIN_WIDTH = 40;
/** Longer lines are hard to read. */
const MAX_WIDTH = 120;
const INDENT = 2;
const EVIDENCE_SHOWN = 2;
const EVIDENCE_LINES = 2;
const CALLS_SHOWN = 5;
/** Enough of a run id to find the report. */
const ID_CHARACTERS = 8;

const HOP_GLYPHS: Readonly<Record<HopState, string>> = { ok: "✔", broken: "✘", idle: "○", unknown: "?" };
const HOP_WORDS: Readonly<Record<HopState, string>> = {
  ok: "ok",
  broken: "broken",
  idle: "idle",
  unknown: "not known",
};
const ANSWER_BOXES = { yes: "[x]", no: "[ ]", unknown: "[?]" } as const;

type Paint = (text: string) => string;
interface Palette {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly good: Paint;
  readonly bad: Paint;
  readonly odd: Paint;
}

const ESC = "\x1b[";
const sgr =
  (code: number): Paint =>
  (text) =>
    text === "" ? "" : `${ESC}${code}m${text}${ESC}0m`;
const COLOURS: Palette = { bold: sgr(1), dim: sgr(2), good: sgr(32), bad: sgr(31), odd: sgr(33) };
const same: Paint = (text) => text;
const NO_COLOURS: Palette = { bold: same, dim: same, good: same, bad: same, odd: same };

/** The report for a person at a terminal: the chain, the verdict, what is wrong and what to do about it. */
export function renderTty(report: Report, options: TtyOptions): string {
  const width = Math.min(MAX_WIDTH, Math.max(MIN_WIDTH, Math.floor(options.width) || MIN_WIDTH));
  const page = new Page(width, options.ascii);
  const palette = options.colour ? COLOURS : NO_COLOURS;
  page.put(subjectLine(report), { hang: INDENT, hard: true });
  page.gap();
  putChain(page, report, palette);
  page.gap();
  putVerdict(page, report, palette, options.verbose);
  putActivity(page, report, palette, options.verbose);
  putHostMatch(page, report, palette);
  putFindings(page, report, palette, options.verbose);
  putChecklist(page, report, palette);
  putNext(page, report);
  page.gap();
  putSources(page, report, palette, options.verbose);
  page.put(closingLine(report, report.run_id.slice(0, ID_CHARACTERS)), { indent: INDENT, hang: INDENT });
  return page.toString();
}

/** The hops side by side with a glyph below each; one below the other where the terminal is too narrow. */
function putChain(page: Page, report: Report, palette: Palette): void {
  let names = "";
  let glyphs = "";
  let columns = INDENT;
  for (const { hop, state } of report.verdict.hops) {
    const border = hop === FIRST_HOST_HOP ? page.clean(" ┊ ") : page.clean(" ── ");
    const separator = names === "" ? "" : border;
    const name = HOP_NAMES[hop];
    const left = Math.floor((name.length - 1) / 2);
    names += separator + name;
    glyphs += hop === FIRST_HOST_HOP ? border : " ".repeat(separator.length);
    glyphs += " ".repeat(left) + hopGlyph(page, state, palette) + " ".repeat(name.length - left - 1);
    columns += widthOf(separator + name);
  }
  if (columns <= page.width) {
    page.raw(" ".repeat(INDENT) + names);
    page.raw(" ".repeat(INDENT) + glyphs);
  } else {
    for (const { hop, state } of report.verdict.hops) {
      page.raw(`${" ".repeat(INDENT)}${hopGlyph(page, state, palette)} ${HOP_NAMES[hop]}: ${HOP_WORDS[state]}`);
    }
  }
}

function hopGlyph(page: Page, state: HopState, palette: Palette): string {
  const glyph = page.clean(HOP_GLYPHS[state]);
  if (state === "ok") return palette.good(glyph);
  if (state === "broken") return palette.bad(glyph);
  return palette.odd(glyph);
}

function putVerdict(page: Page, report: Report, palette: Palette, verbose: boolean): void {
  const { verdict } = report;
  const sound = isProven(verdict) || isGuestEvidence(verdict);
  const tone = sound ? palette.good : verdict.first_broken_hop === null ? palette.odd : palette.bad;
  page.put(headline(verdict), { indent: INDENT, paint: (line) => palette.bold(tone(line)) });
  page.put(verdict.statement, { indent: INDENT });
  const refuted = refutedRungs(verdict);
  if (refuted !== "") page.put(refuted, { indent: INDENT, paint: palette.bad });
  const broken = brokenHop(verdict);
  if (broken !== null) page.put(`First broken hop: ${broken}`, { indent: INDENT, hang: INDENT, paint: palette.bold });
  const idle = verdict.hops.filter((hop) => hop.state === "idle");
  if (verbose) {
    page.gap();
    for (const { hop, state, why } of verdict.hops) {
      page.put(`${HOP_NAMES[hop]}: ${HOP_WORDS[state]}${why === "" ? "" : `, ${why}`}`, {
        indent: INDENT,
        hang: 2,
        lead: `${HOP_GLYPHS[state]} `,
      });
    }
  } else if (idle.length > 0) {
    const names = idle.map((hop) => HOP_NAMES[hop.hop]).join(", ");
    page.put(`Idle (${HOP_GLYPHS.idle}) is no fault, nothing is at work now: ${names}`, { indent: INDENT, hang: 2 });
  }
}

function putActivity(page: Page, report: Report, palette: Palette, verbose: boolean): void {
  const said = activityText(report, verbose ? Number.POSITIVE_INFINITY : CALLS_SHOWN);
  if (said === null) return;
  page.gap();
  page.put(said.head, { indent: INDENT, hang: 2, paint: palette.bold });
  const names = said.rows.map(({ name, call_id }) => page.clean(`${name} ${call_id}`));
  const width = Math.max(0, ...names.map(widthOf));
  const digits = Math.max(0, ...said.rows.map(({ count }) => grouped(count).length));
  said.rows.forEach(({ count, bytes, errors }, index) => {
    const name = names[index] ?? "";
    const failed = errors === null ? "results not seen" : `${errors} failed`;
    const columns = [name + " ".repeat(width - widthOf(name)), grouped(count).padStart(digits), failed, bytesOf(bytes)];
    page.raw(cut(" ".repeat(INDENT * 2) + columns.join("  "), page.width, page.clean("…")));
  });
  if (said.left > 0) page.put(`and ${said.left} more with --verbose`, { indent: INDENT * 2, paint: palette.dim });
}

/** The two sides of the four operations as a table, and the operators' criteria below it. */
function putHostMatch(page: Page, report: Report, palette: Palette): void {
  const said = hostMatchText(report);
  if (said === null) return;
  page.gap();
  page.put(said.head, { indent: INDENT, hang: 2, paint: palette.bold });
  const widths = [0, 1, 2].map((column) => Math.max(...said.rows.map((row) => widthOf(row[column] ?? ""))));
  for (const row of said.rows) {
    const cells = row.map(
      (cell, column) => page.clean(cell) + " ".repeat(Math.max(0, (widths[column] ?? 0) - widthOf(cell))),
    );
    page.raw(cut(" ".repeat(INDENT * 2) + cells.join("  ").trimEnd(), page.width, page.clean("…")));
  }
  page.gap();
  for (const { box, text, refuted } of said.criteria) {
    const paintLead = refuted ? palette.bad : box === "[x]" ? palette.good : palette.odd;
    page.put(text, { indent: INDENT, hang: 4, lead: `${box} `, paintLead });
  }
}

function putFindings(page: Page, report: Report, palette: Palette, verbose: boolean): void {
  for (const finding of troubles(report)) {
    page.gap();
    putFinding(page, finding, palette, verbose);
  }
  if (verbose) {
    page.gap();
    for (const finding of report.findings) {
      if (finding.outcome !== "warn" && finding.outcome !== "fail" && finding.outcome !== "crashed") {
        putFinding(page, finding, palette, true);
      }
    }
    return;
  }
  page.gap();
  for (const { label, checks } of unjudged(report)) {
    page.put(`${label} (${checks.length}): ${checks.join(", ")}`, { indent: INDENT, hang: 2, lead: "? " });
  }
}

function putFinding(page: Page, finding: Finding, palette: Palette, verbose: boolean): void {
  const tone = finding.outcome === "pass" ? palette.good : finding.outcome === "fail" ? palette.bad : palette.odd;
  page.put(messageOf(finding), {
    indent: INDENT,
    hang: 4,
    lead: `${OUTCOME_GLYPHS[finding.outcome]} ${nameOf(finding)}  `,
    paintLead: tone,
  });
  const detail: Placement = { indent: INDENT + 4, hang: 2 };
  const shown = verbose ? finding.evidence : finding.evidence.slice(0, EVIDENCE_SHOWN);
  for (const evidence of shown) {
    const { source, text, at } = evidence;
    const where = verbose ? `${placeOf(evidence)}${at === null ? "" : ` (${at})`}` : source;
    const limit = verbose ? Number.POSITIVE_INFINITY : EVIDENCE_LINES;
    page.put(`${where}: ${text}`, { ...detail, hard: true, limit, paint: palette.dim });
  }
  const left = finding.evidence.length - shown.length;
  if (left > 0) page.put(`and ${left} more with --verbose`, { ...detail, paint: palette.dim });
  if (finding.remedy === null) return;
  const { text, commands, who, anchor } = finding.remedy;
  page.put(`${who}: ${text}`, { ...detail, lead: "→ " });
  for (const command of commands) page.put(command, { ...detail, indent: INDENT + 6, lead: "$ " });
  if (verbose) page.put(`see ${anchor}`, { ...detail, indent: INDENT + 6 });
}

function putChecklist(page: Page, report: Report, palette: Palette): void {
  if (report.checklist.length === 0) return;
  page.gap();
  page.put("Checklist", { indent: INDENT, paint: palette.bold });
  for (const { question, answer, detail } of report.checklist) {
    const tone = answer === "yes" ? palette.good : answer === "no" ? palette.bad : palette.odd;
    page.put(detail === "" ? question : `${question} — ${detail}`, {
      indent: INDENT,
      hang: 4,
      lead: `${ANSWER_BOXES[answer]} `,
      paintLead: tone,
    });
  }
}

function putNext(page: Page, report: Report): void {
  const { next } = report.verdict;
  if (next.length === 0) return;
  page.gap();
  const label = `${nextLabel(report.verdict)}:`;
  const [only, ...others] = next;
  if (only !== undefined && others.length === 0) {
    page.put(only, { indent: INDENT, hang: INDENT, lead: `${label} ` });
    return;
  }
  page.put(label, { indent: INDENT });
  for (const step of next) page.put(step, { indent: INDENT * 2, hang: 2, lead: "- " });
}

function putSources(page: Page, report: Report, palette: Palette, verbose: boolean): void {
  if (verbose) {
    page.put("Sources", { indent: INDENT, paint: palette.bold });
    for (const { name, state, detail } of report.sources) {
      page.put(`${name}: ${state}${detail === "" ? "" : `, ${detail}`}`, { indent: INDENT, hang: 2 });
    }
    page.gap();
    return;
  }
  const { skipped, failed } = unreadSources(report);
  if (report.sources.every((source) => source.state !== "read")) page.put("No source was read.", { indent: INDENT });
  if (failed.length > 0) page.put(`Not read: ${failed.join(" · ")}`, { indent: INDENT, hang: 2 });
  if (skipped.length > 0) page.put(`Not looked at: ${skipped.join(" · ")}`, { indent: INDENT, hang: 2 });
}
