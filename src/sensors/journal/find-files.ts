import { notReadFromError } from "../../facts/reading.ts";
import type { RootFs } from "../root-fs.ts";

/** Where journald keeps its files: persistent, and volatile until it is flushed (systemd-journald.service(8)). */
export const DEFAULT_DIRECTORIES = ["/var/log/journal", "/run/log/journal"] as const;

/** Files of one journal that are read; libsystemd has the same limit (JOURNAL_FILES_MAX). */
const FILES_LIMIT = 7168;
const JOURNAL_NAME = /\.journal~?$/;
/** A machine id, or whatever a capture calls it; a name with a dot is of a journal namespace, which is another journal. */
const JOURNAL_DIRECTORY = /^[^.]+$/;

/** The journal files that were found, and what could not be looked at, in words. */
export interface FoundFiles {
  readonly paths: readonly string[];
  readonly gaps: readonly string[];
}

/** What an operator can do about a journal that may not be read. */
export const READ_RIGHTS = "root or a member of the group systemd-journal may read it";

/** The journal files of a directory and of its subdirectories by machine, as `journalctl -D` takes them. */
export async function filesOfDirectory(fs: RootFs, directory: string): Promise<FoundFiles> {
  const gaps: string[] = [];
  const paths: string[] = [];
  const names = await list(fs, directory, gaps);
  for (const name of names) {
    const path = `${directory}/${name}`;
    if (JOURNAL_NAME.test(name)) paths.push(path);
    if (!JOURNAL_DIRECTORY.test(name) || !(await isDirectory(fs, path))) continue;
    for (const inner of await list(fs, path, gaps)) {
      if (JOURNAL_NAME.test(inner)) paths.push(`${path}/${inner}`);
    }
  }
  if (paths.length > FILES_LIMIT) {
    gaps.push(`${directory}: ${paths.length} journal files; only the first ${FILES_LIMIT} are read`);
    paths.length = FILES_LIMIT;
  }
  return { paths, gaps };
}

/** The machine's own journal below the root of `fs`. */
export async function filesOfDefaultJournal(fs: RootFs): Promise<FoundFiles> {
  const paths: string[] = [];
  const gaps: string[] = [];
  for (const directory of DEFAULT_DIRECTORIES) {
    const present = await fs.stat(directory).then(
      () => true,
      (error: unknown) => notReadFromError(error, directory).state !== "absent",
    );
    if (!present) continue;
    const found = await filesOfDirectory(fs, directory);
    paths.push(...found.paths);
    gaps.push(...found.gaps);
  }
  return { paths, gaps };
}

async function isDirectory(fs: RootFs, path: string): Promise<boolean> {
  return await fs.stat(path).then(
    (meta) => meta.isDirectory,
    () => false,
  );
}

async function list(fs: RootFs, directory: string, gaps: string[]): Promise<readonly string[]> {
  try {
    return (await fs.list(directory)).sort();
  } catch (error) {
    const reason = notReadFromError(error, directory);
    gaps.push(reason.state === "denied" ? `${reason.detail}; ${READ_RIGHTS}` : reason.detail);
    return [];
  }
}
