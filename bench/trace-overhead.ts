import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { loadKernel } from "../src/native/syscall.ts";
import { EbpfTracer } from "../src/sensors/trace/ebpf.ts";
import { findTargets } from "../src/sensors/trace/targets.ts";
import { TracefsTracer } from "../src/sensors/trace/tracefs.ts";
import type { Place, Tracer } from "../src/sensors/trace/tracer.ts";
import { contextOf } from "../test/support/real-process.ts";
import {
  type Caller,
  compileCaller,
  compileTransport,
  type PROLOGUES,
  type Prologue,
  startCaller,
} from "../test/support/transport-target.ts";

/**
 * What counting costs a process for each call: `node bench/trace-overhead.ts`, as root. Every way is measured in the
 * same run on the same process, one thread, the median of ROUNDS rounds; the ways take turns. bpftrace is the peer where
 * it is installed, with the same counts as ours.
 */

const ROUNDS = 5;
const CALLS = 100_000;
const BPFTRACE_START_MS = 3000;

const kernel = loadKernel();
if (kernel === null) throw new Error("Linux on x86-64 is needed");

interface Way {
  readonly name: string;
  /** Bytes from the instruction that is usually probed. */
  readonly shift: number;
  readonly open: (() => Tracer) | "bpftrace" | null;
}

const ebpf = () => new EbpfTracer(kernel, { only: null });
const entryOnly = () => new EbpfTracer(kernel, { only: null, entryOnly: true });
const tracefs = () => new TracefsTracer(kernel, { only: null });
const bpftrace = spawnSync("bpftrace", ["--version"]).status === 0;

function waysFor(prologue: Prologue): Way[] {
  const ways: Way[] = [
    { name: "not probed", shift: 0, open: null },
    { name: "eBPF, entry alone", shift: 0, open: entryOnly },
    { name: "eBPF, entry and return", shift: 0, open: ebpf },
    { name: "tracefs, entry and return", shift: 0, open: tracefs },
  ];
  if (prologue === "endbr") {
    ways.push({ name: "eBPF, entry and return, on endbr64", shift: -4, open: ebpf });
    ways.push({ name: "tracefs, entry and return, on endbr64", shift: -4, open: tracefs });
  }
  // bpftrace probes the symbol: at endbr64 where there is one.
  if (bpftrace) ways.push({ name: "bpftrace, entry and return", shift: 0, open: "bpftrace" });
  return ways;
}

/** The counts and the histogram that ours make, as a user would ask bpftrace for them. */
function script(library: string): string {
  return `uprobe:${library}:cuda_transport_call { @c[pid, arg1] = count(); @b[pid, arg1] = sum(arg5); @t[tid] = nsecs; @i[tid] = arg1; }
    uretprobe:${library}:cuda_transport_call /@t[tid]/ { @r[pid, @i[tid], retval] = count(); @l[pid, @i[tid]] = hist(nsecs - @t[tid]); delete(@t[tid]); delete(@i[tid]); }`;
}

/** ns of each call while counted in this way. */
async function measure(caller: Caller, library: string, place: Place, { open, shift }: Way): Promise<number> {
  if (open === null) return (await caller.run(CALLS * 10)) / (CALLS * 10);
  if (open === "bpftrace") {
    const peer = spawn("bpftrace", ["-e", script(library)], { stdio: "ignore" });
    await sleep(BPFTRACE_START_MS);
    const ns = (await caller.run(CALLS)) / CALLS;
    const ended = once(peer, "exit");
    peer.kill("SIGINT");
    await ended;
    return ns;
  }
  const tracer = open();
  const poll = setInterval(() => tracer.poll(), 20);
  try {
    tracer.attach({ ...place, offset: place.offset + shift });
    return (await caller.run(CALLS)) / CALLS;
  } finally {
    clearInterval(poll);
    tracer.close();
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const directory = mkdtempSync(join(tmpdir(), "vgpu-agent-bench-"));
try {
  const program = compileCaller(directory);
  console.log("| function begins with | counted by | ns per call | min–max | added ns | of eBPF entry and return |");
  console.log("|---|---|---|---|---|---|");
  for (const prologue of ["endbr", "jump", "push"] satisfies (keyof typeof PROLOGUES)[]) {
    const library = compileTransport(directory, `${prologue}.so`, prologue);
    const caller = await startCaller(program, [library]);
    const { targets } = await findTargets(contextOf("/"), null);
    const target = targets.find(({ pids }) => pids.includes(caller.pid));
    if (target === undefined) throw new Error("the target was not found");
    const place = { inode: target.inode, offset: target.offset, path: `/proc/self/fd/${target.handle.fd}` };
    const ways = waysFor(prologue);
    const times = new Map<string, number[]>(ways.map(({ name }) => [name, []]));
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const way of ways) times.get(way.name)?.push(await measure(caller, library, place, way));
    }
    const plain = median(times.get("not probed") ?? []);
    const ours = median(times.get("eBPF, entry and return") ?? []) - plain;
    for (const [name, measured] of times) {
      const added = median(measured) - plain;
      const range = `${Math.min(...measured).toFixed(0)}–${Math.max(...measured).toFixed(0)}`;
      const ratio = name === "not probed" ? "" : `${(added / ours).toFixed(2)}×`;
      console.log(
        `| ${prologue} | ${name} | ${median(measured).toFixed(1)} | ${range} | ${added.toFixed(0)} | ${ratio} |`,
      );
    }
    for (const { handle } of targets) await handle.close();
    await caller.stop();
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
// The hooks of the test support keep the runner alive for nothing.
process.exit();
