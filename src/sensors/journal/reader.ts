import type { LogEntry, LogReader, LogReadOptions, LogReadSummary } from "../log-reader.ts";
import { LogTally } from "../log-summary.ts";
import type { RootFs } from "../root-fs.ts";
import { type EntryPosition, parseCursor } from "./cursor.ts";
import type { FileScanner, ScanOptions } from "./file-reader.ts";
import type { FoundFiles } from "./find-files.ts";
import type { JournalFile } from "./journal-file.ts";
import { UnitMatch } from "./match.ts";
import { mergeJournals } from "./merge.ts";
import { closeAll, endsBefore, type JournalPlace, openJournalFiles } from "./open-files.ts";

/** Reads the journal files of one place as one journal, directly, without journalctl or libsystemd. */
export class JournalReader implements LogReader {
  readonly fs: RootFs;
  readonly place: JournalPlace;

  constructor(fs: RootFs, path: string, find: () => Promise<FoundFiles>) {
    this.fs = fs;
    this.place = { path, find };
  }

  async read(onEntry: (entry: LogEntry) => void, options: LogReadOptions): Promise<LogReadSummary> {
    const tally = new LogTally();
    const cursor = cursorOf(options.afterCursor, tally);
    const scan: ScanOptions = {
      match: new UnitMatch(options.unit),
      since: options.since === null ? -Infinity : options.since * 1000,
      until: options.until === null ? Infinity : options.until * 1000 + 999,
      cursor,
    };
    const files = new Map<string, JournalFile>();
    let cursorSeen = false;
    try {
      await openJournalFiles(this.fs, this.place, files, tally.gaps, options.signal);
      for (const file of files.values()) {
        tally.newest(file.header.tailRealtime);
        const passed = passedOver(file, scan);
        if (passed === null) continue;
        // Its header says that it has nothing of the window: looked at, in that sense.
        tally.scanned += file.header.entries;
        cursorSeen ||= passed === "holds-cursor";
        files.delete(file.identity);
        await file.handle.close();
      }
      const finish = async ({ file, report }: FileScanner) => {
        tally.scanned += report.entries;
        tally.bytes += report.bytes;
        tally.suppressed += report.suppressed;
        cursorSeen ||= report.cursorSeen;
        for (const gap of report.gaps()) tally.gaps.add(gap);
        for (const machineId of report.machineIds) tally.machine(machineId);
        if (report.machineIds.size === 0) tally.machine(file.header.machineId);
        files.delete(file.identity);
        await file.handle.close();
      };
      const hand = (entry: LogEntry) => {
        tally.count(entry);
        onEntry(entry);
      };
      await mergeJournals([...files.values()], scan, options.signal, hand, finish);
    } finally {
      await closeAll(files.values());
    }
    if (options.signal.aborted) tally.stopped();
    else if (cursor !== null && !cursorSeen) {
      tally.gaps.add(
        `${this.place.path}: the entry of the cursor is not there any more; started at the first one later than it`,
      );
    }
    if (tally.scanned === 0 && tally.gaps.list().length === 0)
      tally.gaps.add(`${this.place.path}: the journal has no entries`);
    return tally.summary("journal", this.place.path);
  }
}

function cursorOf(text: string | null, tally: LogTally): EntryPosition | null {
  if (text === null) return null;
  const cursor = parseCursor(text);
  if (cursor === null) tally.gaps.add(`not a journal cursor: "${text.slice(0, 200)}"; read from the start`);
  return cursor;
}

/** Whether a file's header says that nothing in it can be wanted: null when it has to be read. */
function passedOver(file: JournalFile, scan: ScanOptions): "out-of-window" | "holds-cursor" | null {
  const { seqnumId, headSeqnum, tailSeqnum, entries } = file.header;
  const { cursor } = scan;
  if (entries > 0 && cursor !== null && cursor.seqnumId === seqnumId && tailSeqnum <= cursor.seqnum) {
    return tailSeqnum === cursor.seqnum && headSeqnum <= cursor.seqnum ? "holds-cursor" : "out-of-window";
  }
  return endsBefore(file, scan.since) ? "out-of-window" : null;
}
