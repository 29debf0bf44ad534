import { type FSWatcher, watch } from "node:fs";

/** A place where something changes when there are new lines: a journal's directory, or a log file by its directory. */
export interface WatchedPlace {
  readonly directory: string;
  /** Only changes of this name count; null: all. */
  readonly name: string | null;
}

/**
 * Tells when a log may have grown. It is armed for one change and then silent, so that a log of thousands of lines a
 * second costs no more than one that is looked at a few times a second. journald touches its files for those who watch
 * them, at most every 250 ms.
 */
export class LogWake {
  readonly #places: readonly WatchedPlace[];
  #watchers: FSWatcher[] = [];
  /** A name came or went since this was last asked. */
  #renamed = false;

  constructor(places: readonly WatchedPlace[]) {
    this.#places = places;
  }

  /** Kept when something changes after this call. Places that cannot be watched are left to the caller's own time limit. */
  arm(): Promise<void> {
    this.disarm();
    return new Promise((resolve) => {
      for (const { directory, name } of this.#places) {
        try {
          const watcher = watch(directory, { persistent: false }, (event, changed) => {
            if (name !== null && changed !== name) return;
            if (event === "rename") this.#renamed = true;
            this.disarm();
            resolve();
          });
          // A directory that is removed under its watcher: the caller's next look finds out.
          watcher.on("error", () => resolve());
          this.#watchers.push(watcher);
        } catch {
          // Absent, not permitted, or no more watches to be had: looked at from time to time instead.
        }
      }
    });
  }

  disarm(): void {
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }

  /** Whether a name came or went since this was last asked. */
  takeRenamed(): boolean {
    const renamed = this.#renamed;
    this.#renamed = false;
    return renamed;
  }
}
