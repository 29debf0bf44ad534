/** One entry of a log, as its reader hands it on. The message is bytes: logs are not promised to be UTF-8. */
export interface LogEntry {
  /** Epoch milliseconds; null when the source has no time for it. */
  readonly at: number | null;
  readonly message: Buffer;
  /** The message was longer than the reader keeps; the rest was passed over. */
  readonly truncated: boolean;
  /** Journal _PID; null in plain files. */
  readonly pid: number | null;
  readonly bootId: string | null;
  /** Journal _SYSTEMD_INVOCATION_ID, or systemd's own INVOCATION_ID on lines about the unit. */
  readonly invocationId: string | null;
  /** The line is the service manager's own about the unit (journal _PID=1), not the workload's. */
  readonly fromManager: boolean;
  /** Journal cursor or "path:byte offset". */
  readonly locator: string;
}

export interface LogReadOptions {
  /** systemd unit whose lines are wanted, with the manager's own lines about it; ignored by plain files. */
  readonly unit: string;
  /** Epoch milliseconds, inclusive; null is open. */
  readonly since: number | null;
  readonly until: number | null;
  /** Start after this entry (journal cursor of an earlier reading); null starts at the beginning of the window. */
  readonly afterCursor: string | null;
  readonly signal: AbortSignal;
}

/** How a reading went. Nothing that was there may be missing without a word in `gaps`. */
export interface LogReadSummary {
  readonly kind: "journal" | "file";
  readonly path: string;
  /** Entries handed on. */
  readonly entries: number;
  /** Entries looked at, of any unit. 0 means an empty source. */
  readonly scanned: number;
  readonly bytes: number;
  readonly firstAt: number | null;
  readonly lastAt: number | null;
  /** Sum of journald's N_DROPPED records for the unit in the window. */
  readonly suppressed: number;
  /** Corrupt files, cut lines, limits met, files that vanished: each in words. */
  readonly gaps: readonly string[];
  readonly machineIds: readonly string[];
  readonly bootIds: readonly string[];
  /** Cursor of the last entry handed on. */
  readonly cursor: string | null;
}

/** A source of log entries. `read` rejects only for a programming error; trouble with the source is a gap. */
export interface LogReader {
  read(onEntry: (entry: LogEntry) => void, options: LogReadOptions): Promise<LogReadSummary>;
}
