import { activityText } from "./activity.ts";
import { hostMatchText } from "./host-match.ts";
import { bytesOf, grouped } from "./quantities.ts";
import type { Finding, Report } from "./report.ts";
import { duration, visible } from "./text.ts";
import {
  brokenHop,
  counts,
  exitCodeOf,
  HOP_NAMES,
  headline,
  messageOf,
  nameOf,
  nextLabel,
  placeOf,
  refutedRungs,
  troubles,
  unjudged,
  unreadSources,
} from "./words.ts";

/**
 * Safe in every dialect of Markdown we know: a word of letters, digits and the punctuation of prose stays as it is;
 * any other word (paths, variables, addresses, mentions, anything with markup in it) becomes a code span, where
 * nothing is interpreted. Backslashes are not used: the dialects disagree on them inside tables and code.
 */
const PLAIN_WORD = /^[\p{L}\p{N}.,;:()'"?!%+\-—–·…]*$/u;
/** A colon or a dot inside a word makes addresses, names of hosts and emoji of it; "www" is linked by some dialects. */
const LINKED_WORD = /[\p{L}\p{N}]:[\p{L}\p{N}]|[\p{L}\p{N}]\.\p{L}|:\p{L}+:|^www\./iu;
/** What would make a list or a rule of a paragraph that begins with it. */
const BLOCK_START = /^(?:[-+.]+|\d+[.)])$/;
/** Punctuation of the sentence that stays outside of the code span. */
const WORD_PARTS = /^([("']*)(.*?)([.,;:)"'?!]*)$/su;

const BACKTICKS = /`+/g;

const ANSWER_BOXES = { yes: "[x]", no: "[ ]", unknown: "[ ]" } as const;

/** The longest run of backticks in a text: a fence has to be longer. */
function longestRun(text: string): number {
  let longest = 0;
  for (const [run] of text.matchAll(BACKTICKS)) longest = Math.max(longest, run.length);
  return longest;
}

/** A code span that its content cannot end. A pipe is written as an escape: it would end a cell of a table. */
export function codeSpan(text: string): string {
  const content = visible(text).replaceAll("|", "\\x7c");
  if (content.trim() === "") return "(empty)";
  const fence = "`".repeat(longestRun(content) + 1);
  const padding = content.startsWith("`") || content.endsWith("`") ? " " : "";
  return fence + padding + content + padding + fence;
}

/** A fenced block of lines, each made visible. */
export function codeBlock(lines: readonly string[], language: string): string {
  const content = lines.map(visible).join("\n");
  const fence = "`".repeat(Math.max(3, longestRun(content) + 1));
  return `${fence}${language}\n${content}\n${fence}`;
}

/** Text within a line: prose stays readable, everything else becomes code. */
export function inline(text: string): string {
  return visible(text).trim().split(/ +/).map(inlineWord).join(" ");
}

function inlineWord(word: string, index: number): string {
  const starts = index === 0 && BLOCK_START.test(word);
  if (PLAIN_WORD.test(word) && !LINKED_WORD.test(word) && !starts) return word;
  const [, before = "", core = "", after = ""] = WORD_PARTS.exec(word) ?? [];
  return core === "" ? codeSpan(word) : before + codeSpan(core) + after;
}

function cell(text: string): string {
  return text === "" ? "" : inline(text);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/**
 * The report as a ticket: what was judged, the verdict, a task per finding to tick off, the questions of the
 * checklist, what was not looked at, and the evidence folded away.
 */
export function renderMarkdown(report: Report): string {
  const parts = [
    "## vgpu-agent doctor",
    subjectTable(report),
    verdictPart(report),
    table(
      ["Hop", "State", "Why"],
      report.verdict.hops.map(({ hop, state, why }) => [
        HOP_NAMES[hop],
        state === "broken" ? "**broken**" : state,
        cell(why),
      ]),
    ),
    ...callsPart(report),
    ...hostMatchPart(report),
    ...taskPart(report),
    ...checklistPart(report),
    ...nextPart(report),
    ...openPart(report),
    ...evidencePart(report),
    `${counts(report)} · exit ${exitCodeOf(report)} · ${duration(report.duration_ms)} · ` +
      `vgpu-agent ${inline(report.tool_version)} · report ${codeSpan(report.run_id)}`,
  ];
  return `${parts.join("\n\n")}\n`;
}

function subjectTable(report: Report): string {
  const { kind, hostname, machine_id, boot_id, vm_id, bdf, unit, pid, up_ms } = report.subject;
  const known = (value: string | number | null) => (value === null ? "not known" : codeSpan(String(value)));
  const { window, coverage, source } = report.activity;
  const kinds = { live: "the machine it ran on", tree: "a captured tree", evidence: "logs alone" } as const;
  return table(
    ["Subject", ""],
    [
      ["Judged", kinds[kind]],
      ["Host", known(hostname)],
      ["VM id", known(vm_id)],
      ["Device", known(bdf)],
      ["Unit", known(unit)],
      ["Process", pid === null ? "not known" : `${pid}${up_ms === null ? "" : `, up ${duration(up_ms)}`}`],
      ["Machine id", known(machine_id)],
      ["Boot id", known(boot_id)],
      ["Judged at", known(report.started_at)],
      [
        "Window of the calls",
        `${known(window.from)} to ${known(window.to)}, coverage ${coverage}, calls ${source === "none" ? "not counted" : `counted by ${source}`}`,
      ],
    ],
  );
}

function verdictPart(report: Report): string {
  const { verdict } = report;
  const lines = [`### Verdict: ${headline(verdict)}`, inline(verdict.statement)];
  const refuted = refutedRungs(verdict);
  if (refuted !== "") lines.push(`**${refuted}**`);
  const broken = brokenHop(verdict);
  if (broken !== null) lines.push(`**First broken hop:** ${inline(broken)}`);
  return lines.join("\n\n");
}

function callsPart(report: Report): string[] {
  const said = activityText(report, Number.POSITIVE_INFINITY);
  if (said === null) return [];
  const rows = said.rows.map(({ name, call_id, count, bytes, errors }) => [
    inline(`${name} ${call_id}`),
    grouped(count),
    errors === null ? "not seen" : String(errors),
    bytesOf(bytes),
  ]);
  const calls = rows.length === 0 ? [] : [table(["Call", "Count", "Failed", "Bytes"], rows)];
  return ["### Calls", inline(said.head), ...calls];
}

function hostMatchPart(report: Report): string[] {
  const said = hostMatchText(report);
  if (said === null) return [];
  const [head = ["", "", "", ""], ...rows] = said.rows;
  const criteria = said.criteria.map(({ text }) => `- ${inline(text)}`);
  return [
    "### Guest and host",
    inline(said.head),
    table(
      [...head],
      rows.map((row) => row.map(inline)),
    ),
    ...(criteria.length === 0 ? [] : [criteria.join("\n")]),
  ];
}

function taskPart(report: Report): string[] {
  const found = troubles(report);
  return found.length === 0 ? [] : ["### To do", ...found.map(task)];
}

function task(finding: Finding): string {
  const lines = [`- [ ] **${finding.outcome}** ${inline(`${nameOf(finding)}: ${messageOf(finding)}`)}`];
  if (finding.remedy !== null) {
    const { who, text, commands, anchor } = finding.remedy;
    lines.push(`${who}: ${inline(text)} See ${codeSpan(anchor)}.`);
    if (commands.length > 0) lines.push(codeBlock(commands, "sh"));
  }
  return lines.join("\n\n").replaceAll("\n", "\n  ").replaceAll(/^ +$/gm, "");
}

function checklistPart(report: Report): string[] {
  if (report.checklist.length === 0) return [];
  const lines = report.checklist.map(({ question, answer, detail }) => {
    const open = answer === "unknown" ? "**not known:** " : "";
    return `- ${ANSWER_BOXES[answer]} ${open}${inline(question)}${detail === "" ? "" : ` — ${inline(detail)}`}`;
  });
  return ["### Checklist", lines.join("\n")];
}

function nextPart(report: Report): string[] {
  const { next } = report.verdict;
  if (next.length === 0) return [];
  return [`### ${nextLabel(report.verdict)}`, next.map((step) => `- [ ] ${inline(step)}`).join("\n")];
}

function openPart(report: Report): string[] {
  const { skipped, failed } = unreadSources(report);
  const lines = [
    ...unjudged(report).map(({ label, checks }) => `${label} (${checks.length}): ${checks.join(", ")}`),
    ...failed.map((source) => `Not read: ${source}`),
    ...skipped.map((source) => `Not looked at: ${source}`),
  ];
  if (report.sources.every((source) => source.state !== "read")) lines.push("No source was read.");
  return lines.length === 0
    ? []
    : ["### Not judged, not looked at", lines.map((line) => `- ${inline(line)}`).join("\n")];
}

function evidencePart(report: Report): string[] {
  const found = troubles(report);
  const others = report.findings.filter((finding) => !found.includes(finding));
  const lines = [...found, ...others].flatMap((finding) =>
    finding.evidence.flatMap((evidence) => [
      `${finding.outcome} ${nameOf(finding)}: ${placeOf(evidence)}${evidence.at === null ? "" : ` at ${evidence.at}`}`,
      `    ${evidence.text}`,
    ]),
  );
  if (lines.length === 0) return [];
  return [`<details>\n<summary>Evidence</summary>\n\n${codeBlock(lines, "text")}\n\n</details>`];
}
