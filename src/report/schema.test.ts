import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { PUBLISHED, SCHEMA_FILE, schemaDocument } from "../../scripts/write-schema.ts";
import { connected, mediatorGone, REPORTS } from "../../test/fixtures/reports.ts";
import { renderReport } from "./format.ts";
import { reportSchema } from "./report.ts";

// The pattern beside each format says more than the format does, so formats need no plug-in.
const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, formats: { "date-time": true } });
const validate = ajv.compile(JSON.parse(readFileSync(SCHEMA_FILE, "utf8")));

for (const published of PUBLISHED) {
  test(`${published.head.$id} is published as its source describes it (npm run schema writes it)`, () => {
    assert.equal(readFileSync(published.file, "utf8"), schemaDocument(published));
  });
}

for (const [name, report] of Object.entries(REPORTS)) {
  test(`the printed report "${name}" holds to the published schema and to zod's`, () => {
    const printed: unknown = JSON.parse(renderReport(report, "json"));
    assert.ok(validate(printed), ajv.errorsText(validate.errors));
    assert.deepEqual(reportSchema.parse(printed), report);
  });
}

const wrong: Readonly<Record<string, unknown>> = {
  "a field that nobody described": { ...connected, extra: 1 },
  "a missing verdict": { ...connected, verdict: undefined },
  "an outcome that does not exist": { ...connected, findings: [{ ...connected.findings[0], outcome: "ok" }] },
  "a cause that is no cause id": { ...mediatorGone, verdict: { ...mediatorGone.verdict, cause: "C07" } },
  "a time without a zone": { ...connected, started_at: "2026-03-02T14:05:11" },
  "six hops": { ...connected, verdict: { ...connected.verdict, hops: connected.verdict.hops.slice(1) } },
  "a negative duration": { ...connected, duration_ms: -1 },
};

for (const [what, report] of Object.entries(wrong)) {
  test(`both schemas refuse ${what}`, () => {
    const document: unknown = JSON.parse(JSON.stringify(report));
    assert.equal(validate(document), false);
    assert.equal(reportSchema.safeParse(document).success, false);
  });
}
