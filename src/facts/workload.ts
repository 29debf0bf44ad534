import type { LibraryKind } from "../protocol/libraries.ts";
import type { Reading } from "./reading.ts";

/** What a process of the workload is, by the shape of its arguments (docs/wire.md, Ollama processes). */
export type ProcessRole = "server" | "model-runner" | "discovery-runner" | "program";

/** A library mapped executable in a process, told apart by inode and by its dynamic symbols, not by its name. */
export interface MappedLibrary {
  /** Path as in /proc/PID/maps, without " (deleted)". */
  readonly path: string;
  /** "major:minor:inode" as in maps. */
  readonly inode: string;
  /** The file was unlinked or replaced after it was mapped. */
  readonly deleted: boolean;
  /** What its dynamic symbols say it is; the reason why they could not be read otherwise. */
  readonly kind: Reading<LibraryKind>;
  readonly buildId: string | null;
}

/** A mapping of a PCI resource file. */
export interface BarMapping {
  readonly bdf: string;
  readonly bar: number;
  /** As in maps: "rw-s". */
  readonly perms: string;
}

export interface MapsFacts {
  /** Libraries that matter: shims, CUDA libraries, ggml back ends, and anything whose name says so. */
  readonly libraries: readonly MappedLibrary[];
  readonly bars: readonly BarMapping[];
  /** Number of file mappings looked at: 0 means that the file said nothing. */
  readonly fileMappings: number;
}

/** Where a file descriptor leads, from readlink and stat of /proc/PID/fd/N. */
export type SinkTarget =
  | { readonly to: "journal"; readonly detail: string }
  | {
      readonly to: "file";
      readonly path: string;
      readonly deleted: boolean;
      readonly size: number | null;
      /** null when it could not be tried. */
      readonly readable: boolean | null;
    }
  | { readonly to: "null" }
  | { readonly to: "pipe" | "socket" | "terminal" | "other"; readonly detail: string };

export interface Credentials {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  /** Effective capability set as a 16-digit hex string, as in /proc/PID/status. */
  readonly capEff: string;
}

/** How a process sees the directories that matter, from its mountinfo. */
export interface MountView {
  /** The mount that covers the device's sysfs directory is read-only; null when it could not be told. */
  readonly sysReadOnly: boolean | null;
  /** /tmp is a private mount of the unit (PrivateTmp=). */
  readonly privateTmp: boolean;
  /** /sys/bus/pci (or a part of it) is covered by an inaccessible mount. */
  readonly pciHidden: boolean;
}

export interface ProcessFacts {
  readonly pid: number;
  /** The pid in the process's own pid namespace: the one that the shim prints and writes to SCRATCH. */
  readonly nsPid: number;
  readonly ppid: number;
  readonly role: ProcessRole;
  readonly comm: string;
  /** argv[0] and the words that tell the role; never the whole line: it can hold a prompt. */
  readonly argv: readonly string[];
  /** Epoch milliseconds, from stat's starttime and the boot time; null when a capture lacks one of them. */
  readonly startedAt: number | null;
  readonly exe: Reading<{ readonly path: string; readonly deleted: boolean }>;
  /** systemd unit of the control group, "ollama.service". */
  readonly unit: string | null;
  readonly credentials: Reading<Credentials>;
  readonly noNewPrivs: boolean | null;
  readonly env: Reading<Readonly<Record<string, string>>>;
  /** RLIMIT_MEMLOCK soft limit in bytes, or "unlimited". */
  readonly memlock: Reading<number | "unlimited">;
  readonly maps: Reading<MapsFacts>;
  readonly mounts: Reading<MountView>;
  readonly stdout: Reading<SinkTarget>;
  readonly stderr: Reading<SinkTarget>;
  /** Inode numbers of the mount and pid namespaces; null when not readable. */
  readonly mountNs: string | null;
  readonly pidNs: string | null;
}

/** The unit as its manager or its files describe it. */
export interface UnitFacts {
  readonly name: string;
  /** "systemctl" for the manager's own answer, "files" when only the unit files could be read. */
  readonly source: "systemctl" | "files";
  readonly loadState: string | null;
  readonly activeState: string | null;
  readonly subState: string | null;
  readonly result: string | null;
  readonly execMainCode: string | null;
  readonly execMainStatus: number | null;
  readonly mainPid: number | null;
  readonly nRestarts: number | null;
  readonly needDaemonReload: boolean | null;
  readonly user: string | null;
  /** Credentials of User=, Group= and SupplementaryGroups= from /etc/passwd and /etc/group. */
  readonly userCredentials: Credentials | null;
  readonly execStart: string | null;
  readonly standardError: string | null;
  readonly standardOutput: string | null;
  /** Environment= of the unit and its drop-ins, by the same allow-list as the live environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** PrivateTmp, ProtectKernelTunables, PrivateDevices, ReadWritePaths, InaccessiblePaths: as written. */
  readonly sandbox: Readonly<Record<string, string>>;
  /** Epoch milliseconds of the last start, null when never or unknown. */
  readonly activeEnterAt: number | null;
  readonly invocationId: string | null;
}

export interface WorkloadFacts {
  /** How the processes were found. */
  readonly foundBy: "unit" | "pid" | "argv" | "none";
  readonly processes: readonly ProcessFacts[];
  /** Processes of the workload that vanished or could not be read while we looked, with the reason. */
  readonly incomplete: readonly string[];
}

/** /etc/ld.so.preload. The content of a line is never kept: one VM had a password in it. */
export interface PreloadLine {
  /** 1-based. */
  readonly line: number;
  readonly kind: "shim" | "cuda-name" | "existing-library" | "unreadable-library" | "not-an-existing-library";
}

export interface PreloadFacts {
  /** null: the file does not exist or is empty. */
  readonly lines: readonly PreloadLine[];
}

/** One entry of LD_PRELOAD of a process of the workload, or of its unit when no process runs. */
export interface PreloadEntry {
  /** null: the entry is the unit's. */
  readonly pid: number | null;
  /** As written: a path, or a name that the loader searches for. */
  readonly library: string;
  /** null for a name without a slash that was not found in the directories searched, or when it could not be tried. */
  readonly exists: boolean | null;
  readonly kind: Reading<LibraryKind>;
}

/** A library file that the workload's loader path would find, looked at without loading it. */
export interface ShimFile {
  readonly path: string;
  /** The path with its links resolved; null for a dangling link. */
  readonly resolved: string | null;
  readonly size: number | null;
  readonly kind: Reading<LibraryKind>;
  readonly buildId: string | null;
}

export interface ShimFileFacts {
  /** Directories searched, in the loader's order, with where each came from. */
  readonly searched: readonly string[];
  /** The files that answer to the names of CUDA libraries in those directories, first match first. */
  readonly files: readonly ShimFile[];
}

/** Files that the shim leaves behind, read in the workload's own view of /tmp and /var/tmp. */
export interface StateFile {
  readonly name: string;
  /** Where it was read. */
  readonly path: string;
  readonly uid: number;
  readonly mode: number;
  readonly size: number;
  /** Epoch milliseconds. */
  readonly mtime: number;
  /** Fields that its grammar found; null when its content is not what it should be. */
  readonly fields: Readonly<Record<string, string | number>> | null;
}

export interface StateFileFacts {
  /** The pid through whose /proc/PID/root they were read; null for the root itself. */
  readonly viewPid: number | null;
  readonly files: readonly StateFile[];
}

/** FLOCK entries of /proc/locks on the shim's two lock files. */
export interface LockFacts {
  /** Pids that hold the transport lock now: each has a call in flight. */
  readonly inFlight: readonly number[];
  readonly waiting: readonly number[];
  readonly shmemOwner: number | null;
  /** "major:minor:inode" of the transport lock in each view looked at, by pid: more than one value is no exclusion. */
  readonly transportLocks: Readonly<Record<string, string>>;
}
