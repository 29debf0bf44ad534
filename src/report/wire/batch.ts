import { z } from "zod";
import { conditionSchema } from "./condition.ts";
import { WIRE_LIMITS } from "./limits.ts";

/** What a guest sends to `POST /v1/reports`, first version; published as schema/report-batch-1.json. */

const time = z.number().int().nonnegative().describe("milliseconds since 1970 on the sender's clock");
const sequence = z
  .number()
  .int()
  .positive()
  .describe("counts this agent's entries of this boot from 1; an entry keeps its number when it is sent again");
/** What it must look like inside is decided by the receiver, for each entry alone. */
const document = z.record(z.string(), z.unknown());

/** Why a guest gave up entries that it had made. */
export const DROP_REASONS = ["spool-full", "refused", "damaged"] as const;

export const entrySchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("report"),
    seq: sequence,
    at: time,
    document: document.describe("a vgpu-agent/report/1 document"),
  }),
  z.strictObject({
    kind: z.literal("guest-evidence"),
    seq: sequence,
    at: time,
    document: document.describe("a vgpu-agent/guest-evidence/1 document: one window to be matched"),
  }),
  z.strictObject({
    kind: z.literal("condition"),
    seq: sequence,
    at: time,
    document: conditionSchema,
  }),
  z.strictObject({
    kind: z.literal("dropped"),
    seq: sequence,
    at: time,
    document: z.strictObject({
      first: sequence,
      last: sequence,
      count: z.number().int().positive().describe("entries between first and last that will never come"),
      reason: z.enum(DROP_REASONS),
    }),
  }),
]);

/** The head and the entries, each entry still unknown: one bad entry does not cost the others. */
export const batchSchema = z.strictObject({
  schema: z.literal("vgpu-agent/report-batch/1"),
  agent_id: z.uuid().describe("made once by the agent, kept on its disk"),
  boot_id: z.uuid().describe("/proc/sys/kernel/random/boot_id"),
  vm_id: z
    .number()
    .int()
    .min(0)
    .max(0xffffffff)
    .nullable()
    .describe("what the guest believes it is; the token decides, and another one is refused"),
  sent_at: time,
  entries: z
    .array(z.unknown())
    .min(1)
    .max(WIRE_LIMITS.entries)
    .describe("each one as in `entry`; one that is not is refused alone"),
});

/** As the guest builds it. */
export const reportBatchSchema = batchSchema.extend({
  entries: z.array(entrySchema).min(1).max(WIRE_LIMITS.entries),
});

export type BatchEntry = z.infer<typeof entrySchema>;
export type ReportBatch = z.infer<typeof reportBatchSchema>;
export const ENTRY_KINDS = ["report", "guest-evidence", "condition", "dropped"] as const;
export type DropReason = (typeof DROP_REASONS)[number];
export type EntryKind = (typeof ENTRY_KINDS)[number];
