import type { Ledger } from "../../facts/ledger.ts";
import { filesOfDefaultJournal, filesOfDirectory } from "../journal/find-files.ts";
import type { JournalFile } from "../journal/journal-file.ts";
import { UnitMatch } from "../journal/match.ts";
import { mergeJournals } from "../journal/merge.ts";
import { endsBefore, type JournalPlace, openJournalFiles } from "../journal/open-files.ts";
import { JournalReader } from "../journal/reader.ts";
import { counted, MESSAGE_LIMIT } from "../log-limits.ts";
import { LogTally } from "../log-summary.ts";
import type { RootFs } from "../root-fs.ts";
import type { FileCount } from "./bulk-count.ts";
import { inOrder } from "./bulk-order.ts";
import { runThreads } from "./bulk-threads.ts";
import { LogLedger } from "./log-ledger.ts";

/** What is to be counted. */
export interface BulkOptions {
  readonly unit: string;
  /** Epoch milliseconds, inclusive; null is open. */
  readonly since: number | null;
  readonly until: number | null;
  readonly signal: AbortSignal;
}

/** What one file came to, with what is missing from it. */
interface FilePart {
  readonly file: JournalFile;
  readonly count: FileCount;
  readonly gaps: readonly string[];
}

/**
 * Counts the calls of a unit in the journal files of a directory, or in one file; null is the machine's own journal.
 * The same as reading every entry into a `LogLedger`, many times faster: equal texts are one object in a journal file,
 * and their entries are counted through the lists that the file keeps. A file in which anything does not fit is read
 * entry by entry; so is everything, where files overlap or a line's process can only be known from the file before.
 */
export async function bulkLedger(fs: RootFs, path: string | null, options: BulkOptions): Promise<Ledger> {
  const place = await placeOf(fs, path);
  const tally = new LogTally();
  const files = new Map<string, JournalFile>();
  try {
    await openJournalFiles(fs, place, files, tally.gaps, options.signal);
    const parts = await countFiles([...files.values()], options, tally);
    const ordered = options.signal.aborted ? parts : inOrder(parts);
    if (ordered === null) return await entryByEntry(fs, place, options);
    if (options.signal.aborted) tally.stopped();
    return ledgerOf(ordered, place, tally);
  } finally {
    for (const { handle } of files.values()) await handle.close();
  }
}

async function placeOf(fs: RootFs, path: string | null): Promise<JournalPlace> {
  if (path === null) return { path: "the journal", find: () => filesOfDefaultJournal(fs) };
  const isFile = await fs.stat(path).then(
    (meta) => !meta.isDirectory,
    () => false,
  );
  return { path, find: isFile ? async () => ({ paths: [path], gaps: [] }) : () => filesOfDirectory(fs, path) };
}

async function countFiles(
  files: readonly JournalFile[],
  options: BulkOptions,
  tally: LogTally,
): Promise<readonly FilePart[]> {
  const window = windowOf(options);
  const wanted = files.filter((file) => {
    if (!endsBefore(file, window.since)) return true;
    tally.scanned += file.header.entries;
    return false;
  });
  // The largest first: a thread that takes a large one last is waited for.
  wanted.sort((one, other) => other.size - one.size);
  const shared = wanted.map(({ handle, size, header }) => ({ fd: handle.fd, size, header }));
  const outcomes = await runThreads({ files: shared, unit: options.unit, window }, options.signal);
  const counts = new Map(outcomes.map(({ index, count }) => [index, count]));
  const parts: FilePart[] = [];
  for (const [index, file] of wanted.entries()) {
    if (options.signal.aborted && !counts.has(index)) continue;
    const count = counts.get(index) ?? null;
    parts.push(count === null ? await readPart(file, options) : { file, count, gaps: cutGap(file, count) });
  }
  return parts;
}

function windowOf({ since, until }: BulkOptions): { readonly since: number; readonly until: number } {
  return {
    since: since === null ? -Infinity : since * 1000,
    until: until === null ? Infinity : until * 1000 + 999,
  };
}

/** Reads a file entry by entry, with a word for everything in it that is damaged. */
async function readPart(file: JournalFile, options: BulkOptions): Promise<FilePart> {
  const ledger = new LogLedger();
  const scan = { ...windowOf(options), match: new UnitMatch(options.unit), cursor: null };
  let span: FileCount["span"] = null;
  let scanned = 0;
  let suppressed = 0;
  let gaps: readonly string[] = [];
  await mergeJournals(
    [file],
    scan,
    options.signal,
    (entry) => {
      ledger.add(entry);
      const { seqnum, realtime } = entry;
      span = {
        firstSeqnum: Math.min(span?.firstSeqnum ?? seqnum, seqnum),
        lastSeqnum: Math.max(span?.lastSeqnum ?? seqnum, seqnum),
        firstRealtime: span?.firstRealtime ?? realtime,
        lastRealtime: realtime,
        minRealtime: Math.min(span?.minRealtime ?? realtime, realtime),
        maxRealtime: Math.max(span?.maxRealtime ?? realtime, realtime),
      };
    },
    async ({ report }) => {
      scanned = report.entries;
      suppressed = report.suppressed;
      gaps = report.gaps();
    },
  );
  const count = { scanned, calls: ledger.counted(), suppressed, cut: 0, unnamed: ledger.unnamed, span };
  return { file, count, gaps };
}

function cutGap(file: JournalFile, { cut }: FileCount): readonly string[] {
  if (cut === 0) return [];
  return [`${file.path}: ${counted(cut, "message was", "messages were")} longer than ${MESSAGE_LIMIT} bytes and cut`];
}

async function entryByEntry(fs: RootFs, place: JournalPlace, options: BulkOptions): Promise<Ledger> {
  const ledger = new LogLedger();
  const reader = new JournalReader(fs, place.path, place.find);
  const summary = await reader.read((entry) => ledger.add(entry), { ...options, afterCursor: null });
  return ledger.ledger([summary]);
}

function ledgerOf(parts: readonly FilePart[], place: JournalPlace, tally: LogTally): Ledger {
  const ledger = new LogLedger();
  const spans = parts.flatMap(({ count }) => count.span ?? []);
  for (const { count, gaps } of parts) {
    tally.scanned += count.scanned;
    tally.suppressed += count.suppressed;
    for (const gap of gaps) tally.gaps.add(gap);
    for (const calls of count.calls) ledger.addCounted(calls);
  }
  if (tally.scanned === 0 && tally.gaps.list().length === 0) {
    tally.gaps.add(`${place.path}: the journal has no entries`);
  }
  const at = (realtime: number | undefined) => (realtime === undefined ? null : Math.floor(realtime / 1000));
  const summary = {
    ...tally.summary("journal", place.path),
    entries: spans.length,
    firstAt: at(spans.at(0)?.firstRealtime),
    lastAt: at(spans.at(-1)?.lastRealtime),
  };
  return ledger.ledger([summary]);
}
