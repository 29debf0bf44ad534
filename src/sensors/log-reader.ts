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
  /**
   * Present on a per-call line that was read in bulk: it stands for so many lines of the same shape, process and stream,
   * of which it is the last. Their calls are told apart from it (`LogFold`).
   */
  readonly folded?: number;
}

let lastMessage: Buffer | null = null;
let lastText = "";

/** A message's bytes as text, one character a byte. Several look at each line one after the other: it is made once. */
export function textOfMessage(message: Buffer): string {
  if (message !== lastMessage) {
    lastText = message.toString("latin1");
    lastMessage = message;
  }
  return lastText;
}

/** What a bulk reading hands on beside the entries. */
export interface LogFold {
  add(entry: LogEntry): void;
  /** Calls whose lines were folded. */
  addCounted(calls: CountedCalls): void;
  /** Per-call lines that were folded, and their bytes. */
  addDebugLines(lines: number, bytes: number): void;
  /** Lines of the unit that a journal kept from `atMs` on, for 0.2 s at most, and that are not handed on as such. */
  noteLines(atMs: number, lines: number): void;
}

/** Calls of one process by one call id, as a part of the log has them. */
export interface CountedCalls {
  readonly pid: number;
  readonly callId: number;
  readonly count: number;
  readonly bytes: number;
  /** Failures by result. */
  readonly failures: readonly (readonly [result: number, count: number])[];
  /** Epoch milliseconds of the first and the last. */
  readonly firstAt: number | null;
  readonly lastAt: number | null;
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
  /** When the newest entry of any unit was written, epoch milliseconds; null where that is not known. */
  readonly newestAt: number | null;
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
