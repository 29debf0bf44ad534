/**
 * Transport calls that were counted: which, how often, by whom, with what result. From the kernel's own
 * instrumentation (uprobes) or from lines of the log; the two are never mixed in one ledger.
 */

/** Calls of one process by one call id. */
export interface CallCount {
  /** The pid as the kernel that counted sees it; for a log, as the lines name it. */
  readonly pid: number;
  readonly callId: number;
  /** Calls entered in the window. */
  readonly count: number;
  /** Calls that came back in the window; null where returns are not seen (log, entry probes only). */
  readonly returned: number | null;
  /** Bytes handed over for the host, the whole transfer before it is cut into chunks. */
  readonly bytesToHost: number;
  /** Bytes asked back from the host; null where it is not seen. */
  readonly bytesBack: number | null;
  /**
   * By return value: CUresult, 0 is success, 999 the transport's own failure. A log tells of failures alone. Null where
   * returns are not seen.
   */
  readonly results: Readonly<Record<string, number>> | null;
  /** Calls by latency: key n counts those of [2^n, 2^(n+1)) ns. Null where it is not seen. */
  readonly latency: Readonly<Record<string, number>> | null;
  /** Epoch milliseconds of the first and last call; null where it is not known. */
  readonly firstAt: number | null;
  readonly lastAt: number | null;
}

/** A call that was entered and has not come back when the window ended. */
export interface OpenCall {
  readonly pid: number;
  readonly tid: number;
  readonly callId: number;
  readonly ageMs: number;
}

/** Calls that the kernel counted while they happened (`--live`), and whose they are. */
export interface TraceFacts {
  readonly ledger: Ledger;
  /**
   * Pids of the workload: in its control group, below its main process, or the pid asked for with its descendants, by
   * a look before the window and another one after it.
   */
  readonly workload: readonly number[];
  /**
   * Pids in the ledger that are known to be of other programs. A pid in neither list had ended, and the control group that
   * it called from is not known: it may be anybody's.
   */
  readonly others: readonly number[];
}

/** What debug logging itself costs: the transport's lines for single calls, and their bytes before journald adds its own. */
export interface DebugCost {
  readonly lines: number;
  readonly bytes: number;
}

/** Intervals in which journald may have dropped lines of the unit without a record of it. */
export interface PossibleDrops {
  readonly intervals: number;
  /** Length of journald's interval, milliseconds. */
  readonly intervalMs: number;
  /** Lines that were kept in the last of them. */
  readonly lines: number;
  /** At least one of them kept exactly as many lines as journald's limit lets through. */
  readonly exact: boolean;
}

/** A process that was looked at. */
export interface LedgerProcess {
  readonly pid: number;
  /** "" where it is not known. */
  readonly comm: string;
  /** The libraries that were probed in it; none for a log. */
  readonly libraries: readonly string[];
  /** systemd unit of its control group; null where it has none or is not known, as for a log. */
  readonly unit: string | null;
  /** Path of the control group that the kernel saw it calling from; null where that is not known. Then `unit` is of it. */
  readonly group: string | null;
  /** Its parent when it was first seen; null where it is not known. */
  readonly ppid: number | null;
}

export interface Ledger {
  readonly source: "ebpf" | "tracefs" | "journal" | "file";
  /** Epoch milliseconds of the window that was really covered. */
  readonly from: number | null;
  readonly to: number | null;
  readonly coverage: "full" | "partial" | "none";
  /** Why it is not full: lines dropped or undecoded, events lost, libraries that could not be probed. */
  readonly gaps: readonly string[];
  /**
   * What these numbers are not although the coverage is what it says: calls that never pass the place where this source
   * looks. None of them is a launch or a copy.
   */
  readonly notes: readonly string[];
  /** Lines that journald dropped, or events that the kernel's buffer lost: calls that may be missing. */
  readonly dropped: number;
  /** Null where there is no sign of any, and for sources other than a journal. */
  readonly possibleDrops: PossibleDrops | null;
  /** Null where it was not counted; 0 lines where debug logging wrote none. */
  readonly debugCost: DebugCost | null;
  readonly calls: readonly CallCount[];
  readonly open: readonly OpenCall[];
  readonly processes: readonly LedgerProcess[];
}
