import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { type LogPositions, logPositionsSchema } from "../observe/log-position.ts";

/**
 * What everything up to an entry of the spool covers: it lies in the same record as the entry, so that after a crash the
 * two agree, and in the checkpoint when the host has the entry.
 */
const coveredSchema = z.strictObject({
  log: logPositionsSchema.describe("behind the last window"),
  told: z.number().int().nonnegative().describe("number of the last condition (told-conditions.ts)"),
});

export type Covered = z.infer<typeof coveredSchema>;

export const NOTHING_COVERED: Covered = { log: {}, told: 0 };

/** Of `SpoolFound.position`; null: neither spool nor checkpoint know anything. */
export function coveredOf(position: unknown): Covered | null {
  return coveredSchema.safeParse(position).data ?? null;
}

const readingSchema = z.strictObject({
  base: logPositionsSchema.describe("behind the last window that was in the spool then"),
  settled: logPositionsSchema.describe("how far the log was read, and needs no window"),
  since: z
    .number()
    .nullable()
    .describe("epoch milliseconds from which the journal was read, while no place in it is known; else null"),
  isDelivered: z.boolean().describe("the host had everything that was in the spool"),
});

/** How far the log was read where nothing in it was worth a window: else a quiet log is read again from far back. */
export type Reading = z.infer<typeof readingSchema>;

/** From when an earlier agent read the journal in which it found no place yet; null: it did not say. */
export function sinceFrom(saved: unknown): number | null {
  return readingSchema.safeParse(saved).data?.since ?? null;
}

/**
 * Where reading goes on. What was saved beside the spool is used only where it belongs to what the spool has: no window
 * has come since; or where spool and checkpoint are lost, and were not needed when it was saved. Null: nothing is known.
 */
export function readingFrom(covered: Covered | null, saved: unknown): LogPositions | null {
  const reading = readingSchema.safeParse(saved).data;
  const known = covered?.log ?? null;
  if (reading === undefined) return known;
  const fits =
    known === null
      ? reading.isDelivered || isDeepStrictEqual(reading.base, {})
      : isDeepStrictEqual(reading.base, known);
  return fits ? reading.settled : known;
}
