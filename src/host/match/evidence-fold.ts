import { pidOf } from "../../protocol/grammar.ts";
import type { GuestEvent } from "../../protocol/guest-events.ts";
import { matchLine } from "../../protocol/guest-lines.ts";
import { transportError } from "../../protocol/status.ts";
import { type LogEntry, textOfMessage } from "../../sensors/log-reader.ts";
import {
  emptyProcess,
  type GuestAllocation,
  type GuestCalls,
  type GuestCopy,
  type GuestFailure,
  type GuestProcess,
  type GuestRoundTrip,
} from "./guest-evidence.ts";
import { LIMITS } from "./guest-limits.ts";

/** The shim's result when its transport failed. */
const FAILED_TRANSPORT = 999;
const DATA_PATH = /^[\w-]{1,32}$/;
/** Marks of the shims' lines: only those name a process that later lines are of. */
const SHIM = /\[(?:cuda-transport|libvgpu-\w{1,16})\]/;

/** Events of work: what comes before the first of them is the process's start. */
const COUNTED: ReadonlySet<GuestEvent["kind"]> = new Set([
  "call-invoked",
  "call-sent",
  "alloc-ok",
  "alloc-failed",
  "copy-attempt",
]);

interface Calls {
  count: number;
  bytes: number;
  failed: number;
  first: number | null;
  last: number | null;
}

type Trip = GuestRoundTrip;

/** What one process said, line by line. */
class Speaker {
  readonly pid: number | null;
  readonly allocations: GuestAllocation[] = [];
  readonly copies: GuestCopy[] = [];
  readonly trips: Trip[] = [];
  readonly failures: GuestFailure[] = [];
  readonly calls = new Map<number, Calls>();
  readonly cut = { allocations: false, copies: false, sequence: false, failures: false };
  dataPath: string | null = null;
  vmId: number | null = null;
  firstAt: number | null = null;
  lastAt: number | null = null;
  perCall = false;
  /** The log has its beginning. */
  fromStart = false;
  #spoke = false;
  #transport = 0;
  #lastSeq = 0;
  /** The kept ones of this transport, by their numbers: a file may have answers by the million that belong to none. */
  readonly #current = new Map<number, Trip>();

  constructor(pid: number | null) {
    this.pid = pid;
  }

  note(event: GuestEvent, at: number | null): void {
    this.firstAt ??= at;
    this.lastAt = at ?? this.lastAt;
    if (COUNTED.has(event.kind)) this.#spoke = true;
    switch (event.kind) {
      case "device-found":
      case "device-missing":
      case "device-invented":
        // Printed by cuInit: the program's first call.
        if (!this.#spoke) this.fromStart = true;
        return;
      case "connected":
        this.dataPath = DATA_PATH.test(event.dataPath) ? event.dataPath : null;
        this.vmId = event.vmId;
        break;
      case "call-invoked":
        this.perCall = true;
        this.#count(event.callId, event.dataLen, at);
        break;
      case "call-sent":
        this.perCall = true;
        this.#sent(event.callId, event.seq, event.dataLen, at);
        break;
      case "call-done":
        this.#answered(event.callId, event.seq, 0, at);
        break;
      case "alloc-ok":
        this.#keep("allocations", this.allocations, LIMITS.allocations, {
          bytes: event.sizeBytes,
          ptr: pointerOf(event.ptr),
          failed: false,
          at,
        });
        break;
      case "alloc-failed":
        this.#keep("allocations", this.allocations, LIMITS.allocations, { bytes: null, ptr: null, failed: true, at });
        break;
      case "copy-attempt":
        this.#keep("copies", this.copies, LIMITS.copies, { bytes: event.bytes, dst: null, at });
        break;
      case "host-cuda-error":
        this.#fail(event.callId, event.seq, null, event.status, false, at);
        break;
      case "status-error":
        // The driver's own code stands on a line of its own.
        if (transportError(event.err)?.name === "CUDA_ERROR") break;
        this.#fail(event.callId, event.seq, event.err, FAILED_TRANSPORT, false, at);
        break;
      case "timeout":
        this.#fail(event.callId, event.seq, null, null, true, at);
        break;
      default:
        break;
    }
  }

  #count(callId: number, bytes: number, at: number | null): void {
    const known = this.calls.get(callId);
    if (known !== undefined) {
      known.count += 1;
      known.bytes += bytes;
      known.last = at ?? known.last;
    } else if (this.calls.size < LIMITS.callIds) {
      this.calls.set(callId, { count: 1, bytes, failed: 0, first: at, last: at });
    }
  }

  #sent(callId: number, seq: number, bytes: number, at: number | null): void {
    // Each connection counts from 1 again.
    if (seq <= this.#lastSeq) {
      this.#transport += 1;
      this.#current.clear();
    }
    this.#lastSeq = seq;
    const trip = { transport: this.#transport, seq, call_id: callId, bytes, status: null, at, answered_at: null };
    if (this.trips.length < LIMITS.sequence) this.#current.set(seq, trip);
    this.#keep("sequence", this.trips, LIMITS.sequence, trip);
  }

  #answered(callId: number, seq: number, status: number, at: number | null): void {
    const trip = this.#tripOf(callId, seq);
    if (trip === undefined) return;
    trip.status = status;
    trip.answered_at = at;
  }

  #tripOf(callId: number, seq: number): Trip | undefined {
    const trip = this.#current.get(seq);
    return trip?.call_id === callId ? trip : undefined;
  }

  #fail(
    callId: number,
    seq: number,
    error: number | null,
    status: number | null,
    timeout: boolean,
    at: number | null,
  ): void {
    const trip = this.#tripOf(callId, seq);
    const calls = this.calls.get(callId);
    if (calls !== undefined) calls.failed += 1;
    if (trip !== undefined) {
      trip.status = timeout ? null : (status ?? null);
      trip.answered_at = timeout ? null : at;
    }
    const same = this.failures.find(
      (one) =>
        one.call_id === callId && one.transport_error === error && one.status === status && one.timeout === timeout,
    );
    if (same !== undefined) {
      same.count += 1;
      return;
    }
    const transport = trip?.transport ?? null;
    this.#keep("failures", this.failures, LIMITS.failures, {
      call_id: callId,
      seq,
      transport,
      transport_error: error,
      status,
      timeout,
      count: 1,
      at,
    });
  }

  #keep<T>(what: keyof Speaker["cut"], list: T[], most: number, item: T): void {
    if (list.length < most) list.push(item);
    else this.cut[what] = true;
  }

  /** `missing`: lines of the log are missing, so no list is whole. */
  process(missing: boolean): GuestProcess {
    const lost = missing || !this.fromStart;
    const calls: GuestCalls[] = [...this.calls].map(([callId, { count, bytes, failed, first, last }]) => ({
      call_id: callId,
      count,
      bytes_to_host: bytes,
      bytes_back: null,
      failed,
      returned: null,
      first_at: first,
      last_at: last,
    }));
    return {
      ...emptyProcess(this.pid),
      first_at: this.firstAt,
      last_at: this.lastAt,
      data_path: this.dataPath,
      counted_by: this.perCall ? "per-call-lines" : "lines",
      coverage: this.perCall ? (missing ? "partial" : "full") : "none",
      calls,
      allocations: this.allocations,
      copies_in: this.copies,
      sequence: this.trips,
      failures: this.failures,
      cut: {
        allocations: lost || this.cut.allocations,
        copies: lost || this.cut.copies,
        sequence: lost || this.cut.sequence,
        failures: lost || this.cut.failures,
      },
    };
  }
}

const pointerOf = (text: string): string | null => {
  const match = /^0x0*([0-9a-f]{1,16})$/i.exec(text);
  return match === null ? null : `0x${(match[1] ?? "").toLowerCase()}`;
};

/**
 * Makes the evidence of the processes of one log from its lines, in order and in bounded memory. A line without a pid is
 * of the process named last in the same stream (docs/wire.md, "Whose line it is").
 */
export class EvidenceFold {
  readonly #speakers = new Map<number, Speaker>();
  readonly #named = new Map<number | null, number>();
  #dropped = false;

  add(entry: LogEntry): void {
    if (entry.fromManager) return;
    const text = textOfMessage(entry.message);
    const events = matchLine(text).filter(({ grammar }) => grammar.source === "shim");
    if (events.length === 0) {
      const named = SHIM.test(text) ? pidOf(text) : null;
      if (named !== null) this.#named.set(entry.pid, named);
      return;
    }
    for (const { event, pid } of events) {
      if (pid !== null) this.#named.set(entry.pid, pid);
      const of = pid ?? this.#named.get(entry.pid) ?? entry.pid;
      if (of === null) continue;
      this.#speaker(of)?.note(event, entry.at);
    }
  }

  /** VM ids that the shim's lines name. */
  get vmIds(): readonly number[] {
    return [...new Set([...this.#speakers.values()].flatMap(({ vmId }) => vmId ?? []))];
  }

  /** Processes that used the device. `lost`: the log is known to lack lines. */
  processes(lost: boolean): GuestProcess[] {
    return [...this.#speakers.values()]
      .map((speaker) => speaker.process(lost || this.#dropped))
      .filter(({ calls, allocations, copies_in, failures, data_path }) => {
        return data_path !== null || calls.length + allocations.length + copies_in.length + failures.length > 0;
      });
  }

  #speaker(pid: number): Speaker | null {
    const known = this.#speakers.get(pid);
    if (known !== undefined) return known;
    if (this.#speakers.size >= LIMITS.processes) {
      this.#dropped = true;
      return null;
    }
    const made = new Speaker(pid);
    this.#speakers.set(pid, made);
    return made;
  }
}
