import type { ServerLog } from "../../facts/log.ts";
import type { GuestEvidence } from "../../host/match/guest-evidence.ts";
import { parseGoDuration } from "../../protocol/go-duration.ts";
import { pidOf } from "../../protocol/grammar.ts";
import type { GuestEvent } from "../../protocol/guest-events.ts";
import { matchLine, matchManagerLine } from "../../protocol/guest-lines.ts";
import { type LogEntry, textOfMessage } from "../../sensors/log-reader.ts";
import type { ClockBase } from "../uplink/placement.ts";
import type { Followed } from "./log-follow.ts";
import type { LogPosition, LogPositions } from "./log-position.ts";
import { OpenWindow } from "./open-window.ts";

/** A window that is whole, and how far the log was read for it. */
export interface CutWindow {
  readonly document: GuestEvidence;
  /** Epoch milliseconds when it was cut. */
  readonly at: number;
  readonly positions: LogPositions;
  /** Of the boot in which it was; null: its times cannot be placed. */
  readonly base: ClockBase | null;
}

export type LogSource = LogPosition["kind"];

export interface WindowOptions {
  readonly onWindow: (window: CutWindow) => void;
  /** Where reading goes on: as good as read, also for a source that cannot be looked at yet. */
  readonly start?: LogPositions;
  /** The workload's present life, as its log tells of it. Lines are handed to the cutter before they are to that log. */
  readonly server: () => ServerLog | undefined;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** When lines were read: CLOCK_MONOTONIC in milliseconds, and the wall clock before and after. */
export interface ReadTime {
  readonly monotonic: number;
  /** Epoch milliseconds of the look before this one, which had everything until then; null: there was none. */
  readonly notBefore: number | null;
  readonly notAfter: number;
}

/** A window ends so long after the first request in it was answered, or a process ended: late lines belong to it. */
const SETTLE_MS = 3000;
/** A silence that ends a window. */
const IDLE_MS = 30_000;
/** The most that a window lasts. */
const MOST_MS = 5 * 60_000;
/** How late a line may be read: without it, silence could be a line that is on its way. */
const LATE_MS = 6000;
/** A line of a plain file that may have been written longer ago than this has no time of the monotonic clock. */
const RECENT_MS = 10_000;
/** Streams whose speaker is remembered. */
const STREAMS = 64;
const SHIM = /\[(?:cuda-transport|libvgpu-\w{1,16})\]/;
const ENDINGS: ReadonlySet<GuestEvent["kind"]> = new Set(["main-exited", "deactivated", "unit-failed", "unit-started"]);

/**
 * Cuts what the log tells into windows that the counterpart can match: at the end of a request, of a process, of the
 * boot, in silence, and at the latest after some minutes.
 *
 * INVARIANTS
 * - Lines are in one window each, in the order given; a window's positions are behind its last line.
 * - Where a window ends depends on the lines and their times in the journal alone: read again from the same position,
 *   the same lines make the same windows. (Lines of a plain file have no such time: there the time of reading decides.)
 * - A gap is in a window, whatever else is: it opens one.
 */
export class WindowCutter {
  readonly #options: WindowOptions;
  #window: OpenWindow | null = null;
  #bootId: string | null = null;
  #vmId: number | null = null;
  /** Behind everything taken. */
  readonly #behind: Partial<Record<LogSource, () => LogPosition>> = {};
  /** As it was when the open window began. */
  #settled: LogPositions = {};
  /** The pid that each stream (journal _PID) named last. */
  readonly #speakers = new Map<number | null, number>();

  constructor(options: WindowOptions) {
    this.#options = options;
    const { journal, file } = options.start ?? {};
    if (journal !== undefined) this.looked(journal);
    if (file !== undefined) this.looked(file);
  }

  /** Up to where everything is in windows that were handed on, or needs none. */
  get settled(): LogPositions {
    return this.#window === null ? this.#current() : this.#settled;
  }

  get hasOpenWindow(): boolean {
    return this.#window !== null;
  }

  take(source: LogSource, item: Followed, read: ReadTime): void {
    if (item.kind === "gap") {
      this.#open(this.#bootId, read.monotonic).gap(item.text);
      return;
    }
    const { entry } = item;
    const clock = clockOf(entry) ?? read.monotonic;
    this.#cutBefore(entry, clock);
    const text = textOfMessage(entry.message);
    if (entry.fromManager) this.#manager(text, clock);
    else this.#line(entry, text, clock, read);
    this.#behind[source] = item.position;
  }

  /** Everything of a look was taken; its position may be behind lines of others. */
  looked(position: LogPosition | null): void {
    if (position !== null) this.#behind[position.kind] = () => position;
  }

  /** A process ended, as somebody saw who watches processes. */
  processEnded(pid: number, monotonic: number): void {
    if (this.#window === null) return;
    this.#window.ended(pid);
    this.#window.endsAfter ??= monotonic;
  }

  /** Ends a window whose time is over though no line came. `monotonic`: CLOCK_MONOTONIC in milliseconds. */
  tick(monotonic: number): void {
    const window = this.#window;
    if (window !== null && isOver(window, monotonic - LATE_MS)) this.#cut();
  }

  #current(): LogPositions {
    const journal = this.#behind.journal?.();
    const file = this.#behind.file?.();
    return {
      ...(journal?.kind === "journal" ? { journal } : {}),
      ...(file?.kind === "file" ? { file } : {}),
    };
  }

  #cutBefore(entry: LogEntry, clock: number): void {
    const rebooted = entry.bootId !== null && this.#bootId !== null && entry.bootId !== this.#bootId;
    if (rebooted) {
      this.#window?.ended(null);
      this.#cut();
      this.#speakers.clear();
    } else if (this.#window !== null && isOver(this.#window, clock)) this.#cut();
    this.#bootId = entry.bootId ?? this.#bootId;
  }

  #manager(text: string, clock: number): void {
    const ends = matchManagerLine(text).some(({ event }) => ENDINGS.has(event.kind));
    if (!ends) return;
    this.#speakers.clear();
    if (this.#window === null) return;
    this.#window.ended(null);
    this.#window.endsAfter ??= clock;
  }

  #line(entry: LogEntry, text: string, clock: number, read: ReadTime): void {
    const { notBefore, notAfter } = read;
    const events = matchLine(text);
    const relevant = events.some(({ event, grammar }) => grammar.source === "shim" || isInference(event));
    const speaks = relevant || SHIM.test(text);
    if (relevant) {
      const window = this.#open(entry.bootId ?? this.#bootId, clock);
      window.add(entry, clock);
      window.reach(entry.at ?? notBefore, entry.at ?? notAfter);
      window.stands(baseOf(entry, read));
      for (const { event } of events) {
        if (event.kind !== "request" || !event.inference) continue;
        const { status, durationText } = event;
        window.request({ at: entry.at, duration_ms: parseGoDuration(durationText), status });
        window.endsAfter ??= clock;
      }
    }
    const named = speaks ? pidOf(text) : null;
    if (named !== null) this.#remember(entry.pid, named);
  }

  #remember(stream: number | null, pid: number): void {
    if (this.#speakers.size >= STREAMS && !this.#speakers.has(stream)) this.#speakers.clear();
    this.#speakers.set(stream, pid);
  }

  #open(bootId: string | null, clock: number): OpenWindow {
    if (this.#window !== null) return this.#window;
    this.#settled = this.#current();
    const window = new OpenWindow(bootId, clock);
    for (const [stream, pid] of this.#speakers) window.nameSpeaker(stream, pid);
    this.#window = window;
    return window;
  }

  #cut(): void {
    const window = this.#window;
    this.#window = null;
    if (window === null) return;
    this.#vmId = window.vmIds.at(-1) ?? this.#vmId;
    const document = window.document(this.#vmId, this.#options.server());
    if (document === null) return;
    this.#options.onWindow({ document, at: this.#options.now(), positions: this.#current(), base: window.base });
  }
}

const isInference = (event: GuestEvent): boolean => event.kind === "request" && event.inference;

function isOver({ endsAfter, firstClock, lastClock }: OpenWindow, clock: number): boolean {
  if (endsAfter !== null && clock - endsAfter > SETTLE_MS) return true;
  return clock - lastClock > IDLE_MS || clock - firstClock > MOST_MS;
}

/** Milliseconds since boot when journald took the entry; null for lines of a plain file. */
function clockOf(entry: LogEntry): number | null {
  return "monotonic" in entry && typeof entry.monotonic === "number" ? entry.monotonic / 1000 : null;
}

/** The wall clock minus CLOCK_MONOTONIC where the line has its time from; null: not known. */
function baseOf(entry: LogEntry, { monotonic, notBefore, notAfter }: ReadTime): number | null {
  const clock = clockOf(entry);
  if (clock !== null) return entry.at === null ? null : entry.at - clock;
  const since = notBefore === null ? Number.NaN : notAfter - notBefore;
  return since >= 0 && since <= RECENT_MS ? notAfter - monotonic : null;
}
