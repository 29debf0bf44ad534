import { z } from "zod";

/** What the counterpart answers, first version; published as schema/host-answer-1.json. */

const time = z.number().int().nonnegative();
const sequence = z.number().int().nonnegative();

/**
 * The server's clock at both ends of its work. With the sender's own two times t0 and t3 the offset of the guest's clock is
 * ((t0 - received_at) + (t3 - sent_at)) / 2, off by at most half of ((t3 - t0) - (sent_at - received_at)).
 */
export const clockSchema = z.strictObject({
  received_at: time.describe("milliseconds since 1970 on the host's clock, when the request's head was read"),
  sent_at: time.describe("the same, when this answer was written"),
});

/** A guest that understands the run of the mediator in an answer says so in this header of its request; others are not told. */
export const TAKES_HEADER = "vgpu-agent-takes";
export const TAKES_MEDIATOR_RUN = "mediator-run";

/** Which of its mediator's runs the host is in, by the beginnings that the mediator's log tells. */
export const mediatorRunSchema = z.strictObject({
  series: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .describe("names one counting of runs: numbers of two series cannot be compared"),
  run: z
    .number()
    .int()
    .nonnegative()
    .describe("beginnings that were seen in this series. A higher number: another run began; the same: none was seen"),
  began_ms_ago: z
    .number()
    .int()
    .nonnegative()
    .nullable()
    .describe("milliseconds before sent_at: no earlier did this run begin; null: it is not known"),
});

const mediatorRun = mediatorRunSchema
  .optional()
  .describe(
    `only where the request says ${TAKES_HEADER}: ${TAKES_MEDIATOR_RUN}, and the host follows the log to its end`,
  );

/** Why an entry was not taken. It will not be taken when it is sent again either. */
export const ENTRY_REFUSALS = ["malformed", "unknown-version", "too-large", "other-vm", "out-of-time", "gaps"] as const;

export const acknowledgementSchema = z.strictObject({
  schema: z.literal("vgpu-agent/acknowledgement/1"),
  agent_id: z.string(),
  boot_id: z.string(),
  accepted: z
    .array(sequence)
    .describe("entries that are on the host's disk now, and were not before; those sent twice in a batch count once"),
  duplicates: z.array(sequence).describe("entries that were on its disk before: forget them too"),
  refused: z.array(
    z.strictObject({
      index: z.number().int().nonnegative().describe("place in the batch"),
      seq: sequence.nullable().describe("null where the entry has no readable number"),
      reason: z.enum(ENTRY_REFUSALS),
      text: z.string().describe("what is wrong with it, without its content"),
    }),
  ),
  accepted_up_to: sequence.describe("every number of this agent and boot up to this one is held; 0: not even 1"),
  highest: sequence.describe("the highest number held: what lies between was not sent, refused, or is under way"),
  mediator: mediatorRun,
  clock: clockSchema,
});

/** How the host itself is, as far as it concerns the VM that asks. */
export const hostHealthSchema = z.strictObject({
  checked_at: time.describe("when the mediator was looked at, on the host's clock"),
  findings: z
    .array(
      z.strictObject({
        check: z.string().max(64),
        outcome: z.enum(["pass", "info", "warn", "fail", "unknown", "not-run", "crashed"]),
        cause: z.string().max(16).nullable(),
        message: z.string().max(2000),
      }),
    )
    .max(64),
  log: z.strictObject({
    state: z.enum(["followed", "unreadable", "none"]).describe("none: the host was not told where the log is"),
    read_at: time.nullable().describe("when its end was reached last, on the host's clock"),
    behind_bytes: z.number().int().nonnegative().nullable(),
    watched_since: time.nullable().describe("since when it is watched without a gap, on the host's clock"),
  }),
});

export const verdictAnswerSchema = z.strictObject({
  schema: z.literal("vgpu-agent/verdict-answer/1"),
  vm_id: z.number().int().nonnegative(),
  state: z
    .enum(["ready", "pending", "none"])
    .describe("pending: evidence that fits is held and not joined yet; none: there is no such evidence"),
  made_at: time.nullable().describe("when the two sides were joined, on the host's clock"),
  result: z
    .record(z.string(), z.unknown())
    .nullable()
    .describe("a vgpu-agent/match/1 document; null unless the state is ready"),
  health: hostHealthSchema.nullable().describe("null: the host did not look at its mediator"),
  mediator: mediatorRun,
  clock: clockSchema,
});

export const timeAnswerSchema = z.strictObject({ schema: z.literal("vgpu-agent/time/1"), clock: clockSchema });

/** Why a request was not served. */
export const ERROR_CODES = [
  "bad-request",
  "unauthorised",
  "forbidden",
  "not-found",
  "too-large",
  "unsupported",
  "too-many-requests",
  "busy",
  "store-full",
  "store-failed",
  "internal",
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

export const errorAnswerSchema = z.strictObject({
  schema: z.literal("vgpu-agent/error/1"),
  error: z.enum(ERROR_CODES),
  text: z.string().describe("what happened and what to do"),
  retry: z.boolean().describe("the same request may succeed later; then the header Retry-After says when"),
  clock: clockSchema,
});

export const hostAnswerSchema = z.discriminatedUnion("schema", [
  acknowledgementSchema,
  verdictAnswerSchema,
  timeAnswerSchema,
  errorAnswerSchema,
]);

export type Clock = z.infer<typeof clockSchema>;
export type Acknowledgement = z.infer<typeof acknowledgementSchema>;
export type EntryRefusal = (typeof ENTRY_REFUSALS)[number];
export type MediatorRunAnswer = z.infer<typeof mediatorRunSchema>;
export type HostHealth = z.infer<typeof hostHealthSchema>;
export type VerdictAnswer = z.infer<typeof verdictAnswerSchema>;
export type ErrorAnswer = z.infer<typeof errorAnswerSchema>;
export type HostAnswer = z.infer<typeof hostAnswerSchema>;
