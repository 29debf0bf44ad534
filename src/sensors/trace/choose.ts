import { readFileSync } from "node:fs";
import { errnoOf } from "../../facts/reading.ts";
import type { Kernel } from "../../native/syscall.ts";
import { EbpfTracer } from "./ebpf.ts";
import { TracefsTracer } from "./tracefs.ts";
import type { Place, Tracer, Way } from "./tracer.ts";

/** Why a way of counting is not to be had here. */
export interface Refusal {
  readonly way: Way;
  /** errno name of what the kernel said, or "unavailable". */
  readonly code: string;
  /** In words, with what the reader can do. */
  readonly reason: string;
}

export interface Choice {
  /** Null when no way is to be had. It counts at `attached` already. */
  readonly tracer: Tracer | null;
  /** The ways that are better than the chosen one, each with the reason why not. */
  readonly refused: readonly Refusal[];
  /** Those of the places that were attached. */
  readonly attached: readonly Place[];
  /** Why the others were not, in words. */
  readonly failures: readonly string[];
}

export interface ChooseOptions {
  /** Count these processes alone; null for all. */
  readonly only: readonly number[] | null;
  /** Ways to try, the best first. */
  readonly ways?: readonly Way[];
}

/** Best first: eBPF counts in the kernel, loses nothing, and leaves nothing behind a killed process. */
const WAYS: readonly Way[] = ["ebpf", "tracefs"];

/** The best way that this kernel and these rights allow, attached to the places. Refusals are results, not errors. */
export async function chooseWay(places: readonly Place[], options: ChooseOptions): Promise<Choice> {
  const refused: Refusal[] = [];
  const kernel = await loadKernelCalls();
  for (const way of options.ways ?? WAYS) {
    let tracer: Tracer;
    try {
      tracer = openTracer(way, kernel, options.only);
    } catch (error) {
      refused.push(refusalOf(way, error));
      continue;
    }
    const attached: Place[] = [];
    const failures: string[] = [];
    let refusal: Refusal | null = null;
    for (const place of places) {
      try {
        tracer.attach(place);
        attached.push(place);
      } catch (error) {
        refusal ??= refusalOf(way, error);
        failures.push(failureText(place, error));
      }
    }
    if (attached.length > 0 || refusal === null) return { tracer, refused, attached, failures };
    tracer.close();
    refused.push(refusal);
  }
  return { tracer: null, refused, attached: [], failures: [] };
}

/** "inode fe:00:123 could not be probed: …". */
export function failureText(place: Place, error: unknown): string {
  return `the file ${place.inode} could not be probed: ${error instanceof Error ? error.message : String(error)}`;
}

/** The kernel's calls through koffi, or why there are none. */
async function loadKernelCalls(): Promise<Kernel | Error> {
  try {
    // Only now: a package without koffi is a reason, not a crash.
    const { loadKernel } = await import("../../native/syscall.ts");
    return loadKernel() ?? new Error(`not on ${process.platform} ${process.arch}: the probes are for Linux on x86-64`);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function openTracer(way: Way, kernel: Kernel | Error, only: readonly number[] | null): Tracer {
  if (process.arch !== "x64" || process.platform !== "linux") throw kernel;
  if (way === "tracefs") return new TracefsTracer(kernel instanceof Error ? null : kernel, { only });
  if (kernel instanceof Error) throw kernel;
  return new EbpfTracer(kernel, { only });
}

const RIGHTS: Readonly<Record<Way, string>> = {
  ebpf: "it takes root, or CAP_SYS_ADMIN",
  tracefs: "it takes root",
};

function refusalOf(way: Way, error: unknown): Refusal {
  const code = errnoOf(error) ?? "unavailable";
  const said = error instanceof Error ? error.message : String(error);
  return { way, code, reason: `${meaningOf(way, code)} (${said.slice(0, 400)})` };
}

function meaningOf(way: Way, code: string): string {
  const name = way === "ebpf" ? "eBPF" : "tracefs";
  if (code === "EPERM" || code === "EACCES") return `${name}: not permitted: ${RIGHTS[way]}${lockdown()}`;
  if (code === "ENOSYS") return `${name}: this kernel does not have the system call, or a sandbox hides it`;
  if (code === "ENOENT" || code === "ENODEV") return `${name}: this kernel has no uprobe events (CONFIG_UPROBE_EVENTS)`;
  if (code === "EINVAL" && way === "ebpf") return `${name}: the kernel does not take the program: Linux 5.5 is needed`;
  return `${name}: not to be had here`;
}

/** What Secure Boot's lockdown adds to a refusal; "" when it is off. */
function lockdown(): string {
  try {
    const mode = /\[(integrity|confidentiality)\]/.exec(readFileSync("/sys/kernel/security/lockdown", "latin1"))?.[1];
    return mode === undefined ? "" : `; the kernel is locked down (${mode})`;
  } catch {
    return "";
  }
}
