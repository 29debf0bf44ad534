/** One line kept as evidence: at most 300 characters, control characters escaped, payload bytes removed. */
export interface LogSample {
  readonly text: string;
  /** Epoch milliseconds; null where the log has no times. */
  readonly at: number | null;
  /** Journal cursor, or "path:byte offset". */
  readonly locator: string;
  /** Position of the line in the reading: the order of two samples of one run. */
  readonly ordinal: number;
}

/** How often something was seen, with its first and last line. */
export interface Seen {
  readonly count: number;
  readonly first: LogSample;
  readonly last: LogSample;
}

/** A transport-level or host error, grouped by what it was. */
export interface ErrorSeen extends Seen {
  /** Transport error code (protocol/status.ts) or, for `hostErrors`, the host's CUresult. */
  readonly code: number;
  readonly callId: number;
}

export interface ConnectedSeen extends Seen {
  readonly vmId: number;
  /** "shmem", "BAR1" or "BAR0-inline". */
  readonly dataPath: string;
  readonly statusFrom: string | null;
}

/**
 * What the log says of one process that uses the shim, in the order it was said. `pid` is the pid that the lines
 * name (the process's own namespace); lines without a pid are given to the last process named before them.
 */
export interface ShimProcessLog {
  readonly pid: number | null;
  readonly firstAt: number | null;
  readonly lastAt: number | null;
  readonly lines: number;
  /** cuInit found the device in sysfs; `bdf` of the last such line. */
  readonly deviceFound: (Seen & { readonly bdf: string }) | null;
  /** The shim looked for the device and did not find it. */
  readonly deviceMissing: Seen | null;
  /** cuInit went on with constants although no device was found: the GPU that the program sees is invented. */
  readonly deviceInvented: Seen | null;
  readonly bar0OpenFailed: (Seen & { readonly reason: string }) | null;
  readonly bar0MapFailed: (Seen & { readonly reason: string }) | null;
  readonly bar1Unavailable: Seen | null;
  /** "transport init failed": follows one of the above. */
  readonly initFailed: Seen | null;
  readonly connected: ConnectedSeen | null;
  /** CUDA_CALL_INIT was refused after Connected. */
  readonly initCallFailed: (Seen & { readonly rc: number }) | null;
  /**
   * Round trips that the log proves: a live answer of the host, by the line that shows it. Never "Connected",
   * never "transport live", never a checkpoint: those are printed with a dead mediator too.
   */
  readonly answered: Seen | null;
  /** Calls entered and sent, per-call lines that exist only with VGPU_DEBUG. */
  readonly callsInvoked: number;
  readonly callsDone: number;
  readonly transportErrors: readonly ErrorSeen[];
  readonly hostErrors: readonly ErrorSeen[];
  readonly timeouts: readonly ErrorSeen[];
  /** The bulk data path fell back from shared memory, with the last reason. */
  readonly shmemFallback: (Seen & { readonly reason: string }) | null;
  readonly shmemBytes: number | null;
  /** Success lines of builds that invent it (pointer 0x1000000, dummy handles). */
  readonly inventedSuccess: Seen | null;
  /** Debug lines were seen: VGPU_DEBUG was set in this process. */
  readonly debug: boolean;
}

/** One `inference compute` line or its older forms. */
export interface DiscoverySeen {
  readonly library: string;
  readonly compute: string | null;
  readonly name: string | null;
  readonly pciId: string | null;
  /** As printed: "80.0 GiB". */
  readonly total: string | null;
  readonly sample: LogSample;
}

/** A request that ran a model and was answered, by the line that the server writes when it has ended. */
export interface RequestSeen {
  /** HTTP status. */
  readonly status: number;
  /** Milliseconds, as the line says; null when it cannot be read. */
  readonly durationMs: number | null;
  /** `at` is when the line was written: in a plain file to the second. */
  readonly sample: LogSample;
}

/** What the log says of one life of the workload's server (one invocation of the unit, one server pid). */
export interface ServerLog {
  /** systemd invocation id, or null where the log has none. */
  readonly invocationId: string | null;
  /** The journal's _PID of the server; null in plain files. */
  readonly pid: number | null;
  readonly bootId: string | null;
  readonly firstAt: number | null;
  readonly lastAt: number | null;
  readonly lines: number;
  readonly listening: Seen | null;
  readonly discoveryStarted: Seen | null;
  /** The last discovery result: several devices can follow one another; all lines of the last round. */
  readonly discovery: readonly DiscoverySeen[];
  readonly discoveryTimeout: Seen | null;
  readonly deviceFiltered: Seen | null;
  readonly ggmlCudaFailed: Seen | null;
  readonly refreshFailed: Seen | null;
  /** "0 B" of VRAM in "entering low vram mode" or "vram-based default context". */
  readonly zeroVram: Seen | null;
  readonly runnerCrash: Seen | null;
  /** Those of the lines above that name a crash in the runner's own code: a signal, and no reason that it gave itself. */
  readonly runnerFault: Seen | null;
  readonly linkerError: Seen | null;
  readonly preloadIgnored: Seen | null;
  readonly requestsOk: Seen | null;
  readonly requestsFailed: Seen | null;
  /** The last of the requests that ran a model, whatever their status, oldest first; 64 at most. */
  readonly requests: readonly RequestSeen[];
  readonly offloaded: { readonly layers: number; readonly of: number; readonly sample: LogSample } | null;
  /** systemd's own word on the end of the main process. */
  readonly mainExited: (Seen & { readonly code: string; readonly status: string }) | null;
  readonly unitFailed: (Seen & { readonly result: string }) | null;
  readonly deactivated: Seen | null;
  readonly processes: readonly ShimProcessLog[];
}

export interface LogSourceFacts {
  readonly kind: "journal" | "file";
  readonly path: string;
  readonly entries: number;
  readonly bytes: number;
  readonly firstAt: number | null;
  readonly lastAt: number | null;
  /** Lines that journald dropped (its N_DROPPED records) within the window. */
  readonly suppressed: number;
  /** Why the reading is not whole: corrupt files, lines cut, limits met. Empty when it is. */
  readonly gaps: readonly string[];
  readonly machineIds: readonly string[];
}

export interface LogFacts {
  readonly sources: readonly LogSourceFacts[];
  readonly coverage: "full" | "partial" | "none";
  /** The lives of the server that the window shows, oldest first; the last eight at most. */
  readonly servers: readonly ServerLog[];
  /** Lives dropped because there were more than are kept. */
  readonly serversDropped: number;
}
