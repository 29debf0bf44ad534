import type { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { asStoreError, StoreError } from "./errors.ts";

/** Writes that wait at once; a server that cannot write this fast must refuse. */
const MOST_WAITING = 2048;
/** Writes that become one transaction: what one flush of the disk is shared by. */
const MOST_TOGETHER = 128;

export interface WriterOptions {
  /** How long a locked database is tried again, milliseconds. */
  readonly lockedMs: number;
  readonly retryMs?: number;
}

interface Waiting {
  run(): void;
  keep(): void;
  fail(error: unknown): void;
}

/**
 * Writes to a database, many in one transaction and so in one flush to the disk.
 *
 * INVARIANTS
 * - A write's promise resolves only after COMMIT returned: with synchronous=FULL it is on the disk.
 * - A write that throws is undone alone (a savepoint); the database's own error undoes all of its transaction.
 * - A lock of another process is waited for outside of SQLite, whose own waiting would stop the event loop.
 */
export class Writer {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #options: WriterOptions;
  readonly #waiting: Waiting[] = [];
  #running: Promise<void> | null = null;

  constructor(db: DatabaseSync, path: string, options: WriterOptions) {
    this.#db = db;
    this.#path = path;
    this.#options = options;
  }

  write<T>(job: () => T): Promise<T> {
    if (this.#waiting.length >= MOST_WAITING) {
      return Promise.reject(new StoreError("locked", this.#path, `${MOST_WAITING} writes are waiting`));
    }
    return new Promise((resolve, reject) => {
      let kept: (() => void) | null = null;
      this.#waiting.push({
        run: () => {
          const value = job();
          kept = () => resolve(value);
        },
        keep: () => kept?.(),
        fail: reject,
      });
      this.#running ??= this.#work();
    });
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  async #work(): Promise<void> {
    // What comes in the same turn of the event loop goes along.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      while (this.#waiting.length > 0) {
        await this.#together(this.#waiting.splice(0, MOST_TOGETHER));
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      this.#running = null;
    }
  }

  async #together(jobs: readonly Waiting[]): Promise<void> {
    const until = performance.now() + this.#options.lockedMs;
    for (;;) {
      const error = this.#transaction(jobs);
      if (error === null) return;
      const isLocked = error instanceof StoreError && error.fault === "locked";
      if (!isLocked || performance.now() >= until) {
        for (const job of jobs) job.fail(error);
        return;
      }
      await sleep(this.#options.retryMs ?? 20);
    }
  }

  /** Null: committed, and every job was told. Otherwise why nothing was. */
  #transaction(jobs: readonly Waiting[]): unknown {
    const done: Waiting[] = [];
    const failed: (readonly [Waiting, unknown])[] = [];
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      for (const job of jobs) {
        this.#db.exec("SAVEPOINT job");
        try {
          job.run();
          done.push(job);
        } catch (error) {
          if (asStoreError(error, this.#path) !== error) throw error;
          this.#db.exec("ROLLBACK TO job");
          failed.push([job, error]);
        }
        this.#db.exec("RELEASE job");
      }
      this.#db.exec("COMMIT");
    } catch (error) {
      this.#rollBack();
      return asStoreError(error, this.#path);
    }
    for (const job of done) job.keep();
    for (const [job, error] of failed) job.fail(error);
    return null;
  }

  #rollBack(): void {
    // A full disk makes SQLite roll back by itself.
    if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
  }
}
