import type { Ledger } from "../../facts/ledger.ts";
import type { LogFacts, ServerLog } from "../../facts/log.ts";
import { notRead, type Reading, wasRead } from "../../facts/reading.ts";
import { matchLine, matchManagerLine } from "../../protocol/guest-lines.ts";
import { compareToCursor, type EntryPosition, parseCursor } from "../../sensors/journal/cursor.ts";
import { JournalEntry } from "../../sensors/journal/entry.ts";
import { LogActivity } from "../../sensors/log-activity.ts";
import { type LogEntry, type LogReader, textOfMessage } from "../../sensors/log-reader.ts";
import { LogTally } from "../../sensors/log-summary.ts";
import { mergeLogs } from "../../sensors/merge-logs.ts";
import type { Followed } from "./log-follow.ts";
import type { LogPosition } from "./log-position.ts";
import type { LogSource } from "./windows.ts";

const UNSEEN = "what this life of the workload wrote before the agent was started was not read";
const BEHIND = "it has not been read up to its end since the agent was started";
const IN_WINDOWS = "calls are counted in windows, which go to the host one by one";
const LOCATOR = /^(.*):(\d{1,15})$/s;

/** One source of the workload's log, as far as it was followed. */
class Source {
  readonly activity: LogActivity;
  readonly path: string;
  tally = new LogTally();
  /** The present life was followed from its beginning. */
  whole: boolean;
  /** Its end was reached once. */
  reached = false;

  constructor(unit: string, path: string, whole: boolean) {
    this.activity = new LogActivity(unit);
    this.path = path;
    this.whole = whole;
  }

  add(entry: LogEntry): void {
    if (beginsLife(entry)) {
      // What was missing of an earlier life says nothing of this one.
      this.tally = new LogTally();
      this.whole = true;
    }
    this.tally.scanned += 1;
    this.tally.bytes += entry.message.length;
    this.tally.count(entry);
    this.activity.add(entry);
  }

  facts(kind: LogSource): LogFacts {
    const summary = this.tally.summary(kind, this.path);
    const gaps = [...(this.whole ? [] : [UNSEEN]), ...(this.reached ? [] : [BEHIND]), ...summary.gaps];
    return this.activity.facts([{ ...summary, gaps }]);
  }
}

/**
 * What the followed log says of the workload's present life, as the checks want it: the same facts as a whole reading
 * gives, kept up to date line by line, in memory that does not grow with the log.
 */
export class FollowedLog {
  readonly #unit: string;
  readonly #sources = new Map<LogSource, Source>();

  constructor(unit: string) {
    this.#unit = unit;
  }

  /**
   * A source that will be followed from `position` on (null: from the beginning of the present life). `history` is read
   * once, up to there: the life did not begin when the agent did.
   */
  async follow(
    kind: LogSource,
    path: string,
    position: LogPosition | null,
    history: { readonly reader: LogReader; readonly since: number | null; readonly signal: AbortSignal } | null,
  ): Promise<void> {
    const source = new Source(this.#unit, path, position === null);
    this.#sources.set(kind, source);
    if (history === null || position === null) return;
    const { reader, since, signal } = history;
    const options = { unit: this.#unit, since, until: null, afterCursor: null, signal };
    const isBefore = beforePosition(position);
    const { gaps } = await reader.read((entry) => {
      if (isBefore(entry)) source.add(entry);
    }, options);
    for (const gap of gaps) source.tally.gaps.add(gap);
    source.whole = true;
  }

  take(kind: LogSource, item: Followed): void {
    const source = this.#sources.get(kind);
    if (source === undefined) return;
    if (item.kind === "line") source.add(item.entry);
    else if (item.dropped === undefined) source.tally.gaps.add(item.text);
    else source.tally.suppressed += item.dropped;
  }

  /** Everything that there was has been taken. */
  caughtUp(kind: LogSource): void {
    const source = this.#sources.get(kind);
    if (source !== undefined) source.reached = true;
  }

  /** Whether the end of each source was reached once: until then, that something is not in the log says nothing. */
  get isRead(): boolean {
    return this.#sources.size > 0 && [...this.#sources.values()].every(({ reached }) => reached);
  }

  /** The workload's present life. */
  get server(): ServerLog | undefined {
    return this.#facts().servers.at(-1);
  }

  reading(): { readonly log: Reading<LogFacts>; readonly ledger: Reading<Ledger> } {
    const ledger = notRead("skipped", IN_WINDOWS);
    if (this.#sources.size === 0) return { log: notRead("absent", "no log is followed yet"), ledger };
    return { log: wasRead(this.#facts()), ledger };
  }

  #facts(): LogFacts {
    return mergeLogs([...this.#sources].map(([kind, source]) => source.facts(kind)));
  }
}

/** A start by the manager's word; where it has none (a plain file), by the server's own first line. */
function beginsLife(entry: LogEntry): boolean {
  const text = textOfMessage(entry.message);
  if (entry.fromManager) return matchManagerLine(text).some(({ event }) => event.kind === "unit-started");
  return entry.bootId === null && matchLine(text).some(({ event }) => event.kind === "server-listening");
}

/** Whether an entry was handed on before the position. */
function beforePosition(position: LogPosition): (entry: LogEntry) => boolean {
  if (position.kind === "journal") {
    const cursor: EntryPosition | null = parseCursor(position.cursor);
    return (entry) => cursor !== null && entry instanceof JournalEntry && compareToCursor(entry, cursor) <= 0;
  }
  const offset = position.sources.at(-1)?.offset ?? 0;
  return (entry) => Number(LOCATOR.exec(entry.locator)?.[2] ?? Number.NaN) < offset;
}
