import { type BulkReading, type BulkReadOptions, readJournalInBulk } from "./journal/bulk-reader.ts";
import { JournalReader } from "./journal/reader.ts";
import { LogFileReader } from "./log-file.ts";
import { readFileInBulk } from "./log-file-bulk.ts";
import type { LogFold, LogReader } from "./log-reader.ts";

/** Reads a log with per-call lines folded where its reader has a way to, entry by entry otherwise. */
export async function readInBulk<Fold extends LogFold>(
  reader: LogReader,
  options: BulkReadOptions,
  newFold: () => Fold,
): Promise<BulkReading<Fold>> {
  if (reader instanceof JournalReader) return await readJournalInBulk(reader.fs, reader.place, options, newFold);
  if (reader instanceof LogFileReader) return await readFileInBulk(reader.fs, reader.path, options, newFold);
  const fold = newFold();
  return { fold, summary: await reader.read((entry) => fold.add(entry), { ...options, afterCursor: null }) };
}
