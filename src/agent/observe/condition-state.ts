import { z } from "zod";

/** What the tracker keeps over a restart of the agent. Plain JSON; it is written whenever a condition opens or closes. */

/** Conditions and pasts that are kept; one VM has a few dozen. `lines` of one: a check shows first and last ones. */
export const TRACKED_LIMITS = { open: 256, past: 256, onsets: 8, lines: 32 } as const;

const processKeySchema = z.strictObject({
  pid: z.number().int().positive(),
  startTicks: z.number().nonnegative().describe("clock ticks since boot: a pid alone is used again"),
});

/** One process of one boot. */
export type ProcessKey = z.infer<typeof processKeySchema>;

export function isSameProcess(a: ProcessKey, b: ProcessKey): boolean {
  return a.pid === b.pid && a.startTicks === b.startTicks;
}

/** Names of lines of the log, as sighting.ts gives them. */
const linesSchema = z.array(z.string().max(40)).max(TRACKED_LIMITS.lines).readonly();

const openSchema = z.strictObject({
  id: z.string().max(200),
  check: z.string().max(64),
  cause: z.templateLiteral(["VG-", z.string().max(8)]).nullable(),
  boundTo: z.enum(["process", "boot", "machine", "agent"]),
  bootId: z.string().max(64).describe("of the boot in which it opened"),
  process: processKeySchema.nullable(),
  mediatorEpoch: z.string().max(200).nullable(),
  outcome: z.enum(["warn", "fail", "unknown"]),
  since: z.number().int().nonnegative(),
  /** Monotonic milliseconds of that boot: when its first or another message was seen; left out by earlier versions. */
  newsAt: z.number().nonnegative().default(0),
  message: z.string().max(2000),
  /** That it was seen by last; left out by earlier versions. */
  lines: linesSchema.default([]),
  clearMs: z.number().nonnegative(),
});

export type OpenCondition = z.infer<typeof openSchema>;

const pastSchema = z.strictObject({
  id: z.string().max(200),
  bootId: z.string().max(64),
  process: processKeySchema.nullable(),
  /** What it said when it ended, where saying the same again is no new sighting. */
  seen: z.string().max(2000).nullable(),
  /** And by which lines; null: whichever, as with earlier versions. */
  lines: linesSchema.nullable().default(null),
  /** Monotonic milliseconds of that boot: beginnings of late, for telling what comes and goes. */
  onsets: z.array(z.number()).max(TRACKED_LIMITS.onsets),
});

export type Past = z.infer<typeof pastSchema>;

export const conditionStateSchema = z.strictObject({
  version: z.literal(1),
  bootId: z.string().max(64).nullable(),
  agent: processKeySchema.nullable(),
  mediatorEpoch: z.string().max(200).nullable(),
  open: z.array(openSchema).max(TRACKED_LIMITS.open),
  past: z.array(pastSchema).max(TRACKED_LIMITS.past),
});

export type ConditionState = z.infer<typeof conditionStateSchema>;

export const NO_CONDITIONS: ConditionState = {
  version: 1,
  bootId: null,
  agent: null,
  mediatorEpoch: null,
  open: [],
  past: [],
};
