import type { DiscoverySeen, ServerLog } from "../facts/log.ts";
import { parseGoDuration } from "../protocol/go-duration.ts";
import type { EventMatch } from "../protocol/grammar.ts";
import type { GuestEvent, GuestEventKind } from "../protocol/guest-events.ts";
import { endOf, type RunnerEnd } from "../protocol/ollama-lines.ts";
import { BoundedMap, earlierOf, laterOf, linesOf, type SeenLine, Tally } from "./log-evidence.ts";
import { ProcessLog } from "./log-process.ts";

const PROCESSES = 64;
const STREAMS = 64;
/** Requests that are kept: the last of them. */
const REQUESTS = 64;
/** Devices of one discovery round that are kept. */
const DEVICES = 16;
/** Discovery lines further apart than this are of two rounds: in milliseconds, and in lines of this server. */
const ROUND_MS = 5000;
const ROUND_LINES = 50;

/** Events that are counted and shown as they are. */
const PLAIN: ReadonlySet<GuestEventKind> = new Set<GuestEventKind>([
  "server-listening",
  "discovery-started",
  "discovery-timeout",
  "device-filtered",
  "ggml-cuda-failed",
  "refresh-failed",
  "zero-vram",
  "runner-crash",
  "linker-error",
  "preload-ignored",
  "deactivated",
]);

/** One life of the workload's server, as far as the log shows it. */
export class ServerLife {
  readonly invocationId: string | null;
  readonly bootId: string | null;
  started = false;
  ended = false;
  /** Anything but lines without a meaning was seen of it. */
  used = false;
  firstAt: number | null = null;
  #listening = false;
  #pid: number | null = null;
  #lastAt: number | null = null;
  #lines = 0;
  #exit: { code: string; status: string } | null = null;
  #result: { result: string } | null = null;
  #offload: { layers: number; of: number } | null = null;
  #round: { readonly found: Omit<DiscoverySeen, "sample">; readonly tally: Tally }[] = [];
  #roundOver = true;
  #roundAt: { readonly at: number | null; readonly line: number } | null = null;
  readonly #plain = new Map<GuestEventKind, Tally>();
  readonly #requestsOk = new Tally();
  readonly #requestsFailed = new Tally();
  #requests: { readonly status: number; readonly durationMs: number | null; readonly tally: Tally }[] = [];
  readonly #offloaded = new Tally();
  readonly #runnerFault = new Tally();
  /** A runner said itself why it gives up: the abort that follows is its own doing. */
  #gaveReason = false;
  readonly #mainExited = new Tally();
  readonly #unitFailed = new Tally();
  readonly #processes = new BoundedMap<number | null, ProcessLog>(PROCESSES);
  /** The pid that each stream (journal _PID) named last. */
  readonly #named = new BoundedMap<number | null, { pid: number }>(STREAMS);

  constructor(invocationId: string | null, bootId: string | null) {
    this.invocationId = invocationId;
    this.bootId = bootId;
  }

  get listening(): boolean {
    return this.#listening;
  }

  /** When it was last heard of, epoch milliseconds. */
  get lastAt(): number | null {
    return this.#lastAt;
  }

  noteLine(line: SeenLine): void {
    this.#lines += linesOf(line);
    this.firstAt = earlierOf(line, this.firstAt);
    this.#lastAt = laterOf(line, this.#lastAt);
    if (!line.entry.fromManager) this.#pid ??= line.entry.pid;
  }

  /** The pid that a shim's line is of: named in it, else named before it in its stream, else the stream's own. */
  attribute(line: SeenLine, named: number | null): number | null {
    const stream = line.entry.pid;
    if (named !== null) {
      this.#named.use(stream, () => ({ pid: named })).pid = named;
      return named;
    }
    return this.#named.get(stream)?.pid ?? stream;
  }

  knows(pid: number): boolean {
    return this.#processes.get(pid) !== undefined;
  }

  process(pid: number | null, ordinal: number): ProcessLog {
    this.used = true;
    return this.#processes.use(pid, () => new ProcessLog(pid, ordinal));
  }

  /** An event of the server, of Ollama or of the manager. `offset`: where the matched part of the line begins. */
  note(event: GuestEvent, line: SeenLine, match: EventMatch, offset = 0): void {
    this.used = true;
    if (PLAIN.has(event.kind)) {
      const tally = this.#plain.get(event.kind) ?? new Tally();
      this.#plain.set(event.kind, tally.note(line, match, offset));
    }
    switch (event.kind) {
      case "server-listening":
        this.#listening = true;
        this.#pid = line.entry.pid ?? this.#pid;
        this.#roundOver = true;
        break;
      case "discovery-started":
        this.#roundOver = true;
        break;
      case "inference-compute": {
        const { library, compute, name, pciId, total } = event;
        this.#noteDevice({ library, compute, name, pciId, total }, line, match);
        break;
      }
      case "no-compatible-gpu":
        this.#noteDevice({ library: "cpu", compute: null, name: null, pciId: null, total: null }, line, match);
        break;
      case "runner-crash":
        this.#noteCrash(endOf(event.text), line, match);
        break;
      case "offloaded":
        this.#offload = { layers: event.layers, of: event.of };
        this.#offloaded.note(line, match);
        break;
      case "request":
        if (event.inference && event.status >= 200 && event.status < 300) this.#requestsOk.note(line, match);
        if (event.inference && event.status >= 500) this.#requestsFailed.note(line, match);
        // The server writes it as a line of its own; further in it is text that anybody may have made it log.
        if (event.inference && match.start + offset === 0) this.#noteRequest(event, line, match);
        break;
      case "unit-started":
        this.started = true;
        break;
      case "main-exited":
        this.ended = true;
        this.#exit = { code: event.code, status: event.status };
        this.#mainExited.note(line, match, offset);
        break;
      case "unit-failed":
        this.ended = true;
        this.#result = { result: event.result };
        this.#unitFailed.note(line, match, offset);
        break;
      case "deactivated":
        this.ended = true;
        break;
      default:
        break;
    }
  }

  #noteRequest(event: Extract<GuestEvent, { kind: "request" }>, line: SeenLine, match: EventMatch): void {
    const durationMs = parseGoDuration(event.durationText);
    this.#requests.push({ status: event.status, durationMs, tally: new Tally().note(line, match) });
    if (this.#requests.length > 2 * REQUESTS) this.#requests = this.#requests.slice(-REQUESTS);
  }

  #noteCrash(end: RunnerEnd, line: SeenLine, match: EventMatch): void {
    if (end === "own-word") this.#gaveReason = true;
    if (end === "fault" || (end === "abort" && !this.#gaveReason)) this.#runnerFault.note(line, match);
  }

  #noteDevice(found: Omit<DiscoverySeen, "sample">, line: SeenLine, match: EventMatch): void {
    const before = this.#roundAt;
    const apart =
      before !== null &&
      (this.#lines - before.line > ROUND_LINES ||
        (line.at !== null && before.at !== null && Math.abs(line.at - before.at) > ROUND_MS));
    if (this.#roundOver || apart) this.#round = [];
    this.#roundOver = false;
    this.#roundAt = { at: line.at, line: this.#lines };
    if (this.#round.length < DEVICES) this.#round.push({ found, tally: new Tally().note(line, match) });
  }

  facts(): ServerLog {
    const seen = (kind: GuestEventKind) => this.#plain.get(kind)?.seen() ?? null;
    const offloadSample = this.#offloaded.sample();
    return {
      invocationId: this.invocationId,
      pid: this.#pid,
      bootId: this.bootId,
      firstAt: this.firstAt,
      lastAt: this.#lastAt,
      lines: this.#lines,
      listening: seen("server-listening"),
      discoveryStarted: seen("discovery-started"),
      discovery: this.#round.flatMap(({ found, tally }) => {
        const sample = tally.sample();
        return sample === null ? [] : [{ ...found, sample }];
      }),
      discoveryTimeout: seen("discovery-timeout"),
      deviceFiltered: seen("device-filtered"),
      ggmlCudaFailed: seen("ggml-cuda-failed"),
      refreshFailed: seen("refresh-failed"),
      zeroVram: seen("zero-vram"),
      runnerCrash: seen("runner-crash"),
      runnerFault: this.#runnerFault.seen(),
      linkerError: seen("linker-error"),
      preloadIgnored: seen("preload-ignored"),
      requestsOk: this.#requestsOk.seen(),
      requestsFailed: this.#requestsFailed.seen(),
      requests: this.#requests.slice(-REQUESTS).flatMap(({ status, durationMs, tally }) => {
        const sample = tally.sample();
        return sample === null ? [] : [{ status, durationMs, sample }];
      }),
      offloaded: this.#offload === null || offloadSample === null ? null : { ...this.#offload, sample: offloadSample },
      mainExited: this.#mainExited.with(this.#exit),
      unitFailed: this.#unitFailed.with(this.#result),
      deactivated: seen("deactivated"),
      processes: this.#processes
        .values()
        .sort((a, b) => a.firstOrdinal - b.firstOrdinal)
        .map((process) => process.facts()),
    };
  }
}
