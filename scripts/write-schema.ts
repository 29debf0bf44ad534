import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { reportSchema } from "../src/report/report.ts";

/** Writes schema/report-1.json, the published form of the report's schema. Run it after a change of report.ts. */

export const SCHEMA_FILE = fileURLToPath(new URL("../schema/report-1.json", import.meta.url));

/** The published file's content: JSON Schema, draft 2020-12. The id is a name, not an address. */
export function schemaDocument(): string {
  const { $schema, ...schema } = z.toJSONSchema(reportSchema, { target: "draft-2020-12" });
  const document = {
    $schema,
    $id: "urn:vgpu-agent:schema:report:1",
    title: "vgpu-agent report, version 1",
    description:
      "What `vgpu-agent doctor --json` prints: one document per run. What could not be judged is `unknown`, `not-run` " +
      "or null, never `pass`.",
    ...schema,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

if (import.meta.main) {
  mkdirSync(fileURLToPath(new URL("../schema/", import.meta.url)), { recursive: true });
  writeFileSync(SCHEMA_FILE, schemaDocument());
}
