import type { Scope } from "../facts/facts.ts";
import type { Ledger, LedgerProcess, TraceFacts } from "../facts/ledger.ts";
import { notRead, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { UnitFacts, WorkloadFacts } from "../facts/workload.ts";
import type { SensorContext } from "./context.ts";
import type { Refusal } from "./trace/choose.ts";
import { liveLedger } from "./trace/live.ts";
import { pidsAreTheKernels } from "./trace/tracefs-names.ts";

/** A window in which calls are counted as they happen. */
export interface LiveRequest {
  readonly seconds: number;
  /** Runs the count with a signal that ends it early; what was counted until then is judged. */
  readonly interruptible: <T>(count: (signal: AbortSignal) => Promise<T>) => Promise<T>;
  /** Told about once a second: a line for people who wait. */
  readonly onTick: (text: string) => void;
}

export interface LiveCalls {
  readonly ledger: Ledger;
}

/**
 * Counts the calls of all processes that map a transport, for as long as asked. The only sensor that touches the
 * workload: the kernel puts a breakpoint into the shim's code meanwhile (docs/wire.md, "Uprobes").
 */
export async function readLiveCalls(
  context: SensorContext,
  workload: Reading<WorkloadFacts>,
  request: LiveRequest,
): Promise<Reading<LiveCalls>> {
  if (!pidsAreTheKernels()) {
    return notRead(
      "absent",
      "the kernel names the pids of the initial pid namespace, and this is another one: run the doctor outside of the container",
    );
  }
  const { seconds, interruptible, onTick } = request;
  const processes = valueIn(workload)?.processes ?? [];
  const { result, ended } = await interruptible(async (stop) => {
    const signal = AbortSignal.any([context.signal, stop]);
    const begun = performance.now();
    const said = await liveLedger(context, processes.length === 0 ? null : processes, seconds, signal, (ledger) => {
      const total = ledger.calls.reduce((sum, { count }) => sum + count, 0);
      onTick(
        `calls as they happen: ${total} in ${Math.round((performance.now() - begun) / 1000)} of ${seconds} s (Ctrl-C ends the count)`,
      );
    });
    return { result: said, ended: signal.aborted };
  });
  const { ledger, refused } = result;
  if (ledger === null) return notRead(stateOf(refused), refused.map(({ reason }) => reason).join("; "));
  const ms = (ledger.to ?? 0) - (ledger.from ?? 0);
  const cut = `the count was ended after ${(ms / 1000).toFixed(1)} of ${seconds} s`;
  const kept: Ledger =
    ended && ledger.coverage === "full" ? { ...ledger, coverage: "partial", gaps: [cut, ...ledger.gaps] } : ledger;
  const instead = refused.map(({ reason }) => `; not a better way: ${reason}`).join("");
  return wasRead(
    { ledger: kept },
    `${NAMES[kept.source]}, ${(ms / 1000).toFixed(1)} s, coverage ${kept.coverage}${instead}`,
  );
}

const NAMES: Readonly<Record<Ledger["source"], string>> = {
  ebpf: "eBPF",
  tracefs: "tracefs",
  journal: "journal",
  file: "file",
};

function stateOf(refused: readonly Refusal[]): "denied" | "absent" {
  return refused.some(({ code }) => code === "EPERM" || code === "EACCES") ? "denied" : "absent";
}

/**
 * Whose the counted calls are, by looks at the processes before and after the window, and by what the count itself saw
 * of those that came and went between.
 */
export function attribute(
  live: Reading<LiveCalls>,
  scope: Scope,
  unit: Reading<UnitFacts>,
  before: Reading<WorkloadFacts>,
  after: Reading<WorkloadFacts>,
): Reading<TraceFacts> {
  if (live.state !== "read") return live;
  const { ledger } = live.value;
  const mainPid = valueIn(unit)?.mainPid ?? null;
  const now = ownPids(scope, mainPid, valueIn(after));
  const others = (valueIn(after)?.processes ?? []).map(({ pid }) => pid).filter((pid) => !now.has(pid));
  const inUnit = scope.pid === null ? ledger.processes.filter(({ unit: its }) => its === scope.unit) : [];
  // A pid that is another program's now says nothing of who had it before.
  const then = [...ownPids(scope, mainPid, valueIn(before)), ...inUnit.map(({ pid }) => pid)];
  const own = new Set([...now, ...then.filter((pid) => !others.includes(pid))]);
  addDescendants(
    own,
    ledger.processes.filter(({ pid }) => !others.includes(pid)),
  );
  const brief = valueIn(after)?.foundBy === "unit" ? briefOthers(ledger, scope) : [];
  const strangers = [...others, ...brief.filter((pid) => !own.has(pid))];
  const trace: TraceFacts = { ledger, workload: [...own], others: strangers };
  return live.detail === undefined ? wasRead(trace) : wasRead(trace, live.detail);
}

/** Processes that ended between the looks, and were in another unit's control group when they called. */
function briefOthers({ processes }: Ledger, scope: Scope): number[] {
  const isOther = ({ comm, group, unit }: LedgerProcess): boolean =>
    comm === "" && group !== null && unit !== scope.unit;
  return processes.filter(isOther).map(({ pid }) => pid);
}

/**
 * The pids of the workload itself. The look at processes also finds other programs that use the device; their calls
 * say nothing of this workload.
 */
function ownPids(scope: Scope, mainPid: number | null, workload: WorkloadFacts | undefined): Set<number> {
  const { foundBy, processes } = workload ?? { foundBy: "none" as const, processes: [] };
  const isOwn = ({ unit, pid, role }: WorkloadFacts["processes"][number]): boolean => {
    switch (foundBy) {
      case "pid":
        return true;
      case "unit":
        return unit === scope.unit || pid === mainPid;
      case "argv":
        return role !== "program";
      case "none":
        return false;
    }
  };
  const own = new Set(processes.filter(isOwn).map(({ pid }) => pid));
  addDescendants(own, processes);
  return own;
}

type Child = { readonly pid: number; readonly ppid: number | null };

function addDescendants(own: Set<number>, all: readonly Child[]): void {
  for (let before = -1; before !== own.size; ) {
    before = own.size;
    for (const { pid, ppid } of all) if (ppid !== null && own.has(ppid)) own.add(pid);
  }
}
