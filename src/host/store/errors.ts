/** What can be wrong with a store. `full` and `locked` pass; the others need a person. */
export const STORE_FAULTS = ["full", "locked", "read-only", "damaged", "too-new", "failed"] as const;
export type StoreFault = (typeof STORE_FAULTS)[number];

const WHAT_TO_DO: Readonly<Record<StoreFault, string>> = {
  full: "free space on its disk, or lower what is kept (--keep, --keep-size); nothing that was acknowledged is lost",
  locked: "another program holds it: end whatever else has this file open (a backup, a sqlite3 shell)",
  "read-only": "give the user that runs vgpu-agent the right to write the data directory, or remount it writable",
  damaged: "stop the host, move the file away and start again: reports that guests still hold are sent again",
  "too-new": "a newer vgpu-agent made this file: run that version, or give another data directory",
  failed: "see the reason; the request may be repeated",
};

/** Raised by a store. The message says what happened and what to do; nothing of the failed call was kept. */
export class StoreError extends Error {
  readonly fault: StoreFault;

  constructor(fault: StoreFault, where: string, reason: string) {
    super(`${where}: ${reason}: ${WHAT_TO_DO[fault]}`);
    this.name = "StoreError";
    this.fault = fault;
  }
}

/** SQLite's primary result codes (sqlite.org/rescode.html). */
const FAULT_OF_CODE: ReadonlyMap<number, StoreFault> = new Map([
  [5, "locked"],
  [6, "locked"],
  [8, "read-only"],
  [11, "damaged"],
  [13, "full"],
  [14, "read-only"],
  [26, "damaged"],
]);

/** What an error of node:sqlite means. Anything else is passed on as it is: it is no fault of the store. */
export function asStoreError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return error;
  return new StoreError(FAULT_OF_CODE.get(error.errcode & 0xff) ?? "failed", path, error.message);
}
