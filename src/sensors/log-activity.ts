import type { LogFacts } from "../facts/log.ts";
import { type EventMatch, pidOf } from "../protocol/grammar.ts";
import { isBareFailure, managerMessage, matchLine, matchManagerLine } from "../protocol/guest-lines.ts";
import type { SeenLine } from "./log-evidence.ts";
import { type LogEntry, type LogReadSummary, textOfMessage } from "./log-reader.ts";
import { ServerLife } from "./log-server.ts";

const SERVERS = 8;
/** The manager says "Started" while the program starts: either line can come first, this far apart (milliseconds). */
const START_RACE_MS = 2000;

/** Tags of the shims whose lines tell of the process that prints them. */
const SHIM_TAG = /\[(?:cuda-transport|libvgpu-(?:cuda|cudart|nvml|cublas|cublasLt)|vgpu-fp|vgpu-libload)\]/;
/** How far behind its tag a shim's line may name its pid. */
const PID_REACH = 400;
/**
 * Folds the entries of one reading, of one or several sources, into facts, in memory that does not grow with the log.
 * Entries are given in the order of their source; where a journal and a file belong together, the journal goes first.
 *
 * INVARIANTS
 * - A line adds to one server's life at most. In a journal that is the unit's invocation that the line names; where
 *   there is none, a life begins at a start ("Started", "Listening on", another boot) and lasts until the next.
 * - What a line says is kept of the process that it names, else of the one named last in the same stream, else of the
 *   process that printed it (docs/wire.md, "Whose line it is").
 * - Only what a grammar knows is kept, and of that a bounded sample without payload.
 */
export class LogActivity {
  readonly #unit: string | null;
  /** Most recently seen last. */
  #lives: ServerLife[] = [];
  readonly #order = new Map<ServerLife, number>();
  /** The life that entries without an invocation belong to now. */
  #anonymous: ServerLife | null = null;
  #ordinal = 0;
  #made = 0;
  #truncated = 0;
  #suppressed = 0;

  /** `unit`: in text files, only what the manager says of this unit counts; null takes what it says of any. */
  constructor(unit: string | null = null) {
    this.#unit = unit;
  }

  add(entry: LogEntry): void {
    const text = textOfMessage(entry.message);
    const line: SeenLine = { entry, text, at: entry.at, ordinal: this.#ordinal };
    this.#ordinal += entry.folded ?? 1;
    if (entry.truncated) this.#truncated += 1;
    if (entry.bootId !== null) {
      if (entry.fromManager) this.#addManagerLine(line, matchManagerLine(text), 0);
      else this.#addWorkloadLine(line, matchLine(text));
      return;
    }
    const written = managerMessage(text) ?? (isBareFailure(text) ? text : null);
    if (written === null) {
      this.#addWorkloadLine(line, matchLine(text));
      return;
    }
    // A text file holds the lines about other units too.
    const events = matchManagerLine(written).filter(({ event }) => "unit" in event && this.#isOurs(event.unit));
    if (events.length > 0) this.#addManagerLine(line, events, text.length - written.length);
  }

  facts(summaries: readonly LogReadSummary[]): LogFacts {
    const nothingRead = summaries.every((summary) => summary.scanned === 0);
    const whole = summaries.every((summary) => summary.gaps.length === 0 && summary.suppressed === 0);
    const lives = [...this.#lives].sort((a, b) => (this.#order.get(a) ?? 0) - (this.#order.get(b) ?? 0));
    if (lives.every((life) => life.firstAt !== null)) lives.sort((a, b) => (a.firstAt ?? 0) - (b.firstAt ?? 0));
    return {
      sources: summaries.map(({ kind, path, entries, bytes, firstAt, lastAt, suppressed, gaps, machineIds }) => ({
        kind,
        path,
        entries,
        bytes,
        firstAt,
        lastAt,
        suppressed,
        gaps,
        machineIds,
      })),
      coverage: nothingRead ? "none" : whole && this.#truncated === 0 && this.#suppressed === 0 ? "full" : "partial",
      servers: lives.map((life) => life.facts()),
      serversDropped: this.#made - this.#lives.length,
    };
  }

  #isOurs(unit: string | null): boolean {
    return unit !== null && (this.#unit === null || unit === this.#unit);
  }

  #addManagerLine(line: SeenLine, events: readonly EventMatch[], offset: number): void {
    for (const { event } of events) if (event.kind === "messages-suppressed") this.#suppressed += event.count;
    const about = events.filter(({ event }) => event.kind !== "messages-suppressed");
    const life = this.#lifeOf(line, about);
    life.noteLine({ ...line, entry: { ...line.entry, fromManager: true } });
    for (const match of about) life.note(match.event, line, match, offset);
  }

  #addWorkloadLine(line: SeenLine, events: readonly EventMatch[]): void {
    const life = this.#lifeOf(line, events);
    life.noteLine(line);
    let counted = null;
    for (const match of events) {
      if (match.grammar.source !== "shim") {
        life.note(match.event, line, match);
        continue;
      }
      const process = life.process(life.attribute(line, match.pid), line.ordinal);
      if (process !== counted) process.noteLine(line);
      counted = process;
      process.note(match.event, line, match);
    }
    const speaker = counted === null ? speakerOf(line.text) : null;
    if (speaker !== null) life.process(life.attribute(line, speaker.pid), line.ordinal).noteLine(line);
  }

  #lifeOf(line: SeenLine, events: readonly EventMatch[]): ServerLife {
    const { invocationId, bootId } = line.entry;
    if (invocationId !== null) {
      const known = this.#lives.find((life) => life.invocationId === invocationId);
      return this.#keep(known ?? new ServerLife(invocationId, bootId));
    }
    const current = this.#anonymous;
    const another = current === null || this.#startsAnother(current, line, events);
    const joined = another || !current.used ? this.#lifeInJournal(line, events) : null;
    // Lines before the first start that say nothing are not a life.
    if (joined !== null && current !== null && !current.used) this.#discard(current);
    const life = joined ?? (another ? new ServerLife(null, bootId) : current);
    this.#anonymous = life;
    return this.#keep(life);
  }

  #startsAnother(current: ServerLife, line: SeenLine, events: readonly EventMatch[]): boolean {
    if (line.entry.bootId !== null && current.bootId !== null && line.entry.bootId !== current.bootId) return true;
    if (events.some(({ event }) => event.kind === "server-listening")) {
      return current.listening || current.ended || (current.used && !current.started);
    }
    // A start can be missing (a text without the manager's lines); a process that spoke before is a late line's.
    if (current.ended && !line.entry.fromManager && namesAnother(current, line, events)) return true;
    if (!events.some(({ event }) => event.kind === "unit-started")) return false;
    const justNow =
      line.at !== null && current.firstAt !== null && Math.abs(line.at - current.firstAt) <= START_RACE_MS;
    return current.started || current.ended || (current.used && !justNow);
  }

  /** A server whose stderr goes to a file: the file's start belongs to the life that the journal shows at that time. */
  #lifeInJournal(line: SeenLine, events: readonly EventMatch[]): ServerLife | null {
    const at = line.at;
    if (at === null || line.entry.bootId !== null) return null;
    if (!events.some(({ event }) => event.kind === "server-listening")) return null;
    const candidates = this.#lives.filter(
      (life) =>
        life.invocationId !== null &&
        !life.listening &&
        life.firstAt !== null &&
        life.firstAt - START_RACE_MS <= at &&
        (!life.ended || (life.lastAt !== null && life.lastAt >= at)),
    );
    return candidates.reduce<ServerLife | null>(
      (best, life) => (best === null || (life.firstAt ?? 0) >= (best.firstAt ?? 0) ? life : best),
      null,
    );
  }

  #discard(life: ServerLife): void {
    if (!this.#order.delete(life)) return;
    this.#lives = this.#lives.filter((other) => other !== life);
    this.#made -= 1;
  }

  /** Puts a life last in the order of being seen; beyond the limit, the one seen longest ago is given up. */
  #keep(life: ServerLife): ServerLife {
    if (this.#lives.at(-1) === life) return life;
    if (!this.#order.has(life)) {
      this.#order.set(life, this.#ordinal);
      this.#made += 1;
    }
    this.#lives = [...this.#lives.filter((other) => other !== life), life];
    for (const dropped of this.#lives.splice(0, Math.max(0, this.#lives.length - SERVERS))) this.#order.delete(dropped);
    return life;
  }
}

/** The process that a shim's line names, if it names one; null for a line that is not a shim's. */
function speakerOf(text: string): { readonly pid: number | null } | null {
  const tag = SHIM_TAG.exec(text);
  return tag === null ? null : { pid: pidOf(text, tag.index, tag.index + PID_REACH) };
}

/** The line is of a process that has not been heard of in this life. */
function namesAnother(life: ServerLife, line: SeenLine, events: readonly EventMatch[]): boolean {
  const named = [speakerOf(line.text), ...events.filter(({ grammar }) => grammar.source === "shim")];
  return named.some((one) => one != null && one.pid !== null && !life.knows(one.pid));
}
