import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmdirSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { errnoOf } from "../../facts/reading.ts";
import type { Kernel } from "../../native/syscall.ts";
import { mountTracefs } from "../../native/tracefs-mount.ts";
import { parseMountinfo } from "../proc.ts";
import { Collector, type ThreadEvent } from "./collector.ts";
import { type EventFormat, parseEventFormat, parseLost, parsePageBytes, walkPage } from "./ring-buffer.ts";
import { Threads } from "./threads.ts";
import { isRemains, newName, parseProbes, pidsAreTheKernels } from "./tracefs-names.ts";
import type { Place, Tally, Tracer } from "./tracer.ts";

/** All buffers together, and one CPU's share at least. */
const BUFFERS_KB = 32 << 10;
const LEAST_BUFFER_KB = 256;
const MOST_BUFFER_KB = 8 << 10;
const MAX_PAGES_A_POLL = 1 << 14;
const CPU = /^cpu\d+$/;
/** Arguments of the function (docs/wire.md, "Uprobes"): registers at its entry, the stack above the return address. */
const ENTRY_FIELDS = "call=%si:u32 sent=%r9:u32 asked=+24(%sp):u32";
const RETURN_FIELDS = "rc=$retval:s32";
const NEW_TASK = "task/task_newtask";

/** Where tracefs is: mounted already, or on a descriptor of our own. */
interface Tree {
  readonly path: string;
  readonly fd: number | null;
}

function findTree(kernel: Kernel | null): Tree {
  const mounts = parseMountinfo(readFileSync("/proc/self/mountinfo"));
  const mounted = mounts.find(({ fsType, readOnly, root }) => fsType === "tracefs" && !readOnly && root === "/");
  if (mounted !== undefined) return { path: mounted.point, fd: null };
  if (kernel === null) throw new Error("tracefs is not mounted: mount -t tracefs tracefs /sys/kernel/tracing");
  const fd = mountTracefs(kernel);
  return { path: `/proc/self/fd/${fd}`, fd };
}

interface Waiting {
  readonly tid: number;
  readonly timeNs: number;
  readonly event: ThreadEvent | { readonly kind: "born"; readonly child: number; readonly flags: number };
}

type Decoder = (page: Buffer, at: number) => Waiting["event"];

/**
 * Counts by trace events, read from the buffers of a tracing instance of our own (docs/wire.md, "Uprobes"): other
 * users of tracing are not disturbed. What it makes in tracefs outlives a killed process: the next one sweeps it.
 */
export class TracefsTracer implements Tracer {
  readonly way = "tracefs";
  readonly #tree: Tree;
  readonly #name = newName();
  readonly #instance: string;
  readonly #collector = new Collector();
  readonly #threads = new Threads();
  readonly #pipes: number[] = [];
  readonly #page: Buffer;
  readonly #decoders = new Map<number, Decoder>();
  readonly #events = new Map<string, readonly string[]>();
  readonly #defined: string[] = [];
  readonly #only: ReadonlySet<number> | null;
  #waiting: Waiting[] = [];
  #unknown = 0;
  #lost = 0;
  #made = 0;

  /** @throws the system's error where the kernel does not let us. `only`: count these processes alone. */
  constructor(kernel: Kernel | null, options: { readonly only: readonly number[] | null }) {
    if (!pidsAreTheKernels()) {
      throw new Error("trace events name threads by the initial pid namespace: run the agent outside of this one");
    }
    this.#only = options.only === null ? null : new Set(options.only);
    this.#tree = findTree(kernel);
    this.#instance = `${this.#tree.path}/instances/${this.#name}`;
    try {
      sweepRemains(this.#tree.path);
      this.#page = Buffer.alloc(parsePageBytes(readFileSync(`${this.#tree.path}/events/header_page`, "latin1")));
      mkdirSync(this.#instance);
      this.#prepare();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  attach({ inode, path, offset }: Place): void {
    this.#made += 1;
    const place = `${path}:0x${offset.toString(16)}`;
    // The return first: a call that is entered between the two must not stay open for ever.
    const [atReturn, atEntry] = [`r${this.#made}`, `p${this.#made}`];
    const events = [atReturn, atEntry];
    this.#defined.push(...events);
    try {
      this.#define(`r:${this.#name}/${atReturn} ${place} ${RETURN_FIELDS}`);
      this.#define(`p:${this.#name}/${atEntry} ${place} ${ENTRY_FIELDS}`);
      this.#listen(`${this.#name}/${atReturn}`, decodeReturn);
      this.#listen(`${this.#name}/${atEntry}`, decodeEntry);
    } catch (error) {
      attemptAll(events.map((event) => () => this.#switch(`${this.#name}/${event}`, "0")));
      throw error;
    }
    this.detach(inode);
    this.#events.set(inode, events);
  }

  /** The events are switched off only: to remove one would empty the buffers. */
  detach(inode: string): void {
    const events = this.#events.get(inode);
    if (events === undefined) return;
    this.#events.delete(inode);
    // Counting ends before the returns do, as it began after them.
    for (const event of events.toReversed()) this.#switch(`${this.#name}/${event}`, "0");
  }

  poll(): void {
    // What was written before this moment is in the buffers when they are read; what is newer may lack its elders.
    const until = Number(process.hrtime.bigint());
    this.#drain();
    this.#settle(until);
  }

  read(): Tally {
    this.poll();
    if (this.#pipes.length > 0) this.#lost = this.#readLost();
    const gaps: string[] = [];
    const say = (count: number, text: string) => {
      if (count > 0) gaps.push(`${count} ${text}`);
    };
    say(this.#lost, "events were lost: the kernel's trace buffers were full");
    say(this.#unknown, "calls of threads that ended before their process could be told");
    say(this.#collector.full, "calls were not counted: too many pairs of process and call id");
    say(this.#collector.crowded, "calls have no result and latency: too many threads in a call at once");
    say(this.#collector.nested, "calls began while another of the same thread was open: they may be counted twice");
    const dropped = this.#lost + this.#unknown + this.#collector.full;
    return { calls: this.#collector.calls(), open: this.#collector.open(), dropped, gaps };
  }

  forget(tid: number): void {
    this.#collector.forget(tid);
  }

  close(): void {
    attemptAll([
      () => writeFileSync(`${this.#instance}/tracing_on`, "0"),
      ...[...this.#events.keys()].map((inode) => () => this.detach(inode)),
      ...this.#pipes.splice(0).map((pipe) => () => closeSync(pipe)),
      () => rmdirSync(this.#instance),
      ...this.#defined.splice(0).map((event) => () => this.#define(`-:${this.#name}/${event}`)),
      () => {
        if (this.#tree.fd !== null) closeSync(this.#tree.fd);
      },
    ]);
  }

  #prepare(): void {
    const write = (file: string, text: string) => writeFileSync(`${this.#instance}/${file}`, text);
    write("tracing_on", "0");
    write("trace_clock", "mono");
    // A full buffer refuses what is new, and counts it, rather than eat what is there.
    write("options/overwrite", "0");
    const cpus = readdirSync(`${this.#instance}/per_cpu`).filter((name) => CPU.test(name));
    const share = Math.floor(BUFFERS_KB / Math.max(1, cpus.length));
    write("buffer_size_kb", String(Math.min(MOST_BUFFER_KB, Math.max(LEAST_BUFFER_KB, share))));
    this.#listen(NEW_TASK, decodeNewTask);
    for (const cpu of cpus) {
      const path = `${this.#instance}/per_cpu/${cpu}/trace_pipe_raw`;
      this.#pipes.push(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
    }
    write("tracing_on", "1");
    this.#threads.readAll();
  }

  #define(line: string): void {
    writeProbe(this.#tree.path, line);
  }

  #listen(event: string, decoder: (format: EventFormat) => Decoder): void {
    const format = parseEventFormat(readFileSync(`${this.#instance}/events/${event}/format`, "latin1"));
    if (format === null) throw new Error(`${event} has a format that is not known`);
    this.#decoders.set(format.id, decoder(format));
    this.#switch(event, "1");
  }

  #switch(event: string, state: "0" | "1"): void {
    writeFileSync(`${this.#instance}/events/${event}/enable`, state);
  }

  #drain(): void {
    for (const pipe of this.#pipes) {
      for (let pages = 0; pages < MAX_PAGES_A_POLL; pages += 1) {
        const bytes = readPage(pipe, this.#page);
        if (bytes === 0) break;
        walkPage(this.#page, bytes, (type, timeNs, page, at) => {
          const decoder = this.#decoders.get(type);
          if (decoder === undefined) return;
          this.#waiting.push({ tid: page.readInt32LE(at + 4), timeNs, event: decoder(page, at) });
        });
      }
    }
  }

  #settle(until: number): void {
    const waiting = this.#waiting.sort((a, b) => a.timeNs - b.timeNs);
    const later = waiting.findIndex(({ timeNs }) => timeNs >= until);
    this.#waiting = later === -1 ? [] : waiting.slice(later);
    for (const { tid, timeNs, event } of later === -1 ? waiting : waiting.slice(0, later)) {
      if (event.kind === "born") {
        this.#threads.born(tid, event.child, event.flags);
      } else if (event.kind === "leave") {
        this.#collector.leave(tid, timeNs, event.rc);
      } else {
        const pid = this.#threads.processOf(tid);
        if (pid === null) this.#unknown += 1;
        else if (this.#only?.has(pid) !== false) this.#collector.enter(pid, tid, timeNs, event);
      }
    }
  }

  #readLost(): number {
    const directory = `${this.#instance}/per_cpu`;
    const cpus = readdirSync(directory).filter((name) => CPU.test(name));
    return cpus.reduce((sum, cpu) => sum + parseLost(readFileSync(`${directory}/${cpu}/stats`, "latin1")), 0);
  }
}

/** Bytes of the next page; 0 when there is none now. */
function readPage(pipe: number, page: Buffer): number {
  try {
    return readSync(pipe, page, 0, page.length, null);
  } catch (error) {
    if (errnoOf(error) === "EAGAIN") return 0;
    throw error;
  }
}

function offsetIn({ offsets }: EventFormat, name: string): number {
  const offset = offsets.get(name);
  if (offset === undefined) throw new Error(`a trace event has no field ${name}`);
  return offset;
}

function decodeEntry(format: EventFormat): Decoder {
  const [call, sent, asked] = [offsetIn(format, "call"), offsetIn(format, "sent"), offsetIn(format, "asked")];
  return (page, at) => ({
    kind: "enter",
    callId: page.readUInt32LE(at + call),
    bytesToHost: page.readUInt32LE(at + sent),
    bytesBack: page.readUInt32LE(at + asked),
  });
}

function decodeReturn(format: EventFormat): Decoder {
  const rc = offsetIn(format, "rc");
  return (page, at) => ({ kind: "leave", rc: page.readInt32LE(at + rc) });
}

function decodeNewTask(format: EventFormat): Decoder {
  const [pid, flags] = [offsetIn(format, "pid"), offsetIn(format, "clone_flags")];
  return (page, at) => ({ kind: "born", child: page.readInt32LE(at + pid), flags: page.readUInt32LE(at + flags) });
}

/** Does all of it, whatever fails: for the way out. */
function attemptAll(steps: readonly (() => void)[]): void {
  for (const step of steps) {
    try {
      step();
    } catch {
      // The others still have to be done; what stays is swept by the next agent.
    }
  }
}

/** Removes what agents that were killed left in this tracefs. */
export function sweepRemains(tracefs: string): void {
  const instances = readdirSync(`${tracefs}/instances`).filter(isRemains);
  attemptAll(instances.map((name) => () => rmdirSync(`${tracefs}/instances/${name}`)));
  const probes = parseProbes(readFileSync(`${tracefs}/uprobe_events`, "latin1")).filter(({ group }) =>
    isRemains(group),
  );
  attemptAll(
    probes.map(
      ({ group, event }) =>
        () =>
          writeProbe(tracefs, `-:${group}/${event}`),
    ),
  );
}

/** Adds or removes one probe. */
function writeProbe(tracefs: string, line: string): void {
  // Never O_TRUNC: it would remove the probes of everybody.
  const fd = openSync(`${tracefs}/uprobe_events`, constants.O_WRONLY | constants.O_APPEND);
  try {
    writeSync(fd, `${line}\n`);
  } finally {
    closeSync(fd);
  }
}
