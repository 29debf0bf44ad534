import { notRead, type Reading, wasRead } from "../facts/reading.ts";
import type { BarMapping, MappedLibrary, MapsFacts } from "../facts/workload.ts";
import { isSystemLibrary, nameTells } from "../protocol/libraries.ts";
import type { SensorContext } from "./context.ts";
import { type LibraryIdentity, libraryCacheOf } from "./library-identity.ts";
import { barOfPath, type MapEntry, parseMaps } from "./proc.ts";
import { viewOf } from "./scope.ts";

const MAX_MAPS = 8 << 20;
const MAX_LIBRARIES = 200;

export interface MapsReading {
  readonly facts: MapsFacts;
  /** What was left out, in words; empty when nothing was. */
  readonly incomplete: readonly string[];
}

/** Reads /proc/PID/maps. Rejects with the system's error when it may not be read. */
export async function readMaps(
  context: SensorContext,
  pid: number,
): Promise<{ entries: MapEntry[]; truncated: boolean }> {
  const { bytes, truncated } = await context.fs.read(`/proc/${pid}/maps`, MAX_MAPS);
  return { entries: parseMaps(bytes), truncated };
}

export function barMappings(entries: readonly MapEntry[]): BarMapping[] {
  const mappings: BarMapping[] = [];
  for (const entry of entries) {
    const found = barOfPath(entry.path);
    if (found !== null) mappings.push({ ...found, perms: entry.perms });
  }
  return mappings;
}

/**
 * The libraries and BARs that a process has mapped. Every distinct executable file mapping but the base system's
 * libraries is told by its symbols; those that matter are kept.
 */
export async function describeMaps(
  context: SensorContext,
  pid: number,
  maps: { readonly entries: readonly MapEntry[]; readonly truncated: boolean },
): Promise<MapsReading> {
  const incomplete: string[] = [];
  if (maps.truncated) incomplete.push(`/proc/${pid}/maps: only the first ${MAX_MAPS >> 20} MiB were read`);
  const distinct = new Map<string, MapEntry>();
  for (const entry of maps.entries) {
    const looked = entry.isFile && entry.perms[2] === "x" && !distinct.has(entry.inode);
    if (looked && (entry.deleted || !isSystemLibrary(entry.path))) distinct.set(entry.inode, entry);
  }
  if (distinct.size > MAX_LIBRARIES) {
    incomplete.push(`process ${pid}: ${distinct.size} libraries are mapped, ${MAX_LIBRARIES} were looked at`);
  }
  const libraries: MappedLibrary[] = [];
  for (const entry of [...distinct.values()].slice(0, MAX_LIBRARIES)) {
    if (context.signal.aborted) {
      incomplete.push(`process ${pid}: the time limit ended the look at its libraries`);
      break;
    }
    const identity = await identifyMapping(context, pid, entry);
    const known = identity.state === "read" ? identity.value : null;
    if (!nameTells(entry.path) && (known === null || known.kind === "other")) continue;
    libraries.push({
      path: entry.path,
      inode: entry.inode,
      deleted: entry.deleted,
      kind: identity.state === "read" ? wasRead(identity.value.kind) : identity,
      buildId: known?.buildId ?? null,
    });
  }
  const fileMappings = maps.entries.filter((entry) => entry.isFile).length;
  return { facts: { libraries, bars: barMappings(maps.entries), fileMappings }, incomplete };
}

/**
 * What the mapped file is. The file at the path may be a newer one: then the mapped file is read through map_files,
 * which takes CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN.
 */
async function identifyMapping(
  context: SensorContext,
  pid: number,
  entry: MapEntry,
): Promise<Reading<LibraryIdentity>> {
  const cache = libraryCacheOf(context.fs);
  const view = await viewOf(context, pid);
  if (!context.fs.live) {
    // A capture's files have inodes of their own: the path is all there is, and it says nothing of a deleted file.
    if (entry.deleted) return notRead("absent", `${entry.path} was deleted after it was mapped`);
    return await cache.identify(view.fs, entry.path);
  }
  const mapped = `/proc/${pid}/map_files/${entry.range}`;
  if (!entry.deleted) {
    const atPath = await view.fs.stat(entry.path).catch(() => null);
    const same = atPath !== null && (atPath.inode === entry.inode || (await isSameFile(context, mapped, atPath.inode)));
    if (same) return await cache.identify(view.fs, entry.path);
  }
  const identity = await cache.identify(context.fs, mapped);
  if (identity.state === "read") return identity;
  const why = entry.deleted ? "was deleted or replaced after it was mapped" : "is not the file that is mapped";
  return notRead(identity.state, `${entry.path} ${why}; ${mapped} could not be read: ${identity.detail}`);
}

/** Overlay and btrfs show other device numbers in maps than stat(2) gives. */
async function isSameFile(context: SensorContext, mapped: string, inode: string): Promise<boolean> {
  return (await context.fs.stat(mapped).catch(() => null))?.inode === inode;
}
