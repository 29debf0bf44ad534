import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { matchResultSchema } from "../src/host/match/result-schema.ts";
import { callsReportSchema } from "../src/report/calls.ts";
import { reportSchema } from "../src/report/report.ts";
import { hostAnswerSchema } from "../src/report/wire/answers.ts";
import { reportBatchSchema } from "../src/report/wire/batch.ts";

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
  {
    file: path("match-1.json"),
    schema: matchResultSchema,
    head: {
      $id: "urn:vgpu-agent:schema:match:1",
      title: "vgpu-agent joined result of guest and host, version 1",
      description:
        "What `vgpu-agent match --json` prints, and what the host answers a guest: of one VM alone. Nothing of another " +
        "VM is in it, and what nobody can tell is null or `UNKNOWN`.",
    },
  },
  {
    file: path("report-batch-1.json"),
    schema: reportBatchSchema,
    head: {
      $id: "urn:vgpu-agent:schema:report-batch:1",
      title: "vgpu-agent batch of reports, version 1",
      description: "What a guest sends to the counterpart's `POST /v1/reports`, plain or compressed (gzip, zstd).",
    },
  },
  {
    file: path("host-answer-1.json"),
    schema: hostAnswerSchema,
    head: {
      $id: "urn:vgpu-agent:schema:host-answer:1",
      title: "vgpu-agent answers of the counterpart, version 1",
      description: "What the counterpart answers a guest: acknowledgement, verdict, time, error.",
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
