import { z } from "zod";
import { HOPS } from "../../protocol/vocabulary.ts";

/** Schema of a joined result; published as schema/match-1.json. The types, and what they promise, are in result.ts. */

const count = z.number().int().nonnegative();
const time = z.number().nullable().describe("milliseconds since 1970 on the host's clock; null where not known");

export const placeSchema = z
  .strictObject({
    log: z.number().int().describe("which file: grows with each replacement or truncation"),
    epoch: z.number().int().describe("which run of the mediator"),
    at: count.describe("byte offset in that file"),
  })
  .describe("where in the mediator's log");

export const RULES = [
  "R0",
  "R1",
  "R2",
  "R3",
  "R4",
  "R5",
  "R6",
  "R7",
  "R8",
  "R9",
  "R10",
  "R11",
  "R12",
  "R13",
  "R14",
] as const;
export const LEVELS = ["EXACT", "STRONG", "AMBIGUOUS", "ABSENT", "UNKNOWN"] as const;

export const confidenceSchema = z.strictObject({
  level: z
    .enum(LEVELS)
    .describe(
      "EXACT: unique by construction; STRONG: unique in the window and corroborated; AMBIGUOUS: several records fit; " +
        "ABSENT: proven that the host has none; UNKNOWN: nothing can be said",
    ),
  candidates: count.nullable().describe("how many fit, for AMBIGUOUS; null otherwise"),
  rules: z.array(z.enum(RULES)).describe("which rules it rests on: docs/decisions/0017-matching.md"),
  reason: z.string(),
});

const sideSchema = z.strictObject({
  count: count.describe(
    "operations: a copy counts once, however many chunks it took. With `least`, the most that may lie in the window",
  ),
  records: count
    .nullable()
    .describe("calls on the wire, where they are more than operations; with `least`, at most; null where not known"),
  bytes: count.nullable().describe("with `least`, at most; null where this side does not tell"),
  failed: count
    .nullable()
    .describe("of them, those that failed; with `least`, at most; null where this side does not tell"),
  least: z
    .strictObject({ count, bytes: count.nullable(), failed: count.nullable() })
    .nullable()
    .default(null)
    .describe(
      "of the host's side of a window: what surely lies in it. The window's edges are as unsure as the clocks and the " +
        "times of the log, so each figure is a range from here to the one beside it; null: the figures are no range",
    ),
});

export const OPERATIONS = ["alloc", "copy-in", "launch", "copy-out"] as const;

export const operationSchema = z.strictObject({
  operation: z.enum(OPERATIONS).describe("launch: kernels and matrix products together"),
  guest: sideSchema.nullable().describe("null: the guest's evidence does not tell of it"),
  host: sideSchema.nullable().describe("null: the host's log cannot tell"),
  matched: count.describe("guest operations whose host record was found one by one"),
  unmatched_guest: count.nullable().describe("guest operations without a host record; null where nobody can tell"),
  unmatched_host: count.nullable().describe("host records without a guest operation; null where nobody can tell"),
  good: count
    .nullable()
    .describe("the host's records that surely went well, and in the window; null: the host's log cannot tell"),
  before: count
    .nullable()
    .describe(
      "good records of these processes until the window ends; null: no window, or the times of the log do not tell",
    ),
  requests: z
    .strictObject({ first: count, last: count })
    .nullable()
    .describe("request ids of the host's records of this operation"),
  confidence: confidenceSchema,
  first: placeSchema.nullable(),
});

export const originSchema = z
  .discriminatedUnion("by", [
    z.strictObject({
      by: z.literal("this-process"),
      request_id: count.nullable(),
      fault: z.string(),
      place: placeSchema,
    }),
    z.strictObject({
      by: z.literal("this-vm"),
      pid: count.nullable(),
      request_id: count.nullable(),
      fault: z.string(),
      place: placeSchema,
    }),
    z.strictObject({ by: z.literal("another-vm"), at: time }),
    z.strictObject({ by: z.literal("host"), why: z.string() }),
    z.strictObject({ by: z.literal("unknown"), why: z.string() }),
  ])
  .describe("who caused it; of another VM nothing is told but that it was one");

export const failureSchema = z.strictObject({
  call_id: z.string().regex(/^0x[0-9a-f]{4}$/),
  name: z.string(),
  pid: count.nullable(),
  request_id: count.nullable(),
  status: z.number().int().nullable().describe("CUresult; null: none was given"),
  error: z.string().describe("CUDA's or the transport's name of it"),
  layer: z.enum(["transport", "device", "mediator", "executor", "gpu", "unknown"]).describe("where the error was made"),
  seen_by: z.enum(["both", "guest", "host"]),
  timeout: z.enum(["mediator-blocked", "reply-late", "reply-unseen", "not-rung", "unknown"]).nullable(),
  count: count.describe("how often in this process"),
  origin: originSchema,
  confidence: confidenceSchema,
  place: placeSchema.nullable(),
});

const latencySchema = z
  .strictObject({
    calls: count,
    least_ms: z.number().nullable(),
    most_ms: z.number().nullable(),
    what: z.string().describe("what these times are between"),
  })
  .nullable()
  .describe("only where both ends have a time; null otherwise");

const callRowSchema = z.strictObject({
  call_id: z.string(),
  name: z.string(),
  guest: count.nullable(),
  host: count.nullable().describe("records on the wire; null where the host cannot tell"),
});

export const processResultSchema = z.strictObject({
  pid: count.nullable(),
  counted_by: z.enum(["kernel", "per-call-lines", "lines", "none"]),
  identity: confidenceSchema.describe("whether the host's records are this process's"),
  requests: z.strictObject({ first: count, last: count, records: count }).nullable(),
  data_path: z.string().nullable(),
  operations: z.array(operationSchema).length(OPERATIONS.length),
  calls: z.array(callRowSchema).describe("every call id that one side has"),
  failures: z.array(failureSchema),
  first_failure: failureSchema.nullable().describe("the first of the chain"),
  unmatched_guest: z.array(callRowSchema).describe("call ids of which the guest has more than the host"),
  unmatched_host: z.array(callRowSchema).describe("call ids of which the host has more than the guest"),
  latency: latencySchema,
});

export const criterionSchema = z.strictObject({
  criterion: z.enum(["alloc", "copy-in", "launch", "copy-out", "correct-results", "no-cpu-fallback"]),
  text: z.string().describe("as the operators' procedure has it"),
  answer: z.enum(["proven", "refuted", "not known"]),
  reason: z.string(),
});

export const matchResultSchema = z.strictObject({
  schema: z.literal("vgpu-agent/match/1"),
  tool_version: z.string(),
  vm_id: count,
  boot_id: z.string().nullable(),
  window: z.strictObject({ from: time, to: time }).describe("on the guest's clock"),
  host: z
    .strictObject({
      coverage: z.enum(["full", "partial", "none"]).describe("whether a record that is not there was not made"),
      reasons: z.array(z.string()).describe("why it is not full"),
      proof: z.string().describe("what the coverage rests on"),
      calls: count.describe("records of this VM in the log"),
      missing_requests: count.describe("request ids of this VM without a record"),
      has_terminators: z.boolean(),
      has_owners: z.boolean(),
      has_stdout: z.boolean(),
      restarts: count.describe("starts of the mediator after the first one in the log"),
    })
    .describe("what the mediator's log can prove"),
  processes: z.array(processResultSchema),
  operations: z.array(operationSchema).length(OPERATIONS.length).describe("over all processes of the VM"),
  rejections: z.strictObject({
    scope: z
      .enum(["window", "whole-log"])
      .default("whole-log")
      .describe(
        "what is counted: refusals of the window, or all in the log since the VM's last boot and all in the evidence, " +
          "where the log has no times or the clocks were not compared",
      ),
    guest: count.nullable().describe("null: the evidence does not count them, or does not say when they were"),
    host: count
      .nullable()
      .describe("the most that may lie in the window (`host_least`); null: this log does not show rejections"),
    host_least: count
      .nullable()
      .default(null)
      .describe("how many surely lie in the window, whose edges are as unsure as the clocks; null: as `host`"),
    reason: z.enum(["rate", "queue", "quarantined", "several"]).nullable(),
    confidence: confidenceSchema,
  }),
  suspicions: z.array(
    z.strictObject({
      what: z.enum([
        "silent-corruption",
        "payload-mismatch",
        "handles-of-before-restart",
        "lost-call",
        "duplicate-vm-id",
        "fault-of-another-vm",
      ]),
      text: z.string(),
      confidence: confidenceSchema,
    }),
  ),
  other_host_processes: z
    .array(z.strictObject({ pid: count.nullable(), records: count, first_request: count, last_request: count }))
    .describe("processes of this VM that the host served and the guest did not tell of"),
  verdict: z.strictObject({
    state: z.enum(["executing", "refuted", "not known"]),
    statement: z.string(),
    hops: z.array(
      z.strictObject({ hop: z.enum(HOPS), state: z.enum(["ok", "broken", "idle", "unknown"]), why: z.string() }),
    ),
    first_broken_hop: z.enum(HOPS).nullable(),
    cause: z
      .string()
      .regex(/^VG-[A-Z]\d{2}$/)
      .nullable(),
    next: z.array(z.string()),
  }),
  criteria: z.array(criterionSchema).length(6),
});
