import { closeSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { after } from "node:test";
import { loadKernel } from "../../src/native/syscall.ts";
import { mountTracefs } from "../../src/native/tracefs-mount.ts";
import { EbpfTracer } from "../../src/sensors/trace/ebpf.ts";
import { NO_COMPILER } from "./real-process.ts";

/** The reason why uprobes cannot be tried here; false when they can. */
export const NO_UPROBES: string | false = NO_COMPILER || whyNot();

function whyNot(): string | false {
  try {
    const kernel = loadKernel();
    if (kernel === null) return "uprobes are tried on Linux on x86-64 alone";
    new EbpfTracer(kernel, { only: null }).close();
    closeSync(mountTracefs(kernel));
    return false;
  } catch (error) {
    return `no uprobes for this user on this kernel: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** A view of tracefs of the test's own, mounted nowhere. It is closed with the test file. */
export function openTracefs(): string {
  const kernel = loadKernel();
  if (kernel === null) throw new Error("not on x86-64");
  const fd = mountTracefs(kernel);
  after(() => closeSync(fd));
  return `/proc/self/fd/${fd}`;
}

/** What this process has in tracefs: instances, and probes that it defined. */
export function ownTraces(tracefs: string): readonly string[] {
  const mine = new RegExp(`vgpu_agent_\\d+_${process.pid}_`);
  const probes = readFileSync(`${tracefs}/uprobe_events`, "latin1").split("\n");
  return [...readdirSync(`${tracefs}/instances`), ...probes].filter((line) => mine.test(line));
}

/** What the open file descriptors of this process lead to, without those of pipes, sockets and event polls. */
export function openFiles(): readonly string[] {
  const targets = readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  return targets.filter((target) => /bpf|perf_event|trace|\.so$/.test(target)).sort();
}
