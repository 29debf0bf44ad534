import type { ServerLog } from "../../facts/log.ts";
import { fallbackOf } from "../../host/match/evidence.ts";
import { EvidenceFold } from "../../host/match/evidence-fold.ts";
import { type GuestEvidence, type GuestProcess, noEvidence } from "../../host/match/guest-evidence.ts";
import { LIMITS } from "../../host/match/guest-limits.ts";
import { WIRE_LIMITS } from "../../report/wire/limits.ts";
import type { LogEntry } from "../../sensors/log-reader.ts";
import type { ClockBase } from "../uplink/placement.ts";

type Request = GuestEvidence["requests"][number];

const MOST_GAPS = 64;
const GAP_LENGTH = 300;
/** Room for what is put around a document. */
const MOST_BYTES = WIRE_LIMITS.documentBytes - 64 * 1024;

/** A window that is being filled. Times are of a clock that only goes forward, milliseconds. */
export class OpenWindow {
  readonly bootId: string | null;
  readonly firstClock: number;
  lastClock: number;
  /** When the first request of the window was answered, or a process ended: the window ends a little after. */
  endsAfter: number | null = null;
  readonly #fold = new EvidenceFold();
  readonly #gaps: string[] = [];
  readonly #requests: Request[] = [];
  readonly #ended = new Set<number>();
  #allEnded = false;
  #from: number | null = null;
  #to: number | null = null;
  #base: ClockBase | null = null;
  #isBaseKnown = true;

  constructor(bootId: string | null, clock: number) {
    this.bootId = bootId;
    this.firstClock = clock;
    this.lastClock = clock;
  }

  /** Lines without a pid are of the process that was named before them, also before the window. */
  nameSpeaker(stream: number | null, pid: number): void {
    const message = Buffer.from(`[cuda-transport] (pid=${pid})`, "latin1");
    this.#fold.add({ ...NO_LINE, message, pid: stream });
  }

  add(entry: LogEntry, clock: number): void {
    this.lastClock = Math.max(this.lastClock, clock);
    if (entry.truncated) this.gap("a line was longer than is kept, and cut");
    this.#fold.add(entry);
  }

  request(request: Request): void {
    if (this.#requests.length >= LIMITS.requests) this.#requests.shift();
    this.#requests.push(request);
  }

  gap(text: string): void {
    const short = text.slice(0, GAP_LENGTH);
    if (this.#gaps.includes(short)) return;
    if (this.#gaps.length < MOST_GAPS) this.#gaps.push(short);
    else this.#gaps[MOST_GAPS - 1] = "and more gaps";
  }

  /** Epoch milliseconds that the window reaches over. */
  reach(from: number | null, to: number | null): void {
    if (from !== null) this.#from = Math.min(this.#from ?? from, from);
    if (to !== null) this.#to = Math.max(this.#to ?? to, to);
  }

  /** The wall clock minus CLOCK_MONOTONIC where a line has its time from; null: they cannot be compared. */
  stands(base: number | null): void {
    this.#isBaseKnown &&= base !== null;
    if (base === null) return;
    const { least, most } = this.#base ?? { least: base, most: base };
    this.#base = { least: Math.min(least, base), most: Math.max(most, base) };
  }

  /** Null: not known of each line. */
  get base(): ClockBase | null {
    return this.#isBaseKnown ? this.#base : null;
  }

  /** A process of the window has ended; null: all of them. */
  ended(pid: number | null): void {
    if (pid === null) this.#allEnded = true;
    else this.#ended.add(pid);
  }

  get vmIds(): readonly number[] {
    return this.#fold.vmIds;
  }

  /** Null: there is nothing in it that anybody could match. */
  document(vmId: number | null, server: ServerLog | undefined): GuestEvidence | null {
    const lost = this.#gaps.length > 0;
    const processes = this.#fold.processes(lost).map((one) => this.#withEnd(one));
    if (processes.length === 0 && this.#requests.length === 0 && !lost) return null;
    return withinBytes({
      ...noEvidence(vmId),
      boot_id: this.bootId,
      window: { from: this.#from, to: this.#to },
      gaps: [...this.#gaps],
      processes,
      requests: [...this.#requests],
      cpu_fallback: fallbackOf(server, lost),
    });
  }

  #withEnd(one: GuestProcess): GuestProcess {
    const ended = this.#allEnded || (one.pid !== null && this.#ended.has(one.pid));
    return ended ? { ...one, ended } : one;
  }
}

const NO_LINE = {
  at: null,
  truncated: false,
  bootId: null,
  invocationId: null,
  fromManager: false,
  locator: "",
} as const;

/** Leaves out the longest lists, and says so, until the document may travel. */
function withinBytes(document: GuestEvidence): GuestEvidence {
  let processes = [...document.processes];
  let fitting = document;
  for (const [list, flag] of [
    ["sequence", "sequence"],
    ["allocations", "allocations"],
    ["copies_in", "copies"],
  ] as const) {
    for (let round = 0; round < document.processes.length; round += 1) {
      if (Buffer.byteLength(JSON.stringify(fitting)) <= MOST_BYTES) return fitting;
      const longest = processes.reduce((most, one) => (one[list].length > most[list].length ? one : most));
      const shorter = { ...longest, [list]: [], cut: { ...longest.cut, [flag]: true } };
      processes = processes.map((one) => (one === longest ? shorter : one));
      fitting = { ...document, processes };
    }
  }
  return fitting;
}
