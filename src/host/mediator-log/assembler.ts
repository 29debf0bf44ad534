import type {
  CallEvent,
  EpochSummary,
  MediatorEvent,
  MediatorLine,
  UnframedReason,
  WrittenBetween,
} from "../../protocol/mediator-events.ts";
import type { MediatorReading, OtherReading } from "../../protocol/mediator-grammar.ts";
import { decodeOwner, FIRST_PID_OWNER } from "../../protocol/mediator-owner.ts";

/** More than any call prints; a failing batched product comes to about twenty. */
const MOST_LINES = 64;
const NO_LINES: readonly MediatorLine[] = Object.freeze([]);
const NONE = -1;

/** What a later reader needs of the epoch that is open. Plain JSON. */
export interface EpochState {
  summary: EpochSummary;
  /** The next call's slice is not whole: reading began in the middle, or bytes before it could not be read. */
  cut: boolean;
}

/** The call that a starting line belongs to, where there is only one. */
const CALL_OF_LINE: ReadonlyMap<MediatorLine["kind"], number> = new Map([
  ["init", 0x01],
  ["alloc-start", 0x30],
  ["free-unmapped", 0x31],
  ["copy-out-start", 0x33],
  ["copy-in-async", 0x3c],
  ["function", 0x44],
  ["launch", 0x50],
  ["library-module", 0xaa],
  ["param-info", 0xbc],
  ["process-cleanup", 0xfe],
]);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
/** A call that is told again and again, with other numbers. */
export type RepeatedCall = Mutable<CallEvent>;

/**
 * Puts the lines of one log together to events: calls at their terminators, everything else as it comes. Whoever scans
 * tells it each line once, in order, with offsets. Docs/wire.md, "Mediator log: framing".
 */
export class Assembler {
  readonly log: number;
  readonly #emit: (event: MediatorEvent) => void;
  readonly #nextEpoch: () => number;
  /** Times of the bytes that are told now. */
  when: WrittenBetween | null = null;
  /** Events of lines that end here or before were given by an earlier reader; their calls were not, if a slice is open. */
  #given: number;
  #epoch: Mutable<EpochSummary> | null;
  #cut: boolean;
  #open = false;
  #at = 0;
  #end = 0;
  #owner = NONE;
  #seq = NONE;
  #payload = NONE;
  #inputVm = NONE;
  #inputCall = NONE;
  #expected = NONE;
  #started = false;
  #broken = false;
  #lines: MediatorLine[] | null = null;

  constructor(options: {
    readonly log: number;
    readonly emit: (event: MediatorEvent) => void;
    readonly nextEpoch: () => number;
    readonly epoch?: EpochState | null;
    readonly given?: number;
  }) {
    this.log = options.log;
    this.#emit = options.emit;
    this.#nextEpoch = options.nextEpoch;
    this.#epoch = options.epoch === undefined || options.epoch === null ? null : { ...options.epoch.summary };
    this.#cut = options.epoch?.cut ?? true;
    this.#given = options.given ?? 0;
  }

  /** The first offset that a later reader must read again, when `read` is how far this one came. */
  restartAt(read: number): number {
    return this.#open ? this.#at : read;
  }

  /** Null: no line yet. */
  epochState(): EpochState | null {
    return this.#epoch === null ? null : { summary: { ...this.#epoch }, cut: this.#cut };
  }

  input(at: number, end: number, vmId: number, callId: number, seq: number, payload: number): void {
    if (this.#open) this.#flush(this.#why());
    this.#begin(at);
    this.#end = end;
    this.#seq = seq;
    this.#payload = payload;
    this.#inputVm = vmId;
    this.#inputCall = callId;
  }

  /** A line that says no more than whose the call is. */
  owned(at: number, end: number, owner: number): void {
    if (!this.#open) this.#begin(at);
    this.#end = end;
    if (this.#owner === NONE) this.#owner = owner;
    else if (this.#owner !== owner) this.#broken = true;
  }

  line(at: number, end: number, line: MediatorLine, starts: boolean): void {
    if (line.kind === "owner-cleaned" && !this.#open) {
      this.#other(at, end, { kind: "owner-freed", owner: line.owner });
      return;
    }
    const owner = "owner" in line ? line.owner : NONE;
    if (!starts) {
      this.goesOn(at, end, line, owner);
      return;
    }
    const seq = line.kind === "copy-in-async" ? line.seq : NONE;
    this.starts(at, end, line, owner, CALL_OF_LINE.get(line.kind) ?? NONE, seq);
  }

  /** The first line of an operation. `owner` is the line's, `callId` the call that it belongs to; -1: not known. */
  starts(at: number, end: number, line: MediatorLine, owner: number, callId: number, seq = NONE): void {
    if (this.#started) this.#flush(this.#why());
    if (!this.#open) this.#begin(at);
    this.#started = true;
    this.#expected = callId;
    if (seq !== NONE) {
      if (this.#seq !== NONE && this.#seq !== seq) this.#broken = true;
      this.#seq = seq;
    }
    this.goesOn(at, end, line, owner);
  }

  /** A line of an operation that began before. */
  goesOn(at: number, end: number, line: MediatorLine, owner: number): void {
    if (owner !== NONE) this.owned(at, end, owner);
    else if (!this.#open) this.#begin(at);
    this.#end = end;
    if (this.#lines === null) this.#lines = [line];
    else if (this.#lines.push(line) > MOST_LINES) this.#flush("too-long");
  }

  terminator(at: number, end: number, vmId: number, requestId: number, callId: number, status: number): void {
    const epoch = this.#epoch ?? this.#beginEpoch(this.#open ? this.#at : at, null);
    epoch.calls += 1;
    epoch.hasTerminator = true;
    if (!this.#open) {
      const sound = !this.#cut;
      this.#cut = false;
      this.#emit({
        kind: "call",
        log: this.log,
        epoch: epoch.epoch,
        at,
        end,
        when: this.when,
        owner: null,
        seq: null,
        payloadBytes: null,
        lines: NO_LINES,
        sound,
        vmId,
        requestId,
        callId,
        status,
        terminatorAt: at,
      });
      return;
    }
    const owner = this.#owner;
    if (owner >= FIRST_PID_OWNER) epoch.hasOwner = true;
    const sound =
      !this.#broken &&
      !this.#cut &&
      (this.#inputVm === NONE || (this.#inputVm === vmId && this.#inputCall === callId)) &&
      (this.#expected === NONE || this.#expected === callId) &&
      (owner === NONE || decodeOwner(owner, vmId) !== null);
    this.#cut = false;
    this.#emit({
      kind: "call",
      log: this.log,
      epoch: epoch.epoch,
      at: this.#at,
      end,
      when: this.when,
      owner: owner === NONE ? null : owner,
      seq: this.#seq === NONE ? null : this.#seq,
      payloadBytes: this.#payload === NONE ? null : this.#payload,
      lines: this.#lines ?? NO_LINES,
      sound,
      vmId,
      requestId,
      callId,
      status,
      terminatorAt: at,
    });
    this.#close();
  }

  /** Nothing of what is behind this line depends on it, but for the epoch. */
  get isAtRest(): boolean {
    return !this.#open && !this.#cut && this.#epoch !== null;
  }

  /** The epoch that calls are now in; -1: none yet. */
  get epoch(): number {
    return this.#epoch?.epoch ?? NONE;
  }

  /** As many calls were told elsewhere that say the same as an earlier one of this epoch. */
  again(calls: number): void {
    if (this.#epoch !== null) this.#epoch.calls += calls;
  }

  /** A line that a grammar has read. */
  reading(at: number, end: number, reading: MediatorReading, stdout: boolean): void {
    if (stdout && end > this.#given && this.#epoch !== null) this.#epoch.hasStdout = true;
    switch (reading.role) {
      case "nothing":
        return;
      case "line":
        this.line(at, end, reading.line, reading.starts);
        return;
      case "owned":
        this.owned(at, end, reading.owner);
        return;
      case "input":
        this.input(at, end, reading.vmId, reading.callId, reading.seq, reading.payloadBytes);
        return;
      case "terminator":
        this.terminator(at, end, reading.vmId, reading.requestId, reading.callId, reading.status);
        return;
      case "banner":
        this.#banner(at, end, reading.version);
        return;
      case "refusal":
        if (this.#open) this.#flush("refused");
        this.#other(at, end, reading.event);
        break;
      case "between":
        if (this.#open) this.#flush(this.#why());
        this.#other(at, end, reading.event);
        break;
      case "other":
        this.#other(at, end, reading.event);
        break;
      default:
        reading satisfies never;
    }
    if (stdout && this.#epoch !== null) this.#epoch.hasStdout = true;
  }

  unread(at: number, end: number, what: "nul-hole" | "long-line" | "unknown-line" | "torn-line"): void {
    if (end <= this.#given) {
      this.#broken = this.#open;
      return;
    }
    const lost = what === "nul-hole" || what === "long-line";
    if (lost && this.#open) this.#flush(what === "nul-hole" ? "end" : "too-long");
    const epoch = this.#epoch ?? this.#beginEpoch(at, null);
    epoch.unreadBytes += end - at;
    if (what !== "nul-hole") epoch.unreadLines += 1;
    if (this.#open) this.#broken = true;
    else this.#cut = true;
    this.#other(at, end, { kind: "unread", what, bytes: end - at });
  }

  /** The slice that is open cannot be trusted whole. */
  distrust(): void {
    this.#broken = true;
  }

  /** Before a line of unbounded length is skipped: nothing may have to be read again after it. */
  closeSlice(): void {
    if (this.#open) this.#flush("too-long");
  }

  /** The log is over: nothing more will come. */
  finish(end: number): void {
    if (this.#open) this.#flush("end");
    this.#endEpoch(end);
  }

  #begin(at: number): void {
    if (this.#epoch === null) this.#beginEpoch(at, null);
    this.#open = true;
    this.#at = at;
  }

  #close(): void {
    this.#open = false;
    this.#owner = NONE;
    this.#seq = NONE;
    this.#payload = NONE;
    this.#inputVm = NONE;
    this.#inputCall = NONE;
    this.#expected = NONE;
    this.#started = false;
    this.#broken = false;
    this.#lines = null;
  }

  #why(): UnframedReason {
    return this.#epoch?.hasTerminator === true ? "next-call" : "no-terminators";
  }

  #flush(why: UnframedReason): void {
    const epoch = this.#epoch ?? this.#beginEpoch(this.#at, null);
    epoch.unframed += 1;
    if (this.#owner >= FIRST_PID_OWNER) epoch.hasOwner = true;
    this.#emit({
      kind: "unframed",
      log: this.log,
      epoch: epoch.epoch,
      at: this.#at,
      end: this.#end,
      when: this.when,
      owner: this.#owner === NONE ? null : this.#owner,
      seq: this.#seq === NONE ? null : this.#seq,
      payloadBytes: this.#payload === NONE ? null : this.#payload,
      lines: this.#lines ?? NO_LINES,
      sound: !this.#broken && !this.#cut && why !== "too-long",
      why,
      vmId: this.#inputVm === NONE ? null : this.#inputVm,
      callId: this.#inputCall === NONE ? null : this.#inputCall,
    });
    this.#cut = why === "too-long";
    this.#close();
  }

  #banner(at: number, end: number, version: string): void {
    if (end <= this.#given) return;
    if (this.#open) this.#flush("banner");
    this.#endEpoch(at);
    this.#beginEpoch(at, version, end).hasStdout = true;
    this.#cut = false;
  }

  #beginEpoch(at: number, version: string | null, end = at): Mutable<EpochSummary> {
    const epoch: Mutable<EpochSummary> = {
      epoch: this.#nextEpoch(),
      log: this.log,
      at,
      version,
      calls: 0,
      unframed: 0,
      hasTerminator: false,
      hasOwner: false,
      hasStdout: false,
      heartbeats: 0,
      firstHeartbeat: null,
      lastHeartbeat: null,
      unreadBytes: 0,
      unreadLines: 0,
    };
    this.#epoch = epoch;
    this.#emit({ kind: "epoch", version, log: this.log, epoch: epoch.epoch, at, end, when: this.when });
    return epoch;
  }

  #endEpoch(at: number): void {
    if (this.#epoch === null) return;
    const summary = { ...this.#epoch };
    this.#emit({ kind: "epoch-end", summary, log: this.log, epoch: summary.epoch, at, end: at, when: this.when });
    this.#epoch = null;
  }

  #other(at: number, end: number, event: OtherReading): void {
    if (end <= this.#given) return;
    const epoch = this.#epoch ?? this.#beginEpoch(at, null);
    if (event.kind === "heartbeat") {
      epoch.heartbeats += 1;
      epoch.firstHeartbeat ??= this.when;
      epoch.lastHeartbeat = this.when ?? epoch.lastHeartbeat;
    }
    this.#emit({ ...event, log: this.log, epoch: epoch.epoch, at, end, when: this.when });
  }
}
