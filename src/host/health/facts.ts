import type { Reading } from "../../facts/reading.ts";
import type { SinkTarget } from "../../facts/workload.ts";

/**
 * What can be known of the mediator from its host, without asking it anything. Plain data; nothing here is a judgement.
 * Sources: docs/wire.md, "Mediator process" and "Mediator log: …".
 */
export interface MediatorHealthFacts {
  readonly schema: "vgpu-agent/mediator-health/1";
  /** Epoch milliseconds. */
  readonly collectedAt: number;
  readonly processes: Reading<readonly MediatorProcess[]>;
  /** Why some processes may not have been seen: then "none" and "one" are not known. */
  readonly unseen: readonly string[];
  /** The one process that was looked at as a mediator; null: all were. */
  readonly askedFor: number | null;
  /** One for each VM whose device model runs. */
  readonly deviceModels: Reading<readonly DeviceModel[]>;
  readonly adminSocket: Reading<SocketFile>;
  readonly logFile: Reading<LogFile>;
  readonly log: Reading<LogHealth>;
  readonly guests: Reading<readonly GuestProcess[]>;
}

export interface MediatorProcess {
  readonly pid: number;
  /** "executable": its file is named so. "lock": it holds the instance lock. "command line": its own words alone. */
  readonly knownBy: "executable" | "lock" | "command line";
  /** It has ended and was not waited for (a zombie). */
  readonly hasEnded: boolean;
  /** Epoch milliseconds; null when the boot time is not known. */
  readonly startedAt: number | null;
  readonly executable: Reading<Executable>;
  readonly stdout: Reading<Output>;
  readonly stderr: Reading<Output>;
  /** Paths of the Unix sockets that it listens on. */
  readonly listening: Reading<readonly string[]>;
}

export interface Executable {
  /** Without " (deleted)". */
  readonly path: string;
  /** The file that runs has no name any more. */
  readonly deleted: boolean;
  /** Another file has its name now: the mediator was built again, and what runs is the old one. */
  readonly replaced: boolean;
}

export interface Output {
  readonly target: SinkTarget;
  /** "major:minor:inode" of the file; null where there is none, or of a captured tree. */
  readonly inode: string | null;
}

/** QEMU of one VM, by its command line (`-device vgpu-cuda,…`). */
export interface DeviceModel {
  readonly pid: number;
  /** From `vm_id=`; the device's own default is 0. */
  readonly vmId: number;
  readonly domId: number | null;
  /** Its root directory as the host sees it; "/" when it is not in one of its own; null when that is not known. */
  readonly chroot: string | null;
  /** Where its device looks for the mediator; null when the root is not known. */
  readonly socketPath: string | null;
  readonly socket: Reading<SocketFile>;
  /** Epoch milliseconds. */
  readonly startedAt: number | null;
}

export interface SocketFile {
  readonly path: string;
  /** It is neither a file nor a directory nor a link: what remains is a socket, a FIFO or a device. */
  readonly isSpecial: boolean;
  /** Permission bits. QEMU runs as another user: 0666 is needed. */
  readonly mode: number;
}

/** The file that is read as the mediator's log. */
export interface LogFile {
  readonly path: string;
  readonly inode: string | null;
  readonly size: number;
  /** Epoch milliseconds of the last write. */
  readonly writtenAt: number;
  /** Of its file system, in bytes; null when not known. */
  readonly free: number | null;
  readonly capacity: number | null;
  /** Words of the C library about the end of the program, in the last bytes of the file: "double free or corruption". */
  readonly abortText: string | null;
}

/** When something was written: it lies between the two. Epoch milliseconds; null is open. */
export interface Between {
  readonly from: number | null;
  readonly to: number | null;
}

/** Where in the logs. */
export interface LogPlace {
  readonly log: number;
  readonly at: number;
}

/** How a run of the mediator ended, as far as its log tells. */
export type EpochEnd =
  /** The last one, or nobody knows. */
  | "open"
  /** It said that it shuts down. */
  | "shutdown"
  /** Between two calls, without a word: killed, or the host went down. */
  | "silent"
  /** In the middle of a call. */
  | "in-a-call"
  /** In a launch through a handle that it did not know: the sign of a handle from before a restart. */
  | "old-handle";

export interface EpochHealth {
  readonly epoch: number;
  readonly place: LogPlace;
  /** A banner was seen: it began here. Otherwise reading began in the middle. */
  readonly hasBanner: boolean;
  readonly began: Between;
  readonly end: EpochEnd;
  /** Where the end's sign stands; null while there is none. */
  readonly endPlace: LogPlace | null;
  /** The first failed recovery of the GPU's context: from there on every VM fails. */
  readonly recoveryFailed: (LogPlace & { readonly owner: number | null }) | null;
  readonly calls: number;
  readonly heartbeats: number;
  /** Something was seen that standard output alone carries. */
  readonly hasStdout: boolean;
}

export interface LogHealth {
  /** The last ones, oldest first. */
  readonly epochs: readonly EpochHealth[];
  readonly epochsSeen: number;
  readonly lastHeartbeat: (LogPlace & { readonly when: Between }) | null;
  /** Nothing came after the last heartbeat: then the file's time is its time. */
  readonly isHeartbeatLast: boolean;
  /** A second instance was started and refused, in the current epoch. */
  readonly secondInstance: (LogPlace & { readonly pid: number | null }) | null;
  /** Processes that made calls in an epoch before the current one, and of whom no end was seen. */
  readonly oldOwners: readonly OldOwner[];
  /** There were more owners than are kept: some may be missing. */
  readonly isCrowded: boolean;
}

/** A guest process that used the mediator before its restart. */
export interface OldOwner {
  readonly vmId: number;
  readonly pid: number;
  /** The last epoch in which it made calls before the current one. */
  readonly epoch: number;
  /** It makes calls in the current epoch, without having begun anew: it still runs, with its old handles. */
  readonly goesOn: LogPlace | null;
}

/** A guest process that uses the GPU, as its VM's agent reports it; times on the host's clock. */
export interface GuestProcess {
  readonly vmId: number;
  readonly pid: number;
  readonly startedAt: number | null;
  /** When it was last seen running. */
  readonly aliveAt: number;
}
