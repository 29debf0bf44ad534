import { Gaps } from "./log-limits.ts";
import type { LogEntry, LogReader, LogReadSummary } from "./log-reader.ts";

/** Boots and machines that are named; a journal of more is not one machine's. */
const NAMES_LIMIT = 256;

/** Adds up what a reading came to. */
export class LogTally {
  entries = 0;
  scanned = 0;
  bytes = 0;
  suppressed = 0;
  readonly gaps = new Gaps();
  #newestAt: number | null = null;
  readonly #machineIds = new Set<string>();
  readonly #bootIds = new Set<string>();
  #firstAt: number | null = null;
  #lastAt: number | null = null;
  #lastBootId: string | null = null;
  #last: LogEntry | null = null;

  /** An entry that is handed on. */
  count(entry: LogEntry): void {
    this.entries += 1;
    this.#last = entry;
    if (entry.at !== null) {
      this.#firstAt ??= entry.at;
      this.#lastAt = entry.at;
    }
    if (entry.bootId !== null && entry.bootId !== this.#lastBootId) {
      this.#lastBootId = entry.bootId;
      if (this.#bootIds.size < NAMES_LIMIT) this.#bootIds.add(entry.bootId);
    }
  }

  /** The newest entry of a file, epoch microseconds; 0 when it has none. */
  newest(realtime: number): void {
    if (realtime > 0) this.#newestAt = Math.max(this.#newestAt ?? 0, Math.floor(realtime / 1000));
  }

  machine(machineId: string): void {
    if (this.#machineIds.size < NAMES_LIMIT) this.#machineIds.add(machineId);
  }

  stopped(): void {
    this.gaps.add(`stopped at the time limit after ${this.entries} entries; later ones were not looked at`);
  }

  summary(kind: LogReadSummary["kind"], path: string): LogReadSummary {
    return {
      kind,
      path,
      entries: this.entries,
      scanned: this.scanned,
      bytes: this.bytes,
      firstAt: this.#firstAt,
      lastAt: this.#lastAt,
      newestAt: this.#newestAt ?? this.#lastAt,
      suppressed: this.suppressed,
      gaps: this.gaps.list(),
      machineIds: [...this.#machineIds],
      bootIds: [...this.#bootIds],
      cursor: this.#last?.locator ?? null,
    };
  }
}

/** A source that cannot be read at all: its reading is empty, and its gap says why. */
export function unreadableLog(kind: LogReadSummary["kind"], path: string, gap: string): LogReader {
  return {
    read: async () => {
      const tally = new LogTally();
      tally.gaps.add(gap);
      return tally.summary(kind, path);
    },
  };
}
