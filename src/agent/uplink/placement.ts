import { z } from "zod";
import type { GuestEvidence } from "../../host/match/guest-evidence.ts";
import type { ReportBatch } from "../../report/wire/batch.ts";
import { type ClockOffset, spanning } from "./clock.ts";

const clockBaseSchema = z.strictObject({ least: z.number(), most: z.number() });

/**
 * The guest's wall clock minus CLOCK_MONOTONIC of this boot, milliseconds: the least and the most that it was while a window
 * was seen. It changes when somebody sets the wall clock, and when the machine was suspended.
 */
export type ClockBase = z.infer<typeof clockBaseSchema>;

/** How the clocks stood to each other when they were compared last. */
export interface Measured {
  readonly offset: ClockOffset;
  /** The guest's wall clock minus CLOCK_MONOTONIC then. */
  readonly base: number;
  /** CLOCK_MONOTONIC in milliseconds. */
  readonly at: number;
}

/** Evidence as it waits for the host: with `clock_base` where its times can be placed only when it is sent. */
export type WaitingEvidence = GuestEvidence & { readonly clock_base?: ClockBase };

/** More than this between the bases of two moments: which of the clocks stood still or was set cannot be told. */
const STEP_MS = 1000;
/** How far two clocks may drift apart, as a part of the time; and over a long one, in which one of them is put right. */
const DRIFT = 1e-4;
const SLEW = 5e-4;
/**
 * A count begins and ends when the kernel has put its probes into each process, or taken them out: as if the clocks could be
 * off by so much more, the host expects neither more nor less at the window's ends.
 */
const PROBING_MS = 250;
/** A comparison of before counts as one of now for so long, milliseconds. */
const FRESH_MS = 10 * 60_000;

export function isFresh(measured: Measured | null, monotonic: number): measured is Measured {
  return measured !== null && monotonic - measured.at <= FRESH_MS;
}

/** Whether it is fresh, and the guest's clock was not set since. `base`: the wall clock minus CLOCK_MONOTONIC now. */
export function isCurrent(measured: Measured | null, monotonic: number, base: number): boolean {
  return isFresh(measured, monotonic) && Math.abs(base - measured.base) <= STEP_MS;
}

/**
 * How the clocks stood to each other in a window of this boot. Null when the guest's clock was set, or the machine slept,
 * between the two: then it is not known.
 */
export function offsetIn(window: GuestEvidence["window"], base: ClockBase, measured: Measured): ClockOffset | null {
  const shifts = [base.least - measured.base, base.most - measured.base];
  const [least = 0, most = 0] = [Math.min(0, ...shifts), Math.max(0, ...shifts)];
  if (most - least > STEP_MS) return null;
  const ages = [window.from, window.to].flatMap((time) => (time === null ? [] : [measured.at - (time - base.most)]));
  const { offsetMs, errorMs } = measured.offset;
  const age = Math.max(0, ...ages.map(Math.abs));
  const drifted = errorMs + (age <= FRESH_MS ? DRIFT : SLEW) * age;
  return spanning({ offsetMs: offsetMs + least, errorMs: drifted }, { offsetMs: offsetMs + most, errorMs: drifted });
}

/** Evidence with the offset where the last comparison of the clocks tells it; else with what places it when it is sent. */
export function placedNow(document: GuestEvidence, base: ClockBase | null, measured: Measured | null): WaitingEvidence {
  const plain = { ...document, clock_offset_ms: null, clock_error_ms: null };
  if (base === null) return plain;
  const offset = measured === null ? null : offsetIn(document.window, base, measured);
  return offset === null ? { ...plain, clock_base: base } : { ...plain, ...wordsOf(offset) };
}

/** Whether something in it waits for a comparison of the clocks. */
export function isWaiting({ entries }: ReportBatch): boolean {
  return entries.some(({ kind, document }) => kind === "guest-evidence" && "clock_base" in document);
}

/** The batch as the wire has it. `measured`: null where it is of another boot, or the clocks could not be compared. */
export function placedBatch(batch: ReportBatch, measured: Measured | null): ReportBatch {
  if (!isWaiting(batch)) return batch;
  const entries = batch.entries.map((entry) => {
    if (entry.kind !== "guest-evidence" || !("clock_base" in entry.document)) return entry;
    const { clock_base: waiting, ...document } = entry.document;
    const base = clockBaseSchema.safeParse(waiting).data;
    const window = windowSchema.safeParse(document["window"]).data;
    if (base === undefined || window === undefined || measured === null) return { ...entry, document };
    return { ...entry, document: { ...document, ...wordsOf(offsetIn(window, base, measured)) } };
  });
  return { ...batch, entries };
}

/** Of what the kernel counted until now, and the log's lines of the same window. */
export function baseOfCount(now: number, ofLines: ClockBase | null): ClockBase {
  const { least, most } = ofLines ?? { least: now, most: now };
  return { least: Math.min(least, now) - PROBING_MS, most: Math.max(most, now) + PROBING_MS };
}

const windowSchema = z.object({ from: z.number().nullable(), to: z.number().nullable() });

function wordsOf(offset: ClockOffset | null): Pick<GuestEvidence, "clock_offset_ms" | "clock_error_ms"> {
  return { clock_offset_ms: offset?.offsetMs ?? null, clock_error_ms: offset?.errorMs ?? null };
}
