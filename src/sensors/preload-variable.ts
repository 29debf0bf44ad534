import { notRead, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { PreloadEntry, UnitFacts, WorkloadFacts } from "../facts/workload.ts";
import type { SensorContext } from "./context.ts";
import { libraryCacheOf } from "./library-identity.ts";
import { outsideEvidence, type View, viewOf } from "./scope.ts";

/** More than any loader command line that means something. */
const MAX_ENTRIES = 64;

/**
 * The libraries that LD_PRELOAD of the workload's processes names, looked at in each process's own view; the unit's
 * when no process runs. The loader ignores an entry that it cannot load with one line on stderr, which is easily lost.
 */
export async function readPreloadVariable(
  context: SensorContext,
  workload: Reading<WorkloadFacts>,
  unit: Reading<UnitFacts>,
): Promise<Reading<readonly PreloadEntry[]>> {
  const outside = outsideEvidence(context);
  if (outside !== null) return outside;
  const processes = valueIn(workload)?.processes ?? [];
  const readable = processes.filter(({ env }) => env.state === "read");
  const fromUnit = valueIn(unit)?.environment["LD_PRELOAD"];
  if (readable.length === 0 && valueIn(unit) === undefined) {
    return notRead("absent", "neither a process of the workload nor its unit tells its LD_PRELOAD");
  }
  const sources: (readonly [number | null, string | undefined])[] = readable.map((one) => [
    one.pid,
    valueIn(one.env)?.["LD_PRELOAD"],
  ]);
  if (readable.length === 0) sources.push([null, fromUnit]);
  const entries: PreloadEntry[] = [];
  for (const [pid, text] of sources) {
    const view = await viewOf(context, pid);
    for (const library of namesOf(text).slice(0, MAX_ENTRIES)) entries.push(await look(context, view, pid, library));
  }
  return wasRead(entries, `${entries.length} entries of ${sources.length} environments`);
}

/** The loader splits at spaces and colons. */
function namesOf(text: string | undefined): string[] {
  return (text ?? "").split(/[\s:]+/).filter((name) => name !== "");
}

async function look(context: SensorContext, view: View, pid: number | null, library: string): Promise<PreloadEntry> {
  if (!library.startsWith("/")) {
    const detail = `${library} has no path: the loader searches its own directories`;
    return { pid, library, exists: null, kind: notRead("skipped", detail) };
  }
  const identity = await libraryCacheOf(context.fs).identify(view.fs, library);
  const kind: PreloadEntry["kind"] = identity.state === "read" ? wasRead(identity.value.kind) : identity;
  // A file that may not be opened exists; only a missing one does not.
  return { pid, library, exists: identity.state !== "absent", kind };
}
