import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync, readvSync } from "node:fs";
import type { MediatorEvent } from "../../protocol/mediator-events.ts";
import { LogFeed, type LogState } from "./feed.ts";
import { type Mark, Marks } from "./marks.ts";

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
  /** When it was read, from its start up to the place of reading. */
  readonly marks: readonly Mark[];
}

/** What was read before, and is read again with the times that it was read at then. */
interface Replay {
  readonly saved: SourceState;
  /** The mark that is read up to next. */
  next: number;
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
  #marks = new Marks();
  #replay: Replay | null = null;
  retired = false;

  /** `again`: what was read before the state was saved is read again, with its times, and then what came since. */
  constructor(
    context: SourceContext,
    opened: { readonly fd: number; readonly id: FileId },
    state: SourceState | null,
    again = false,
  ) {
    this.#context = context;
    this.#fd = opened.fd;
    this.id = opened.id;
    this.#log = state === null || again ? context.nextLog() : state.log;
    this.#grewAt = state?.grewAt ?? context.now();
    this.#feed = this.#newFeed(again ? undefined : state?.read);
    if (state === null) return;
    this.#savedTail = state.tail;
    this.retired = state.retired;
    if (again && state.marks.length > 0) {
      this.#replay = { saved: state, next: 0 };
      return;
    }
    this.#caughtUpAt = state.caughtUpAt;
    this.#marks = new Marks(state.marks);
  }

  /** It still reads what was read before. */
  get isReplaying(): boolean {
    return this.#replay !== null;
  }

  get grewAt(): number {
    return this.#grewAt;
  }

  /** Bytes that are there and not read. */
  behind(): number {
    return Math.max(0, fstatSync(this.#fd).size - this.#feed.offset);
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
    this.#marks = new Marks();
    this.#caughtUpAt = this.#replay?.saved.caughtUpAt ?? this.#caughtUpAt;
    this.#replay = null;
    this.announce("truncated");
  }

  /** Reads at most `most` bytes. Returns how many came; fewer than asked for: there are no more now. */
  read(most: number): number {
    let total = 0;
    while (total < most) {
      const mark = this.#replay?.saved.marks[this.#replay.next];
      const behindMark = mark === undefined ? most : mark.end - this.#feed.offset;
      const asked = Math.min(this.#feed.chunkBytes, most - total, behindMark);
      const before = this.#context.now();
      const count = this.#readChunk(asked, mark);
      if (count === null) {
        this.restart();
        continue;
      }
      total += count;
      if (mark !== undefined && this.#feed.offset >= mark.end) this.#passMark(mark);
      else if (count > 0 && mark === undefined) this.#grewAt = before;
      if (count < asked && mark === undefined) {
        // Taken before the read: whatever is written from here on is younger.
        this.#caughtUpAt = before;
        break;
      }
    }
    return total;
  }

  #passMark(mark: Mark): void {
    this.#marks.add(mark.end, mark);
    const replay = this.#replay;
    if (replay === null) return;
    replay.next += 1;
    if (replay.next < replay.saved.marks.length) return;
    this.#caughtUpAt = replay.saved.caughtUpAt;
    this.#replay = null;
  }

  /** Null: what was read before stands there no more. */
  #readChunk(asked: number, mark: Mark | undefined): number | null {
    const feed = this.#feed;
    const tail = Buffer.alloc(this.#tail.length);
    const data = feed.buffer.subarray(feed.dataAt(0), feed.dataAt(0) + asked);
    // One call for both, so that no truncation comes between.
    const count = readvSync(this.#fd, [tail, data], feed.offset - tail.length);
    if (count < tail.length || !tail.equals(this.#tail)) {
      return null;
    }
    const bytes = count - tail.length;
    // A file that ends before a place that was read is not the one that was.
    if (mark !== undefined && bytes < asked) return null;
    if (bytes > 0) {
      const known = Buffer.concat([tail, data.subarray(Math.max(0, bytes - TAIL), bytes)]);
      this.#tail = Buffer.from(known.subarray(Math.max(0, known.length - TAIL)));
      this.#savedTail = null;
      const when = mark ?? { notBefore: this.#caughtUpAt, notAfter: this.#context.now() };
      feed.when = when;
      feed.filled(0, bytes);
      if (mark === undefined) this.#marks.add(feed.offset, when);
    } else if (tail.length === 0 && fstatSync(this.#fd).size < feed.offset) {
      return null;
    }
    return bytes;
  }

  state(): SourceState {
    // Half of the times would be lost with a state from within.
    if (this.#replay !== null) return this.#replay.saved;
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
      marks: this.#marks.all,
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
