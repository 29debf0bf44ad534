import { dirname } from "node:path";
import { defaultJournal } from "../../sensors/journal/directory.ts";
import { DEFAULT_DIRECTORIES, filesOfDefaultJournal } from "../../sensors/journal/find-files.ts";
import { LogFileReader } from "../../sensors/log-file.ts";
import type { LogReader } from "../../sensors/log-reader.ts";
import type { RootFs } from "../../sensors/root-fs.ts";
import { FileFollower } from "../observe/file-follow.ts";
import { followLog } from "../observe/follow-loop.ts";
import type { FollowedLog } from "../observe/followed-log.ts";
import { JournalFollower } from "../observe/journal-follow.ts";
import type { FollowedBatch, LogFollower } from "../observe/log-follow.ts";
import type { LogPositions } from "../observe/log-position.ts";
import { LogWake } from "../observe/log-wake.ts";
import type { LogSource, WindowCutter } from "../observe/windows.ts";

export interface WorkloadLogOptions {
  readonly fs: RootFs;
  readonly unit: string;
  /** The file that has the workload's stderr; null: it is in the journal. */
  readonly file: string | null;
  /** How far an earlier agent got. */
  readonly positions: LogPositions;
  /** When the workload's present life began, epoch milliseconds: nothing before it is read without a position. */
  readonly lifeSince: number;
  readonly cutter: WindowCutter;
  readonly followed: FollowedLog;
  /** CLOCK_MONOTONIC in milliseconds. */
  readonly monotonic: () => number;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Told when a source cannot be read (in words), and when it can again (null). */
  readonly onProblem: (source: LogSource, problem: string | null) => void;
}

const after = (ms: number, callback: () => void): (() => void) => {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
};

/** Follows the workload's log where it goes, and hands each line to the windows and to what the checks look at. */
export class WorkloadLog {
  readonly #options: WorkloadLogOptions;
  readonly #readAt = new Map<LogSource, number>();
  readonly #problems = new Map<LogSource, string | null>();

  constructor(options: WorkloadLogOptions) {
    this.#options = options;
  }

  /** Until the signal; then everything that was open is closed. Rejects only for what is a bug. */
  async run(signal: AbortSignal): Promise<void> {
    const { fs, file } = this.#options;
    const journal = await this.#journal();
    const sources = [this.#follow("journal", "journal", journal, defaultJournal(fs), signal)];
    if (file !== null) sources.push(this.#follow("file", file, this.#file(file), new LogFileReader(file, fs), signal));
    await Promise.all(sources);
  }

  async #follow(
    source: LogSource,
    path: string,
    { follower, wake, lookAgain }: Sourced,
    reader: LogReader,
    signal: AbortSignal,
  ): Promise<void> {
    const { followed, positions, lifeSince } = this.#options;
    try {
      const since = source === "journal" ? lifeSince : null;
      await followed.follow(source, path, positions[source] ?? null, { reader, since, signal });
      await followLog({
        follower,
        wake,
        after,
        signal,
        onBatch: (batch) => this.#take(source, batch),
        ...(lookAgain === null ? {} : { onRenamed: lookAgain }),
      });
    } finally {
      wake.disarm();
      await follower.close();
    }
  }

  async #journal(): Promise<Sourced> {
    const { fs, unit, positions, lifeSince, monotonic } = this.#options;
    const follower = new JournalFollower({
      fs,
      find: () => filesOfDefaultJournal(fs),
      unit,
      after: positions.journal ?? null,
      since: lifeSince,
      monotonic,
    });
    // Its files lie in a directory by machine; a new one of these is found by the follower's own look.
    const { paths } = await filesOfDefaultJournal(fs);
    const directories = new Set([...DEFAULT_DIRECTORIES, ...paths.map((path) => dirname(path))]);
    const wake = new LogWake([...directories].map((directory) => ({ directory, name: null })));
    return { follower, wake, lookAgain: () => follower.lookAgain() };
  }

  #file(path: string): Sourced {
    const { fs, positions, monotonic } = this.#options;
    // Another file than before (the settings changed) is not the one that was read.
    const after = positions.file?.path === path ? positions.file : null;
    const follower = new FileFollower({ fs, path, after, monotonic });
    const name = path.slice(path.lastIndexOf("/") + 1);
    return { follower, wake: new LogWake([{ directory: dirname(path), name }]), lookAgain: null };
  }

  #take(source: LogSource, batch: FollowedBatch): void {
    const { cutter, followed, monotonic, now, onProblem } = this.#options;
    const notAfter = now();
    const read = { monotonic: monotonic(), notBefore: this.#readAt.get(source) ?? null, notAfter };
    for (const item of batch.items) {
      cutter.take(source, item, read);
      followed.take(source, item);
    }
    cutter.looked(batch.position);
    if (!batch.more) {
      this.#readAt.set(source, notAfter);
      followed.caughtUp(source);
    }
    const before = this.#problems.get(source) ?? null;
    if (batch.problem !== before) onProblem(source, batch.problem);
    this.#problems.set(source, batch.problem);
  }
}

interface Sourced {
  readonly follower: LogFollower;
  readonly wake: LogWake;
  readonly lookAgain: (() => void) | null;
}
