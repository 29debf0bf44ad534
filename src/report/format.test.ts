import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hostileReports } from "../../test/fixtures/hostile-report.ts";
import { connected, idle, mediatorGone, noDevice, REPORTS } from "../../test/fixtures/reports.ts";
import { FORMATS, PLAIN_OPTIONS, type RenderOptions, renderReport } from "./format.ts";
import { codeBlock, codeSpan, inline } from "./markdown.ts";
import type { Report } from "./report.ts";
import { widthOf } from "./text.ts";
import { messageOf } from "./words.ts";

const hostile = hostileReports(6);
const large = hostileReports(60);
const RUNS = { numRuns: 60 };
const notRun = {
  ...pattern(noDevice),
  outcome: "not-run" as const,
  because: ["VG-P01"],
} satisfies Report["findings"][number];

function pattern(report: Report): Report["findings"][number] {
  const [finding] = report.findings;
  assert.ok(finding);
  return finding;
}

function render(report: Report, format: (typeof FORMATS)[number], options: Partial<RenderOptions> = {}): string {
  return renderReport(report, format, { ...PLAIN_OPTIONS, ...options });
}

test("no format prints a control, a bidirectional or a zero-width character of the report, other than newlines", () => {
  fc.assert(
    fc.property(hostile, fc.boolean(), (report, verbose) => {
      for (const format of FORMATS) {
        assert.doesNotMatch(render(report, format, { verbose }), /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u, format);
      }
    }),
    RUNS,
  );
});

test("every format ends with one newline", () => {
  for (const report of Object.values(REPORTS)) {
    for (const format of FORMATS) assert.match(render(report, format), /[^\n]\n$/);
  }
});

test("in ASCII nothing but ASCII is printed on a terminal", () => {
  fc.assert(
    fc.property(hostile, (report) => {
      for (const format of ["tty", "short"] as const) {
        assert.match(render(report, format, { ascii: true, verbose: true }), /^[\x20-\x7e\n]*$/);
      }
    }),
    RUNS,
  );
});

test("colours change nothing but the colours", () => {
  fc.assert(
    fc.property(hostile, fc.boolean(), (report, verbose) => {
      const coloured = render(report, "tty", { colour: true, verbose });
      assert.equal(coloured.replaceAll(/\x1b\[\d+m/g, ""), render(report, "tty", { verbose }));
    }),
    RUNS,
  );
});

test("no line on a terminal is wider than the terminal, unless it is one word", () => {
  fc.assert(
    fc.property(hostile, fc.integer({ min: 40, max: 120 }), fc.boolean(), (report, width, verbose) => {
      for (const line of render(report, "tty", { width, verbose }).split("\n")) {
        if (widthOf(line) <= width) continue;
        // Indent and hang take at most 10 columns: a word that is wider than the rest fits on no line at all.
        const [, before = "", word = ""] = /^(.* |)([^ ]+)$/u.exec(line) ?? [];
        assert.ok(widthOf(word) > width - 10, `${width} columns: ${line}`);
        assert.ok(widthOf(before) < width, line);
      }
    }),
    RUNS,
  );
});

test("evidence is broken anywhere rather than run over the edge of the terminal", () => {
  const [first, ...others] = mediatorGone.findings.filter(({ outcome }) => outcome === "fail");
  assert.ok(first);
  const evidence = [{ source: "log", locator: "", text: "x".repeat(300), at: null }];
  const text = render({ ...mediatorGone, findings: [{ ...first, evidence }, ...others] }, "tty");
  for (const line of text.split("\n")) assert.ok(widthOf(line) <= 80, line);
  assert.match(text, /x…$/m);
});

test("a check that did not run names its causes once, and a crash says that nothing was judged", () => {
  assert.equal(messageOf({ ...notRun, message: "not run because of VG-P01" }), "not run because of VG-P01");
  assert.equal(messageOf({ ...notRun, message: "left out" }), "left out (because of VG-P01)");
  assert.match(render(mediatorGone, "tty"), /! live-environment {2}nothing was judged: the check itself failed/);
});

test("a machine in order fits one screen of 30 lines and 80 columns", () => {
  const lines = render(connected, "tty").split("\n");
  assert.ok(lines.length - 1 <= 30);
  for (const line of lines) assert.ok(widthOf(line) <= 80, line);
});

test("short stays under 40 lines of 100 columns and keeps verdict and counts, whatever the report", () => {
  fc.assert(
    fc.property(large, (report) => {
      const lines = render(report, "short").trimEnd().split("\n");
      assert.ok(lines.length < 40, `${lines.length} lines`);
      for (const line of lines) assert.ok(widthOf(line) <= 100, line);
      assert.ok(
        lines.some((line) =>
          /^(NO VERDICT|[A-Z]+)( \(guest evidence\)| — GPU execution (not proven|refuted))?$/.test(line),
        ),
      );
      assert.match(lines.at(-1) ?? "", /^\d+ checks?\b/);
    }),
    { numRuns: 20 },
  );
});

test("short names the run, the verdict, the broken hop, its cause and the worst finding", () => {
  const text = render(mediatorGone, "short");
  for (const part of ["report 2c9f4e", "GPU execution not proven", "mediator (VG-C07)", "FAIL VG-C07", "exit 3"]) {
    assert.ok(text.includes(part), part);
  }
});

test("findings that were not judged are named on a terminal, and none that passed", () => {
  const text = render(idle, "tty");
  assert.match(text, /Could not be judged \(4\): loaded-libraries, discovery-verdict,/);
  assert.doesNotMatch(text, /bar-access/);
});

/** Removes code spans as CommonMark reads them: a run of backticks up to the next run of the same length. */
function withoutCode(line: string): string {
  return line.replaceAll(/(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)/gsu, "");
}

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.constantFrom("`", "\\", "|", "a", " ", "\n") }),
);

test("no text breaks out of a code span", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      assert.match(withoutCode(codeSpan(text)), /^(\(empty\))?$/);
      assert.doesNotMatch(codeSpan(text), /[|\n]/);
    }),
  );
});

test("no line of a text closes the fence around it", () => {
  fc.assert(
    fc.property(fc.array(anyText), (lines) => {
      const block = codeBlock(lines, "text").split("\n");
      const fence = /^`+/.exec(block[0] ?? "")?.[0] ?? "";
      assert.ok(fence.length >= 3);
      assert.equal(
        block.findIndex((line, index) => index > 0 && line.includes(fence)),
        block.length - 1,
      );
    }),
  );
});

test("text within a line has no markup outside of code", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      assert.doesNotMatch(withoutCode(inline(text)), /[`*_[\]<>|\\#@~$&{}^=/\n]/);
    }),
  );
  assert.equal(
    inline("- see [x](http://a.b) in ollama.service, 0.8 s ago"),
    "`-` see `[x](http://a.b`) in `ollama.service`, 0.8 s ago",
  );
});

test("the tasks, questions, headings and rows of a ticket are the report's own, whatever its texts say", () => {
  fc.assert(
    fc.property(hostile, (report) => {
      const outside = withoutFences(render(report, "markdown").split("\n")).map(withoutCode);
      const all = (pattern: RegExp) => outside.filter((line) => pattern.test(line)).length;
      const wrong = report.findings.filter(({ outcome }) => ["fail", "crashed", "warn"].includes(outcome)).length;
      const boxes = wrong + report.checklist.length + report.verdict.next.length;
      assert.equal(all(/^\s*- \[[ x]\] /), boxes);
      assert.equal(all(/^- \[x\]/), report.checklist.filter(({ answer }) => answer === "yes").length);
      const { source, calls } = report.activity;
      const callRows = source === "none" || calls.length === 0 ? 0 : calls.length + 2;
      const { host_match: match } = report;
      const sideRows = match === null ? 0 : match.operations.length + 2;
      assert.equal(all(/^\|/), 12 + 9 + callRows + sideRows);
      assert.ok(
        outside.filter((line) => line.startsWith("|")).every((line) => [3, 4, 5].includes(line.split("|").length - 1)),
      );
      assert.ok(all(/^#/) <= 8);
      const tags = outside.join("\n").match(/<[^>]*>?/g) ?? [];
      assert.ok(
        tags.every((tag) => ["<details>", "<summary>", "</summary>", "</details>"].includes(tag)),
        tags.join(),
      );
    }),
    RUNS,
  );
});

function withoutFences(lines: readonly string[]): string[] {
  let fence: string | null = null;
  return lines.filter((line) => {
    const run = /^ *(`{3,})(?:\w*)$/.exec(line)?.[1] ?? null;
    if (fence === null && run !== null) fence = run;
    else if (fence !== null && run !== null && run.length >= fence.length) fence = null;
    else return fence === null;
    return false;
  });
}

const XML_TOKEN =
  /<\?xml [^?<>]*\?>|<(\/?)([a-z][\w-]*)((?: [a-z-]+="(?:[^<&"]|&(?:amp|lt|gt|quot|apos);)*")*)(\/?)>|(?:[^<>&]|&(?:amp|lt|gt|quot|apos);)+/gu;

/** Names of the elements of a document, in order. Throws where it is not well-formed (for what our writer uses). */
function xmlElements(document: string): string[] {
  assert.doesNotMatch(document, /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/u);
  const open: string[] = [];
  const names: string[] = [];
  let end = 0;
  for (const match of document.matchAll(XML_TOKEN)) {
    assert.equal(match.index, end, `not XML: ${document.slice(end, end + 80)}`);
    end += match[0].length;
    const [, closing, name, , empty] = match;
    if (name === undefined) continue;
    if (closing === "/") assert.equal(open.pop(), name);
    else {
      names.push(name);
      if (empty !== "/") open.push(name);
    }
  }
  assert.equal(end, document.length);
  assert.deepEqual(open, []);
  return names;
}

test("JUnit is well-formed XML with a case per finding, whatever the report", () => {
  fc.assert(
    fc.property(hostile, (report) => {
      const names = xmlElements(render(report, "junit"));
      const all = (name: string) => names.filter((candidate) => candidate === name).length;
      const with_ = (...outcomes: readonly string[]) =>
        report.findings.filter(({ outcome }) => outcomes.includes(outcome)).length;
      assert.equal(names[0], "testsuite");
      assert.equal(all("testsuite"), 1);
      assert.equal(all("testcase"), report.findings.length);
      assert.equal(all("failure"), with_("fail"));
      assert.equal(all("error"), with_("crashed"));
      assert.equal(all("skipped"), with_("unknown", "not-run"));
      assert.equal(all("system-out"), with_("warn") + 1);
    }),
    RUNS,
  );
});

test("a text of a megabyte in every place costs time and nothing else", () => {
  const big = "é`x\x1b ".repeat(100_000) + "`|é".repeat(100_000);
  const evidence = [{ source: big, locator: big, text: big, at: null }];
  const finding = { ...notRun, outcome: "fail" as const, message: big, evidence };
  const report = { ...noDevice, subject: { ...noDevice.subject, hostname: big }, findings: [finding] };
  for (const format of FORMATS) assert.match(render(report, format), /\n$/);
  assert.ok(render(report, "short").length < 40 * 101);
});

test("JSON is the report itself, one document, with or without an indent", () => {
  fc.assert(
    fc.property(hostile, fc.boolean(), (report, pretty) => {
      const text = render(report, "json", { pretty });
      assert.deepEqual(JSON.parse(text), report);
      if (!pretty) assert.equal(text.indexOf("\n"), text.length - 1);
    }),
    RUNS,
  );
});
