import type { CallEvent, MediatorEvent, UnframedEvent, WrittenBetween } from "../../protocol/mediator-events.ts";
import { Burst, isGoodLaunch } from "./burst.ts";
import { type EpochFlags, together } from "./rules/r0-epoch.ts";
import { vmOfUnframed } from "./rules/r2-identity.ts";
import { LONGEST_SILENCE_MS } from "./rules/r9-absence.ts";
import { PoisonTracker } from "./rules/r12-poison.ts";
import { VmState } from "./vm-state.ts";

const MOST_VMS = 512;
const MOST_EPOCHS = 256;
const MOST_SPANS = 256;

interface EpochInfo {
  hasTerminator: boolean;
  hasOwner: boolean;
  hasStdout: boolean;
  readonly version: string | null;
}

/** A stretch of time in which the log was read as it grew, and no longer silent than a living mediator is. */
interface WatchedSpan {
  readonly log: number;
  from: number;
  /** When the newest line was read; what was written before `certain` has been read. */
  seen: number;
  certain: number;
  /** Before it nothing was written for so long that a new one began; null: it began for another reason. */
  readonly silence: { readonly from: number; readonly to: number } | null;
}

/**
 * Everything that matching needs of a mediator's log: a fold over its events, one pass, in memory that does not grow
 * with the log. Give it each event of `readMediatorLog` or of a follower, in order; ask it at any time.
 */
export class HostState {
  readonly #vms = new Map<number, VmState>();
  readonly #epochs = new Map<number, EpochInfo>();
  readonly #spans: WatchedSpan[] = [];
  readonly poison = new PoisonTracker();
  #connecting: number | null = null;
  /** Those of the newest call: the next one's are mostly the same. */
  #epoch: EpochInfo = { hasTerminator: false, hasOwner: false, hasStdout: false, version: null };
  #epochId = -1;
  #vm: VmState | null = null;
  /** Calls of that VM that are not counted yet. */
  readonly #burst = new Burst();
  #heartbeats = 0;
  #broken = false;
  #lastLines: UnframedEvent | null = null;
  events = 0;
  restarts = 0;
  unreadLines = 0;
  vmsDropped = 0;

  readonly add = (event: MediatorEvent): void => {
    this.events += 1;
    if (event.kind === "call" && this.#burst.take(event)) return;
    this.#settle();
    if (event.when !== null && event.kind !== "log") this.#watch(event.log, event.when);
    switch (event.kind) {
      case "call": {
        if (event.epoch !== this.#epochId) {
          this.#epoch = this.#epochOf(event.epoch);
          this.#epochId = event.epoch;
        }
        const epoch = this.#epoch;
        epoch.hasTerminator = true;
        if (event.owner !== null && event.owner >= 2 ** 24) epoch.hasOwner = true;
        const vm = event.vmId === this.#vm?.vmId ? this.#vm : this.#vmOf(event.vmId);
        this.#vm = vm;
        if (this.#connecting !== null) vm.connected(event.epoch, this.#connecting);
        this.#connecting = null;
        const root = event.status === 0 ? null : this.poison.rootOf(event);
        vm.add(event, root);
        if (event.when === null && isGoodLaunch(event)) {
          const process = vm.processOfNewest(event);
          if (process !== null) this.#burst.begin(event, process);
        }
        const fault = this.poison.note(event);
        if (fault !== null) for (const other of this.#vms.values()) other.noteFault(fault);
        return;
      }
      case "unframed": {
        this.#addUnframed(event);
        return;
      }
      case "epoch":
        this.#epochOf(event.epoch, event.version);
        if (event.version !== null) {
          this.#epochOf(event.epoch).hasStdout = true;
          this.restarts += 1;
        }
        this.poison.restart();
        return;
      case "connection":
        this.#epochOf(event.epoch).hasStdout = true;
        this.#connecting = event.domId;
        return;
      case "reject":
        this.#epochOf(event.epoch).hasStdout = true;
        if (event.cuda) this.#vmOf(event.vmId).reject(event.reason, event.code, event.when);
        return;
      case "heartbeat":
        this.#epochOf(event.epoch).hasStdout = true;
        this.#heartbeats += 1;
        return;
      case "unread":
        this.unreadLines += 1;
        return;
      case "log":
        // What was written and not read is lost; a file that another one replaced is still read to its end.
        if (event.change !== "replaced" && event.change !== "resumed") this.#broken = true;
        return;
      default:
        return;
    }
  };

  /** Takes, or does not take, a call that `kindInBurst` was asked of, as `BulkSink.addAgain` says. */
  readonly addAgain = (call: CallEvent, kind: number, requestId: number, terminatorAt: number): boolean => {
    if (!this.#burst.takeKind(call, kind, requestId, terminatorAt)) return false;
    this.events += 1;
    return true;
  };

  /** Takes, or does not take, as many calls more like the one just added, as `BulkSink.addRun` says. */
  readonly addRun = (call: CallEvent, more: number): boolean => {
    if (
      this.#burst.count > 0 ||
      call.when !== null ||
      call.vmId !== this.#vm?.vmId ||
      !this.#vm.addCopiedChunks(call, more)
    )
      return false;
    this.events += more;
    return true;
  };

  /** What is known of a VM; undefined when the log has none of its calls. */
  vm(vmId: number): VmState | undefined {
    this.#settle();
    return this.#vms.get(vmId);
  }

  get vms(): readonly VmState[] {
    this.#settle();
    return [...this.#vms.values()];
  }

  get heartbeats(): number {
    return this.#heartbeats;
  }

  /** Lines that had no terminator when the log, or a run of the mediator, ended: the last trace of a crash. */
  get lastLines(): UnframedEvent | null {
    return this.#lastLines;
  }

  /** What all runs of the mediator that these epochs name can prove; of all runs when none is named. */
  flags(epochs: Iterable<number>): EpochFlags {
    const named = [...epochs].flatMap((epoch) => this.#epochs.get(epoch) ?? []);
    return together(named.length > 0 ? named : [...this.#epochs.values()]);
  }

  /** Whether the log was watched, without a hole, from before `from` to after `to` (milliseconds, the host's clock). */
  isWatched(from: number, to: number): boolean {
    return this.#spans.some((span) => span.from <= from && span.certain >= to);
  }

  /** Since when the log is watched without a hole until now, milliseconds since 1970; null: it is not. */
  get watchedSince(): number | null {
    return this.#broken ? null : (this.#spans.at(-1)?.from ?? null);
  }

  /**
   * Whether the mediator went on writing all the time between two moments (the host's clock): false when it was silent for
   * most of it, longer than it is while it works; null when the log was not watched.
   */
  wentOn(from: number, to: number): boolean | null {
    if (this.isWatched(from, to)) return true;
    const longest = this.#spans.reduce((most, { silence }) => {
      return silence === null ? most : Math.max(most, Math.min(silence.to, to) - Math.max(silence.from, from));
    }, 0);
    return longest > (to - from) / 2 ? false : null;
  }

  /** Whether any line has a time. */
  get hasTimes(): boolean {
    return this.#spans.length > 0;
  }

  /** Counts what was only noted. */
  #settle(): void {
    if (this.#burst.process === null) return;
    this.#vm?.addBurst(this.#burst);
    this.#burst.end();
  }

  #watch(log: number, { notBefore, notAfter }: WrittenBetween): void {
    const last = this.#spans.at(-1);
    // Everything that was written before `notBefore` had been read; without it nobody knows.
    const certain = notBefore ?? Number.NEGATIVE_INFINITY;
    // Within what was read in one go after a pause of our own, a silence of the mediator would not be seen.
    const isClose = notAfter - Math.max(last?.seen ?? 0, certain) <= LONGEST_SILENCE_MS;
    if (last !== undefined && !this.#broken && isClose && (notBefore ?? notAfter) - last.seen <= LONGEST_SILENCE_MS) {
      last.seen = Math.max(last.seen, notAfter);
      last.certain = Math.max(last.certain, certain);
      return;
    }
    const silence =
      last === undefined || this.#broken || notBefore === null ? null : { from: last.seen, to: notBefore };
    this.#broken = false;
    this.#spans.push({ log, from: notAfter, seen: notAfter, certain, silence });
    if (this.#spans.length > MOST_SPANS) this.#spans.shift();
  }

  #addUnframed(event: UnframedEvent): void {
    if (event.why === "banner" || event.why === "end") this.#lastLines = event;
    const { hasTerminator } = this.#epochOf(event.epoch);
    const vmId = vmOfUnframed(event.owner, event.vmId, hasTerminator) ?? vmOfOwner(event);
    if (vmId === null) return;
    this.#vmOf(vmId).addUnframed(event, event.callId ?? callOfLines(event));
  }

  #epochOf(epoch: number, version: string | null = null): EpochInfo {
    const known = this.#epochs.get(epoch);
    if (known !== undefined) return known;
    const made = { hasTerminator: false, hasOwner: false, hasStdout: false, version };
    this.#epochs.set(epoch, made);
    if (this.#epochs.size > MOST_EPOCHS) this.#epochs.delete(this.#epochs.keys().next().value ?? epoch);
    return made;
  }

  #vmOf(vmId: number): VmState {
    const known = this.#vms.get(vmId);
    if (known !== undefined) return known;
    const made = new VmState(vmId);
    this.#vms.set(vmId, made);
    if (this.#vms.size > MOST_VMS) {
      this.#vms.delete(this.#vms.keys().next().value ?? vmId);
      this.#vm = null;
      this.vmsDropped += 1;
    }
    return made;
  }
}

/** The VM that an owner with a pid names in its upper bits: for lines of a call that never got its terminator. */
function vmOfOwner({ owner, why }: UnframedEvent): number | null {
  return owner !== null && owner >= 2 ** 24 && why !== "no-terminators" ? Math.floor(owner / 2 ** 24) : null;
}

/** The call that lines without a terminator are about. */
function callOfLines({ lines }: UnframedEvent): number | null {
  for (const { kind } of lines) {
    if (kind === "alloc-start") return 0x30;
    if (kind === "copy-in-start" || kind === "copy-in-ok") return 0x32;
    if (kind === "copy-in-async") return 0x3c;
    if (kind === "copy-out-start") return 0x33;
    if (kind === "launch") return 0x50;
    if (kind === "init") return 0x01;
  }
  return null;
}
