import { notReadFromError } from "../facts/reading.ts";
import { journalOfDirectory, journalOfFile } from "./journal/directory.ts";
import { isExportFormat, journalOfExport } from "./journal/export-format.ts";
import { READ_RIGHTS } from "./journal/find-files.ts";
import { LogFileReader } from "./log-file.ts";
import type { LogReader } from "./log-reader.ts";
import { unreadableLog } from "./log-summary.ts";
import type { RootFs } from "./root-fs.ts";

const JOURNAL_NAME = /\.journal~?$/;
const JOURNAL_SIGNATURE = "LPKSHHRH";
/** Enough for the address fields of a first entry in export format. */
const START_BYTES = 4096;

/**
 * The reader for a path, by what is there: a directory of journal files, a journal file, a file in Journal Export
 * Format, or a plain text log. Never rejects: what cannot be opened is a reader whose reading is empty and whose gap
 * says why.
 */
export async function openLog(path: string, fs: RootFs): Promise<LogReader> {
  const isJournal = JOURNAL_NAME.test(path);
  try {
    if ((await fs.stat(path)).isDirectory) return journalOfDirectory(fs, path);
    const { bytes } = await fs.read(path, START_BYTES);
    if (isJournal || bytes.toString("latin1", 0, JOURNAL_SIGNATURE.length) === JOURNAL_SIGNATURE) {
      return journalOfFile(fs, path);
    }
    return isExportFormat(bytes) ? journalOfExport(fs, path) : new LogFileReader(path, fs);
  } catch (error) {
    const reason = notReadFromError(error, path);
    const isDenied = isJournal && reason.state === "denied";
    return unreadableLog(
      isJournal ? "journal" : "file",
      path,
      isDenied ? `${reason.detail}; ${READ_RIGHTS}` : reason.detail,
    );
  }
}
