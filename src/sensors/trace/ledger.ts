import { existsSync } from "node:fs";
import type { CallCount, Ledger, LedgerProcess, OpenCall } from "../../facts/ledger.ts";
import { callName, formatCallId } from "../../protocol/call-ids.ts";
import type { SensorContext } from "../context.ts";
import { counted } from "../log-limits.ts";
import { chooseWay, failureText, type Refusal } from "./choose.ts";
import { ControlGroups } from "./control-groups.ts";
import { atProcessEnd } from "./process-end.ts";
import { type Target, TargetScanner } from "./targets.ts";
import { pidsAreTheKernels } from "./tracefs-names.ts";
import type { Place, Tally, TracedCall, TracedOpen, Tracer, Way } from "./tracer.ts";

const RESCAN_MS = 1000;
const POLL_MS = 20;
const MAX_PROCESSES = 8192;
/** Processes above which those that ended without a call are forgotten. */
const MANY_PROCESSES = 512;
const MAX_GAPS = 50;

/**
 * Calls that do not run through the exported function in newer shims (docs/wire.md, "Uprobes"). They are neither launch
 * nor copy, and in older builds they are counted like all others: a note, not a gap.
 */
const MAYBE_UNSEEN = [0x00a8, 0x00fe];

const MORE_GAPS = "there are more gaps than are kept";
const OF_A_MOMENT =
  /calls in up to \d{1,9} ms before it was seen are missing$|^libraries mapped since could not be looked for: /;

/** Whether a gap of a live ledger says what was missed at one moment: what is counted after it was said is whole. */
export const isOfAMoment = (gap: string): boolean => OF_A_MOMENT.test(gap);

export interface LiveOptions {
  /** Processes whose libraries have to be readable for the coverage to be full; null: all of the machine. */
  readonly workload: readonly number[] | null;
  /** Count these processes alone, not those that come later either; null for every process that maps a transport. */
  readonly only?: readonly number[] | null;
  /** Ways to try, the best first; all by default. */
  readonly ways?: readonly Way[];
  readonly rescanMs?: number;
  /**
   * Whether calls of this process matter: calls that were missed in a library that no such process maps are no gap. All
   * matter by default.
   */
  readonly matters?: (process: LedgerProcess) => boolean;
}

/** How the counting began. */
export interface LiveStart {
  /** Null: nothing is counted, and `refused` says why. */
  readonly way: Way | null;
  /** Ways that would have been better, each with why not. */
  readonly refused: readonly Refusal[];
}

interface CountedCalls {
  readonly of: readonly TracedCall[];
  readonly calls: readonly CallCount[];
  readonly unseen: readonly string[];
}

interface MetProcesses {
  readonly of: readonly TracedCall[];
  readonly looks: number;
  readonly walks: number;
  readonly processes: readonly LedgerProcess[];
}

/**
 * Counts the transport calls of running processes with uprobes, without their log (docs/wire.md, "Uprobes").
 *
 * INVARIANTS
 * - Attaching puts a breakpoint into the text of the library, in memory alone: that is what the user asks for with
 *   --live. Nothing else of the target is touched: no ptrace, no signal, no write to its memory or its files.
 * - After stop() nothing is left: no probe, no tracing instance, no open file.
 * - A library that is probed stays so when its process ends: the process that comes next and maps it is counted from
 *   its first call.
 */
export class LiveLedger {
  readonly #context: SensorContext;
  readonly #options: LiveOptions;
  readonly #scanner: TargetScanner;
  readonly #groups: ControlGroups;
  readonly #processes = new Map<number, LedgerProcess>();
  readonly #gaps = new Set<string>();
  readonly #inodes = new Set<string>();
  #timers: NodeJS.Timeout[] = [];
  #tracer: Tracer | null = null;
  #release: () => void = () => {};
  #way: Way | null = null;
  #fromNs = 0;
  #scannedNs = 0;
  /** Calls whose thread ended before they came back. */
  #ended = 0;
  #scanning: Promise<void> = Promise.resolve();
  #busy = false;
  #last: Ledger | null = null;
  /** A snapshot each second is a look at thousands of counts that are as they were: what was made of them is kept. */
  #counted: CountedCalls = { of: [], calls: [], unseen: [] };
  readonly #counts = new WeakMap<TracedCall, CallCount>();
  #met: MetProcesses = { of: [], looks: -1, walks: 0, processes: [] };
  #looks = 0;
  readonly #kernelsPids = pidsAreTheKernels();

  constructor(context: SensorContext, options: LiveOptions) {
    this.#context = context;
    this.#options = options;
    this.#scanner = new TargetScanner(context);
    this.#groups = new ControlGroups(context.fs, context.scope.unit);
    if (!this.#kernelsPids) this.#gap("pids are the kernel's own: this is another pid namespace");
  }

  /** Attaches to what is mapped now. Resolves when calls are counted, or when no way is to be had. */
  async start(): Promise<LiveStart> {
    const targets = await this.#scan();
    try {
      const only = this.#kernelsPids ? (this.#options.only ?? null) : null;
      const { ways } = this.#options;
      const choice = await chooseWay(targets.map(placeOf), ways === undefined ? { only } : { only, ways });
      this.#tracer = choice.tracer;
      this.#way = choice.tracer?.way ?? null;
      for (const { inode } of choice.attached) this.#inodes.add(inode);
      for (const failure of choice.failures) this.#gap(failure);
      this.#fromNs = monotonic();
      if (choice.tracer !== null) this.#watch(choice.tracer);
      return { way: this.#way, refused: choice.refused };
    } finally {
      await closeAll(targets);
    }
  }

  /**
   * What was counted since the start. A call that comes back while this is read may be missing from `returned` and
   * from `open`; after stop() the numbers agree with one another. Null before start() and when no way is to be had.
   */
  snapshot(): Ledger | null {
    if (this.#tracer === null) return this.#last;
    const tally = this.#tracer.read();
    const open = this.#living(tally, this.#tracer);
    const now = this.#context.now();
    const nowNs = monotonic();
    const at = (ns: number) => Math.round(now - (nowNs - ns) / 1e6);
    if (this.#counted.of !== tally.calls) {
      const calls = tally.calls
        .map((call) => this.#countOf(call, at))
        .sort((a, b) => a.pid - b.pid || a.callId - b.callId);
      this.#counted = { of: tally.calls, calls, unseen: unseenNote(new Set(tally.calls.map(({ callId }) => callId))) };
    }
    const missing = [...this.#gaps, ...tally.gaps];
    const notes = [
      ...(this.#ended > 0 ? [`${counted(this.#ended, "call", "calls")} ended with the thread`] : []),
      ...this.#counted.unseen,
    ];
    const attached = this.#inodes.size > 0;
    this.#last = {
      source: this.#tracer.way,
      from: at(this.#fromNs),
      to: now,
      coverage: !attached ? "none" : missing.length > 0 ? "partial" : "full",
      gaps: attached ? missing : [...missing, "no process has a library with the transport mapped"],
      notes: attached ? notes : [],
      dropped: tally.dropped,
      possibleDrops: null,
      debugCost: null,
      calls: this.#counted.calls,
      open: open.map(
        ({ pid, tid, callId, enteredNs }): OpenCall => ({
          pid,
          tid,
          callId,
          ageMs: Math.max(0, Math.round((nowNs - enteredNs) / 1e6)),
        }),
      ),
      processes: this.#seen(tally.calls),
    };
    return this.#last;
  }

  /** Detaches, and returns the last numbers. It may be called again, and before start() has finished it must not be. */
  async stop(): Promise<Ledger | null> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    await this.#scanning;
    const tracer = this.#tracer;
    if (tracer === null) return this.#last;
    try {
      for (const inode of this.#inodes) tracer.detach(inode);
      await this.#groups.learn(groupsOf(tracer.read().calls).values());
      this.snapshot();
    } finally {
      this.#tracer = null;
      this.#release();
      tracer.close();
    }
    return this.#last;
  }

  /** Looks for libraries that were mapped since. Done every second by itself. */
  async rescan(): Promise<void> {
    const before = this.#scannedNs;
    const targets = await this.#scan();
    try {
      for (const target of targets) {
        const place = placeOf(target);
        const { library } = target;
        try {
          this.#tracer?.attach(place);
          this.#inodes.add(place.inode);
          if (!this.#matters(target)) continue;
          const ms = Math.ceil((monotonic() - before) / 1e6);
          this.#gap(`${library} was mapped while counting: calls in up to ${ms} ms before it was seen are missing`);
        } catch (error) {
          this.#gap(failureText(place, error));
        }
      }
    } finally {
      await closeAll(targets);
    }
  }

  #watch(tracer: Tracer): void {
    if (tracer.way === "tracefs") {
      this.#release = atProcessEnd(() => tracer.close());
      this.#timers.push(setInterval(() => tracer.poll(), POLL_MS));
    }
    this.#timers.push(setInterval(() => this.#rescanOnce(), this.#options.rescanMs ?? RESCAN_MS));
  }

  #rescanOnce(): void {
    if (this.#busy) return;
    this.#busy = true;
    this.#scanning = this.rescan()
      .catch((error: unknown) => this.#gap(`libraries mapped since could not be looked for: ${String(error)}`))
      .finally(() => {
        this.#busy = false;
      });
  }

  async #scan(): Promise<readonly Target[]> {
    this.#scannedNs = monotonic();
    const { targets, processes, denied, gaps } = await this.#scanner.scan(null);
    if (this.#processes.size > MANY_PROCESSES) this.#forget(new Set(processes.map(({ pid }) => pid)));
    for (const one of processes) {
      const before = this.#processes.get(one.pid);
      if (before === undefined && this.#processes.size >= MAX_PROCESSES) continue;
      // A process whose parent ended has another one now; whose child it was is what counts.
      this.#processes.set(one.pid, { ...one, ppid: before?.ppid ?? one.ppid });
    }
    this.#looks += 1;
    const { workload } = this.#options;
    const missed = denied.filter((pid) => workload === null || workload.includes(pid));
    if (missed.length > 0) this.#gap(`the libraries of process ${missed.slice(0, 5).join(", ")} may not be read`);
    for (const gap of gaps) this.#gap(gap);
    return targets;
  }

  /** Open calls of threads that live. A thread that ended in a call leaves it open in the kernel's map for ever. */
  #living(tally: Tally, tracer: Tracer): readonly TracedOpen[] {
    if (!this.#kernelsPids) return tally.open;
    const lives = ({ pid, tid }: TracedOpen) => existsSync(`/proc/${pid}/task/${tid}`);
    const gone = tally.open.filter((one) => !lives(one));
    for (const { tid } of gone) tracer.forget(tid);
    this.#ended += gone.length;
    return tally.open.filter((one) => !gone.includes(one));
  }

  #countOf(call: TracedCall, at: (ns: number) => number): CallCount {
    const { group, firstNs, lastNs, ...counts } = call;
    const known = this.#counts.get(call) ?? { ...counts, firstAt: at(firstNs), lastAt: at(lastNs) };
    this.#counts.set(call, known);
    return known;
  }

  /** Processes that were seen, and those that ended between two looks and left calls alone. */
  #seen(calls: readonly TracedCall[]): readonly LedgerProcess[] {
    const { of, looks, walks, processes } = this.#met;
    if (of === calls && looks === this.#looks && walks === this.#groups.walks) return processes;
    this.#met = { of: calls, looks: this.#looks, walks: this.#groups.walks, processes: this.#meet(calls) };
    return this.#met.processes;
  }

  #meet(calls: readonly TracedCall[]): readonly LedgerProcess[] {
    const groups = groupsOf(calls);
    void this.#groups.learn(groups.values());
    const pids = new Set([...this.#processes.keys(), ...calls.map(({ pid }) => pid)]);
    return [...pids].map((pid) => {
      const one = this.#processes.get(pid) ?? unknownProcess(pid);
      // The kernel's word is of the call itself: a pid may be another process's since it was looked at.
      const group = this.#groups.of(groups.get(pid) ?? "");
      return group === null ? one : { ...one, unit: group.unit, group: group.path };
    });
  }

  /** Forgets processes that are gone and made no call. */
  #forget(living: ReadonlySet<number>): void {
    const calling = new Set(this.#tracer?.read().calls.map(({ pid }) => pid));
    for (const pid of this.#processes.keys()) {
      if (!living.has(pid) && !calling.has(pid)) this.#processes.delete(pid);
    }
  }

  #matters({ pids }: Target): boolean {
    const { matters } = this.#options;
    return matters === undefined || pids.some((pid) => matters(this.#processes.get(pid) ?? unknownProcess(pid)));
  }

  #gap(text: string): void {
    this.#gaps.add(this.#gaps.size < MAX_GAPS ? text : MORE_GAPS);
  }
}

function unseenNote(seen: ReadonlySet<number>): string[] {
  const unseen = MAYBE_UNSEEN.filter((id) => !seen.has(id)).map((id) => `${callName(id)} (${formatCallId(id)})`);
  return unseen.length === 0
    ? []
    : [`newer shims do not send these through the function that is counted: ${unseen.join(", ")}`];
}

/** By pid, the control group of the youngest call. */
function groupsOf(calls: readonly TracedCall[]): Map<number, string> {
  const groups = new Map<number, string>();
  for (const { pid, group } of calls.toSorted((a, b) => a.lastNs - b.lastNs)) {
    if (group !== null) groups.set(pid, group);
  }
  return groups;
}

const unknownProcess = (pid: number): LedgerProcess => ({
  pid,
  comm: "",
  libraries: [],
  unit: null,
  group: null,
  ppid: null,
});

function placeOf({ inode, offset, handle }: Target): Place {
  return { inode, offset, path: `/proc/self/fd/${handle.fd}` };
}

async function closeAll(targets: readonly Target[]): Promise<void> {
  for (const { handle } of targets) await handle.close();
}

/** CLOCK_MONOTONIC in ns, the clock of the kernel's counts. */
function monotonic(): number {
  return Number(process.hrtime.bigint());
}
