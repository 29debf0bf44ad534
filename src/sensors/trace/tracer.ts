/** What both ways of counting have in common: what they are attached to and what they give. */

/** An instruction of a file where calls of the transport can be seen. */
export interface Place {
  /** Names the file: see Target. */
  readonly inode: string;
  /** A path that leads to the file now. */
  readonly path: string;
  /** Offset of the instruction in the file, in bytes. */
  readonly offset: number;
}

/** Calls of one process by one id, since the counting began. Times are of CLOCK_MONOTONIC in ns. */
export interface TracedCall {
  readonly pid: number;
  readonly callId: number;
  readonly count: number;
  readonly returned: number;
  readonly bytesToHost: number;
  readonly bytesBack: number;
  /** By return value. */
  readonly results: Readonly<Record<string, number>>;
  /** Key n counts latencies of [2^n, 2^(n+1)) ns. */
  readonly latency: Readonly<Record<string, number>>;
  readonly firstNs: number;
  readonly lastNs: number;
  /** Id of the control group (unified hierarchy) that the process was in at the last call; null where it is not seen. */
  readonly group: string | null;
}

export interface TracedOpen {
  readonly pid: number;
  readonly tid: number;
  readonly callId: number;
  readonly enteredNs: number;
}

export interface Tally {
  readonly calls: readonly TracedCall[];
  /** Calls that were entered and not left, those of threads that have ended among them. */
  readonly open: readonly TracedOpen[];
  /** Events that were lost: calls that may be missing. */
  readonly dropped: number;
  /** What the counts are not, in words; empty when they are exact. */
  readonly gaps: readonly string[];
}

export type Way = "ebpf" | "tracefs";

/** One way of counting. INVARIANT: after close() nothing of it is left in the kernel. */
export interface Tracer {
  readonly way: Way;
  /** Counts calls at this place, too, from now on. Throws when the kernel refuses; then nothing is attached. */
  attach(place: Place): void;
  /** Takes the probes off a file; what was counted stays. */
  detach(inode: string): void;
  /** Takes over what the kernel has buffered. To be called often; does nothing where the kernel itself counts. */
  poll(): void;
  /** What was counted since the start. */
  read(): Tally;
  /** The thread's open call is given up: the thread has ended. */
  forget(tid: number): void;
  close(): void;
}

/** Latencies of 2^47 ns (39 hours) and more share the last bucket. */
export const LATENCY_BUCKETS = 48;
/** Different (process, call id) pairs that are counted; calls of any more are lost, and said to be. */
export const MAX_CALLS = 8192;
/** Different (process, call id, failure) triples. */
export const MAX_RESULTS = 8192;
/** Threads with a call in flight. */
export const MAX_OPEN = 16_384;
