import { LATENCY_BUCKETS, MAX_CALLS, MAX_OPEN, type TracedCall, type TracedOpen } from "./tracer.ts";

interface Counting {
  pid: number;
  callId: number;
  count: number;
  returned: number;
  bytesToHost: number;
  bytesBack: number;
  readonly results: Record<string, number>;
  readonly latency: Record<string, number>;
  firstNs: number;
  lastNs: number;
}

/** One event of a thread, in the order of time. */
export type ThreadEvent =
  | { readonly kind: "enter"; readonly callId: number; readonly bytesToHost: number; readonly bytesBack: number }
  | { readonly kind: "leave"; readonly rc: number };

/** Counts events one by one, where the kernel does not: pairs each return with the call of its thread. */
export class Collector {
  readonly #calls = new Map<string, Counting>();
  readonly #open = new Map<number, TracedOpen>();
  /** Calls that were not counted because too many different ones were. */
  full = 0;
  /** Calls that began while another of the same thread was open. */
  nested = 0;
  /** Calls whose return will not be seen because too many threads are in a call. */
  crowded = 0;

  enter(pid: number, tid: number, timeNs: number, event: Extract<ThreadEvent, { kind: "enter" }>): void {
    const { callId, bytesToHost, bytesBack } = event;
    const key = `${pid}:${callId}`;
    let call = this.#calls.get(key);
    if (call === undefined) {
      if (this.#calls.size >= MAX_CALLS) {
        this.full += 1;
        return;
      }
      const none = { count: 0, returned: 0, bytesToHost: 0, bytesBack: 0, firstNs: timeNs, lastNs: timeNs };
      call = { pid, callId, ...none, results: {}, latency: {} };
      this.#calls.set(key, call);
    }
    call.count += 1;
    call.bytesToHost += bytesToHost;
    call.bytesBack += bytesBack;
    call.lastNs = timeNs;
    if (this.#open.has(tid)) this.nested += 1;
    if (this.#open.size < MAX_OPEN) this.#open.set(tid, { pid, tid, callId, enteredNs: timeNs });
    else this.crowded += 1;
  }

  /** A return without a call began before the counting did: it is passed over. */
  leave(tid: number, timeNs: number, rc: number): void {
    const open = this.#open.get(tid);
    if (open === undefined) return;
    this.#open.delete(tid);
    const call = this.#calls.get(`${open.pid}:${open.callId}`);
    if (call === undefined) return;
    call.returned += 1;
    call.results[String(rc)] = (call.results[String(rc)] ?? 0) + 1;
    const bucket = String(bucketOf(timeNs - open.enteredNs));
    call.latency[bucket] = (call.latency[bucket] ?? 0) + 1;
  }

  forget(tid: number): void {
    this.#open.delete(tid);
  }

  calls(): TracedCall[] {
    return [...this.#calls.values()].map((call) => ({
      ...call,
      results: { ...call.results },
      latency: { ...call.latency },
      group: null,
    }));
  }

  open(): TracedOpen[] {
    return [...this.#open.values()];
  }
}

/** floor(log2(ns)), at most the last bucket; 0 for 0. */
export function bucketOf(ns: number): number {
  if (ns < 2) return 0;
  // Math.log2 rounds: just below a power of two it may give the power itself.
  const guess = Math.floor(Math.log2(ns));
  const exact = 2 ** guess > ns ? guess - 1 : guess;
  return Math.min(exact, LATENCY_BUCKETS - 1);
}
