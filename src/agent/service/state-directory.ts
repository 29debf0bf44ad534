import { join } from "node:path";
import { readFileDurable } from "../store/durable-file.ts";
import { type AgentIdentity, openIdentity } from "../store/identity.ts";
import { type DirectoryLock, lockDirectory } from "../store/lock.ts";
import { StorageError } from "../store/storage-error.ts";
import type { AgentLog } from "./agent-log.ts";
import { LastingTrouble } from "./lasting-trouble.ts";

/** Raised before anything was begun: the text has what is wrong, each problem of the settings with its line. */
export class CannotRun extends Error {}

/** What has to outlive a restart. Where the disk does not take it, the agent runs all the same, and says so. */
export class StateDirectory {
  readonly #path: string;
  readonly #trouble: LastingTrouble;
  readonly identity: AgentIdentity;
  /** Null: the directory cannot be locked, and so not be written. */
  #lock: DirectoryLock | null = null;

  private constructor(path: string, identity: AgentIdentity, log: AgentLog) {
    this.#path = path;
    this.identity = identity;
    this.#trouble = new LastingTrouble(log, {
      lasts: "the state is not kept: a restart knows what the spool has, and no more",
      over: "the state is kept again",
    });
  }

  /** Two agents of one state would give the same numbers: throws CannotRun where there is another. */
  static async open(path: string, log: AgentLog): Promise<StateDirectory> {
    let trouble: StorageError | null = null;
    let lock: DirectoryLock | null = null;
    try {
      lock = await lockDirectory(path);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      if (error.fault === "in-use") throw new CannotRun(error.message);
      trouble = error;
    }
    const identity = await openIdentity(join(path, "agent.json"));
    const directory = new StateDirectory(path, identity, log);
    directory.#lock = lock;
    trouble ??= identity.trouble;
    if (trouble !== null) directory.noteTrouble(trouble);
    return directory;
  }

  file(name: string): string {
    return join(this.#path, name);
  }

  /** Makes good what could not be done when it was opened. Rejects with StorageError. */
  async claim(): Promise<void> {
    this.#lock ??= await lockDirectory(this.#path);
    if (this.identity.trouble !== null) await this.identity.keep();
    if (this.identity.trouble !== null) throw this.identity.trouble;
  }

  noteTrouble(trouble: StorageError): void {
    this.#trouble.note(trouble);
  }

  /** All that was to be written was. */
  noteKept(): void {
    this.#trouble.note(null);
  }

  /** Why not all of it is on the disk; null: it is. */
  get trouble(): StorageError | null {
    return this.#trouble.now;
  }

  async release(): Promise<void> {
    await this.#lock?.release();
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
