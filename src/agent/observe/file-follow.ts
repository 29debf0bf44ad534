import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf, notReadFromError } from "../../facts/reading.ts";
import type { RootFs } from "../../sensors/root-fs.ts";
import { FollowedFile } from "./followed-file.ts";
import type { Followed, FollowedBatch, LogFollower } from "./log-follow.ts";
import type { FileSourcePosition, LogPosition } from "./log-position.ts";

export interface FileFollowOptions {
  readonly fs: RootFs;
  /** The workload's log; it need not be there yet. */
  readonly path: string;
  /** Where an earlier follower stopped; null: the file is read from its beginning. */
  readonly after: (LogPosition & { readonly kind: "file" }) | null;
  /** Milliseconds of a clock that only goes forward. */
  readonly monotonic: () => number;
}

/** Bytes read in one poll: 1,000 long lines; more is for the next. */
const MOST_A_POLL = 4 << 20;
/** Files that lost the name and are still read: a service goes on writing to a file that was moved away. */
const MOST_RETIRED = 4;
const LINGER_MS = 10 * 60_000;
/** Names of a directory that are looked through for a file that was moved. */
const MOST_NAMES = 10_000;

/**
 * Follows a plain log under one name as its writers and logrotate treat it: it grows, is truncated (copytruncate), moved
 * away and still written to, made anew, replaced. A file is known by device, inode and the bytes before the place of
 * reading, so that neither a rename nor a truncation that grows again is taken for the same file.
 */
export class FileFollower implements LogFollower {
  readonly #options: FileFollowOptions;
  /** Oldest first; the last one has the name, unless it is retired. */
  #files: FollowedFile[] = [];
  #saved: readonly FileSourcePosition[];
  #items: Followed[] = [];

  constructor(options: FileFollowOptions) {
    this.#options = options;
    this.#saved = options.after?.sources ?? [];
  }

  async poll(): Promise<FollowedBatch> {
    await this.#resume();
    const problem = await this.#lookAtName();
    let left = MOST_A_POLL;
    let more = false;
    for (const file of [...this.#files]) {
      while (left > 0) {
        const before = file.position().offset;
        const again = await this.#read(file);
        left -= Math.max(1, file.position().offset - before);
        if (!again) break;
        more = left <= 0;
      }
    }
    await this.#giveUpQuiet();
    const items = this.#items;
    this.#items = [];
    return { items, position: this.#position(), more, problem };
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map(({ handle }) => handle.close()));
    this.#files = [];
  }

  #position(): LogPosition | null {
    const sources = this.#files.map((file) => file.position());
    return sources.length === 0 ? null : { kind: "file", path: this.#options.path, sources };
  }

  #gap(text: string): void {
    this.#items.push({ kind: "gap", text: text.slice(0, 300) });
  }

  async #read(file: FollowedFile, isLast = false): Promise<boolean> {
    const now = this.#options.monotonic();
    const others = this.#files.map((one) => ({ one, at: one.position() }));
    try {
      const { mtimeMs } = await file.handle.stat();
      const { lines, gaps, more } = await file.read(mtimeMs, now, isLast);
      for (const text of gaps) this.#gap(text);
      for (const { entry, position } of lines) {
        const sources = () => others.map(({ one, at }) => (one === file ? position() : at));
        const { path } = this.#options;
        this.#items.push({ kind: "line", entry, position: () => ({ kind: "file", path, sources: sources() }) });
      }
      return more;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#gap(notReadFromError(error, file.path).detail);
      return false;
    }
  }

  /** Finds the files of the position again, by their inodes: under the name, or moved, in the same directory. */
  async #resume(): Promise<void> {
    const saved = this.#saved;
    this.#saved = [];
    for (const at of saved) {
      const file = await this.#find(at);
      if (file === null) {
        this.#gap(`${this.#options.path}: the file that was read is gone; what was not read of it is lost`);
        continue;
      }
      if (!(await file.resume(at))) {
        this.#gap(`${file.path}: is not as it was read: truncated or written anew; read from its beginning`);
      }
      this.#files.push(file);
    }
  }

  async #find(wanted: FileSourcePosition): Promise<FollowedFile | null> {
    const { path } = this.#options;
    const beside = await readdir(dirname(path)).catch(() => []);
    for (const name of [path, ...beside.slice(0, MOST_NAMES).map((one) => join(dirname(path), one))]) {
      const found = await idOf(name).catch(() => null);
      if (found === null || found.ino !== wanted.ino || found.dev !== wanted.dev) continue;
      return await this.#open(name).catch(() => null);
    }
    return null;
  }

  async #open(path: string): Promise<FollowedFile> {
    const handle = await this.#options.fs.open(path);
    const { dev, ino } = await handle.stat({ bigint: true });
    return new FollowedFile(path, handle, { dev: String(dev), ino: String(ino) }, this.#options.monotonic());
  }

  /** Whether the name stands for the file that is read; opens the one that it stands for if not. */
  async #lookAtName(): Promise<string | null> {
    const { path } = this.#options;
    try {
      const { dev, ino } = await idOf(path);
      const known = this.#files.find((file) => file.ino === ino && file.dev === dev);
      if (known === undefined) this.#files.push(await this.#open(path));
      else if (known !== this.#files.at(-1)) this.#files = [...this.#files.filter((one) => one !== known), known];
      for (const file of this.#files) file.retired = file !== this.#files.at(-1);
      return null;
    } catch (error) {
      const { state, detail } = notReadFromError(error, path);
      if (state !== "absent") return detail;
      for (const file of this.#files) file.retired = true;
      return this.#files.length === 0 ? detail : null;
    }
  }

  async #giveUpQuiet(): Promise<void> {
    const since = this.#options.monotonic() - LINGER_MS;
    const retired = this.#files.filter((file) => file.retired);
    const surplus = retired.slice(0, Math.max(0, retired.length - MOST_RETIRED));
    for (const file of retired) {
      if (file.grewAt >= since && !surplus.includes(file)) continue;
      await this.#read(file, true);
      this.#files = this.#files.filter((one) => one !== file);
      await file.handle.close();
    }
  }
}

async function idOf(path: string): Promise<{ readonly dev: string; readonly ino: string }> {
  const { dev, ino } = await stat(path, { bigint: true });
  return { dev: String(dev), ino: String(ino) };
}
