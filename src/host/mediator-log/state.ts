import { z } from "zod";
import type { FollowerState } from "./follow.ts";
import { MOST_MARKS } from "./marks.ts";

const offset = z.number().int().nonnegative();
const time = z.number().nullable();
const between = z.object({ notBefore: time, notAfter: z.number() }).nullable();

const summary = z.object({
  epoch: offset,
  log: offset,
  at: offset,
  version: z.string().max(32).nullable(),
  calls: offset,
  unframed: offset,
  hasTerminator: z.boolean(),
  hasOwner: z.boolean(),
  hasStdout: z.boolean(),
  heartbeats: offset,
  firstHeartbeat: between,
  lastHeartbeat: between,
  unreadBytes: offset,
  unreadLines: offset,
});

const source = z.object({
  dev: z.string().regex(/^\d{1,20}$/),
  ino: z.string().regex(/^\d{1,20}$/),
  log: offset,
  read: z.object({
    offset,
    given: offset,
    epoch: z.object({ summary, cut: z.boolean() }).nullable(),
    parser: z.object({ longLine: offset.nullable(), hole: offset.nullable() }),
  }),
  tail: z
    .object({ end: offset, length: z.number().int().min(0).max(256), sha256: z.string().regex(/^[0-9a-f]{64}$/) })
    .refine(({ end, length }) => length <= end),
  caughtUpAt: time,
  grewAt: z.number(),
  retired: z.boolean(),
  marks: z
    .array(z.object({ end: offset, notBefore: time, notAfter: z.number() }))
    .max(2 * MOST_MARKS)
    .refine((marks) => marks.every(({ end }, index) => end > (marks[index - 1]?.end ?? 0))),
});

const follower = z.object({
  version: z.literal(1),
  nextLog: offset,
  nextEpoch: offset,
  sources: z.array(source).max(16),
});

/**
 * A follower's state that was saved as JSON, checked. Null when it is not one, for example of a file that was cut off:
 * the log must then be read from its start, and what was made of it before be thrown away.
 */
export function parseFollowerState(value: unknown): FollowerState | null {
  return follower.safeParse(value).data ?? null;
}
