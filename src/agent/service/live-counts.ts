import type { Ledger, TraceFacts } from "../../facts/ledger.ts";
import { notRead, type Reading, wasRead } from "../../facts/reading.ts";
import type { GuestEvidence } from "../../host/match/guest-evidence.ts";
import { loadKernel } from "../../native/syscall.ts";
import type { RootFs } from "../../sensors/root-fs.ts";
import { LiveLedger } from "../../sensors/trace/ledger.ts";
import { LiveWindows } from "../observe/live-windows.ts";
import { KernelProcessEvents } from "../observe/process-events.ts";
import type { ProcessLook } from "../observe/process-watch.ts";

export interface LiveCountsOptions {
  readonly fs: RootFs;
  readonly unit: string;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** A library that nobody had mapped before is looked for so often; in a process that just started, at once. */
const RESCAN_MS = 120_000;
/** Rows of the kernel's table (8192) after which, in silence, a new table is begun: those of processes that ended stay. */
const MOST_ROWS = 500;
/** The same for what was missed: a ledger keeps so many gaps and no more. */
const MOST_GAPS = 25;
/** How long the last window stands for what the workload does. */
const FRESH_MS = 5 * 60_000;

/**
 * Kernel probes that stay for as long as the agent runs (observe.live), as windows of evidence. One for the agent's whole life:
 * a reload takes no probe out.
 */
export class LiveCounts {
  readonly #options: LiveCountsOptions;
  readonly #windows: LiveWindows;
  readonly processEvents: KernelProcessEvents | null;
  #ledger: LiveLedger | null;
  /** Why nothing is counted; null: it is. */
  readonly refusal: string | null;
  #last: TraceFacts | null = null;
  #renewing: Promise<void> | null = null;
  #lookAgain = false;

  private constructor(
    options: LiveCountsOptions,
    ledger: LiveLedger | null,
    events: KernelProcessEvents | null,
    refusal: string | null,
  ) {
    this.#options = options;
    this.#ledger = ledger;
    this.processEvents = events;
    this.refusal = refusal;
    this.#windows = new LiveWindows({ unit: options.unit, snapshot: () => this.#snapshot() });
  }

  get unit(): string {
    return this.#options.unit;
  }

  /** Never rejects: without the right to count there is a refusal. */
  static async start(options: LiveCountsOptions): Promise<LiveCounts> {
    const ledger = newLedger(options);
    const { way, refused } = await ledger.start();
    const why = refused.map(({ reason }) => reason).join("; ");
    return way === null
      ? new LiveCounts(options, null, null, why || "there is no way of counting here")
      : new LiveCounts(options, ledger, processEvents(), null);
  }

  /** Which processes are the workload's, by each look. */
  looked({ processes, events }: ProcessLook): void {
    const gone = events.flatMap((event) => (event.kind === "came-and-went" && event.pid !== null ? [event.pid] : []));
    const ended = events.flatMap((event) => (event.kind === "ended" ? [event.process.pid] : []));
    this.#windows.saw(
      (processes ?? []).map(({ pid }) => pid),
      [...gone, ...ended],
    );
    const hasNew = events.some(({ kind }) => kind === "started");
    // It maps its libraries a little after it has started.
    if (hasNew || this.#lookAgain) void this.#ledger?.rescan().catch(() => {});
    this.#lookAgain = hasNew;
  }

  /** To be called every second or two. A window that no line of the log ends; null: none is over. */
  tick(hasLogWindow: boolean): TraceFacts | null {
    const trace = this.#windows.tick(hasLogWindow);
    if (trace !== null) this.#last = trace;
    return trace;
  }

  /** What was counted over a window of the log that ends now; null: it cannot be joined. */
  cut({ window, requests }: GuestEvidence): TraceFacts | null {
    const begun = requests.flatMap(({ at, duration_ms }) => (at === null ? [] : [at - (duration_ms ?? 0)]));
    const trace = this.#windows.cut(window, begun.length === 0 ? null : Math.min(...begun));
    if (trace !== null) this.#last = trace;
    return trace;
  }

  /** What was counted and is in no window yet; null: nothing. For the end. */
  rest(): TraceFacts | null {
    return this.#windows.rest();
  }

  /** The last window, for the checks. */
  reading(): Reading<TraceFacts> {
    if (this.refusal !== null) return notRead("denied", this.refusal);
    const to = this.#last?.ledger.to ?? null;
    if (this.#last === null || to === null || this.#options.now() - to > FRESH_MS) {
      return notRead("skipped", "calls are counted; none of the workload of late");
    }
    return wasRead(this.#last, "the last window that was counted");
  }

  async stop(): Promise<void> {
    await this.#renewing;
    this.processEvents?.close();
    await this.#ledger?.stop();
    this.#ledger = null;
  }

  #snapshot(): Ledger | null {
    const ledger = this.#ledger?.snapshot() ?? null;
    const isLong = ledger !== null && (ledger.calls.length > MOST_ROWS || ledger.gaps.length > MOST_GAPS);
    if (ledger !== null && isLong) this.#renewing ??= this.#renew(ledger);
    return ledger;
  }

  /** Begins a new table, beside the old one, if no call is made meanwhile: no window loses any. */
  async #renew(before: Ledger): Promise<void> {
    const next = newLedger(this.#options);
    try {
      const { way } = await next.start();
      const now = this.#ledger?.snapshot() ?? null;
      const isQuiet = now !== null && sum(now) === sum(before) && now.open.length === 0;
      if (way === null || !isQuiet || !this.#windows.isIdle) return;
      const old = this.#ledger;
      this.#ledger = next;
      this.#windows.restart();
      await old?.stop();
    } finally {
      if (this.#ledger !== next) await next.stop();
      this.#renewing = null;
    }
  }
}

const sum = ({ calls }: Ledger): number => calls.reduce((all, { count, returned }) => all + count + (returned ?? 0), 0);

function newLedger({ fs, unit, now }: LiveCountsOptions): LiveLedger {
  const scope = { subject: "live", root: "/", unit, pid: null, since: null, until: null } as const;
  const { signal } = new AbortController();
  return new LiveLedger(
    { fs, scope, signal, now },
    {
      workload: [],
      // tracefs would have to be polled fifty times a second: too much for a service.
      ways: ["ebpf"],
      rescanMs: RESCAN_MS,
      // What other programs load is no gap in what the workload called.
      matters: ({ unit: of, comm }) => of === unit || comm === "",
    },
  );
}

function processEvents(): KernelProcessEvents | null {
  try {
    const kernel = loadKernel();
    return kernel === null ? null : new KernelProcessEvents(kernel);
  } catch {
    // Polling alone notices processes, too, and says what it may miss.
    return null;
  }
}
