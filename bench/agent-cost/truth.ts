import { z } from "zod";

/** What was printed. */
export const writtenSchema = z.strictObject({
  lines: z.number(),
  /** By call id. */
  calls: z.record(z.string(), z.number()),
  requests: z.number(),
});
export type Written = z.infer<typeof writtenSchema>;

/** What the receiver of rsyslog got. */
export const receivedSchema = z.strictObject({
  lines: z.number(),
  /** Numbers of round trips that came more than once. */
  twice: z.number(),
});
export type Received = z.infer<typeof receivedSchema>;

/** What the counterpart has. */
export const reportedSchema = z.strictObject({
  entries: z.record(z.string(), z.number()),
  calls: z.record(z.string(), z.number()),
  requests: z.number(),
  gaps: z.array(z.string()),
  documentBytes: z.number(),
});
export type Reported = z.infer<typeof reportedSchema>;
