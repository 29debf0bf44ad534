import { type NotRead, notReadFromError } from "../../facts/reading.ts";
import type { Gaps } from "../log-limits.ts";
import type { RootFs } from "../root-fs.ts";
import { type FoundFiles, READ_RIGHTS } from "./find-files.ts";
import type { HeaderProblem } from "./header.ts";
import { type JournalFile, openJournalFile } from "./journal-file.ts";

/** The files of one place: its name for messages, and how they are found. */
export interface JournalPlace {
  readonly path: string;
  readonly find: () => Promise<FoundFiles>;
}

/**
 * Opens all files before any is read, and looks for files twice: what a rotation renames meanwhile is already open
 * or is found under its new name. `files`, by identity, is the caller's, who closes what is in it whatever happens.
 */
export async function openJournalFiles(
  fs: RootFs,
  { path: place, find }: JournalPlace,
  files: Map<string, JournalFile>,
  problems: Gaps,
  signal: AbortSignal,
): Promise<void> {
  const tried = new Set<string>();
  const vanished: string[] = [];
  const denied: string[] = [];
  let gaps: readonly string[] = [];
  for (let look = 0; look < 2; look += 1) {
    const found = await find();
    gaps = found.gaps;
    const untried = found.paths.filter((path) => !tried.has(path));
    for (const path of untried) tried.add(path);
    const opened = await Promise.all(untried.map((path) => opening(fs, path, signal)));
    for (const [index, file] of opened.entries()) {
      const path = untried[index] ?? "";
      if (file === null) continue;
      if ("problem" in file) problems.add(`${path}: ${file.problem}`);
      else if ("state" in file) {
        if (file.state === "absent") vanished.push(path);
        else if (file.state === "denied") denied.push(path);
        else problems.add(file.detail);
      } else if (files.has(file.identity)) await file.handle.close();
      else files.set(file.identity, file);
    }
  }
  for (const gap of gaps) problems.add(gap);
  for (const path of vanished) problems.add(`${path}: vanished between being listed and being opened`);
  if (denied.length > 0) {
    problems.add(
      `${place}: ${denied.length} of ${tried.size} journal files may not be read (${denied[0]}); ${READ_RIGHTS}`,
    );
  }
  if (tried.size === 0 && gaps.length === 0) problems.add(`${place}: no journal files there`);
}

/** The file, or why there is none; null when it is not to be opened any more. */
async function opening(
  fs: RootFs,
  path: string,
  signal: AbortSignal,
): Promise<JournalFile | HeaderProblem | NotRead | null> {
  if (signal.aborted) return null;
  return await openJournalFile(fs, path).catch((error: unknown) => notReadFromError(error, path));
}

/** Closes what was opened. */
export async function closeAll(files: Iterable<JournalFile>): Promise<void> {
  await Promise.all([...files].map(({ handle }) => handle.close()));
}

/**
 * Whether a file's header says that it ends before `since` (epoch microseconds): it is then passed over, as journalctl
 * does; entries of a clock that was ahead for a while and set back within one file are not seen. Nothing is passed over
 * for the other end of a window: a clock that starts late is common.
 */
export function endsBefore({ header }: JournalFile, since: number): boolean {
  const { headRealtime, tailRealtime, entries } = header;
  return entries > 0 && tailRealtime > 0 && Math.max(headRealtime, tailRealtime) < since;
}
