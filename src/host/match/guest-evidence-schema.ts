import { z } from "zod";
import { LIMITS } from "./guest-limits.ts";

/**
 * The schema of what a guest tells the matcher. A guest is not believed: every list and text has a limit, every number
 * is one that JSON can hold exactly.
 */

const count = z.number().int().nonnegative();
const uint32 = z.number().int().min(0).max(0xffffffff);
const time = z.number().nullable().describe("milliseconds since 1970, on the guest's clock; null where not known");
const pointer = z
  .string()
  .regex(/^0x[0-9a-f]{1,16}$/)
  .describe("device memory: the same number in the guest and on the host");

const callSchema = z.strictObject({
  call_id: uint32.describe("docs/wire.md, Call ids"),
  count: count.describe("calls entered, a copy counted once before it is cut into chunks"),
  bytes_to_host: count.nullable().describe("payload of these calls; null where it is not seen"),
  bytes_back: count.nullable().describe("bytes asked back; null where it is not seen"),
  failed: count.nullable().describe("calls that came back with something else than 0; null where it is not seen"),
  returned: count.nullable().default(null).describe("calls that came back in the window; null where it is not seen"),
  first_at: time,
  last_at: time,
});

const allocationSchema = z.strictObject({
  bytes: count.nullable().describe("null: not told, as of one that failed"),
  ptr: pointer.nullable().describe("null: it failed, or the pointer was not seen"),
  failed: z.boolean(),
  at: time,
});

const copySchema = z.strictObject({ bytes: count, dst: pointer.nullable(), at: time });

const sequencedSchema = z.strictObject({
  transport: count.describe("which transport of the process: numbers start at 1 again with each connection"),
  seq: uint32,
  call_id: uint32,
  bytes: count.nullable().describe("payload of this round trip: a chunk's"),
  status: z.number().int().nullable().describe("CUresult: 0 when it was answered well; null when nothing was seen"),
  at: time.describe("when it was sent, milliseconds since 1970 on the guest's clock; null where not known"),
  answered_at: time,
});

const failureSchema = z.strictObject({
  call_id: uint32,
  seq: uint32.nullable(),
  transport: count.nullable().describe("as in the sequence; null where it is not known"),
  transport_error: uint32.nullable().describe("docs/wire.md, Transport error codes; null: CUDA's own error"),
  status: z.number().int().nullable().describe("CUresult as the guest got it; null where none was given"),
  timeout: z.boolean().describe("no answer within the shim's limit"),
  count: count.describe("how often this was seen"),
  at: time,
});

const payloadSchema = z.strictObject({
  seq: uint32,
  bytes: count,
  hash: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .describe("docs/wire.md, Payload hash"),
});

const openSchema = z.strictObject({ call_id: uint32, age_ms: z.number().nonnegative() });

const cutSchema = z.strictObject({
  allocations: z.boolean(),
  copies: z.boolean(),
  sequence: z.boolean(),
  failures: z.boolean(),
});

export const guestProcessSchema = z.strictObject({
  pid: z.number().int().positive().nullable().describe("what its own getpid() gives; null: of several, or not known"),
  first_at: time,
  last_at: time,
  data_path: z
    .string()
    .regex(/^[\w-]{1,32}$/)
    .nullable()
    .describe("of its last connection: shmem, BAR1, BAR0-inline"),
  counted_by: z
    .enum(["kernel", "per-call-lines", "lines"])
    .describe("kernel probes; the log's lines for each call (VGPU_DEBUG); or only the lines that are always written"),
  coverage: z.enum(["full", "partial", "none"]).describe("whether every call of the window is in `calls`"),
  calls: z.array(callSchema).max(LIMITS.callIds),
  allocations: z.array(allocationSchema).max(LIMITS.allocations),
  copies_in: z.array(copySchema).max(LIMITS.copies),
  sequence: z.array(sequencedSchema).max(LIMITS.sequence),
  failures: z.array(failureSchema).max(LIMITS.failures),
  payloads: z.array(payloadSchema).max(LIMITS.payloads),
  open: z.array(openSchema).max(LIMITS.open).default([]).describe("calls that had not come back when the window ended"),
  cut: cutSchema.describe("which of the lists above lack something since the process began: then order proves nothing"),
  ended: z.boolean().nullable().describe("the process is gone; null where it is not known"),
});

export const guestEvidenceSchema = z.strictObject({
  schema: z.literal("vgpu-agent/guest-evidence/1"),
  vm_id: uint32.nullable(),
  boot_id: z.string().max(64).nullable(),
  window: z.strictObject({ from: time, to: time }),
  clock_offset_ms: z
    .number()
    .nullable()
    .describe("guest's clock minus host's, as far as it was measured; null: it was not"),
  clock_error_ms: z.number().nonnegative().nullable().describe("how far that may be off"),
  gaps: z.array(z.string().max(300)).max(64).describe("why the evidence is not whole"),
  processes: z.array(guestProcessSchema).max(LIMITS.processes),
  requests: z
    .array(z.strictObject({ at: time, duration_ms: z.number().nonnegative().nullable(), status: z.number().int() }))
    .max(LIMITS.requests)
    .describe("requests that ran a model and were answered"),
  cpu_fallback: z
    .strictObject({
      state: z.enum(["seen", "none-seen", "not-read"]),
      text: z.string().max(300).describe("the line, or why it was not read"),
    })
    .describe("what Ollama's log says of the CPU"),
  known_answers: z
    .strictObject({ asked: count, right: count })
    .nullable()
    .describe("runs whose right result is known, in this window; null: none was made"),
});
