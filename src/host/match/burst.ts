import type { CallEvent } from "../../protocol/mediator-events.ts";
import type { ProcessState } from "./process-state.ts";
import { gemmOutcome, isGemm } from "./rules/r13-cublas.ts";

export const LAUNCH = 0x50;
const NO_LINES: CallEvent["lines"] = Object.freeze([]);
/** Calls that are noted before they are counted. */
const MOST = 4096;
const MOST_CALL_ID = 0xff;

/** What a launch that went well prints, and nothing else. */
export const isGoodLaunch = ({ callId, status, sound, seq, payloadBytes, lines }: CallEvent): boolean =>
  callId === LAUNCH &&
  status === 0 &&
  sound &&
  seq === null &&
  payloadBytes === null &&
  lines.length === 2 &&
  lines[0]?.kind === "launch" &&
  lines[1]?.kind === "launch-ok";

/** A call that went well, and of which the log has no line but the terminator. */
const isSilent = (call: CallEvent): boolean =>
  call.status === 0 &&
  call.owner === null &&
  call.seq === null &&
  call.payloadBytes === null &&
  call.sound &&
  call.lines.length === 0 &&
  call.callId <= MOST_CALL_ID &&
  call.callId !== LAUNCH &&
  (!isGemm(call.callId) || gemmOutcome(call) === "ok");

const NOT_IN_BURST = 0;
const GOOD_LAUNCH = 1;
const SILENT = 2;

/** What a call is to a burst, whosever it is; 0: nothing. The same for calls that differ in their numbers alone. */
export function kindInBurst(call: CallEvent): number {
  if (call.when !== null) return NOT_IN_BURST;
  if (isGoodLaunch(call)) return GOOD_LAUNCH;
  return isSilent(call) ? SILENT : NOT_IN_BURST;
}

/**
 * Calls of one VM that follow a launch of one process without a hole, in a log without times: launches of the same
 * process that went well, and calls that went well and say nothing. A model that answers makes little else. They are
 * noted here, and counted together when something else comes.
 */
export class Burst {
  #vmId = -1;
  #log = 0;
  #epoch = -1;
  #owner: number | null = null;
  /** Whose launches they are; null: nothing is noted now. */
  process: ProcessState | null = null;
  /** Request id of the first. */
  first = 0;
  count = 0;
  /** As many of them, up to the last launch: what stands behind it may be another process's. */
  certain = 0;
  readonly callIds = new Uint8Array(MOST);
  readonly #places = new Float64Array(MOST);
  readonly #counts = new Uint32Array(MOST_CALL_ID + 1);

  /** Begins behind a launch that was counted for this process. */
  begin(call: CallEvent, process: ProcessState): void {
    this.#vmId = call.vmId;
    this.#epoch = call.epoch;
    this.#owner = call.owner;
    this.process = process;
    this.first = call.requestId + 1;
    this.count = 0;
    this.certain = 0;
    this.#log = call.log;
  }

  end(): void {
    this.process = null;
    this.count = 0;
  }

  /** Notes a call; false when it is no such call. */
  take(call: CallEvent): boolean {
    if (this.process === null || call.vmId !== this.#vmId) return false;
    return this.takeKind(call, kindInBurst(call), call.requestId, call.terminatorAt);
  }

  /** The same of a call whose kind is known, with a request id and place that may not be its own. */
  takeKind(call: CallEvent, kind: number, requestId: number, terminatorAt: number): boolean {
    const { count } = this;
    if (kind === NOT_IN_BURST || this.process === null || requestId !== this.first + count || count === MOST)
      return false;
    if (call.vmId !== this.#vmId || call.epoch !== this.#epoch) return false;
    if (kind === GOOD_LAUNCH && call.owner !== this.#owner) return false;
    this.callIds[count] = call.callId;
    this.#places[count] = terminatorAt;
    this.count = count + 1;
    if (kind === GOOD_LAUNCH) this.certain = count + 1;
    return true;
  }

  /** A call that was noted, as far as it is needed to count it: its place is its terminator's. */
  callAt(index: number): CallEvent {
    const at = this.#places[index] ?? 0;
    return {
      kind: "call",
      log: this.#log,
      epoch: this.#epoch,
      at,
      end: at,
      when: null,
      owner: null,
      seq: null,
      payloadBytes: null,
      lines: NO_LINES,
      sound: true,
      vmId: this.#vmId,
      requestId: this.first + index,
      callId: this.callIds[index] ?? 0,
      status: 0,
      terminatorAt: at,
    };
  }

  /** How many there are by call id up to the last launch, in the order in which each id came first. */
  counts(): readonly (readonly [callId: number, count: number])[] {
    const counts = this.#counts;
    const order: number[] = [];
    for (let index = 0; index < this.certain; index += 1) {
      const callId = this.callIds[index] ?? 0;
      const before = counts[callId] ?? 0;
      if (before === 0) order.push(callId);
      counts[callId] = before + 1;
    }
    return order.map((callId) => {
      const count = counts[callId] ?? 0;
      counts[callId] = 0;
      return [callId, count];
    });
  }
}
