import { z } from "zod";

const time = z.number().int().nonnegative().describe("milliseconds since 1970 on the guest's clock");

/**
 * A condition of a guest began or ended: something that holds for a while, in contrast to an event that happens once. The
 * same `id` opens and closes; between the two it holds.
 */
export const conditionSchema = z.strictObject({
  schema: z.literal("vgpu-agent/condition/1"),
  boot_id: z.string().max(64),
  id: z.string().max(200).describe("names the condition and its subject, the same when it opens and when it closes"),
  check: z.string().max(64),
  cause: z.string().max(16).nullable(),
  outcome: z.enum(["warn", "fail", "unknown"]),
  state: z.enum(["open", "closed"]),
  since: time.describe("when it was first seen"),
  at: time.describe("when this was said"),
  pid: z.number().int().positive().nullable().describe("the process that it is about, where it is about one"),
  ended_by: z
    .enum(["recovered", "process-ended", "reboot", "mediator-restarted", "no-longer-judged"])
    .nullable()
    .describe("null while it is open"),
  message: z.string().max(2000),
});

export type Condition = z.infer<typeof conditionSchema>;
