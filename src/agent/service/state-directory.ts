import { readFileDurable } from "../store/durable-file.ts";
import { type DirectoryLock, lockDirectory } from "../store/lock.ts";
import { StorageError } from "../store/storage-error.ts";
import type { AgentLog } from "./agent-log.ts";

/** Raised before anything was begun: the text has what is wrong, each problem of the settings with its line. */
export class CannotRun extends Error {}

/** Two agents of one state would give the same numbers. Null: the directory cannot be locked, and so not be written. */
export async function lockState(directory: string, log: AgentLog): Promise<DirectoryLock | null> {
  try {
    return await lockDirectory(directory);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    if (error.fault === "in-use") throw new CannotRun(error.message);
    log.error({ problem: error.message }, "the state directory cannot be used: nothing outlives a restart");
    return null;
  }
}

/** What a file of the state has; null: there is none, or nothing that can be used. Never rejects. */
export async function jsonIn(path: string): Promise<unknown> {
  const text = await readFileDurable(path);
  try {
    return text.state === "read" ? JSON.parse(text.value) : null;
  } catch {
    return null;
  }
}
