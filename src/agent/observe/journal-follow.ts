import { notReadFromError } from "../../facts/reading.ts";
import { type EntryPosition, formatCursor, parseCursor } from "../../sensors/journal/cursor.ts";
import type { JournalEntry } from "../../sensors/journal/entry.ts";
import { DamagedIndex } from "../../sensors/journal/entry-index.ts";
import { JournalFileTail } from "../../sensors/journal/file-tail.ts";
import type { FoundFiles } from "../../sensors/journal/find-files.ts";
import { type JournalFile, openJournalFile } from "../../sensors/journal/journal-file.ts";
import { UnitMatch } from "../../sensors/journal/match.ts";
import { order } from "../../sensors/journal/merge.ts";
import type { RootFs } from "../../sensors/root-fs.ts";
import type { Followed, FollowedBatch, LogFollower } from "./log-follow.ts";
import type { LogPosition } from "./log-position.ts";
import { type FillReport, TailQueue } from "./tail-queue.ts";

export interface JournalFollowOptions {
  readonly fs: RootFs;
  readonly find: () => Promise<FoundFiles>;
  readonly unit: string;
  /** Where an earlier follower stopped; null: there was none. */
  readonly after: (LogPosition & { readonly kind: "journal" }) | null;
  /** Without `after`: the first entry's time, epoch milliseconds. */
  readonly since: number;
  /** Milliseconds of a clock that only goes forward. */
  readonly monotonic: () => number;
  /** How often the directory is looked through for new files, milliseconds. */
  readonly rescanMs?: number;
}

const RESCAN_MS = 5000;
/** How often the directory is listed at most in one look: journald does not rotate without end. */
const MOST_LISTS = 10;
/** Entries handed on in one poll, so that others get their turn. */
const MOST_A_POLL = 4096;
/** journald's names for files that it writes no more: after a rotation, and set aside as damaged. */
const ARCHIVED = /@[^/]*\.journal$|\.journal~$/;
const VOLATILE = /\/run\/log\/journal\//;
/** Lines of volatile files that are known again. */
const MOST_VOLATILE = 8192;
/** A file whose name is gone and that does not grow is given up after this. */
const LINGER_MS = 10 * 60_000;

/**
 * Follows a journal: the files of its directories that are written to stay open, and each look at them costs one read of
 * a header; new entries alone are read. Rotation, a restart of journald, files that are made anew or vanish are found at
 * the next look at the directory.
 *
 * INVARIANTS
 * - Order is journald's own sequence number, over all files: no clock decides within one sequence.
 * - An entry with a number is handed on only when all with smaller ones were, in whatever file they are: the position is
 *   a single cursor, and nothing before it is missing.
 */
export class JournalFollower implements LogFollower {
  readonly #options: JournalFollowOptions;
  readonly #match: UnitMatch;
  /** By identity (device:inode). */
  readonly #tails = new Map<string, TailQueue>();
  /** Archived files that were read to their end. */
  #done = new Set<string>();
  /** Files that could not be opened, so that each is said once. */
  readonly #refused = new Set<string>();
  #last: EntryPosition | null;
  /** The number that was looked at last, by sequence. */
  readonly #seen = new Map<string, number>();
  /** Lines of volatile files that were handed on, by boot, time and checksum. */
  readonly #volatile = new Set<string>();
  #rescanAt = Number.NEGATIVE_INFINITY;
  #started = false;
  #items: Followed[] = [];
  #problem: string | null = null;

  constructor(options: JournalFollowOptions) {
    this.#options = options;
    this.#match = new UnitMatch(options.unit);
    const cursor = options.after === null ? null : parseCursor(options.after.cursor);
    if (options.after !== null && cursor === null) this.#gap("the journal's cursor that was kept is not one");
    this.#last = cursor;
    if (cursor !== null) this.#seen.set(cursor.seqnumId, cursor.seqnum);
  }

  /** The directory has changed: it is looked through at the next poll. */
  lookAgain(): void {
    this.#rescanAt = Number.NEGATIVE_INFINITY;
  }

  async poll(): Promise<FollowedBatch> {
    if (this.#options.monotonic() >= this.#rescanAt) await this.#rescan();
    const bounds = await this.#refresh();
    const more = await this.#handOn(bounds);
    await this.#closeRead();
    const items = this.#items;
    this.#items = [];
    const cursor = this.#last === null ? null : formatCursor(this.#last);
    return {
      items,
      position: cursor === null ? null : { kind: "journal", cursor },
      more,
      problem: this.#tails.size === 0 && this.#done.size === 0 ? this.#problem : null,
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#tails.values()].map(({ tail }) => tail.file.handle.close()));
    this.#tails.clear();
  }

  #gap(text: string): void {
    this.#items.push({ kind: "gap", text: text.slice(0, 300) });
  }

  /** Opens files that are new, and sees which were archived or are gone. */
  async #rescan(): Promise<void> {
    const { monotonic, rescanMs = RESCAN_MS } = this.#options;
    const now = monotonic();
    this.#rescanAt = now + rescanMs;
    const listed = new Set<string>();
    const opened: JournalFile[] = [];
    // A rotation between the list and the opening hides the file that was moved away. So where there is a new file the
    // directory is listed again, until there is no more: what the cursor is compared with has to be the whole journal.
    for (let turn = 0; turn < MOST_LISTS && (await this.#list(listed, opened)); turn += 1);
    this.#done = new Set([...this.#done].filter((inode) => listed.has(inode)));
    for (const [inode, one] of this.#tails) {
      if (!listed.has(inode) && now - one.grewAt > LINGER_MS) one.archived = true;
    }
    // What was appended before a rotation is in the header of the file that was moved away.
    for (const one of this.#tails.values()) await this.#refreshOne(one);
    if (opened.length > 0) await this.#attach(opened, now);
    this.#started ||= opened.length > 0;
  }

  /** Adds the files that are there now and were not listed yet; those that are new are opened. True: there were some. */
  async #list(listed: Set<string>, opened: JournalFile[]): Promise<boolean> {
    let isNew = false;
    const { fs, find } = this.#options;
    const { paths, gaps } = await find();
    this.#problem = gaps[0] ?? (paths.length === 0 ? "there are no journal files" : null);
    for (const gap of gaps) this.#once(gap, gap);
    for (const path of paths) {
      const inode = await fs.stat(path).then(
        (meta) => meta.inode,
        () => null,
      );
      if (inode === null) continue;
      const known = this.#tails.get(inode);
      if (known !== undefined) known.archived ||= ARCHIVED.test(path);
      else if (!this.#done.has(inode) && !listed.has(inode)) {
        isNew = true;
        const file = await this.#open(path);
        if (file !== null && !isOfInode(file, inode)) {
          // Another file has the name since.
          await file.handle.close();
          continue;
        }
        if (file !== null) opened.push({ ...file, identity: inode });
      }
      listed.add(inode);
    }
    return isNew;
  }

  async #open(path: string): Promise<JournalFile | null> {
    try {
      const file = await openJournalFile(this.#options.fs, path);
      if (!("problem" in file)) return file;
      // journald makes a file before it writes its header: an empty one is looked at again.
      if (!file.problem.includes("zero bytes")) this.#once(path, `${path}: ${file.problem}`);
      else this.lookAgain();
    } catch (error) {
      const { state, detail } = notReadFromError(error, path);
      if (state !== "absent") this.#once(path, detail);
    }
    return null;
  }

  /** Says a trouble once. */
  #once(key: string, text: string): void {
    if (this.#refused.has(key) || this.#refused.size > 1000) return;
    this.#refused.add(key);
    this.#gap(text);
  }

  /** Finds in new files the first entry that was not read. */
  async #attach(files: readonly JournalFile[], now: number): Promise<void> {
    const cursor = this.#last;
    const first = !this.#started;
    if (first && cursor !== null) this.#checkCursor(files, cursor);
    const again = this.#last !== cursor;
    this.#checkMissing(files);
    let found: EntryPosition | null = null;
    for (const file of files) {
      const one = new JournalFileTail(file, this.#match);
      const archived = ARCHIVED.test(file.path);
      try {
        if (this.#last !== null) found = (await one.seekAfter(this.#last)) ?? found;
        else if (this.#options.after === null) await one.seekTime(this.#options.since * 1000);
      } catch (error) {
        if (!(error instanceof DamagedIndex)) throw error;
        this.#once(file.path, `${file.path}: ${error.message}; its entries were not read`);
        one.skipAll();
      }
      this.#tails.set(file.identity, new TailQueue(one, archived, now));
    }
    if (first && cursor !== null && !again) this.#checkFound(cursor, found, now, files);
  }

  /** Whether the cursor is of this journal. One that is not begins at the oldest entry, and that is said. */
  #checkCursor(files: readonly JournalFile[], cursor: EntryPosition): void {
    const same = files.filter(({ header }) => header.seqnumId === cursor.seqnumId && header.entries > 0);
    const [newest] = same.map(({ header }) => header.tailSeqnum).sort((a, b) => b - a);
    if (newest === undefined) {
      this.#restart("the entry that was read last is of another journal: read from the oldest entry on");
    } else if (newest < cursor.seqnum) {
      const ahead = `entry ${cursor.seqnum} was read last, the newest is ${newest}`;
      this.#restart(`the journal was set back (${ahead}): read from the oldest entry on`);
    }
  }

  /** After seeking: an entry of the cursor's number that is another one means that the journal was set back. */
  #checkFound(cursor: EntryPosition, found: EntryPosition | null, now: number, files: readonly JournalFile[]): void {
    if (found === null || found.xorHash === cursor.xorHash) return;
    this.#restart(`the journal was set back (another entry has the number ${cursor.seqnum}): read from the oldest on`);
    for (const file of files) {
      const archived = ARCHIVED.test(file.path);
      const tail = new JournalFileTail(file, this.#match);
      this.#tails.set(file.identity, new TailQueue(tail, archived, now));
    }
  }

  #restart(why: string): void {
    this.#gap(why);
    this.#last = null;
    this.#seen.clear();
  }

  /** Numbers that should be in the journal and are in no file: vacuumed, or rotated away, before they were read. */
  #checkMissing(files: readonly JournalFile[]): void {
    const ids = new Set(files.map(({ header }) => header.seqnumId));
    for (const id of ids) {
      const seen = this.#seen.get(id);
      if (seen === undefined) continue;
      const headers = files
        .filter(({ header }) => header.seqnumId === id && header.entries > 0)
        .map(({ header }) => header);
      const heads = headers.filter(({ tailSeqnum }) => tailSeqnum > seen).map(({ headSeqnum }) => headSeqnum);
      const open = [...this.#tails.values()].filter(({ tail }) => tail.header.seqnumId === id);
      const have = Math.max(seen, ...open.map(({ tail }) => tail.header.tailSeqnum));
      const next = Math.min(...heads);
      if (heads.length === 0 || next <= have + 1) continue;
      this.#gap(`entries ${have + 1} to ${next - 1} of the journal, of any unit, were gone before they were read`);
    }
  }

  /** Reads all headers; the number up to which every file is complete, by sequence. */
  async #refresh(): Promise<ReadonlyMap<string, number>> {
    const bounds = new Map<string, number>();
    for (const one of this.#tails.values()) if (!one.archived) await this.#refreshOne(one);
    for (const { tail } of this.#tails.values()) {
      const { seqnumId, tailSeqnum } = tail.header;
      bounds.set(seqnumId, Math.max(bounds.get(seqnumId) ?? 0, tailSeqnum));
    }
    // An entry up to the bound was whole when the bound was read: a second look at the other files has it.
    const active = [...this.#tails.values()].filter(({ archived }) => !archived);
    if (active.length > 1) for (const one of active) await this.#refreshOne(one);
    return bounds;
  }

  async #refreshOne(one: TailQueue): Promise<void> {
    const before = one.tail.header.entries;
    const { path } = one.tail.file;
    if (!(await one.tail.refresh())) this.#once(`${path} now`, `${path}: it is no journal file any more`);
    if (one.tail.header.entries !== before) one.grewAt = this.#options.monotonic();
  }

  /** Hands on what is there, in order. True: there is more. */
  async #handOn(bounds: ReadonlyMap<string, number>): Promise<boolean> {
    for (let handed = 0; handed < MOST_A_POLL; ) {
      const ready = this.#firstReady();
      const queue = ready === "to be read" ? await this.#first(bounds) : ready;
      const next = queue?.take() ?? null;
      if (next === null) return false;
      const { position, entry } = next;
      if (entry !== null && queue !== null && !this.#wasHandedOn(entry, queue)) {
        this.#items.push({ kind: "line", entry, position: () => ({ kind: "journal", cursor: entry.locator }) });
        handed += 1;
      }
      this.#last = position;
      this.#seen.set(position.seqnumId, position.seqnum);
    }
    return true;
  }

  /** journald copies its volatile files into the persistent ones when these can be written: under other numbers. */
  #wasHandedOn(entry: JournalEntry, { tail }: TailQueue): boolean {
    const isVolatile = VOLATILE.test(tail.file.path);
    if (!isVolatile && this.#volatile.size === 0) return false;
    const key = `${entry.bootId}:${entry.monotonic}:${entry.xorHash}`;
    if (!isVolatile) return this.#volatile.has(key);
    this.#volatile.add(key);
    const [oldest] = this.#volatile;
    if (this.#volatile.size > MOST_VOLATILE && oldest !== undefined) this.#volatile.delete(oldest);
    return false;
  }

  /** The same as `#first` where nothing has to be read for it: a promise for each line would cost more than the line. */
  #firstReady(): TailQueue | null | "to be read" {
    let best: TailQueue | null = null;
    for (const queue of this.#tails.values()) {
      const { head } = queue;
      if (head === null && queue.tail.unread > 0) return "to be read";
      if (head !== null && (best?.head == null || order(head, best.head) < 0)) best = queue;
    }
    return best === null || best.isBegun ? best : "to be read";
  }

  /** The file whose next entry is the next of all; null when no file has one that may be handed on now. */
  async #first(bounds: ReadonlyMap<string, number>): Promise<TailQueue | null> {
    let best: TailQueue | null = null;
    for (;;) {
      best = null;
      for (const queue of this.#tails.values()) {
        if (queue.head === null) this.#sayOf(queue, await queue.fill(bounds.get(queue.tail.file.header.seqnumId) ?? 0));
        if (queue.head !== null && (best?.head == null || order(queue.head, best.head) < 0)) best = queue;
      }
      // A file that was not begun is known by its header alone: it is read when its turn comes.
      if (best === null || !best.isBegun) {
        if (best === null) return null;
        this.#sayOf(best, await best.begin(bounds.get(best.tail.file.header.seqnumId) ?? 0));
        continue;
      }
      return best;
    }
  }

  #sayOf({ tail }: TailQueue, { suppressed, damaged, problem }: FillReport): void {
    if (suppressed > 0) {
      this.#items.push({ kind: "gap", text: `journald dropped ${suppressed} lines of the unit`, dropped: suppressed });
    }
    if (damaged > 0) this.#gap(`${tail.file.path}: ${damaged} entries are damaged and were not read`);
    if (problem !== null) this.#once(tail.file.path, `${tail.file.path}: ${problem}; its entries were not read`);
  }

  async #closeRead(): Promise<void> {
    for (const [identity, queue] of this.#tails) {
      if (!queue.archived || queue.head !== null || queue.tail.unread > 0) continue;
      this.#tails.delete(identity);
      this.#done.add(identity);
      await queue.tail.file.handle.close();
    }
  }
}

/** `inode`: "major:minor:inode", of which a file's identity has the number at its end too. */
function isOfInode({ identity }: JournalFile, inode: string): boolean {
  return identity.split(":").at(-1) === inode.split(":").at(-1);
}
