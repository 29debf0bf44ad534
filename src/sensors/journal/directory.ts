import type { LogReader } from "../log-reader.ts";
import type { RootFs } from "../root-fs.ts";
import { DEFAULT_DIRECTORIES, filesOfDefaultJournal, filesOfDirectory } from "./find-files.ts";
import { JournalReader } from "./reader.ts";

/** A reader of one journal file (`*.journal`, or `*.journal~` that journald set aside as damaged). */
export function journalOfFile(fs: RootFs, path: string): LogReader {
  return new JournalReader(fs, path, async () => ({ paths: [path], gaps: [] }));
}

/** A reader of the journal files in a directory and its machine-id subdirectories. */
export function journalOfDirectory(fs: RootFs, path: string): LogReader {
  return new JournalReader(fs, path, () => filesOfDirectory(fs, path));
}

/** A reader of the machine's own journal below the root of `fs`. */
export function defaultJournal(fs: RootFs): LogReader {
  return new JournalReader(fs, DEFAULT_DIRECTORIES.join(", "), () => filesOfDefaultJournal(fs));
}
