import { z } from "zod";
import { HOP_STATES, HOPS, OUTCOMES, RUNGS } from "../protocol/vocabulary.ts";

/** Schema of `--json`, first version. The published JSON Schema (schema/report-1.json) is generated from it. */

export const SOURCE_STATES = ["read", "absent", "denied", "timed-out", "invalid", "skipped"] as const;

const causeId = z.string().regex(/^VG-[A-Z]\d{2}$/);
const time = z.iso.datetime();

export const evidenceSchema = z.strictObject({
  source: z.string().describe("what was read: journal, sysfs, /proc/1187/maps"),
  locator: z.string().describe("where in it: a journal cursor, a path, a byte offset"),
  text: z.string().describe("the line or value, payload removed, at most 300 characters"),
  at: time.nullable().describe("when it was written, if the source says so"),
});

export const remedySchema = z.strictObject({
  text: z.string(),
  commands: z.array(z.string()).describe("read-only or reversible; none ends a running load"),
  who: z.enum(["guest operator", "host operator", "workload owner"]),
  anchor: z.string().describe("page of docs/causes"),
});

export const findingSchema = z.strictObject({
  check: z.string(),
  outcome: z.enum(OUTCOMES),
  cause: causeId.nullable(),
  hop: z.enum(HOPS).nullable(),
  title: z.string(),
  message: z.string(),
  because: z.array(causeId).describe("causes of the broken ancestors of a check that did not run"),
  evidence: z.array(evidenceSchema),
  remedy: remedySchema.nullable(),
  duration_ms: z.number().nonnegative(),
});

export const hopSchema = z.strictObject({ hop: z.enum(HOPS), state: z.enum(HOP_STATES), why: z.string() });

export const verdictSchema = z.strictObject({
  rung: z.enum(RUNGS).nullable().describe("null: no verdict could be reached"),
  statement: z.string(),
  proven: z.boolean().describe("GPU execution is proven by the host's own record: rung executing or correct"),
  evidence: z
    .enum(["guest", "host"])
    .nullable()
    .describe("whose evidence the rung executing rests on; guest alone is less than proof; null below it"),
  refuted: z.array(z.enum(RUNGS)),
  hops: z.array(hopSchema).length(HOPS.length),
  first_broken_hop: z.enum(HOPS).nullable(),
  cause: causeId.nullable(),
  next: z.array(z.string()).describe("what to do next, most telling first"),
});

const figuresSchema = z.strictObject({
  count: z.number().int().nonnegative(),
  bytes: z.number().int().nonnegative().nullable(),
  failed: z.number().int().nonnegative().nullable(),
});

const operationSideSchema = figuresSchema.extend({
  least: figuresSchema
    .nullable()
    .default(null)
    .describe(
      "of the host's side of a window: what surely lies in it, where its edges are not sharp; the figures beside it are " +
        "then the most that may. Null: the figures are no range",
    ),
});

export const reportSchema = z.strictObject({
  schema: z.literal("vgpu-agent/report/1"),
  run_id: z.string(),
  tool_version: z.string(),
  started_at: time,
  duration_ms: z.number().nonnegative(),
  subject: z.strictObject({
    kind: z.enum(["live", "tree", "evidence"]),
    hostname: z.string().nullable(),
    machine_id: z.string().nullable(),
    boot_id: z.string().nullable(),
    vm_id: z.number().int().nonnegative().nullable(),
    bdf: z.string().nullable(),
    unit: z.string(),
    pid: z.number().int().nullable().describe("the workload's server, or the --pid given"),
    up_ms: z.number().nonnegative().nullable().describe("age of that process"),
  }),
  verdict: verdictSchema,
  findings: z.array(findingSchema),
  checklist: z.array(
    z.strictObject({ question: z.string(), answer: z.enum(["yes", "no", "unknown"]), detail: z.string() }),
  ),
  activity: z.strictObject({
    window: z.strictObject({ from: time.nullable(), to: time.nullable() }),
    coverage: z.enum(["full", "partial", "none"]),
    source: z.enum(["uprobe", "log", "none"]),
    calls: z.array(
      z.strictObject({
        call_id: z.string().regex(/^0x[0-9a-f]{4}$/),
        name: z.string(),
        count: z.number().int().nonnegative(),
        bytes: z.number().int().nonnegative().describe("to the host and back"),
        errors: z.number().int().nonnegative().nullable().describe("null where returns are not seen"),
      }),
    ),
  }),
  host_match: z
    .strictObject({
      window: z.strictObject({ from: time.nullable(), to: time.nullable() }).describe("on the guest's clock"),
      coverage: z.enum(["full", "partial", "none"]).describe("whether a record that the host lacks was not made"),
      source: z
        .strictObject({ kind: z.enum(["log", "host"]), name: z.string() })
        .describe("log: a file of the mediator's, read by this run; host: the counterpart's address"),
      joined_at: time.nullable().describe("when the two sides were joined, on the clock of whoever joined them"),
      operations: z.array(
        z.strictObject({
          operation: z.enum(["alloc", "copy-in", "launch", "copy-out"]),
          guest: operationSideSchema.nullable().describe("null: this side cannot tell"),
          host: operationSideSchema.nullable(),
          confidence: z.string(),
          reason: z.string(),
        }),
      ),
      criteria: z.array(
        z.strictObject({ text: z.string(), answer: z.enum(["proven", "refuted", "not known"]), reason: z.string() }),
      ),
    })
    .nullable()
    .describe("what the host's own record says of the same calls; null where it was not compared"),
  sources: z.array(z.strictObject({ name: z.string(), state: z.enum(SOURCE_STATES), detail: z.string() })),
});

export type Evidence = z.infer<typeof evidenceSchema>;
export type Remedy = z.infer<typeof remedySchema>;
export type Finding = z.infer<typeof findingSchema>;
export type Verdict = z.infer<typeof verdictSchema>;
export type Report = z.infer<typeof reportSchema>;
