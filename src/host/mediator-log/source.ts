import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync, readvSync } from "node:fs";
import type { MediatorEvent } from "../../protocol/mediator-events.ts";
import { LogFeed, type LogState } from "./feed.ts";

/** Bytes before the place of reading that are compared at each read: they change when a file is truncated and grows again. */
const TAIL = 256;

/** One file that is followed. Plain JSON. */
export interface SourceState {
  readonly dev: string;
  readonly ino: string;
  readonly log: number;
  readonly read: LogState;
  /** What stood before the place of reading, as a hash: how a file is known again. */
  readonly tail: { readonly end: number; readonly length: number; readonly sha256: string };
  /** Milliseconds since 1970 when everything was read; null: never yet. */
  readonly caughtUpAt: number | null;
  /** Milliseconds since 1970 when the last bytes came. */
  readonly grewAt: number;
  /** Another file has this one's name now. */
  readonly retired: boolean;
}

export interface FileId {
  readonly dev: string;
  readonly ino: string;
}

/** What sources of one follower share. */
export interface SourceContext {
  readonly emit: (event: MediatorEvent) => void;
  readonly now: () => number;
  readonly nextLog: () => number;
  readonly nextEpoch: () => number;
  readonly chunkBytes: number;
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Opens a regular file for reading. Throws the system's error, or one that says that it is no regular file. */
export function openLog(path: string): { readonly fd: number; readonly id: FileId } {
  // Without O_NONBLOCK the opening of a named pipe would wait for a writer.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) throw new Error(`${path} is not a regular file: give a pipe as standard input instead`);
    return { fd, id: { dev: String(stat.dev), ino: String(stat.ino) } };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** One open file, read from where an earlier reader stopped, through truncations. */
export class LogSource {
  readonly id: FileId;
  readonly #fd: number;
  readonly #context: SourceContext;
  #feed: LogFeed;
  #log: number;
  #tail: Buffer = Buffer.alloc(0);
  /** As in the state, until the first bytes are read again. */
  #savedTail: SourceState["tail"] | null = null;
  #caughtUpAt: number | null = null;
  #grewAt: number;
  retired = false;

  constructor(context: SourceContext, opened: { readonly fd: number; readonly id: FileId }, state: SourceState | null) {
    this.#context = context;
    this.#fd = opened.fd;
    this.id = opened.id;
    this.#log = state?.log ?? context.nextLog();
    this.#grewAt = state?.grewAt ?? context.now();
    this.#feed = this.#newFeed(state?.read);
    if (state !== null) {
      this.#caughtUpAt = state.caughtUpAt;
      this.#savedTail = state.tail;
      this.retired = state.retired;
    }
  }

  get grewAt(): number {
    return this.#grewAt;
  }

  announce(change: "opened" | "replaced" | "resumed" | "truncated"): void {
    const notAfter = this.#context.now();
    const when = { notBefore: this.#caughtUpAt, notAfter };
    this.#context.emit({ kind: "log", change, log: this.#log, epoch: -1, at: 0, end: 0, when });
  }

  /** Whether the text before the place of reading still is what the saved state knew. */
  isAsSaved(): boolean {
    const saved = this.#savedTail;
    if (saved === null || saved.length === 0) return true;
    const bytes = Buffer.alloc(saved.length);
    const count = readSync(this.#fd, bytes, 0, saved.length, saved.end - saved.length);
    return count === saved.length && sha256(bytes) === saved.sha256;
  }

  /** The file is another than before, under the same inode: what was not read of the old text is lost. */
  restart(): void {
    this.#feed.finish();
    this.#log = this.#context.nextLog();
    this.#feed = this.#newFeed(undefined);
    this.#tail = Buffer.alloc(0);
    this.#savedTail = null;
    this.announce("truncated");
  }

  /** Reads at most `most` bytes. Returns how many came; fewer than asked for: there are no more now. */
  read(most: number): number {
    let total = 0;
    while (total < most) {
      const asked = Math.min(this.#feed.chunkBytes, most - total);
      const before = this.#context.now();
      const count = this.#readChunk(asked);
      if (count === null) {
        this.restart();
        continue;
      }
      total += count;
      if (count > 0) this.#grewAt = before;
      if (count < asked) {
        // Taken before the read: whatever is written from here on is younger.
        this.#caughtUpAt = before;
        break;
      }
    }
    return total;
  }

  /** Null: what was read before stands there no more. */
  #readChunk(asked: number): number | null {
    const feed = this.#feed;
    const tail = Buffer.alloc(this.#tail.length);
    const data = feed.buffer.subarray(feed.dataAt(0), feed.dataAt(0) + asked);
    // One call for both, so that no truncation comes between.
    const count = readvSync(this.#fd, [tail, data], feed.offset - tail.length);
    if (count < tail.length || !tail.equals(this.#tail)) {
      return null;
    }
    const bytes = count - tail.length;
    if (bytes > 0) {
      const known = Buffer.concat([tail, data.subarray(Math.max(0, bytes - TAIL), bytes)]);
      this.#tail = Buffer.from(known.subarray(Math.max(0, known.length - TAIL)));
      this.#savedTail = null;
      feed.when = { notBefore: this.#caughtUpAt, notAfter: this.#context.now() };
      feed.filled(0, bytes);
    } else if (tail.length === 0 && fstatSync(this.#fd).size < feed.offset) {
      return null;
    }
    return bytes;
  }

  state(): SourceState {
    const tail = this.#savedTail ?? {
      end: this.#feed.offset,
      length: this.#tail.length,
      sha256: sha256(this.#tail),
    };
    return {
      ...this.id,
      log: this.#log,
      read: this.#feed.state(),
      tail,
      caughtUpAt: this.#caughtUpAt,
      grewAt: this.#grewAt,
      retired: this.retired,
    };
  }

  /** No more will be read of it: its last epoch ends. */
  finish(): void {
    this.#feed.finish();
    this.close();
  }

  close(): void {
    this.#feed.close();
    closeSync(this.#fd);
  }

  #newFeed(state: LogState | undefined): LogFeed {
    return new LogFeed({
      log: this.#log,
      emit: this.#context.emit,
      nextEpoch: this.#context.nextEpoch,
      chunkBytes: this.#context.chunkBytes,
      ...(state === undefined ? {} : { state }),
    });
  }
}
