import { z } from "zod";

/** Schema of `calls --json`, first version. The published JSON Schema (schema/calls-1.json) is generated from it. */

const time = z.iso.datetime();
const count = z.number().int().nonnegative();

export const callRowSchema = z.strictObject({
  call_id: z.string().regex(/^0x[0-9a-f]{4}$/),
  name: z.string(),
  pids: z.array(count).describe("processes that made it"),
  count: count.describe("calls entered"),
  share: z.number().min(0).max(1).describe("of all calls counted"),
  per_second: z.number().nonnegative().nullable().describe("of the window really covered; null when it is not known"),
  bytes_to_host: count,
  bytes_back: count.nullable().describe("null where the source does not see it"),
  errors: count.nullable().describe("returned with another value than 0; null where returns are not seen"),
  results: z.record(z.string(), count).nullable().describe("by return value; a log tells of failures alone"),
  p50_us: z.number().nonnegative().nullable(),
  p99_us: z.number().nonnegative().nullable(),
  latency_ns: z.record(z.string(), count).nullable().describe("key n: calls of [2^n, 2^(n+1)) ns"),
});

export const callsReportSchema = z.strictObject({
  schema: z.literal("vgpu-agent/calls/1"),
  tool_version: z.string(),
  unit: z
    .string()
    .describe("whose log was read; for a live count whose processes are meant, unless a pid was asked for"),
  pid: count.nullable().describe("live: this process and its descendants alone were asked for"),
  source: z.enum(["ebpf", "tracefs", "journal", "file"]),
  chosen_because: z.string().describe("why not a better source; empty when there is none better"),
  window: z.strictObject({ from: time.nullable(), to: time.nullable(), seconds: z.number().nonnegative().nullable() }),
  coverage: z.enum(["full", "partial", "none"]),
  gaps: z.array(z.string()).describe("why the coverage is not full"),
  notes: z.array(z.string()).describe("what this source never sees; no launch and no copy is among it"),
  dropped: count.describe(
    "lines that journald says it dropped, or events that the kernel lost: calls may be among them",
  ),
  possible_drops: z
    .strictObject({ intervals: count, interval_ms: z.number(), lines: count, exact: z.boolean() })
    .nullable()
    .describe("intervals in which journald's limit was met, and no record says whether lines were dropped"),
  total: count.describe("calls counted, in all processes"),
  of_others: count.nullable().describe("those of processes outside the unit; null where it is not told apart"),
  calls: z.array(callRowSchema),
  open: z.array(
    z.strictObject({ pid: count, tid: count, call_id: z.string(), name: z.string(), age_ms: z.number().nonnegative() }),
  ),
  processes: z.array(
    z.strictObject({
      pid: count,
      comm: z.string(),
      libraries: z.array(z.string()),
      calls: count,
      unit: z.string().nullable().describe("its systemd unit; null where it has none or is not known"),
      asked_for: z
        .boolean()
        .nullable()
        .describe("of the unit or process asked for; null: it ended before it was looked at, or a log names it"),
    }),
  ),
  debug_cost: z
    .strictObject({
      lines: count,
      bytes: count,
      per_call_lines: z.number().nullable(),
      per_call_bytes: z.number().nullable(),
    })
    .nullable()
    .describe("the transport's lines for single calls in the log, which VGPU_DEBUG makes; null where not counted"),
});

export type CallRow = z.infer<typeof callRowSchema>;
export type CallsReport = z.infer<typeof callsReportSchema>;
