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

export interface Ledger {
  readonly source: "ebpf" | "tracefs" | "journal" | "file";
  /** Epoch milliseconds of the window that was really covered. */
  readonly from: number | null;
  readonly to: number | null;
  readonly coverage: "full" | "partial" | "none";
  /** Why it is not full: lines dropped or undecoded, events lost, calls that this source does not see. */
  readonly gaps: readonly string[];
  /** Lines that journald dropped, or events that the kernel's buffer lost: calls that may be missing. */
  readonly dropped: number;
  readonly calls: readonly CallCount[];
  readonly open: readonly OpenCall[];
  /** Processes looked at, with the libraries that were probed in each. */
  readonly processes: readonly { readonly pid: number; readonly comm: string; readonly libraries: readonly string[] }[];
}
