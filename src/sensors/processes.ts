import { notRead, notReadFromError, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import type { ProcessFacts, UnitFacts, WorkloadFacts } from "../facts/workload.ts";
import { isSystemLibrary } from "../protocol/libraries.ts";
import type { SensorContext } from "./context.ts";
import { libraryCacheOf } from "./library-identity.ts";
import { barMappings, readMaps } from "./mapped-libraries.ts";
import { readMountBaseline } from "./mount-view.ts";
import { type MapEntry, parseBootTime } from "./proc.ts";
import { readProcess } from "./process-facts.ts";
import { type Glance, listProcesses, READ_WIDTH, selectProcesses } from "./process-list.ts";
import { mapLimit, outsideEvidence, viewOf } from "./scope.ts";

const MAX_WORKLOAD = 256;
const DRIVER_SHIM_NAME = /libvgpu-cuda/;

/**
 * The processes of the workload (docs/wire.md, "Ollama processes") and any other program that has the device's BAR or
 * a driver shim mapped. Only /proc and library files are read; no process is traced or stopped.
 */
export async function readWorkload(context: SensorContext, unit: Reading<UnitFacts>): Promise<Reading<WorkloadFacts>> {
  const outside = outsideEvidence(context);
  if (outside !== null) return outside;
  let list: Awaited<ReturnType<typeof listProcesses>>;
  try {
    list = await listProcesses(context);
  } catch (error) {
    return notReadFromError(error, "/proc");
  }
  if (context.signal.aborted && list.glances.length === 0) {
    return notRead("timed-out", "the time limit ended the look at /proc");
  }
  if (list.glances.length === 0 && !context.fs.live) {
    return notRead("absent", "the tree has no /proc/PID directories: its processes were not captured");
  }
  const incomplete = [...list.incomplete];
  const unitFacts = valueIn(unit);
  const selection = selectProcesses(list.glances, context.scope, unitFacts);
  if (context.scope.pid !== null && selection.chosen.length === 0) {
    return notRead("absent", `there is no process ${context.scope.pid}`);
  }
  const chosen = selection.chosen.filter((one) => !one.zombie).slice(0, MAX_WORKLOAD);
  for (const one of selection.chosen) {
    if (one.zombie) incomplete.push(`process ${one.pid} (${one.comm}) has ended and was not yet reaped`);
  }
  if (selection.chosen.length > MAX_WORKLOAD) {
    incomplete.push(`the workload has ${selection.chosen.length} processes, ${MAX_WORKLOAD} were looked at`);
  }
  const outsiders = context.scope.pid === null ? await findOutsiders(context, list.glances, selection.chosen) : null;
  incomplete.push(...(outsiders?.incomplete ?? []));
  const around = {
    bootedAt: await readBootTime(context),
    mounts: await readMountBaseline(context),
    unit: unitFacts,
  };
  const readings = await mapLimit([...chosen, ...(outsiders?.found ?? [])], READ_WIDTH, (one) =>
    readProcess(context, one, around),
  );
  const processes: ProcessFacts[] = [];
  for (const reading of readings) {
    incomplete.push(...reading.incomplete);
    if (reading.facts !== null) processes.push(reading.facts);
  }
  if (context.signal.aborted) incomplete.push("the time limit ended the look at processes");
  const detail = `${processes.length} of ${list.glances.length} processes, found by ${selection.foundBy}`;
  return wasRead({ foundBy: selection.foundBy, processes, incomplete }, detail);
}

/** Boot time of the system that the root shows, epoch milliseconds; null when /proc/stat is not there. */
export async function readBootTime(context: SensorContext): Promise<number | null> {
  const read = await context.fs.read("/proc/stat", 1 << 20).catch(() => null);
  return read === null ? null : parseBootTime(read.bytes);
}

interface Outsiders {
  readonly found: readonly Glance[];
  readonly incomplete: readonly string[];
}

/** Processes outside the workload that use the device: they share its lock, its memory window and its faults. */
async function findOutsiders(
  context: SensorContext,
  glances: readonly Glance[],
  chosen: readonly Glance[],
): Promise<Outsiders> {
  const known = new Set(chosen.map((one) => one.pid));
  const others = glances.filter((one) => !known.has(one.pid) && !one.zombie && !one.kernelThread);
  /** By inode as maps shows it: a library that many processes map is looked at once. */
  const verdicts = new Map<string, boolean>();
  const found: Glance[] = [];
  let denied = 0;
  await mapLimit(others, READ_WIDTH, async (one) => {
    if (context.signal.aborted) return;
    try {
      const { entries } = await readMaps(context, one.pid);
      // A read-only mapping is a probe that looks at registers, not a transport.
      const usesBar = barMappings(entries).some((bar) => bar.perms[1] === "w");
      if (usesBar || (await mapsDriverShim(context, one.pid, entries, verdicts))) found.push(one);
    } catch (error) {
      if (notReadFromError(error, "maps").state === "denied") denied += 1;
    }
  });
  const incomplete =
    denied > 0
      ? [`the maps of ${denied} other processes may not be read: programs outside the unit may be missed`]
      : [];
  return { found: found.sort((a, b) => a.pid - b.pid).slice(0, MAX_WORKLOAD), incomplete };
}

async function mapsDriverShim(
  context: SensorContext,
  pid: number,
  entries: readonly MapEntry[],
  verdicts: Map<string, boolean>,
): Promise<boolean> {
  for (const entry of entries) {
    if (!entry.isFile || entry.perms[2] !== "x") continue;
    if (entry.deleted ? !context.fs.live : isSystemLibrary(entry.path)) continue;
    const known = verdicts.get(entry.inode);
    const isDriver = known ?? (await isDriverShim(context, pid, entry));
    verdicts.set(entry.inode, isDriver);
    if (isDriver) return true;
  }
  return false;
}

/** By symbols; by name only where the file cannot be read. */
async function isDriverShim(context: SensorContext, pid: number, entry: MapEntry): Promise<boolean> {
  const cache = libraryCacheOf(context.fs);
  const view = await viewOf(context, pid);
  const mapped = `/proc/${pid}/map_files/${entry.range}`;
  const identity = entry.deleted ? await cache.identify(context.fs, mapped) : await cache.identify(view.fs, entry.path);
  return identity.state === "read" ? identity.value.kind === "driver-shim" : DRIVER_SHIM_NAME.test(entry.path);
}
