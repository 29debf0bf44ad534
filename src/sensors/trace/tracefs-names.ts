import { readFileSync, readlinkSync } from "node:fs";
import { parseStat } from "../proc.ts";

/**
 * Names of what we leave in tracefs while we count: they tell whose it is, so that the remains of an agent that was
 * killed can be told from the work of one that runs. `vgpu_agent_NAMESPACE_PID_START_N`: the inode of the pid
 * namespace, the pid in it, its start in clock ticks after boot, and a number of our own.
 */

const NAME = /^vgpu_agent_(\d+)_(\d+)_(\d+)_\d+$/;
const NAMESPACE = /^pid:\[(\d+)\]$/;
let made = 0;

function ownNamespace(): string {
  return NAMESPACE.exec(readlinkSync("/proc/self/ns/pid"))?.[1] ?? "0";
}

function startOf(pid: string): number | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`))?.startTicks ?? null;
  } catch {
    return null;
  }
}

/** A name that nobody else has: for the instance and for the group of events. */
export function newName(): string {
  made += 1;
  return `vgpu_agent_${ownNamespace()}_${process.pid}_${startOf("self") ?? 0}_${made}`;
}

/** Whether it is the name of an agent of this pid namespace that no longer runs. */
export function isRemains(name: string): boolean {
  const [, namespace, pid = "", start] = NAME.exec(name) ?? [];
  if (namespace === undefined || namespace !== ownNamespace()) return false;
  return startOf(pid) !== Number(start);
}

const PROBE = /^[pr]\d*:(\w+)\/(\w+) /;

/** Group and name of each line of uprobe_events. */
export function parseProbes(text: string): { readonly group: string; readonly event: string }[] {
  return text.split("\n").flatMap((line) => {
    const [, group, event] = PROBE.exec(line) ?? [];
    return group === undefined || event === undefined ? [] : [{ group, event }];
  });
}

/** The pid namespace that the kernel's own pids are of (PROC_PID_INIT_INO). */
const INITIAL_NAMESPACE = "4026531836";

/** Whether the pids of our /proc are those that the kernel's instrumentation names. */
export function pidsAreTheKernels(): boolean {
  return ownNamespace() === INITIAL_NAMESPACE;
}
