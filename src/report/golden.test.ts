import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { connected, executing, mediatorGone, REPORTS } from "../../test/fixtures/reports.ts";
import { type Format, PLAIN_OPTIONS, type RenderOptions, renderReport } from "./format.ts";
import type { Report } from "./report.ts";

/**
 * What each format looks like. After a wanted change, write the files anew and read the difference before keeping it:
 *
 *     UPDATE_GOLDEN=1 node --test src/report/golden.test.ts && git diff test/fixtures/golden
 */
const UPDATE = process.env["UPDATE_GOLDEN"] === "1";
const GOLDEN = new URL("../../test/fixtures/golden/", import.meta.url);
const SUFFIXES: Readonly<Record<Format, string>> = {
  tty: "tty.txt",
  short: "short.txt",
  markdown: "md",
  json: "json",
  junit: "junit.xml",
};

function compare(file: string, report: Report, format: Format, options: Partial<RenderOptions> = {}): void {
  const url = new URL(file, GOLDEN);
  const rendered = renderReport(report, format, { ...PLAIN_OPTIONS, pretty: true, ...options });
  if (UPDATE) writeFileSync(url, rendered);
  assert.equal(rendered, readFileSync(url, "utf8"));
}

for (const [name, report] of Object.entries(REPORTS)) {
  for (const format of ["tty", "short", "markdown", "json", "junit"] as const) {
    const file = `${name}.${SUFFIXES[format]}`;
    test(`the report "${name}" as ${format} is ${file}`, () => compare(file, report, format));
  }
}

test("verbose shows all findings, all evidence and all sources", () => {
  compare("connected.verbose.txt", connected, "tty", { verbose: true });
});

test("verbose shows every call that was counted", () => {
  compare("executing.verbose.txt", executing, "tty", { verbose: true });
});

test("colours are added to the same text", () => {
  compare("mediator-gone.colour.txt", mediatorGone, "tty", { colour: true });
});

test("a narrow terminal without UTF-8 gets the hops one below the other, in ASCII", () => {
  compare("mediator-gone.ascii-50.txt", mediatorGone, "tty", { ascii: true, width: 50 });
});
