import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { callsReportSchema } from "../src/report/calls.ts";
import { reportSchema } from "../src/report/report.ts";

/** Writes schema/*.json, the published forms of the schemas. Run it (`npm run schema`) after a change of one. */

interface Published {
  readonly file: string;
  readonly schema: z.ZodType;
  readonly head: { readonly $id: string; readonly title: string; readonly description: string };
}

const path = (name: string) => fileURLToPath(new URL(`../schema/${name}`, import.meta.url));

/** The ids are names, not addresses. */
export const PUBLISHED: readonly Published[] = [
  {
    file: path("report-1.json"),
    schema: reportSchema,
    head: {
      $id: "urn:vgpu-agent:schema:report:1",
      title: "vgpu-agent report, version 1",
      description:
        "What `vgpu-agent doctor --json` prints: one document per run. What could not be judged is `unknown`, `not-run` " +
        "or null, never `pass`.",
    },
  },
  {
    file: path("calls-1.json"),
    schema: callsReportSchema,
    head: {
      $id: "urn:vgpu-agent:schema:calls:1",
      title: "vgpu-agent ledger of transport calls, version 1",
      description: "What `vgpu-agent calls --json` prints. What the source does not see is null, never 0.",
    },
  },
];

export const SCHEMA_FILE = path("report-1.json");

/** A published file's content: JSON Schema, draft 2020-12. */
export function schemaDocument({ schema, head }: Published): string {
  const { $schema, ...body } = z.toJSONSchema(schema, { target: "draft-2020-12" });
  return `${JSON.stringify({ $schema, ...head, ...body }, null, 2)}\n`;
}

if (import.meta.main) {
  mkdirSync(path(""), { recursive: true });
  for (const published of PUBLISHED) writeFileSync(published.file, schemaDocument(published));
}
