import { setTimeout as sleep } from "node:timers/promises";
import type { Ledger } from "../../facts/ledger.ts";
import type { ProcessFacts } from "../../facts/workload.ts";
import type { SensorContext } from "../context.ts";
import type { Refusal } from "./choose.ts";
import { LiveLedger } from "./ledger.ts";
import type { Way } from "./tracer.ts";

export interface LiveResult {
  /** The way that was used; null when none was to be had. */
  readonly way: Way | null;
  /** Better ways that were not to be had, each with why. */
  readonly refused: readonly Refusal[];
  /** Null when no way was to be had. */
  readonly ledger: Ledger | null;
}

const TICK_MS = 1000;

/**
 * Counts for `seconds`, or until `signal` is aborted (null: only then). Calls of every process that maps a transport
 * are in the ledger, with their pids: those of `processes` that are replaced meanwhile, too. `processes` are those
 * that must be covered (null: all of the machine). `onTick` is given the numbers since the start about once a second.
 */
export async function liveLedger(
  context: SensorContext,
  processes: readonly ProcessFacts[] | null,
  seconds: number | null,
  signal: AbortSignal,
  onTick?: (ledger: Ledger, way: Way) => void,
): Promise<LiveResult> {
  const live = new LiveLedger(context, { workload: processes?.map(({ pid }) => pid) ?? null });
  const { way, refused } = await live.start();
  if (way === null) return { way, refused, ledger: null };
  try {
    const end = performance.now() + (seconds === null ? Number.POSITIVE_INFINITY : seconds * 1000);
    for (let left = end - performance.now(); left > 0 && !signal.aborted; left = end - performance.now()) {
      // An abort ends the wait; it is no error.
      await sleep(Math.min(TICK_MS, left), undefined, { signal }).catch(() => undefined);
      const ledger = performance.now() < end && !signal.aborted && onTick !== undefined ? live.snapshot() : null;
      if (ledger !== null) onTick?.(ledger, way);
    }
  } finally {
    await live.stop();
  }
  return { way, refused, ledger: live.snapshot() };
}
