import { errnoOf } from "../../facts/reading.ts";

/** What can be wrong with the disk that the state is on. */
export const STORAGE_FAULTS = ["full", "read-only", "denied", "absent", "in-use", "failed"] as const;
export type StorageFault = (typeof STORAGE_FAULTS)[number];

const WHAT_TO_DO: Readonly<Record<StorageFault, string>> = {
  full: "free space on its file system, or lower spool.max_mebibytes",
  "read-only": "mount it writable: the kernel mounts a file system read-only after an error on it (see dmesg)",
  denied: "give the user that runs vgpu-agent the right to write there",
  absent: "make the directory, or mount the file system that it is on",
  "in-use": "end the other vgpu-agent that uses this directory",
  failed: "look at the disk (dmesg, smartctl)",
};

const FAULT_OF_CODE: ReadonlyMap<string, StorageFault> = new Map([
  ["ENOSPC", "full"],
  ["EDQUOT", "full"],
  ["EFBIG", "full"],
  ["EROFS", "read-only"],
  ["EACCES", "denied"],
  ["EPERM", "denied"],
  ["ENOENT", "absent"],
  ["ENOTDIR", "absent"],
]);

/** Raised when state cannot be written or read. The message says where, what, and what to do. */
export class StorageError extends Error {
  readonly fault: StorageFault;
  readonly path: string;
  /** The system's name for it, "ENOSPC"; "" where it was not the system. */
  readonly code: string;

  constructor(fault: StorageFault, path: string, reason: string, code = "") {
    super(`${path}: ${reason}${code === "" ? "" : ` (${code})`}: ${WHAT_TO_DO[fault]}`);
    this.name = "StorageError";
    this.fault = fault;
    this.path = path;
    this.code = code;
  }
}

/** A system error as a StorageError; whatever else it is (a bug) stays as it is. */
export function asStorageError(error: unknown, path: string, doing: string): unknown {
  const code = errnoOf(error);
  if (code === undefined || error instanceof StorageError) return error;
  return new StorageError(FAULT_OF_CODE.get(code) ?? "failed", path, doing, code);
}
