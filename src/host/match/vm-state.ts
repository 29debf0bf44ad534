import { isCall } from "../../protocol/call-ids.ts";
import type { CallEvent, UnframedEvent } from "../../protocol/mediator-events.ts";
import { BoundedList } from "./bounded-list.ts";
import { type Burst, LAUNCH } from "./burst.ts";
import { addTo } from "./call-totals.ts";
import { LostProcesses } from "./lost-processes.ts";
import { ProcessState } from "./process-state.ts";
import { RecordRing } from "./record-ring.ts";
import { framingOf } from "./rules/r1-framing.ts";
import { isVmIdShared, type Whose, whoseCall } from "./rules/r2-identity.ts";
import type { Rejected } from "./rules/r10-rejections.ts";
import type { Fault } from "./rules/r12-poison.ts";
import { isProbe } from "./rules/r14-probe.ts";
import { type HostWindow, TimeBuckets } from "./time-buckets.ts";
import { nobodys, type Unattributed, Waiting } from "./waiting.ts";

/** Request ids that have no record. */
export interface RequestGap {
  /** The last one before the hole, and how many are missing. */
  readonly after: number;
  readonly missing: number;
}

/** A fault of another VM, which broke the context of this one too. */
export interface FaultOfOther {
  readonly fault: Fault;
  /** This VM's last request before it. */
  readonly after: number;
}

/** Calls of work, by id. */
const WORK: readonly boolean[] = Array.from({ length: 256 }, (_, id) =>
  isCall(id, "alloc", "copy-in", "launch", "gemm"),
);
const COPY: readonly boolean[] = Array.from({ length: 256 }, (_, id) => isCall(id, "copy-in", "copy-out"));
const ONE_CALL = { records: 1 };
const MOST_PROCESSES = 128;
const MOST_OWNERS = 256;
const WHOLE_VM: Whose = whoseCall(null, 0);
const MOST_GAPS = 512;
const MOST_REJECTIONS = 512;
const MOST_UNFRAMED = 64;
const MOST_DOMAINS = 64;
const MOST_FAULTS = 64;
/** Runs of the mediator of which it is remembered which domains connected. */
const KEPT_EPOCHS = 16;
const CLEANUP = 0xfe;
const COPY_IN = 0x32;
const isPlainChunk = ({ status, sound, lines, seq, payloadBytes }: CallEvent): boolean =>
  status === 0 && sound && lines.length === 0 && seq !== null && payloadBytes !== null;

/** A chunk of a copy in without anything special: what the next chunk of the copy is compared with. */
interface Copying {
  owner: number | null;
  epoch: number;
  requestId: number;
  seq: number;
  bytes: number;
}

/**
 * What the log says of one VM id, from the boot of the VM on: the request ids begin again with each boot, and what was
 * before is no longer asked for.
 *
 * INVARIANTS
 * - Memory is bounded, however long the log: processes, single records, gaps and refusals have limits, and what is let go
 *   is counted.
 * - A call whose lines name nobody is given to a process only when the calls before and after it are that process's.
 */
export class VmState {
  readonly vmId: number;
  records = new RecordRing();
  gaps = new BoundedList<RequestGap>(MOST_GAPS);
  rejections = new BoundedList<Rejected>(MOST_REJECTIONS);
  unframed = new BoundedList<UnframedEvent>(MOST_UNFRAMED);
  faultsOfOthers = new BoundedList<FaultOfOther>(MOST_FAULTS);
  calls = 0;
  missing = 0;
  firstRequest = -1;
  lastRequest = -1;
  readonly epochs = new Set<number>();
  #unattributed = nobodys();
  /** Given to the process whose calls stand on both sides, while others lived. */
  #doubtful = nobodys();
  /** Processes that called and were not cleaned up. */
  #living = new Set<ProcessState>();
  probes = 0;
  /** Allocations, copies in, launches and matrix products, whosever and however they ended. */
  work = 0;
  #workTimes = new TimeBuckets();
  /** Processes let go because there were more than are kept. */
  processesDropped = 0;
  /** They, and those of before the VM's last boot. */
  readonly lost = new LostProcesses();
  #processes = new Map<number, ProcessState[]>();
  #whole = new ProcessState(null);
  #lastOwned: ProcessState | null = null;
  #waiting = new Waiting();
  /** The newest call, when it was a chunk of a copy in without anything special. */
  #copying: Copying | null = null;
  /** How often a record that is some process's was lost, or does not surely name it. */
  #holes = 0;
  /** The newest call's. */
  #epoch = -1;
  readonly #owners = new Map<number, Whose>();
  readonly #domains = new Map<number, Set<number>>();
  #restarts = 0;
  #resumed = 0;
  #before = -1;
  #cleaned = new Set<number>();

  constructor(vmId: number) {
    this.vmId = vmId;
  }

  add(call: CallEvent, root: Fault | null): void {
    if (this.#continuesCopy(call)) return;
    this.#copying = null;
    this.#succeed(call.requestId);
    this.calls += 1;
    if (call.epoch !== this.#epoch) this.epochs.add(call.epoch);
    this.#epoch = call.epoch;
    const whose = call.owner === null ? WHOLE_VM : this.#whoseOwner(call.owner);
    const pid = whose.by === "pid" ? whose.pid : null;
    const isCleanup = call.callId === CLEANUP;
    // A clean-up names whom it cleans; a doubtful slice may name anybody.
    const named = isCleanup || framingOf(call) !== "whole" ? null : pid;
    this.records.add(call.requestId, call.callId, call.status, named);
    const isNamed = pid !== null || (call.owner !== null && whose.by === "vm");
    if (!call.sound || (!isNamed && COPY[call.callId] === true)) this.#holes += 1;
    if (pid !== null && isProbe(pid)) {
      this.probes += 1;
      return;
    }
    if (WORK[call.callId] === true) this.#noteWork(call);
    if (pid === null || (isCleanup && !this.#processes.has(pid))) {
      // Builds without owners name the VM in each line; elsewhere a call that names nobody waits for its neighbours.
      if (call.owner !== null && whose.by === "vm") {
        // As long as no line has named a process, all calls of the VM are the VM's.
        if (this.#lastOwned === null) this.#waiting.giveTo(this.#whole, this.#unattributed, null);
        this.#whole.add(call, call.callId, root, this.#holes);
      } else this.#waiting.add(call, root);
      return;
    }
    const process = this.#processOf(pid, call);
    const isSame = this.#lastOwned === process;
    if (!isSame) this.#living.add(process);
    this.#waiting.giveTo(isSame ? process : null, this.#unattributed, this.#living.size > 1 ? this.#doubtful : null);
    process.add(call, call.callId, root, this.#holes);
    this.#lastOwned = process;
    if (isCleanup) {
      this.#cleaned.add(pid);
      this.#living.delete(process);
    }
    const { owner, epoch, requestId, seq, payloadBytes: bytes } = call;
    if (call.callId === COPY_IN && named !== null && seq !== null && bytes !== null && isPlainChunk(call)) {
      this.#copying = { owner, epoch, requestId, seq, bytes };
    }
  }

  /**
   * The next chunk of the copy that is going on, which is what most calls of a log are: the same in everything but its
   * numbers. A path of its own, so that matching keeps up with reading.
   */
  #continuesCopy(call: CallEvent): boolean {
    const before = this.#copying;
    const process = this.#lastOwned;
    if (before === null || process === null) return false;
    const { requestId, seq, payloadBytes } = call;
    if (call.callId !== COPY_IN || call.owner !== before.owner || call.epoch !== before.epoch) return false;
    if (requestId !== before.requestId + 1 || seq === null || seq - 1 !== before.seq) return false;
    if (payloadBytes === null || payloadBytes !== before.bytes || !isPlainChunk(call)) return false;
    before.requestId = requestId;
    before.seq = seq;
    this.lastRequest = requestId;
    this.calls += 1;
    this.records.add(requestId, COPY_IN, 0, process.pid);
    this.#noteWork(call);
    process.addNextChunks(requestId, seq, payloadBytes, 1, call.when);
    return true;
  }

  /** As many chunks more of the copy whose last one so far is `call`, as `BulkSink.addRun` says. False: it is none. */
  addCopiedChunks(call: CallEvent, more: number): boolean {
    const newest = this.#copying;
    const process = this.#lastOwned;
    if (newest === null || process === null || newest.requestId !== call.requestId) return false;
    this.records.addRun(call.requestId + 1, more, COPY_IN, 0, process.pid);
    this.lastRequest += more;
    this.calls += more;
    this.work += more;
    this.#workTimes.setUntimed();
    process.addNextChunks(newest.requestId + 1, newest.seq + 1, newest.bytes, more, null);
    newest.requestId += more;
    newest.seq += more;
    return true;
  }

  /** The process that the newest call was counted for, if that is the one which this call's lines name. */
  processOfNewest({ owner }: CallEvent): ProcessState | null {
    const whose = owner === null ? WHOLE_VM : this.#whoseOwner(owner);
    if (whose.by !== "pid" || isProbe(whose.pid)) return null;
    return this.#lastOwned?.pid === whose.pid ? this.#lastOwned : null;
  }

  /** Counts the calls that a burst noted behind the newest one. */
  addBurst(burst: Burst): void {
    const { process, first, count, certain, callIds } = burst;
    if (process === null || count === 0) return;
    this.lastRequest = first + count - 1;
    this.calls += count;
    let work = 0;
    for (let index = 0; index < count; index += 1) {
      const callId = callIds[index] ?? 0;
      this.records.add(first + index, callId, 0, callId === LAUNCH ? process.pid : null);
      if (WORK[callId] === true) work += 1;
    }
    this.work += work;
    if (work > 0) this.#workTimes.setUntimed();
    const isAlone = this.#living.size <= 1;
    if (certain > 0) process.addBurst(burst, isAlone);
    for (const [callId, calls] of isAlone ? [] : burst.counts()) {
      if (callId !== LAUNCH) addTo(this.#doubtful.totals, callId, { count: calls, failed: 0 });
    }
    for (let index = certain; index < count; index += 1) this.#waiting.add(burst.callAt(index), null);
  }

  /** Owners are few, and come again and again. */
  #whoseOwner(owner: number): Whose {
    const known = this.#owners.get(owner);
    if (known !== undefined) return known;
    if (this.#owners.size >= MOST_OWNERS) this.#owners.clear();
    const whose = whoseCall(owner, this.vmId);
    this.#owners.set(owner, whose);
    return whose;
  }

  #noteWork({ when }: CallEvent): void {
    this.work += 1;
    if (when === null) this.#workTimes.setUntimed();
    else this.#workTimes.add(when, ONE_CALL);
  }

  /** At most so many of them were made in a window; null where nobody knows. */
  workBetween(window: HostWindow): number | null {
    return this.#workTimes.between(window)?.most.records ?? null;
  }

  /** Calls that no line and no neighbour gives to a process: they may be anybody's. */
  get unattributed(): Unattributed {
    return this.#waiting.with(this.#unattributed, this.#doubtful);
  }

  /** Lines without a terminator that are known to be this VM's. */
  addUnframed(event: UnframedEvent, callId: number | null): void {
    this.epochs.add(event.epoch);
    if (event.why === "no-terminators") {
      if (callId !== null) this.#whole.add(event, callId, null, this.#holes);
    } else if (event.why !== "refused") this.unframed.push(event);
  }

  /** A fault of any VM. */
  noteFault(fault: Fault): void {
    if (fault.vmId !== this.vmId) this.faultsOfOthers.push({ fault, after: this.lastRequest });
  }

  reject(reason: Rejected["reason"], code: number | null, when: Rejected["when"]): void {
    this.rejections.push({ reason, code, when, after: this.lastRequest });
  }

  connected(epoch: number, domId: number): void {
    const domains = this.#domains.get(epoch) ?? new Set();
    if (domains.size < MOST_DOMAINS) domains.add(domId);
    this.#domains.set(epoch, domains);
    for (const old of this.#domains.keys()) if (old < epoch - KEPT_EPOCHS) this.#domains.delete(old);
  }

  /** Two VMs use this id, so nothing here can be told apart. */
  get isShared(): boolean {
    const domains = Math.max(0, ...[...this.#domains.values()].map(({ size }) => size));
    return isVmIdShared({ domains, restarts: this.#restarts, resumed: this.#resumed });
  }

  get domains(): readonly number[] {
    return [...new Set([...this.#domains.values()].flatMap((domains) => [...domains]))];
  }

  /** Processes that the log names, oldest first; a pid that was used again is there several times. */
  get processes(): readonly ProcessState[] {
    return [...this.#processes.values()].flat().sort((a, b) => a.firstRequest - b.firstRequest);
  }

  /** Calls of builds whose lines name no process. */
  get whole(): ProcessState {
    return this.#whole;
  }

  processesOf(pid: number): readonly ProcessState[] {
    return this.#processes.get(pid) ?? [];
  }

  /** A record of this process that would name an allocation can be missing: what was refused was no allocation made. */
  lacksAllocations({ firstRequest, lastRequest }: ProcessState): boolean {
    const inRange = (after: number) => after + 1 >= firstRequest && after < lastRequest;
    const missing = this.gaps.items.filter(({ after }) => inRange(after)).reduce((sum, gap) => sum + gap.missing, 0);
    const refused = this.rejections.items.filter(({ after }) => inRange(after)).length;
    return !this.gaps.isWhole || missing > refused || this.unframed.items.length > 0;
  }

  /** No other process than this one can have made a call between these requests: none is there, or it was cleaned up before. */
  isAlone(process: ProcessState, from: number, to: number): boolean {
    if (this.#whole.records > 0) return false;
    return this.processes.every((other) => {
      const ended = other.lastCallId === CLEANUP && other.lastRequest < from;
      return other === process || ended || other.firstRequest > to;
    });
  }

  #succeed(requestId: number): void {
    if (this.firstRequest < 0) this.firstRequest = requestId;
    else if (requestId <= this.lastRequest) {
      if (requestId === this.#before + 1) this.#resumed += 1;
      this.#restarts += 1;
      this.#before = this.lastRequest;
      this.#bootAgain(requestId);
    } else if (requestId > this.lastRequest + 1) {
      if (requestId === this.#before + 1) this.#resumed += 1;
      const missing = requestId - this.lastRequest - 1;
      this.gaps.push({ after: this.lastRequest, missing });
      this.missing += missing;
      this.#holes += 1;
    }
    this.lastRequest = requestId;
  }

  /** The VM has another device now: processes of before are gone, and so are its request ids. */
  #bootAgain(requestId: number): void {
    this.#waiting = new Waiting();
    this.#copying = null;
    this.records = new RecordRing();
    this.gaps = new BoundedList(MOST_GAPS);
    this.rejections = new BoundedList(MOST_REJECTIONS);
    this.unframed = new BoundedList(MOST_UNFRAMED);
    this.faultsOfOthers = new BoundedList(MOST_FAULTS);
    this.missing = 0;
    this.work = 0;
    this.#workTimes = new TimeBuckets();
    this.calls = 0;
    this.firstRequest = requestId;
    this.#unattributed = nobodys();
    this.#doubtful = nobodys();
    this.#living = new Set();
    for (const process of this.processes) this.lost.add(process);
    this.#processes = new Map();
    this.#whole = new ProcessState(null);
    this.#lastOwned = null;
    this.#cleaned = new Set();
  }

  #processOf(pid: number, call: CallEvent): ProcessState {
    const lives = this.#processes.get(pid);
    const last = lives?.[lives.length - 1];
    if (last !== undefined && lives !== undefined && !this.#isAnother(last, pid, call)) {
      return last;
    }
    const made = new ProcessState(pid);
    this.#cleaned.delete(pid);
    if (lives !== undefined) lives.push(made);
    else this.#processes.set(pid, [made]);
    if (this.#count() > MOST_PROCESSES) this.#dropOldest();
    return made;
  }

  /** A pid is another process's when the one before was cleaned up, or when it begins anew in another run of the mediator. */
  #isAnother(last: ProcessState, pid: number, call: CallEvent): boolean {
    if (this.#cleaned.has(pid)) return true;
    return call.epoch !== last.lastEpoch && call.lines.some(({ kind }) => kind === "init");
  }

  #count(): number {
    return [...this.#processes.values()].reduce((sum, lives) => sum + lives.length, 0);
  }

  #dropOldest(): void {
    // One that was just made has no request yet.
    const age = (lives: readonly ProcessState[]): number => {
      const last = lives[0]?.lastRequest ?? -1;
      return last < 0 ? Number.POSITIVE_INFINITY : last;
    };
    const [pid, lives] = [...this.#processes].reduce((one, other) => (age(other[1]) < age(one[1]) ? other : one));
    const oldest = lives.shift();
    if (oldest !== undefined) {
      this.#living.delete(oldest);
      this.lost.add(oldest);
    }
    if (lives.length === 0) this.#processes.delete(pid);
    this.processesDropped += 1;
  }
}
