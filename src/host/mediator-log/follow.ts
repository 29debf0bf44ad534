import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { MediatorEvent } from "../../protocol/mediator-events.ts";
import { type FileId, LogSource, openLog, type SourceContext, type SourceState } from "./source.ts";

/** Bytes read of one file at once. */
const CHUNK = 256 * 1024;
/** Bytes read in one poll, so that others get their turn. */
const MOST_A_POLL = 8 * 1024 * 1024;
/** Files that lost the name and are still read: a mediator goes on writing to a file that was moved away. */
const MOST_RETIRED = 4;
/** How long such a file may stay as it is before it is given up, milliseconds. */
const LINGER_MS = 60 * 60 * 1000;
/** Names of a directory that are looked through for a file that was moved. */
const MOST_NAMES = 10_000;

/** All that a follower needs after its own restart. Plain JSON; hold it together with what was made of the events. */
export interface FollowerState {
  readonly version: 1;
  readonly nextLog: number;
  readonly nextEpoch: number;
  /** Oldest first; the last one has the name, unless it is retired. */
  readonly sources: readonly SourceState[];
}

export interface FollowerOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly state?: FollowerState;
  /**
   * Gives all that was read before the state was saved once more, with the times that it was read at then: for whoever
   * did not keep what was made of it. Logs and epochs are numbered anew.
   */
  readonly again?: boolean;
  readonly chunkBytes?: number;
  readonly mostBytesAPoll?: number;
  readonly lingerMs?: number;
}

export interface PollResult {
  readonly bytes: number;
  /** There is more to read now. */
  readonly more: boolean;
  /** Why the file under the name cannot be read, in the system's words; null: it can, or there is none. */
  readonly problem: string | null;
}

/**
 * Follows the log under one name, as its writers treat it: it grows, is truncated, moved away (and still written to),
 * made anew, replaced. It looks when asked (`poll`), never by itself. Each line is given once; after a restart from
 * `state()` too, as long as the file or the moved one is in the same directory. What a truncation took before anybody
 * read it is lost, and said: the `log` event.
 */
export class LogFollower {
  readonly #path: string;
  readonly #options: FollowerOptions;
  readonly #context: SourceContext;
  #nextLog: number;
  #nextEpoch: number;
  #sources: LogSource[] = [];
  #saved: readonly SourceState[];

  constructor(path: string, onEvent: (event: MediatorEvent) => void, options: FollowerOptions) {
    this.#path = path;
    this.#options = options;
    const numbers = options.again === true ? undefined : options.state;
    this.#nextLog = numbers?.nextLog ?? 0;
    this.#nextEpoch = numbers?.nextEpoch ?? 0;
    this.#saved = options.state?.sources ?? [];
    this.#context = {
      emit: onEvent,
      now: options.now,
      nextLog: () => this.#nextLog++,
      nextEpoch: () => this.#nextEpoch++,
      chunkBytes: options.chunkBytes ?? CHUNK,
    };
  }

  /** Reads what is new. Throws only what `onEvent` throws; the follower must not be used after that. */
  poll(): PollResult {
    this.#resume();
    const problem = this.#lookAtName();
    let bytes = 0;
    let more = false;
    const most = this.#options.mostBytesAPoll ?? MOST_A_POLL;
    for (const source of this.#sources) {
      const count = source.read(most - bytes);
      bytes += count;
      if (bytes >= most) {
        more = true;
        break;
      }
    }
    this.#giveUpQuiet();
    return { bytes, more, problem };
  }

  /** Bytes that are there and not read, of all files that are followed; null: none is. */
  behind(): number | null {
    if (this.#sources.length === 0) return null;
    return this.#sources.reduce((sum, source) => sum + source.behind(), 0);
  }

  /** It still gives what was read before the state was saved (`again`). */
  get isReplaying(): boolean {
    return this.#saved.length > 0 || this.#sources.some((source) => source.isReplaying);
  }

  state(): FollowerState {
    const sources = this.#saved.length > 0 ? this.#saved : this.#sources.map((source) => source.state());
    return { version: 1, nextLog: this.#nextLog, nextEpoch: this.#nextEpoch, sources };
  }

  /** Stops, without an end of the epochs that are open: a later follower goes on with `state()`. */
  close(): void {
    for (const source of this.#sources) source.close();
    this.#sources = [];
  }

  /** Finds the files of the state again, by their inodes: under the name, or moved, in the same directory. */
  #resume(): void {
    const saved = this.#saved;
    const again = this.#options.again ?? false;
    this.#saved = [];
    for (const state of saved) {
      const opened = this.#find(state);
      if (opened === null) {
        const log = again ? this.#nextLog++ : state.log;
        this.#context.emit({ kind: "log", change: "lost", log, epoch: -1, at: 0, end: 0, when: null });
        continue;
      }
      const source = new LogSource(this.#context, opened, state, again);
      this.#sources.push(source);
      if (source.isAsSaved()) source.announce(again ? "opened" : "resumed");
      else source.restart();
    }
  }

  #find(wanted: FileId): ReturnType<typeof openLog> | null {
    for (const path of [this.#path, ...namesBeside(this.#path)]) {
      try {
        const { dev, ino } = statSync(path, { bigint: true });
        if (String(ino) !== wanted.ino || String(dev) !== wanted.dev) continue;
        return openLog(path);
      } catch {
        // Gone since it was listed, or not to be read: then it is not found.
      }
    }
    return null;
  }

  /** Whether the name stands for the file that is read; opens the one it stands for if not. */
  #lookAtName(): string | null {
    const current = this.#sources.at(-1);
    try {
      const { dev, ino } = statSync(this.#path, { bigint: true });
      const known = this.#sources.find(({ id }) => id.ino === String(ino) && id.dev === String(dev));
      if (known !== undefined) {
        this.#makeCurrent(known);
        return null;
      }
      const source = new LogSource(this.#context, openLog(this.#path), null);
      for (const old of this.#sources) old.retired = true;
      this.#sources.push(source);
      source.announce(current === undefined ? "opened" : "replaced");
      return null;
    } catch (error) {
      if (isAbsent(error)) return null;
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** A file that was moved away may get its name back. */
  #makeCurrent(source: LogSource): void {
    source.retired = false;
    if (this.#sources.at(-1) === source) return;
    this.#sources = [...this.#sources.filter((other) => other !== source), source];
    for (const other of this.#sources) if (other !== source) other.retired = true;
  }

  #giveUpQuiet(): void {
    const since = this.#options.now() - (this.#options.lingerMs ?? LINGER_MS);
    const retired = this.#sources.filter((source) => source.retired);
    const surplus = new Set(retired.slice(0, Math.max(0, retired.length - MOST_RETIRED)));
    for (const source of retired) {
      if (source.grewAt >= since && !surplus.has(source)) continue;
      source.finish();
      this.#sources = this.#sources.filter((other) => other !== source);
    }
  }
}

const isAbsent = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");

function namesBeside(path: string): string[] {
  const folder = dirname(path);
  try {
    return readdirSync(folder)
      .slice(0, MOST_NAMES)
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}

export interface FollowOptions extends FollowerOptions {
  readonly signal: AbortSignal;
  /** Returns after some time, or as soon as the signal is aborted. It decides how often is looked. */
  readonly wait: () => Promise<void>;
  /** Called after each poll, to save the state together with what was made of the events. */
  readonly onPoll?: (result: PollResult, follower: LogFollower) => void;
}

/** Follows until the signal is aborted. */
export async function followMediatorLog(
  path: string,
  onEvent: (event: MediatorEvent) => void,
  options: FollowOptions,
): Promise<FollowerState> {
  const follower = new LogFollower(path, onEvent, options);
  try {
    while (!options.signal.aborted) {
      const result = follower.poll();
      options.onPoll?.(result, follower);
      // Even with more to read, the rest of the process gets its turn.
      if (result.more) await new Promise((resolve) => setImmediate(resolve));
      else await options.wait();
    }
    return follower.state();
  } finally {
    follower.close();
  }
}
