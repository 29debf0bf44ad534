import type { Ledger } from "../../facts/ledger.ts";
import type { BulkReadOptions } from "../journal/bulk-reader.ts";
import type { LogReader, LogReadSummary } from "../log-reader.ts";
import { readInBulk } from "../read-in-bulk.ts";
import { LogLedger } from "./log-ledger.ts";
import { DEFAULT_RATE_LIMIT, type RateLimit } from "./rate-cap.ts";

/** What is to be counted. */
export interface CountOptions extends Omit<BulkReadOptions, "lines"> {
  /** journald's limit for the unit; null: it has none. journald's default where it is not given. */
  readonly rateLimit?: RateLimit | null;
  /** Now, epoch milliseconds, where the logs are this machine's own and silence means something. */
  readonly nowMs?: number | null;
}

/** Counts the calls of a unit in its logs: the same as every entry in a `LogLedger`, many times faster. */
export async function countCalls(readers: readonly LogReader[], options: CountOptions): Promise<Ledger> {
  const { rateLimit = DEFAULT_RATE_LIMIT, nowMs = null, ...reading } = options;
  const newFold = () => new LogLedger({ rateLimit, everyLine: true });
  const ledger = newFold();
  const summaries: LogReadSummary[] = [];
  for (const reader of readers) {
    const { fold, summary } = await readInBulk(reader, { ...reading, lines: "shim" }, newFold);
    ledger.absorb(fold);
    summaries.push(summary);
  }
  return ledger.ledger(summaries, nowMs);
}
