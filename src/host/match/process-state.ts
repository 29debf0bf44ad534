import type { CallEvent, MediatorLine, UnframedEvent, WrittenBetween } from "../../protocol/mediator-events.ts";
import { amountsOf, NOT_DONE, tallyOf } from "./amounts.ts";
import { BoundedList } from "./bounded-list.ts";
import { type Burst, LAUNCH } from "./burst.ts";
import { addOne, addTo, type CallTotals } from "./call-totals.ts";
import { type Chunk, ChunkList } from "./chunk-list.ts";
import { framingOf } from "./rules/r1-framing.ts";
import type { HostAllocation } from "./rules/r3-alloc.ts";
import type { HostPayload } from "./rules/r5-payload.ts";
import type { Anchor } from "./rules/r7-trips.ts";
import type { Fault } from "./rules/r12-poison.ts";
import { isGemm } from "./rules/r13-cublas.ts";
import { type Amounts, TimeBuckets } from "./time-buckets.ts";
import { WholeCopies } from "./whole-copies.ts";

/** A call of the process that failed, and what it follows from. */
export interface HostFailure {
  readonly requestId: number;
  readonly callId: number;
  readonly status: number;
  /** The fault that it follows from; null: its own. */
  readonly root: Fault | null;
  readonly log: number;
  readonly epoch: number;
  readonly at: number;
  /** Null where the log has no times. */
  readonly when: WrittenBetween | null;
}

/** Where something of an operation was seen first, and its request ids. */
export interface Span {
  first: number;
  last: number;
  readonly log: number;
  readonly epoch: number;
  readonly at: number;
}

const TOTALS = [
  "failed",
  "bytesAllocated",
  "bytesIn",
  "bytesOut",
  "launches",
  "launchesFailed",
  "gemms",
  "gemmsFailed",
  "gemmsUnknown",
  "gemmsDoubtful",
  "suppressed",
  "records",
] as const;

/** Matrix products by their outcome. */
export interface GemmTally extends Span {
  ok: number;
  failed: number;
  unknown: number;
  /** Of the unknown, those that may be another process's. */
  readonly doubtful: number;
  /** When they were made. */
  readonly times: { when: WrittenBetween | null; readonly amounts: Partial<Amounts> }[];
}

interface GrowingAnchor extends Anchor {
  lastSeq: number;
}

type Event = CallEvent | UnframedEvent;

const INIT = 0x01;
const COPY_IN = 0x32;
const MOST_ALLOCATIONS = 1024;
const MOST_FAILURES = 128;
const MOST_PAYLOADS = 256;
const MOST_TRANSPORTS = 64;
const MOST_ANCHORS = 512;

const isKind = <K extends MediatorLine["kind"]>(
  line: MediatorLine,
  kind: K,
): line is Extract<MediatorLine, { kind: K }> => line.kind === kind;

function lineOf<K extends MediatorLine["kind"]>(
  { lines }: Event,
  kind: K,
): Extract<MediatorLine, { kind: K }> | undefined {
  for (const line of lines) if (isKind(line, kind)) return line;
  return undefined;
}

/**
 * What the host did for one process, in bounded memory: totals of everything, and single records of what can be matched
 * one by one. `pid` null: the VM as a whole, for builds whose lines name no process.
 *
 * INVARIANT: only calls whose lines name this process are in the lists; `between` counts calls that name nobody and
 * stand between two of this process.
 */
export class ProcessState {
  readonly pid: number | null;
  readonly calls = new Map<number, CallTotals>();
  /** Of `calls`, those that no line gives to this process. */
  readonly between = new Map<number, CallTotals>();
  readonly allocations = new BoundedList<HostAllocation>(MOST_ALLOCATIONS);
  readonly copiesIn = new ChunkList();
  readonly copiesOut = new ChunkList();
  readonly failures = new BoundedList<HostFailure>(MOST_FAILURES);
  readonly payloads = new BoundedList<HostPayload>(MOST_PAYLOADS);
  /** Where lines show request id and sequence number, oldest first. */
  readonly anchors = new BoundedList<GrowingAnchor>(MOST_ANCHORS);
  /** Requests of INIT calls. */
  readonly inits: number[] = [];
  readonly spans = new Map<"alloc" | "copy-in" | "launch" | "copy-out", Span>();
  readonly buckets = new TimeBuckets();
  readonly #wholeCopies = new WholeCopies(this.buckets);
  #chunk: Chunk | null = null;
  /** How many holes the VM's records had when the newest one of this process came. */
  #holes = Number.NaN;
  readonly epochs = new Set<number>();
  failed = 0;
  bytesAllocated = 0;
  bytesIn = 0;
  bytesOut = 0;
  launches = 0;
  launchesFailed = 0;
  gemms = 0;
  gemmsFailed = 0;
  gemmsUnknown = 0;
  /** Of the unknown: they name nobody, and another process lived. */
  gemmsDoubtful = 0;
  /** Copies in that were told to have worked, and were not made. */
  suppressed = 0;
  records = 0;
  firstRequest = -1;
  lastRequest = -1;
  /** Request of the last launch or product that went well; -1: none did. */
  lastGoodLaunch = -1;
  lastEpoch = -1;
  lastCallId = -1;
  firstAt: WrittenBetween | null = null;
  lastAt: WrittenBetween | null = null;
  /** Its slices were all sound. */
  sound = true;
  firstFailure: HostFailure | null = null;

  constructor(pid: number | null) {
    this.pid = pid;
  }

  /** The transport that its calls now go through, counted from 0. */
  get transport(): number {
    return Math.max(0, this.#connections - 1);
  }

  #connections = 0;

  /**
   * A call whose lines name this process. `root`: the fault that it follows from, if it failed; `holes`: how often records
   * of the VM were lost until now.
   */
  add(event: Event, callId: number, root: Fault | null, holes: number): void {
    const requestId = event.kind === "call" ? event.requestId : -1;
    const failed =
      event.kind === "call" ? event.status !== 0 : event.lines.some(({ kind }) => kind.endsWith("-failed"));
    this.#note(event, callId, requestId, failed, root);
    if (callId === INIT && lineOf(event, "init") !== undefined) {
      this.#connections += 1;
      if (requestId >= 0) this.inits.push(requestId);
      if (this.inits.length > MOST_TRANSPORTS * 2) this.inits.splice(0, MOST_TRANSPORTS);
    }
    if (event.seq !== null && requestId >= 0) this.#noteAnchor(requestId - event.seq, event.seq, event.seq);
    if (event.kind === "call" && isGemm(callId)) {
      this.addGemms(tallyOf(event));
      return;
    }
    const done = this.#operate(event, callId, requestId, failed);
    if (event.when === null) this.buckets.setUntimed();
    else {
      this.buckets.add(event.when, amountsOf(callId, done));
      // Processes that nobody can tell apart may copy at the same time.
      if (this.pid !== null) this.#wholeCopies.add(this.#chunk, event.when, holes !== this.#holes);
      this.#holes = holes;
    }
    this.#chunk = null;
  }

  /** Chunks after the last call with its size and the next numbers, the first of which are these, and no word beside them. */
  addNextChunks(requestId: number, seq: number, bytes: number, times: number, when: WrittenBetween | null): void {
    const last = requestId + times - 1;
    this.records += times;
    this.lastRequest = last;
    this.lastAt = when ?? this.lastAt;
    addTo(this.calls, COPY_IN, { count: times, failed: 0 });
    this.#noteAnchor(requestId - seq, seq, seq + times - 1);
    const { transport } = this;
    const chunk = { callId: COPY_IN, bytes, requestId, seq, address: null, failed: false, transport };
    this.copiesIn.add(chunk, times);
    this.bytesIn += bytes * times;
    const span = this.spans.get("copy-in");
    if (span !== undefined) span.last = last;
    if (when === null) this.buckets.setUntimed();
    else {
      this.buckets.add(when, amountsOf(COPY_IN, bytes));
      this.#wholeCopies.add(chunk, when, false);
    }
  }

  /** What a burst noted of this process, from behind a launch of it to another one. `alone`: no other process lived. */
  addBurst(burst: Burst, alone: boolean): void {
    const last = burst.first + burst.certain - 1;
    for (const [callId, count] of burst.counts()) {
      if (callId === LAUNCH) {
        addTo(this.calls, callId, { count, failed: 0 });
        this.records += count;
        this.launches += count;
      } else this.addBetween(callId, { count, failed: 0 });
      if (!isGemm(callId)) continue;
      this.gemms += count;
      this.gemmsUnknown += alone ? 0 : count;
      this.gemmsDoubtful += alone ? 0 : count;
    }
    this.lastRequest = last;
    this.lastGoodLaunch = last;
    this.lastCallId = LAUNCH;
    const span = this.spans.get("launch");
    if (span !== undefined) span.last = last;
    this.buckets.setUntimed();
  }

  /** Calls that name nobody and stand between two of this process. */
  addBetween(callId: number, totals: CallTotals): void {
    addTo(this.calls, callId, totals);
    addTo(this.between, callId, totals);
    this.records += totals.count;
    this.failed += totals.failed;
  }

  /** Matrix products: those that name this process, and those that name nobody between two calls of it. */
  addGemms(tally: GemmTally): void {
    this.gemms += tally.ok + tally.failed + tally.unknown;
    this.gemmsFailed += tally.failed;
    this.gemmsUnknown += tally.unknown;
    this.gemmsDoubtful += tally.doubtful;
    const { first, last, log, epoch, at } = tally;
    if (tally.ok > 0) this.lastGoodLaunch = Math.max(this.lastGoodLaunch, last);
    for (const { when, amounts } of tally.times) this.buckets.add(when, amounts);
    const span = this.spans.get("launch");
    if (span === undefined) this.spans.set("launch", { first, last, log, epoch, at });
    else span.last = last;
  }

  /** What several processes did together; single records stay in the order of the processes. */
  static together(processes: readonly ProcessState[]): ProcessState {
    const all = new ProcessState(null);
    for (const one of processes) {
      for (const [callId, totals] of one.calls) addTo(all.calls, callId, totals);
      for (const allocation of one.allocations.items) all.allocations.push(allocation);
      all.inits.push(...one.inits);
      all.copiesIn.addAll(one.copiesIn);
      all.copiesOut.addAll(one.copiesOut);
      for (const failure of one.failures.items) all.noteFailure(failure);
      for (const epoch of one.epochs) all.epochs.add(epoch);
      for (const [name, span] of one.spans) {
        const known = all.spans.get(name);
        if (known === undefined) all.spans.set(name, { ...span });
        else known.last = Math.max(known.last, span.last);
      }
      for (const total of TOTALS) all[total] += one[total];
      all.firstRequest = all.firstRequest < 0 ? one.firstRequest : Math.min(all.firstRequest, one.firstRequest);
      all.lastRequest = Math.max(all.lastRequest, one.lastRequest);
      all.firstAt ??= one.firstAt;
      all.lastAt = one.lastAt ?? all.lastAt;
      all.sound &&= one.sound;
      all.lastGoodLaunch = Math.max(all.lastGoodLaunch, one.lastGoodLaunch);
      all.buckets.absorb(one.buckets);
    }
    return all;
  }

  noteFailure(failure: HostFailure): void {
    this.firstFailure ??= failure;
    this.failures.push(failure);
  }

  #note(event: Event, callId: number, requestId: number, failed: boolean, root: Fault | null): void {
    this.records += 1;
    if (event.epoch !== this.lastEpoch) this.epochs.add(event.epoch);
    this.lastEpoch = event.epoch;
    this.lastCallId = callId;
    if (framingOf(event) !== "whole") this.sound = false;
    addOne(this.calls, callId, failed);
    if (requestId >= 0) {
      if (this.firstRequest < 0) this.firstRequest = requestId;
      this.lastRequest = requestId;
    }
    this.firstAt ??= event.when;
    this.lastAt = event.when ?? this.lastAt;
    if (!failed) return;
    this.failed += 1;
    if (event.kind !== "call") return;
    const { log, epoch, terminatorAt: at, status, when } = event;
    this.noteFailure({ requestId, callId, status, root, log, epoch, at, when });
  }

  #noteAnchor(offset: number, firstSeq: number, lastSeq: number): void {
    const last = this.anchors.last();
    if (last !== undefined && last.offset === offset && firstSeq >= last.lastSeq) last.lastSeq = lastSeq;
    else this.anchors.push({ offset, firstSeq, lastSeq });
  }

  /** The bytes that went through; -1: it did not do its work. */
  #operate(event: Event, callId: number, requestId: number, failed: boolean): number {
    switch (callId) {
      case 0x30:
        return this.#alloc(event, requestId, failed);
      case 0x32:
      case 0x3c:
        return this.#copyIn(event, callId, requestId, failed);
      case 0x33:
        return this.#copyOut(event, callId, requestId, failed);
      case 0x50:
      case 0x51:
        this.#span("launch", requestId, event);
        this.launches += 1;
        // Only the line after the synchronisation says that the kernel ran.
        if (failed || lineOf(event, "launch-ok") === undefined) {
          this.launchesFailed += 1;
          return NOT_DONE;
        }
        this.lastGoodLaunch = requestId;
        return 0;
      default:
        return 0;
    }
  }

  #alloc(event: Event, requestId: number, failed: boolean): number {
    this.#span("alloc", requestId, event);
    const bytes = lineOf(event, "alloc-start")?.bytes ?? null;
    const done = lineOf(event, "alloc-ok");
    this.allocations.push({
      requestId: requestId < 0 ? null : requestId,
      bytes,
      ptr: done?.ptr ?? null,
      failed: failed || done === undefined,
      transport: this.transport,
    });
    if (!failed) this.bytesAllocated += bytes ?? 0;
    return failed || done === undefined ? NOT_DONE : 0;
  }

  #copyIn(event: Event, callId: number, requestId: number, failed: boolean): number {
    this.#span("copy-in", requestId, event);
    if (event.lines.length === 0 && event.payloadBytes !== null) {
      const { payloadBytes: bytes, seq } = event;
      this.#chunk = { callId, bytes, requestId, seq, address: null, failed, transport: this.transport };
      this.copiesIn.add(this.#chunk);
      if (!failed) this.bytesIn += bytes;
      return failed ? NOT_DONE : bytes;
    }
    const async = lineOf(event, "copy-in-async");
    const started = lineOf(event, "copy-in-start");
    const bytes =
      event.payloadBytes ?? async?.bytes ?? started?.bytes ?? lineOf(event, "copy-in-failed")?.bytes ?? null;
    const address = async?.guestDst ?? started?.dst ?? null;
    if (lineOf(event, "copy-in-suppressed") !== undefined) this.suppressed += 1;
    this.#chunk = { callId, bytes, requestId, seq: event.seq, address, failed, transport: this.transport };
    this.copiesIn.add(this.#chunk);
    if (async !== undefined) {
      const hash = async.hash.toString(16).padStart(16, "0");
      this.payloads.push({ seq: async.seq, bytes: async.bytes, hash, requestId });
    }
    if (failed) return NOT_DONE;
    this.bytesIn += bytes ?? 0;
    return bytes ?? 0;
  }

  #copyOut(event: Event, callId: number, requestId: number, failed: boolean): number {
    this.#span("copy-out", requestId, event);
    const started = lineOf(event, "copy-out-start");
    const bytes = started?.bytes ?? null;
    const address = started?.guestSrc ?? null;
    // A copy larger than the executor takes brings status 0 and no data, and no line of success.
    const done = !failed && lineOf(event, "copy-out-ok") !== undefined;
    this.#chunk = { callId, bytes, requestId, seq: null, address, failed: !done, transport: this.transport };
    this.copiesOut.add(this.#chunk);
    if (!done) return NOT_DONE;
    this.bytesOut += bytes ?? 0;
    return bytes ?? 0;
  }

  #span(operation: "alloc" | "copy-in" | "launch" | "copy-out", requestId: number, event: Event): void {
    const span = this.spans.get(operation);
    if (span === undefined) {
      const { log, epoch } = event;
      const at = event.kind === "call" ? event.terminatorAt : event.at;
      this.spans.set(operation, { first: requestId, last: requestId, log, epoch, at });
    } else span.last = requestId;
  }
}
