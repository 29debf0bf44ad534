import type { BarFacts, LockdownFacts, PciFacts } from "./device.ts";
import type { HostMatch } from "./host-match.ts";
import type { Ledger, TraceFacts } from "./ledger.ts";
import type { LogFacts } from "./log.ts";
import type { Reading } from "./reading.ts";
import type {
  LockFacts,
  PreloadEntry,
  PreloadFacts,
  ShimFileFacts,
  StateFileFacts,
  UnitFacts,
  WorkloadFacts,
} from "./workload.ts";

/** What is being judged. */
export interface Scope {
  /**
   * `live`: this machine. `tree`: a captured file-system root. `evidence`: a journal or log alone, of a machine
   * that is not this one; nothing of this machine may then be mixed in.
   */
  readonly subject: "live" | "tree" | "evidence";
  readonly root: string;
  readonly unit: string;
  readonly pid: number | null;
  /** Epoch milliseconds; null is open. */
  readonly since: number | null;
  readonly until: number | null;
}

export interface HostFacts {
  readonly hostname: string | null;
  readonly machineId: string | null;
  readonly bootId: string | null;
  /** Epoch milliseconds. */
  readonly bootedAt: number | null;
  readonly kernel: string | null;
  /** Epoch milliseconds of a capture, from its own boot time and uptime; null on a live machine or when unknown. */
  readonly capturedAt: number | null;
}

/** A variable that the static launcher took out of the environment before it started the agent. */
export interface RemovedVariable {
  readonly name: string;
  /** Of LD_PRELOAD, LD_AUDIT and LD_LIBRARY_PATH, the first 1024 bytes; null for any other, which could hold anything. */
  readonly value: string | null;
}

/** What the static launcher did before it became the agent (native-probe/launcher). */
export interface LaunchFacts {
  readonly removed: readonly RemovedVariable[];
  /** The agent runs in a mount namespace in which an empty file lies over /etc/ld.so.preload. */
  readonly preloadFileCovered: boolean;
}

/** The agent's own process: what could make its readings false. */
export interface SelfFacts {
  readonly uid: number;
  /** LD_PRELOAD, LD_AUDIT: names of the variables that are set. */
  readonly loaderVariables: readonly string[];
  /** Libraries mapped into the agent itself whose dynamic symbols or names are a shim's. */
  readonly shimsMapped: readonly string[];
  /** Absent when the agent was not started by the static launcher. */
  readonly launch?: LaunchFacts;
}

/** Everything that was found out about the subject. Plain data: a saved run can be judged again. */
export interface Facts {
  readonly schema: "vgpu-agent/facts/1";
  /** Epoch milliseconds. */
  readonly collectedAt: number;
  readonly scope: Scope;
  readonly host: Reading<HostFacts>;
  readonly self: Reading<SelfFacts>;
  readonly pci: Reading<PciFacts>;
  readonly bars: Reading<BarFacts>;
  readonly lockdown: Reading<LockdownFacts>;
  readonly unit: Reading<UnitFacts>;
  readonly workload: Reading<WorkloadFacts>;
  readonly preload: Reading<PreloadFacts>;
  /** LD_PRELOAD of the workload's processes, or of its unit. */
  readonly preloadVariable: Reading<readonly PreloadEntry[]>;
  readonly shimFiles: Reading<ShimFileFacts>;
  readonly log: Reading<LogFacts>;
  /** Calls by the log's per-call lines. They can be forged: nothing of this proves or refutes execution. */
  readonly ledger: Reading<Ledger>;
  /** Calls by the kernel's own probes; `skipped` unless they were asked for. */
  readonly trace: Reading<TraceFacts>;
  /** What the host's record says of the same calls, where it was compared. */
  readonly hostMatch: Reading<HostMatch>;
  readonly stateFiles: Reading<StateFileFacts>;
  readonly locks: Reading<LockFacts>;
}
