import type { FileHandle } from "node:fs/promises";
import { logScanPath, runLogScan, type ScanHandler } from "../native/log-scan.ts";
import { SHIM_WORDS } from "../protocol/guest-lines.ts";
import type { BulkReading, BulkReadOptions } from "./journal/bulk-reader.ts";
import { FileLine, LogFileReader } from "./log-file.ts";
import type { LogFold, LogReadSummary } from "./log-reader.ts";
import { LogTally } from "./log-summary.ts";
import { NO_PREFIX, PREFIX_LIMIT, parseLinePrefix } from "./log-times.ts";
import type { RootFs } from "./root-fs.ts";

const CARRIAGE_RETURN = 13;

/**
 * Reads a plain log file with per-call lines folded, many times faster than line by line. With what makes lines hard to
 * tell (holes, lines that are cut, a window of time, a file that becomes shorter) it is read line by line.
 */
export async function readFileInBulk<Fold extends LogFold>(
  fs: RootFs,
  path: string,
  options: BulkReadOptions,
  newFold: () => Fold,
): Promise<BulkReading<Fold>> {
  const program = logScanPath();
  const fold = newFold();
  const isWhole = options.since === null && options.until === null;
  const summary = program !== null && isWhole ? await scan(program, fs, path, options, fold) : null;
  if (summary !== null) return { fold, summary };
  const again = newFold();
  const reader = new LogFileReader(path, fs);
  return { fold: again, summary: await reader.read((entry) => again.add(entry), { ...options, afterCursor: null }) };
}

async function scan(
  program: string,
  fs: RootFs,
  path: string,
  options: BulkReadOptions,
  fold: LogFold,
): Promise<LogReadSummary | null> {
  // What is wrong with a file that cannot be opened is for the other reader to say.
  const handle = await fs.open(path).catch(() => null);
  if (handle === null) return null;
  try {
    return await scanOpen(program, path, handle, options, fold);
  } finally {
    await handle.close();
  }
}

async function scanOpen(
  program: string,
  path: string,
  handle: FileHandle,
  { lines, signal }: BulkReadOptions,
  fold: LogFold,
): Promise<LogReadSummary | null> {
  const { size, mtimeMs } = await handle.stat();
  if (size === 0) return null;
  const tally = new LogTally();
  let total = 0;
  let doubted = false;
  const handler: ScanHandler = {
    field: () => undefined,
    entry: () => undefined,
    silent: () => undefined,
    line: (offset, text, folded) => {
      const message = text.at(-1) === CARRIAGE_RETURN ? text.subarray(0, -1) : text;
      const prefix =
        folded > 0 || message.length === 0
          ? NO_PREFIX
          : parseLinePrefix(message.toString("latin1", 0, Math.min(message.length, PREFIX_LIMIT)), mtimeMs);
      const entry = new FileLine(path, offset, message, false, prefix, folded);
      tally.count(entry);
      fold.add(entry);
    },
    calls: ({ pid, callId, count, bytes }) =>
      fold.addCounted({ pid, callId, count, bytes, failures: [], firstAt: null, lastAt: null }),
    end: (_part, summary) => {
      total += summary.lines;
      fold.addDebugLines(summary.debugLines, summary.debugBytes);
    },
    doubt: () => {
      doubted = true;
    },
  };
  const file = { fd: handle.fd, size, entries: 0 };
  const nothing = { matches: [], keep: [], since: -Infinity, until: Infinity };
  const request = { kind: "text", files: [file], ...nothing, words: SHIM_WORDS, lines, signal } as const;
  const ended = await runLogScan(program, request, handler);
  const { size: now } = await handle.stat();
  if (!ended || doubted || now < size) return null;
  return { ...tally.summary("file", path), entries: total, scanned: total, bytes: size };
}
