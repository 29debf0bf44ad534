/**
 * What the mediator's log says, once it has been framed and read. Source of every shape: docs/wire.md,
 * "Mediator log: …", where each group of lines has its section.
 * Kept apart from any opinion: an event is what was printed, not whether it is believed. Kernel names, fault texts and
 * compiler messages are the guest's own words; whoever matches must not show one guest's to another.
 *
 * There are two levels. A `MediatorLine` is what one line inside a call's slice said. A `MediatorEvent` is what the log
 * said as a whole: one `call` event for each terminator, with the lines that belong to it; one `unframed` event for
 * lines that never got a terminator; and one event for each line that belongs to no call.
 *
 * What a matcher finds where:
 *
 * - which run, and what its log can prove: `epoch`, `epoch-end` (EpochSummary), `log`, `unread`
 * - framing: `call` and its `lines`; never lines of two calls. `sound` false: at most a strong match
 * - identity: `vmId` of the call; `decodeOwner(owner, vmId)` for the pid; `connection.domId` with the first call after it
 * - allocations: `alloc-start.bytes`, `alloc-ok.ptr` of a 0x30 call
 * - copies: runs of calls with the same `vmId`, `callId` and `owner`, `requestId` and `seq` growing by one, `payloadBytes` c, c, …, r
 *   (0x32, 0x3c); `copy-out-start.bytes` and `guestSrc` for 0x33, `copy-in-async.guestDst` for 0x3c
 * - payload: `copy-in-async.hash`
 * - errors: `status`, `call-failed`; what caused it: the `recovering` and `recovery-failed` lines before it, of any VM
 * - alignment: `requestId` minus `seq`
 * - absence: gaps of `requestId`, `heartbeat` events and their `when`, `hasStdout`, `hasTerminator`, `unread`, `log`
 * - refusals: `reject` (not `rate-limited`, which is the same refusal), `malformed`, `send-failed`
 * - calls that crashed the mediator: `unframed` with `why` "banner" or "end"
 * - cuBLAS: `blas-…` lines; `status` is 0 all the same
 */

import type { MediatorLine } from "./mediator-line.ts";

export type { Address, Dimensions, LaunchShape, MediatorLine, MediatorLineKind } from "./mediator-line.ts";

/**
 * When bytes were written, as far as the reader can know. The log itself has no times. `notBefore`: the last moment at
 * which the bytes were not there yet, null when nobody looked. `notAfter`: the moment of the read. Both in milliseconds
 * since 1970 on the clock of the reader's machine. One object is shared by all events of one read.
 */
export interface WrittenBetween {
  readonly notBefore: number | null;
  readonly notAfter: number;
}

/** Where an event stands. On every event; the offsets are the locator to show as evidence. */
export interface Place {
  /**
   * Which file: a number that grows with each file (inode) or restart of one that was truncated. Offsets are only
   * comparable within one log.
   */
  readonly log: number;
  /**
   * Which run of the mediator: grows at each banner, and at the start of each log. Unique over all logs. -1 on `log`
   * events, which stand before any run.
   */
  readonly epoch: number;
  /** Byte offset of the first byte, in this log. */
  readonly at: number;
  /** Byte offset behind the last byte (behind its newline where there is one). */
  readonly end: number;
  /** Null when reading a finished file. */
  readonly when: WrittenBetween | null;
}

/** What the lines of one slice said together: shared by `call` and `unframed`. */
export interface Slice {
  /** What the executor's lines call `vm=`; null when none of them names one (most calls that succeed print nothing). */
  readonly owner: number | null;
  /** The transport's sequence number, from the input line or an asynchronous copy's; null when none prints it. */
  readonly seq: number | null;
  /** Bytes of the call's payload, from the input line: a chunk's length, not a copy's. Null when there was none. */
  readonly payloadBytes: number | null;
  /** In the order of the log. Not listed: what only shows payload or dimensions (it counts for `owner` alone). */
  readonly lines: readonly MediatorLine[];
  /**
   * False when the slice cannot be trusted whole: its lines name two owners, or another VM or call than the terminator;
   * a line in it could not be read, or was longer than any real one; or reading began in the middle of it. At most
   * STRONG then.
   */
  readonly sound: boolean;
}

/** One call that the mediator answered. R1: these lines, this owner, this VM and this request belong together. */
export interface CallEvent extends Place, Slice {
  readonly kind: "call";
  /** The VM's id as its device sent it (R2). */
  readonly vmId: number;
  /** +1 for each call of this VM's device that reached a connected socket (R7, R9, R10). */
  readonly requestId: number;
  /** Ids, not names: CALLS in call-ids.ts. */
  readonly callId: number;
  /** CUresult. For cuBLAS calls always 0, also after a failure (R13). */
  readonly status: number;
  /** Offset of the terminator's line: the one to quote. */
  readonly terminatorAt: number;
}

/** Why lines have no terminator. */
export type UnframedReason =
  /** The build prints none (before 2026-03-17), as far as this epoch shows. */
  | "no-terminators"
  /** The next call began: this one's terminator is missing although the build prints them. */
  | "next-call"
  /** A `reject`, `malformed` or `send-failed` event follows: it stands in the terminator's place. */
  | "refused"
  /** The mediator ended (a banner follows), or the log did. Of a call that crashed it, this is the last trace. */
  | "banner"
  | "end"
  /** More lines or bytes than any real call prints. */
  | "too-long";

/** Lines of one call that got no terminator: the VM is not known (old builds: `owner` is the VM's id), nor the result. */
export interface UnframedEvent extends Place, Slice {
  readonly kind: "unframed";
  readonly why: UnframedReason;
  /** From the input line of the mediator, which does name the VM and the call; null without one. */
  readonly vmId: number | null;
  readonly callId: number | null;
}

/** What an epoch's lines showed so far. R0: absence is only proven with the matching capability. */
export interface EpochSummary {
  readonly epoch: number;
  readonly log: number;
  readonly at: number;
  /** "3.1"; null: no banner seen, the log begins in the middle of a run. */
  readonly version: string | null;
  readonly calls: number;
  readonly unframed: number;
  /** A terminator was seen. */
  readonly hasTerminator: boolean;
  /** An owner of 2^24 or more was seen: owners carry a pid, or (old stubs) a file descriptor. */
  readonly hasOwner: boolean;
  /** A line was seen that only standard output carries (heartbeats, connections, rejections). */
  readonly hasStdout: boolean;
  readonly heartbeats: number;
  /** When the first and the last heartbeat were read; null: none, or no times. */
  readonly firstHeartbeat: WrittenBetween | null;
  readonly lastHeartbeat: WrittenBetween | null;
  /** Bytes of this epoch that say nothing: NUL holes, lines that no grammar reads, parts of too long lines. */
  readonly unreadBytes: number;
  readonly unreadLines: number;
}

/** Everything that is no call's. */
type OtherEvent =
  /** A run of the mediator begins here; or, with `version` null, reading begins in the middle of one. */
  | { readonly kind: "epoch"; readonly version: string | null }
  /** The epoch is over: the next one began, or the log ended for good. Its place is the epoch's end. */
  | { readonly kind: "epoch-end"; readonly summary: EpochSummary }
  /** R10. `cuda` false: the legacy path. `code` 1 rate, 2 queue; null for a quarantine. */
  | {
      readonly kind: "reject";
      readonly vmId: number;
      readonly reason: "quarantined" | "rate-limited";
      readonly code: number | null;
      readonly cuda: boolean;
    }
  /** The limiter's own line, just before the `reject` of the same call: do not count both. */
  | { readonly kind: "rate-limited"; readonly vmId: number; readonly reason: "queue" | "tokens" }
  | { readonly kind: "rate-config"; readonly vmId: number; readonly jobsPerSecond: number; readonly maxQueue: number }
  /** A call that was not understood: it gets no terminator, and its connection is closed. */
  | {
      readonly kind: "malformed";
      readonly what: string;
      readonly vmId: number | null;
      readonly fd: number | null;
      readonly callId: number | null;
      readonly seq: number | null;
    }
  /** The call was carried out and the answer could not be sent: no terminator. */
  | { readonly kind: "send-failed"; readonly reason: string }
  /** `domId`: from ".../root-<domid>/...", null for another path. The VM is known from its first call (R2). */
  | { readonly kind: "connection"; readonly path: string; readonly domId: number | null; readonly fd: number }
  /** Printed after the connection's first call was answered. */
  | { readonly kind: "connection-kept"; readonly fd: number; readonly slot: number }
  /**
   * `owner`: on stubs that send no pid this is the owner whose state is freed; on current ones it is
   * vmId << 16 | fd and frees nothing of the processes.
   */
  | {
      readonly kind: "connection-closed";
      readonly fd: number;
      readonly vmId: number | null;
      readonly owner: number | null;
      readonly reason: string;
    }
  /** State of an owner was freed outside of any call: its connection closed, or the mediator ends. */
  | { readonly kind: "owner-freed"; readonly owner: number }
  /** The main loop is free: no call runs at this moment. */
  | { readonly kind: "heartbeat"; readonly sockets: number }
  /** "total-processed", "cuda-busy", …: one event for each line under [MEDIATOR STATS]. */
  | { readonly kind: "stat"; readonly name: string; readonly value: string }
  | { readonly kind: "vm-config"; readonly vmId: number; readonly uuid: string; readonly quarantined: boolean }
  /** "set" and "auto" are quarantines; "cleared" is printed for every other VM at each reload and means nothing. */
  | { readonly kind: "quarantine"; readonly vmId: number; readonly action: "set" | "cleared" | "auto" }
  /** Legacy jobs only: calls of CUDA are not watched. */
  | { readonly kind: "job-timeout"; readonly vmId: number; readonly requestId: number }
  | { readonly kind: "gpu-needs-reset"; readonly temperatureC: number }
  | { readonly kind: "socket-listening"; readonly path: string; readonly domId: number | null; readonly fd: number }
  | { readonly kind: "socket-failed"; readonly path: string | null; readonly text: string }
  | { readonly kind: "discovery"; readonly gpuProcesses: number; readonly chroots: number }
  | { readonly kind: "gpu"; readonly name: string; readonly memoryMb: number }
  /** The start did not go as it should: "[ERROR] Failed to initialize CUDA". */
  | { readonly kind: "startup-trouble"; readonly text: string }
  /** A second instance was started and refused. `pid` of the one that runs. */
  | { readonly kind: "second-instance"; readonly pid: number | null }
  | { readonly kind: "shutdown"; readonly stage: "signal" | "begun" | "done" }
  /** A step of the legacy vector addition, or of mediators before version 3. */
  | {
      readonly kind: "legacy";
      readonly step: string;
      readonly vmId: number | null;
      readonly requestId: number | null;
    }
  /** Bytes that say nothing. "nul-hole": a file truncated under its writer. `bytes` says how many. */
  | {
      readonly kind: "unread";
      readonly what: "nul-hole" | "long-line" | "unknown-line" | "torn-line";
      readonly bytes: number;
    }
  /**
   * Reading continues elsewhere. "opened": the first file, or a file that was not there. "truncated": the same file,
   * shorter or other than before; what was written and not yet read before that is lost. "replaced": another file under
   * the name; the old one is still read to its end. "lost": the state said how far an earlier reader came, and that
   * file is gone. R9: all but "replaced" end any proof of absence that spans them.
   */
  | { readonly kind: "log"; readonly change: "opened" | "truncated" | "replaced" | "resumed" | "lost" };

export type MediatorEvent = CallEvent | UnframedEvent | (OtherEvent & Place);
export type MediatorEventKind = MediatorEvent["kind"];
