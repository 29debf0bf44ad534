import type { FileHandle } from "node:fs/promises";
import { logScanPath } from "../../native/log-scan.ts";
import { startMediatorScan } from "../../native/mediator-scan.ts";
import type { ScanProcess } from "../../native/scan-process.ts";

/** Smaller logs are read before another program has started. */
const WORTH_IT = 8 * 1024 * 1024;

export interface BulkOptions {
  readonly signal?: AbortSignal;
  /** Path of log-scan; null: there is none. */
  readonly program?: string | null;
  /** Bytes from which on a log is read in bulk. */
  readonly least?: number;
}

/** A log that log-scan goes over. */
export interface StartedBulk {
  readonly scan: ScanProcess;
  /** How far it goes. */
  readonly size: number;
  readonly signal: AbortSignal;
}

/**
 * Starts to read a log in bulk (bulk.ts), whose file must stay open; it has to be read or ended (`scan.end`). In a file of
 * its own, so that the program can load what reading needs meanwhile. Null: it cannot be read so, or is not worth it.
 */
export async function startBulk(file: FileHandle, options: BulkOptions = {}): Promise<StartedBulk | null> {
  const program = options.program === undefined ? logScanPath() : options.program;
  const signal = options.signal ?? new AbortController().signal;
  const stats = await file.stat();
  signal.throwIfAborted();
  if (program === null || !stats.isFile() || stats.size < (options.least ?? WORTH_IT)) return null;
  const { size } = stats;
  return { scan: startMediatorScan({ program, fd: file.fd, size, signal }), size, signal };
}
