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

/** What lies at a path: a directory, a journal file, a journal in export format, or plain text. */
type LogKind = "directory" | "journal" | "export" | "text";

/** Tells by what is there, not by the name alone. Rejects with the system's error when it cannot be opened. */
async function kindOfLog(path: string, fs: RootFs): Promise<LogKind> {
  if ((await fs.stat(path)).isDirectory) return "directory";
  const { bytes } = await fs.read(path, START_BYTES);
  const signed = bytes.toString("latin1", 0, JOURNAL_SIGNATURE.length) === JOURNAL_SIGNATURE;
  if (JOURNAL_NAME.test(path) || signed) return "journal";
  return isExportFormat(bytes) ? "export" : "text";
}

/**
 * The reader for a path, by what is there: a directory of journal files, a journal file, a file in Journal Export
 * Format, or a plain text log. Never rejects: what cannot be opened is a reader whose reading is empty and whose gap
 * says why.
 */
export async function openLog(path: string, fs: RootFs): Promise<LogReader> {
  const isJournal = JOURNAL_NAME.test(path);
  try {
    switch (await kindOfLog(path, fs)) {
      case "directory":
        return journalOfDirectory(fs, path);
      case "journal":
        return journalOfFile(fs, path);
      case "export":
        return journalOfExport(fs, path);
      case "text":
        return new LogFileReader(path, fs);
    }
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
