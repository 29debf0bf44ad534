import { activityText } from "./activity.ts";
import type { Finding, Report } from "./report.ts";
import { visible } from "./text.ts";
import { brokenHop, headline, messageOf, placeOf } from "./words.ts";

const CLASS_NAME = "vgpu-agent.doctor";
const CALLS_SHOWN = 5;
const MARKUP = /[&<>"']/g;
const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};

/** Text for content and attributes. What XML 1.0 cannot hold at all is written out before: "\x1b". */
export function xmlText(text: string): string {
  return visible(text).replace(MARKUP, (character) => ENTITIES[character] ?? "");
}

function attributes(values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values)
    .map(([name, value]) => ` ${name}="${xmlText(String(value))}"`)
    .join("");
}

/** JUnit times are seconds. */
function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

/**
 * The report for a CI server: one suite, one case per finding. `fail` is a failure, `crashed` an error, `unknown` and
 * `not-run` are skipped with the reason; a warning passes with its text in system-out, as JUnit knows no warnings.
 */
export function renderJunit(report: Report): string {
  const { findings, verdict, subject } = report;
  const count = (...outcomes: readonly string[]) => findings.filter(({ outcome }) => outcomes.includes(outcome)).length;
  const suite = attributes({
    name: CLASS_NAME,
    tests: findings.length,
    failures: count("fail"),
    errors: count("crashed"),
    skipped: count("unknown", "not-run"),
    time: seconds(report.duration_ms),
    timestamp: report.started_at,
    hostname: subject.hostname ?? "not known",
  });
  const calls = activityText(report, CALLS_SHOWN);
  const properties: Readonly<Record<string, string>> = {
    rung: verdict.rung ?? "none",
    "gpu-execution": headline(verdict),
    evidence: verdict.evidence ?? "none",
    calls: calls === null ? "not counted" : calls.brief,
    refuted: verdict.refuted.join(","),
    "first-broken-hop": verdict.first_broken_hop ?? "none",
    cause: verdict.cause ?? "none",
    "run-id": report.run_id,
    "tool-version": report.tool_version,
    "vm-id": subject.vm_id === null ? "not known" : String(subject.vm_id),
    bdf: subject.bdf ?? "not known",
    unit: subject.unit,
  };
  const broken = brokenHop(verdict);
  const summary = broken === null ? verdict.statement : `${verdict.statement} First broken hop: ${broken}`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuite${suite}>`,
    "  <properties>",
    ...Object.entries(properties).map(([name, value]) => `    <property${attributes({ name, value })}/>`),
    "  </properties>",
    ...findings.flatMap(testCase),
    `  <system-out>${xmlText(summary)}</system-out>`,
    "</testsuite>",
    "",
  ].join("\n");
}

function testCase(finding: Finding): string[] {
  const open = `  <testcase${attributes({ classname: CLASS_NAME, name: finding.check, time: seconds(finding.duration_ms) })}`;
  const result = resultOf(finding);
  return result === null ? [`${open}/>`] : [`${open}>`, `    ${result}`, "  </testcase>"];
}

function resultOf(finding: Finding): string | null {
  const { outcome, cause } = finding;
  const message = messageOf(finding);
  const type = cause ?? outcome;
  switch (outcome) {
    case "pass":
    case "info":
      return null;
    case "warn":
      return `<system-out>${xmlText(`warning ${type}: ${message}`)}\n${detail(finding)}</system-out>`;
    case "fail":
      return `<failure${attributes({ message, type })}>${detail(finding)}</failure>`;
    case "crashed":
      return `<error${attributes({ message, type })}>${detail(finding)}</error>`;
    case "unknown":
      return `<skipped${attributes({ message: `unknown: ${message}` })}/>`;
    case "not-run":
      return `<skipped${attributes({ message })}/>`;
  }
}

/** Evidence and remedy, a line each. */
function detail(finding: Finding): string {
  const lines = finding.evidence.map((evidence) => {
    return `${placeOf(evidence)}${evidence.at === null ? "" : ` at ${evidence.at}`}: ${evidence.text}`;
  });
  if (finding.remedy !== null) {
    lines.push(`${finding.remedy.who}: ${finding.remedy.text}`, ...finding.remedy.commands.map((line) => `$ ${line}`));
  }
  return lines.map(xmlText).join("\n");
}
