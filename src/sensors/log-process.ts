import type { ErrorSeen, ShimProcessLog } from "../facts/log.ts";
import type { EventMatch } from "../protocol/grammar.ts";
import type { GuestEvent } from "../protocol/guest-events.ts";
import { BoundedMap, earlierOf, laterOf, linesOf, type SeenLine, Tally } from "./log-evidence.ts";

/** Groups of errors kept of one process, per sort; the ones seen longest ago give way. */
const ERROR_GROUPS = 64;
/** The transport's own code for a call that was not answered in time (docs/wire.md, "Transport error codes"). */
const TRANSPORT_TIMEOUT = 4;

class ErrorGroups {
  readonly #groups = new BoundedMap<string, { code: number; callId: number; tally: Tally }>(ERROR_GROUPS);

  note(code: number, callId: number, line: SeenLine, match: EventMatch): void {
    this.#groups.use(`${code}/${callId}`, () => ({ code, callId, tally: new Tally() })).tally.note(line, match);
  }

  errors(): ErrorSeen[] {
    return this.#groups
      .values()
      .flatMap(({ code, callId, tally }) => tally.with({ code, callId }) ?? [])
      .sort((a, b) => a.first.ordinal - b.first.ordinal);
  }
}

/**
 * What one process of the workload said through its shims. Which events prove a live answer of the host is decided
 * here, once: `answered` (docs/wire.md, "What a line proves").
 */
export class ProcessLog {
  readonly pid: number | null;
  readonly firstOrdinal: number;
  #firstAt: number | null = null;
  #lastAt: number | null = null;
  #lines = 0;
  #invoked = 0;
  #done = 0;
  #debug = false;
  #bdf: { bdf: string } | null = null;
  #openReason: { reason: string } | null = null;
  #mapReason: { reason: string } | null = null;
  #connection: { vmId: number; dataPath: string; statusFrom: string | null } | null = null;
  #initRc: { rc: number } | null = null;
  #fallbackReason: { reason: string } | null = null;
  /** Why shared memory could not be set up so far, while the shim still tries. */
  #pendingFallback: { reason: string; tally: Tally } | null = null;
  #shmemBytes: number | null = null;
  readonly #deviceFound = new Tally();
  readonly #deviceMissing = new Tally();
  readonly #deviceInvented = new Tally();
  readonly #bar0OpenFailed = new Tally();
  readonly #bar0MapFailed = new Tally();
  readonly #bar1Unavailable = new Tally();
  readonly #initFailed = new Tally();
  readonly #connected = new Tally();
  readonly #initCallFailed = new Tally();
  readonly #answered = new Tally();
  readonly #invented = new Tally();
  #shmemFallback = new Tally();
  readonly #transportErrors = new ErrorGroups();
  readonly #hostErrors = new ErrorGroups();
  readonly #timeouts = new ErrorGroups();

  constructor(pid: number | null, firstOrdinal: number) {
    this.pid = pid;
    this.firstOrdinal = firstOrdinal;
  }

  /** A line of this process, whatever it says. */
  noteLine(line: SeenLine): void {
    this.#lines += linesOf(line);
    this.#firstAt = earlierOf(line, this.#firstAt);
    this.#lastAt = laterOf(line, this.#lastAt);
  }

  note(event: GuestEvent, line: SeenLine, match: EventMatch): void {
    switch (event.kind) {
      case "device-found":
        this.#bdf = { bdf: event.bdf };
        this.#deviceFound.note(line, match);
        break;
      case "device-missing":
        this.#deviceMissing.note(line, match);
        break;
      case "device-invented":
        this.#deviceInvented.note(line, match);
        break;
      case "bar0-open-failed":
        this.#openReason = { reason: event.reason };
        this.#bar0OpenFailed.note(line, match);
        break;
      case "bar0-map-failed":
        this.#mapReason = { reason: event.reason };
        this.#bar0MapFailed.note(line, match);
        break;
      case "bar1-unavailable":
        this.#bar1Unavailable.note(line, match);
        break;
      case "init-failed":
        this.#initFailed.note(line, match);
        break;
      case "connected":
        this.#connection = { vmId: event.vmId, dataPath: event.dataPath, statusFrom: event.statusFrom };
        this.#connected.note(line, match);
        this.#settleFallback(event.dataPath);
        break;
      case "init-call-failed":
        this.#initRc = { rc: event.rc };
        this.#initCallFailed.note(line, match);
        break;
      case "status-error":
        this.#transportErrors.note(event.err, event.callId, line, match);
        break;
      case "host-cuda-error":
        this.#hostErrors.note(event.status, event.callId, line, match);
        this.#answered.note(line, match);
        break;
      case "timeout":
        this.#timeouts.note(TRANSPORT_TIMEOUT, event.callId, line, match);
        break;
      case "call-invoked":
        this.#invoked += linesOf(line);
        this.#debug = true;
        break;
      case "call-sent":
      case "debug-on":
        this.#debug = true;
        break;
      case "call-done":
        this.#done += linesOf(line);
        this.#debug = true;
        this.#answered.note(line, match);
        break;
      case "call-forwarded":
        this.#debug = true;
        this.#answered.note(line, match);
        break;
      case "gpu-info-live":
      case "alloc-ok":
      case "context-by-rpc":
        this.#answered.note(line, match);
        break;
      case "invented-success":
        this.#invented.note(line, match);
        break;
      case "shmem-fallback":
        this.#noteFallback(event.reason, event.final, line, match);
        break;
      case "shmem-registered":
        this.#shmemBytes = event.bytes;
        this.#pendingFallback = null;
        break;
      default:
        break;
    }
  }

  /** A failed try is a fallback once the shim gives up; its reason is then the last failed try's. */
  #noteFallback(reason: string | null, final: boolean, line: SeenLine, match: EventMatch): void {
    const why = reason ?? this.#pendingFallback?.reason ?? "not told";
    const tally = final ? this.#shmemFallback : (this.#pendingFallback?.tally ?? new Tally());
    tally.note(line, match);
    this.#pendingFallback = final ? null : { reason: why, tally };
    if (final) this.#fallbackReason = { reason: why };
  }

  /** Older builds do not say that they give up: they connect without shared memory after a failed try. */
  #settleFallback(dataPath: string): void {
    const pending = this.#pendingFallback;
    this.#pendingFallback = null;
    if (pending === null || dataPath === "shmem") return;
    this.#shmemFallback = pending.tally;
    this.#fallbackReason = { reason: pending.reason };
  }

  facts(): ShimProcessLog {
    return {
      pid: this.pid,
      firstAt: this.#firstAt,
      lastAt: this.#lastAt,
      lines: this.#lines,
      deviceFound: this.#deviceFound.with(this.#bdf),
      deviceMissing: this.#deviceMissing.seen(),
      deviceInvented: this.#deviceInvented.seen(),
      bar0OpenFailed: this.#bar0OpenFailed.with(this.#openReason),
      bar0MapFailed: this.#bar0MapFailed.with(this.#mapReason),
      bar1Unavailable: this.#bar1Unavailable.seen(),
      initFailed: this.#initFailed.seen(),
      connected: this.#connected.with(this.#connection),
      initCallFailed: this.#initCallFailed.with(this.#initRc),
      answered: this.#answered.seen(),
      callsInvoked: this.#invoked,
      callsDone: this.#done,
      transportErrors: this.#transportErrors.errors(),
      hostErrors: this.#hostErrors.errors(),
      timeouts: this.#timeouts.errors(),
      shmemFallback: this.#shmemFallback.with(this.#fallbackReason),
      shmemBytes: this.#shmemBytes,
      inventedSuccess: this.#invented.seen(),
      debug: this.#debug,
    };
  }
}
