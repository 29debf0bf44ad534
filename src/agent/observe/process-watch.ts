import { errnoOf } from "../../facts/reading.ts";
import { parseStat } from "../../sensors/proc.ts";
import type { RootFs } from "../../sensors/root-fs.ts";
import { isSameProcess, type ProcessKey } from "./condition-state.ts";
import type { KernelProcessEvents } from "./process-events.ts";

/** `came-and-went`: it was never there when it was looked. */
export type ProcessEvent =
  | { readonly kind: "started" | "ended"; readonly process: ProcessKey; readonly at: number }
  /** Seen by the kernel; without the kernel its pid is not known, nor how many there were. */
  | {
      readonly kind: "came-and-went";
      readonly pid: number | null;
      readonly parent: number | null;
      readonly at: number;
    };

export interface ProcessLook {
  /** Processes of the unit that live; null when that cannot be told. */
  readonly processes: readonly ProcessKey[] | null;
  readonly events: readonly ProcessEvent[];
  /** What may be missing in `events`, in words; null: nothing. */
  readonly doubt: string | null;
}

export interface ProcessWatchOptions {
  readonly fs: RootFs;
  readonly unit: string;
  /** CLOCK_MONOTONIC in milliseconds. */
  readonly monotonic: () => number;
  /** The kernel's own notes, where they may be had. */
  readonly kernel: KernelProcessEvents | null;
}

/** Where control groups are mounted: the unified hierarchy, and beside older ones. */
const MOUNTS = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"] as const;
const MOST_PROCESSES = 256;
/** In /proc/PID/stat, counted from the state: faults of children that were waited for (proc_pid_stat(5), cminflt). */
const CHILD_FAULTS = 8;
const POLLED =
  "processes are looked for from time to time (no rights for eBPF): a short one is noticed by its parent's counters, without its pid";

interface Known {
  readonly key: ProcessKey;
  readonly parent: number;
  /** Grows when a child that ended is waited for, however short it lived. */
  readonly childFaults: number;
}

/**
 * Notices processes of a unit when they start and end. Three ways were compared: polling the control group (this, always),
 * the kernel's tracepoints through eBPF (beside it, where permitted), and netlink's process connector (not used).
 */
export class ProcessWatch {
  readonly #options: ProcessWatchOptions;
  #known = new Map<number, Known>();
  /** Parents of processes that ended by the last look: they may wait for them only now. */
  #explained: ReadonlySet<number> = new Set();
  #started = false;

  constructor(options: ProcessWatchOptions) {
    this.#options = options;
  }

  async look(): Promise<ProcessLook> {
    const { kernel, monotonic } = this.#options;
    const at = monotonic();
    const group = await this.#group();
    if (group === null) return { processes: null, events: [], doubt: "no control group of the unit can be read" };
    kernel?.watch(group.id);
    const found = new Map<number, Known>();
    for (const pid of group.pids.slice(0, MOST_PROCESSES)) {
      const one = await this.#read(pid);
      if (one !== null) found.set(pid, one);
    }
    const events = this.#compare(found, at);
    const doubt = this.#kernelEvents(found, events, group.id !== null);
    const many =
      group.pids.length > MOST_PROCESSES ? `only ${MOST_PROCESSES} of ${group.pids.length} were looked at` : null;
    this.#known = found;
    this.#started = true;
    const processes = many === null ? [...found.values()].map(({ key }) => key) : null;
    return { processes, events, doubt: many ?? doubt };
  }

  /** The unit's control group; a unit that does not run has none, and no processes. Null: it cannot be told. */
  async #group(): Promise<{ readonly id: bigint | null; readonly pids: readonly number[] } | null> {
    const { fs, unit } = this.#options;
    let slice = false;
    for (const mount of MOUNTS) {
      const directory = `${mount}/system.slice/${unit}`;
      try {
        const text = await fs.text(`${directory}/cgroup.procs`);
        const pids = text.split("\n").filter((line) => /^[1-9]\d{0,9}$/.test(line));
        const { inode } = await fs.stat(directory);
        // Only the unified hierarchy's groups have the ids that programs in the kernel see.
        const unified = await fs.exists(`${mount}/cgroup.controllers`);
        const id = unified ? BigInt(inode.split(":").at(-1) ?? "0") : null;
        return { id, pids: pids.map(Number) };
      } catch (error) {
        const code = errnoOf(error);
        if (code !== "ENOENT" && code !== "ENODEV") return null;
        slice ||= await fs.exists(`${mount}/system.slice`);
      }
    }
    return slice ? { id: null, pids: [] } : null;
  }

  async #read(pid: number): Promise<Known | null> {
    const bytes = (await this.#options.fs.read(`/proc/${pid}/stat`, 4096).catch(() => null))?.bytes;
    const stat = bytes === undefined ? null : parseStat(bytes);
    if (bytes === undefined || stat === null || stat.state === "Z") return null;
    const text = bytes.toString("latin1");
    const faults = Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[CHILD_FAULTS]);
    const childFaults = Number.isFinite(faults) ? faults : 0;
    return { key: { pid, startTicks: stat.startTicks }, parent: stat.ppid, childFaults };
  }

  #compare(found: ReadonlyMap<number, Known>, at: number): ProcessEvent[] {
    const events: ProcessEvent[] = [];
    /** Parents whose counters are explained by a child that was known. */
    const ended = new Set<number>();
    for (const [pid, { key, parent }] of this.#known) {
      const now = found.get(pid);
      if (now !== undefined && isSameProcess(now.key, key)) continue;
      events.push({ kind: "ended", process: key, at });
      ended.add(parent);
    }
    const explained = new Set([...ended, ...this.#explained]);
    this.#explained = ended;
    for (const [pid, { key, childFaults }] of found) {
      const before = this.#known.get(pid);
      const isNew = before === undefined || !isSameProcess(before.key, key);
      if (isNew) events.push({ kind: "started", process: key, at });
      else if (childFaults > before.childFaults && !explained.has(pid) && this.#options.kernel === null) {
        events.push({ kind: "came-and-went", pid: null, parent: pid, at });
      }
    }
    return this.#started ? events : events.filter(({ kind }) => kind === "started");
  }

  /** Adds what the kernel noted and no look saw. Returns what may be missing. */
  #kernelEvents(found: ReadonlyMap<number, Known>, events: ProcessEvent[], hasGroup: boolean): string | null {
    const { kernel } = this.#options;
    if (kernel === null || !hasGroup) return POLLED;
    const noted = kernel.take();
    for (const { pid, endedAt } of noted.events) {
      const seen = found.has(pid) || this.#known.has(pid);
      if (!seen && endedAt !== null) events.push({ kind: "came-and-went", pid, parent: null, at: endedAt });
    }
    return noted.lost > 0 ? `${noted.lost} starts or ends of processes were not noted: there was no room` : null;
  }
}
