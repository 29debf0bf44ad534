import { BpfProgram } from "../../native/bpf.ts";
import { BpfMap, MapContents } from "../../native/bpf-map.ts";
import { readUprobeSource, UprobeEvent, type UprobeSource } from "../../native/perf.ts";
import type { Kernel } from "../../native/syscall.ts";
import {
  CALL,
  CALL_BYTES,
  entryProgram,
  OPEN_BYTES,
  RESULT_KEY_BYTES,
  returnProgram,
  STAT,
  STAT_BYTES,
} from "./programs.ts";
import {
  LATENCY_BUCKETS,
  MAX_CALLS,
  MAX_OPEN,
  MAX_RESULTS,
  type Place,
  type Tally,
  type TracedCall,
  type Tracer,
} from "./tracer.ts";

export interface EbpfOptions {
  /** Count these processes alone, by their pids in the initial namespace; null for all. */
  readonly only: readonly number[] | null;
  /** Without the return probe: no results, no latencies, nothing is `open`. For measurements. */
  readonly entryOnly?: boolean;
  /** Sizes of the kernel's maps; those of tracer.ts by default. */
  readonly limits?: { readonly calls: number; readonly results: number; readonly open: number };
}

const LIMITS = { calls: MAX_CALLS, results: MAX_RESULTS, open: MAX_OPEN };

const INDEX = Buffer.alloc(4);

/**
 * Counts in the kernel with two eBPF programs on uprobes (docs/wire.md, "Uprobes"). Every file descriptor closes with
 * this process, however it ends, and takes probes, programs and maps with it.
 */
export class EbpfTracer implements Tracer {
  readonly way = "ebpf";
  readonly #kernel: Kernel;
  readonly #source: UprobeSource;
  readonly #limits: typeof LIMITS;
  readonly #closing: { close(): void }[] = [];
  readonly #calls: BpfMap;
  readonly #results: BpfMap;
  readonly #open: BpfMap;
  readonly #stats: BpfMap;
  readonly #entry: BpfProgram;
  readonly #return: BpfProgram | null;
  readonly #events = new Map<string, UprobeEvent[]>();
  /** What was read last, and what it is read into next. */
  #rows = new MapContents();
  #nextRows = new MapContents();
  #failed = new MapContents();
  #nextFailed = new MapContents();
  #tallied: readonly TracedCall[] = [];

  /** @throws SystemCallError or an error of read(2) where the kernel does not let us. */
  constructor(kernel: Kernel, options: EbpfOptions) {
    this.#kernel = kernel;
    this.#source = readUprobeSource();
    const limits = options.limits ?? LIMITS;
    this.#limits = limits;
    try {
      const hash = (name: string, keyBytes: number, valueBytes: number, maxEntries: number) =>
        this.#keep(new BpfMap(kernel, { kind: "hash", name, keyBytes, valueBytes, maxEntries }));
      const single = (name: string, valueBytes: number) =>
        this.#keep(new BpfMap(kernel, { kind: "array", name, keyBytes: 4, valueBytes, maxEntries: 1 }));
      this.#calls = hash("vgpu_calls", 8, CALL_BYTES, limits.calls);
      this.#results = hash("vgpu_results", RESULT_KEY_BYTES, 8, limits.results);
      this.#open = hash("vgpu_open", 4, OPEN_BYTES, limits.open);
      this.#stats = single("vgpu_stats", STAT_BYTES);
      const zero = single("vgpu_zero", CALL_BYTES);
      const only = options.only === null ? null : hash("vgpu_only", 4, 4, Math.max(1, options.only.length));
      for (const pid of options.only ?? []) only?.set(word(pid), word(1));
      const maps = {
        calls: this.#calls.fd,
        results: this.#results.fd,
        open: this.#open.fd,
        stats: this.#stats.fd,
        zero: zero.fd,
        only: only?.fd ?? null,
      };
      this.#entry = this.#keep(new BpfProgram(kernel, "vgpu_entry", entryProgram(maps, options.entryOnly !== true)));
      this.#return =
        options.entryOnly === true ? null : this.#keep(new BpfProgram(kernel, "vgpu_return", returnProgram(maps)));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  attach({ inode, path, offset }: Place): void {
    const events: UprobeEvent[] = [];
    const attachOne = (program: BpfProgram, atReturn: boolean) =>
      events.push(new UprobeEvent(this.#kernel, this.#source, { path, offset, atReturn }, program));
    try {
      // The return first: a call that is entered between the two must not stay open for ever.
      if (this.#return !== null) attachOne(this.#return, true);
      attachOne(this.#entry, false);
    } catch (error) {
      for (const event of events) event.close();
      throw error;
    }
    this.detach(inode);
    this.#events.set(inode, events);
  }

  detach(inode: string): void {
    // Counting ends before the returns do, as it began after them.
    for (const event of this.#events.get(inode)?.reverse() ?? []) event.close();
    this.#events.delete(inode);
  }

  poll(): void {}

  read(): Tally {
    const stats = this.#stats.get(INDEX) ?? Buffer.alloc(STAT_BYTES);
    const stat = (name: keyof typeof STAT) => Number(stats.readBigUInt64LE(STAT[name]));
    const missed = this.#entry.misses() + (this.#return?.misses() ?? 0);
    const gaps: string[] = [];
    const say = (count: number, text: string) => {
      if (count > 0) gaps.push(`${count} ${text}`);
    };
    say(stat("callsFull"), `calls were not counted: more than ${this.#limits.calls} pairs of process and call id`);
    say(missed, "calls or returns were not counted: the kernel left out runs of the counting program");
    say(stat("openFull"), `calls have no result and latency: more than ${this.#limits.open} threads in a call at once`);
    say(stat("resultsFull"), `results were not counted: more than ${this.#limits.results} different ones`);
    say(stat("nested"), "calls began while another of the same thread was open: they may be counted twice");
    say(stat("unread"), "calls without their bytes back: the stack could not be read");
    return {
      calls: this.#readCalls(),
      open: this.#open.entries().map(({ key, value }) => ({
        tid: key.readUInt32LE(0),
        enteredNs: Number(value.readBigUInt64LE(0)),
        pid: value.readUInt32LE(8),
        callId: value.readUInt32LE(12),
      })),
      dropped: stat("callsFull") + missed,
      gaps,
    };
  }

  forget(tid: number): void {
    this.#open.delete(word(tid));
  }

  close(): void {
    for (const inode of [...this.#events.keys()]) this.detach(inode);
    for (const one of this.#closing.splice(0)) one.close();
  }

  #keep<T extends { close(): void }>(one: T): T {
    this.#closing.push(one);
    return one;
  }

  /** The same list as before while nothing was called: a table of thousands of rows is asked for each second. */
  #readCalls(): readonly TracedCall[] {
    // The failures first: of a call that comes back meanwhile one may be missing, and none is there that has not returned.
    this.#results.read(this.#nextFailed);
    this.#calls.read(this.#nextRows);
    const hasSameFailures = this.#failed.equals(this.#nextFailed);
    if (hasSameFailures && this.#rows.equals(this.#nextRows)) return this.#tallied;
    const failures = failuresOf(this.#nextFailed);
    const calls: TracedCall[] = [];
    for (let row = 0; row < this.#nextRows.count; row += 1) {
      const before = row < this.#rows.count && hasSameFailures ? this.#tallied[row] : undefined;
      const isSame = before !== undefined && this.#rows.hasSameRow(row, this.#nextRows);
      calls.push(isSame ? before : readCall(this.#nextRows.key(row), this.#nextRows.value(row), failures));
    }
    [this.#rows, this.#nextRows] = [this.#nextRows, this.#rows];
    [this.#failed, this.#nextFailed] = [this.#nextFailed, this.#failed];
    this.#tallied = calls;
    return calls;
  }
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** By call as it is in a key: how often it came back with which return value that is none of success. */
function failuresOf(contents: MapContents): Map<string, Record<string, number>> {
  const failures = new Map<string, Record<string, number>>();
  for (let row = 0; row < contents.count; row += 1) {
    const key = contents.key(row);
    const call = key.toString("hex", 0, 8);
    const results = failures.get(call) ?? {};
    results[String(key.readInt32LE(8))] = readCount(contents.value(row), 0);
    failures.set(call, results);
  }
  return failures;
}

/** Below 2^53 exactly; a BigInt for each of the many would be garbage. */
function readCount(bytes: Buffer, offset: number): number {
  return bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * 0x1_0000_0000;
}

function readCall(key: Buffer, value: Buffer, failures: ReadonlyMap<string, Record<string, number>>): TracedCall {
  const field = (offset: number) => readCount(value, offset);
  const latency: Record<string, number> = {};
  for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket += 1) {
    const count = field(CALL.latency + bucket * 8);
    if (count > 0) latency[String(bucket)] = count;
  }
  const ok = field(CALL.ok);
  return {
    pid: key.readUInt32LE(0),
    callId: key.readUInt32LE(4),
    count: field(CALL.count),
    returned: field(CALL.returned),
    bytesToHost: field(CALL.toHost),
    bytesBack: field(CALL.back),
    results: { ...(ok > 0 ? { "0": ok } : {}), ...failures.get(key.toString("hex")) },
    latency,
    firstNs: field(CALL.firstNs),
    lastNs: field(CALL.lastNs),
    group: String(value.readBigUInt64LE(CALL.group)),
  };
}
