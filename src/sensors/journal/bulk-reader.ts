import { logScanPath, runLogScan, SCAN_FILES_LIMIT, type ScanHandler } from "../../native/log-scan.ts";
import { SHIM_WORDS } from "../../protocol/guest-lines.ts";
import { counted, MESSAGE_LIMIT } from "../log-limits.ts";
import type { LogFold, LogReadOptions, LogReadSummary } from "../log-reader.ts";
import { LogTally } from "../log-summary.ts";
import type { RootFs } from "../root-fs.ts";
import { apartInOrder, type Span } from "./file-order.ts";
import type { JournalFile } from "./journal-file.ts";
import { FIELD_STARTS, UnitMatch } from "./match.ts";
import { mergeJournals } from "./merge.ts";
import { closeAll, endsBefore, type JournalPlace, openJournalFiles } from "./open-files.ts";
import { JournalReader } from "./reader.ts";
import { ScannedFile } from "./scanned-file.ts";

export interface BulkReading<Fold> {
  readonly fold: Fold;
  readonly summary: LogReadSummary;
}

export interface BulkReadOptions extends Omit<LogReadOptions, "afterCursor"> {
  /** Of the workload's own lines: all, or only those that may be the shims'. */
  readonly lines: "all" | "shim";
}

/** Tries before everything is read entry by entry: the first finds the files in doubt, the next goes without them. */
const TRIES = 3;

/**
 * Reads the journal files of one place as one journal, with per-call lines folded (`LogEntry.folded`, `LogFold`), many
 * times faster than entry by entry. A file in which anything does not fit is read entry by entry; so is everything,
 * where log-scan is not to be had or files overlap in which the unit has entries: they may hold an entry twice.
 * `newFold` is asked for a fold for each try.
 */
export async function readJournalInBulk<Fold extends LogFold>(
  fs: RootFs,
  place: JournalPlace,
  options: BulkReadOptions,
  newFold: () => Fold,
): Promise<BulkReading<Fold>> {
  const program = logScanPath();
  const files = new Map<string, JournalFile>();
  const gaps = new LogTally().gaps;
  try {
    if (program !== null) {
      await openJournalFiles(fs, place, files, gaps, options.signal);
      const slow = new Set<JournalFile>();
      for (let attempt = 0; attempt < TRIES && files.size <= SCAN_FILES_LIMIT; attempt += 1) {
        const fold = newFold();
        const reading = new BulkRun([...files.values()], slow, program, options, fold);
        if (!(await reading.run())) break;
        if (reading.doubted.length > 0) {
          for (const file of reading.doubted) slow.add(file);
          continue;
        }
        if (!apartInOrder(reading.spans)) break;
        return { fold, summary: reading.summary(place, gaps.list()) };
      }
    }
  } finally {
    await closeAll(files.values());
  }
  const fold = newFold();
  const reader = new JournalReader(fs, place.path, place.find);
  return { fold, summary: await reader.read((entry) => fold.add(entry), { ...options, afterCursor: null }) };
}

/** One try. */
class BulkRun {
  readonly doubted: JournalFile[] = [];
  readonly spans: Span[] = [];
  readonly #files: readonly JournalFile[];
  readonly #slow: ReadonlySet<JournalFile>;
  readonly #program: string;
  readonly #options: BulkReadOptions;
  readonly #fold: LogFold;
  readonly #match: UnitMatch;
  readonly #since: number;
  readonly #until: number;
  readonly #tally = new LogTally();
  #lines = 0;
  #first: number | null = null;
  #last: number | null = null;

  constructor(
    files: readonly JournalFile[],
    slow: ReadonlySet<JournalFile>,
    program: string,
    options: BulkReadOptions,
    fold: LogFold,
  ) {
    this.#slow = slow;
    this.#program = program;
    this.#options = options;
    this.#fold = fold;
    this.#match = new UnitMatch(options.unit);
    this.#since = options.since === null ? -Infinity : options.since * 1000;
    this.#until = options.until === null ? Infinity : options.until * 1000 + 999;
    this.#files = inOrder(files);
  }

  /** False when log-scan did not come to its end. */
  async run(): Promise<boolean> {
    let group: JournalFile[] = [];
    const { signal } = this.#options;
    for (const file of this.#files) {
      this.#tally.newest(file.header.tailRealtime);
      if (endsBefore(file, this.#since)) {
        this.#tally.scanned += file.header.entries;
        continue;
      }
      if (!this.#slow.has(file)) {
        group.push(file);
        continue;
      }
      if (!(await this.#scan(group))) return signal.aborted;
      group = [];
      await this.#readSlowly(file);
    }
    return (await this.#scan(group)) || signal.aborted;
  }

  summary(place: JournalPlace, gaps: readonly string[]): LogReadSummary {
    const tally = this.#tally;
    for (const gap of gaps) tally.gaps.add(gap);
    if (this.#options.signal.aborted) tally.stopped();
    if (tally.scanned === 0 && tally.gaps.list().length === 0) {
      tally.gaps.add(`${place.path}: the journal has no entries`);
    }
    return { ...tally.summary("journal", place.path), entries: this.#lines, firstAt: this.#first, lastAt: this.#last };
  }

  async #scan(files: readonly JournalFile[]): Promise<boolean> {
    if (files.length === 0) return true;
    const scanned = files.map((file) => new ScannedFile(file, this.#match));
    const request = {
      kind: "journal",
      files: files.map(({ handle, size, header }) => ({ fd: handle.fd, size, entries: header.entries })),
      matches: this.#match.naming,
      keep: FIELD_STARTS,
      words: SHIM_WORDS,
      since: this.#since,
      until: this.#until,
      lines: this.#options.lines,
      signal: this.#options.signal,
    } as const;
    return await runLogScan(this.#program, request, this.#handler(scanned));
  }

  #handler(scanned: readonly ScannedFile[]): ScanHandler {
    const doubt = (part: number) => {
      const file = scanned[part]?.file;
      if (file !== undefined && !this.doubted.includes(file)) this.doubted.push(file);
    };
    return {
      field: (part, offset, text) => scanned[part]?.field(offset, text),
      entry: (part, found) => {
        const entry = scanned[part]?.entry(found) ?? null;
        if (entry === "doubt") doubt(part);
        else if (entry !== null) {
          this.#tally.count(entry);
          this.#fold.add(entry);
        }
      },
      line: () => undefined,
      silent: (since, lines) => this.#fold.noteLines(Math.floor(since / 1000), lines),
      calls: ({ pid, callId, count, bytes, first, last }) => {
        const [firstAt, lastAt] = [Math.floor(first / 1000), Math.floor(last / 1000)];
        this.#fold.addCounted({ pid, callId, count, bytes, failures: [], firstAt, lastAt });
      },
      end: (part, summary) => {
        const file = scanned[part];
        if (file === undefined) return;
        this.#fold.addDebugLines(summary.debugLines, summary.debugBytes);
        const lines = summary.lines - file.refused;
        const { suppressed, machineIds } = file;
        const scannedEntries = file.file.header.entries;
        this.#end(file.file, {
          scanned: scannedEntries,
          suppressed,
          machineIds,
          lines,
          span: lines > 0 ? summary : null,
        });
        if (file.cut > 0) this.#tally.gaps.add(cutGap(file));
      },
      doubt,
    };
  }

  #end(file: JournalFile, part: Part): void {
    const tally = this.#tally;
    tally.scanned += part.scanned;
    tally.bytes += file.size;
    tally.suppressed += part.suppressed;
    this.#lines += part.lines;
    for (const machineId of part.machineIds) tally.machine(machineId);
    if (part.machineIds.size === 0) tally.machine(file.header.machineId);
    if (part.span === null) return;
    this.#first ??= Math.floor(part.span.firstRealtime / 1000);
    this.#last = Math.floor(part.span.lastRealtime / 1000);
    this.spans.push({ ...part.span, seqnumId: file.header.seqnumId });
  }

  /** Reads a file entry by entry, with a word for everything in it that is damaged. */
  async #readSlowly(file: JournalFile): Promise<void> {
    const scan = { since: this.#since, until: this.#until, match: this.#match, cursor: null };
    let span: Omit<Span, "seqnumId"> | null = null;
    let lines = 0;
    await mergeJournals(
      [file],
      scan,
      this.#options.signal,
      (entry) => {
        lines += 1;
        span = widened(span, entry);
        this.#tally.count(entry);
        this.#fold.add(entry);
      },
      async ({ report }) => {
        const { suppressed, machineIds } = report;
        this.#end(file, { scanned: report.entries, suppressed, machineIds, lines, span });
        for (const gap of report.gaps()) this.#tally.gaps.add(gap);
      },
    );
  }
}

interface Part {
  /** Entries of any unit. */
  readonly scanned: number;
  readonly suppressed: number;
  readonly machineIds: ReadonlySet<string>;
  readonly lines: number;
  readonly span: Omit<Span, "seqnumId"> | null;
}

function widened(
  span: Omit<Span, "seqnumId"> | null,
  { seqnum, realtime }: { readonly seqnum: number; readonly realtime: number },
): Omit<Span, "seqnumId"> {
  return {
    firstSeqnum: Math.min(span?.firstSeqnum ?? seqnum, seqnum),
    lastSeqnum: Math.max(span?.lastSeqnum ?? seqnum, seqnum),
    firstRealtime: span?.firstRealtime ?? realtime,
    lastRealtime: realtime,
    minRealtime: Math.min(span?.minRealtime ?? realtime, realtime),
    maxRealtime: Math.max(span?.maxRealtime ?? realtime, realtime),
  };
}

/** By sequence number within one sequence, by time otherwise. */
function inOrder(files: readonly JournalFile[]): readonly JournalFile[] {
  const oneSequence = new Set(files.map(({ header }) => header.seqnumId)).size < 2;
  const key = ({ header }: JournalFile) => (oneSequence ? header.headSeqnum : header.headRealtime);
  return files.toSorted((one, other) => key(one) - key(other));
}

function cutGap({ file, cut }: ScannedFile): string {
  return `${file.path}: ${counted(cut, "message was", "messages were")} longer than ${MESSAGE_LIMIT} bytes and cut`;
}
