import type { FileHandle } from "node:fs/promises";
import type { LedgerProcess } from "../../facts/ledger.ts";
import { errnoOf } from "../../facts/reading.ts";
import type { ProcessFacts } from "../../facts/workload.ts";
import { isSystemLibrary, TRANSPORT_SYMBOL } from "../../protocol/libraries.ts";
import type { SensorContext } from "../context.ts";
import { InvalidElf, readElf } from "../elf.ts";
import { readMaps } from "../mapped-libraries.ts";
import { type MapEntry, parseCgroup, parseStat, unitOf } from "../proc.ts";
import { mapLimit, viewOf } from "../scope.ts";

/**
 * A mapped file that has the transport's function. Interposed copies are targets of their own: each call runs through
 * exactly one of them.
 */
export interface Target {
  /** "major:minor:inode" as in maps. */
  readonly inode: string;
  /** Tells a file that was written anew from the one that was looked at: mtime in ns and size. */
  readonly stamp: string;
  /** Path in the process's view. */
  readonly library: string;
  /** The processes that have it mapped. */
  readonly pids: readonly number[];
  /** Offset in the file of the instruction to probe: the function's first, or the one after its endbr64. */
  readonly offset: number;
  /** Open for reading, so that the file that was looked at is the one that is probed. The receiver closes it. */
  readonly handle: FileHandle;
}

export interface TargetScan {
  /** Files that this scanner had not returned before, or that changed since. */
  readonly targets: readonly Target[];
  /** All processes that have a transport mapped. */
  readonly processes: readonly LedgerProcess[];
  /** Processes whose libraries may not be read. */
  readonly denied: readonly number[];
  /** What else could not be looked at, in words. */
  readonly gaps: readonly string[];
}

const PID = /^[1-9]\d{0,9}$/;
const MAX_PROCESSES = 8192;
const MAX_FILES = 4096;
const READ_WIDTH = 4;
const MAX_SMALL_FILE = 1 << 16;
/** What an indirect branch may land on with CET; a probe on it costs a single step, the instruction after it does not. */
const ENDBR64 = Buffer.from([0xf3, 0x0f, 0x1e, 0xfa]);

type FoundFile = Omit<Target, "pids">;

interface Known {
  readonly stamp: string;
  readonly transport: boolean;
}

/** Finds the transports mapped on this machine. Files are looked into once, so that a scan can be repeated often. */
export class TargetScanner {
  readonly #context: SensorContext;
  readonly #known = new Map<string, Known>();

  constructor(context: SensorContext) {
    this.#context = context;
  }

  /** Looks at these processes, or at all of the machine for null. Processes that end meanwhile are passed over. */
  async scan(pids: readonly number[] | null): Promise<TargetScan> {
    const gaps: string[] = [];
    const all = pids ?? (await this.#allPids(gaps));
    const targets = new Map<string, FoundFile>();
    const users = new Map<string, number[]>();
    const looked = new Map<string, Promise<Known | null>>();
    const denied: number[] = [];
    const found = await mapLimit(all, READ_WIDTH, async (pid) => {
      const entries = await this.#executableFiles(pid);
      if (entries === null) denied.push(pid);
      const libraries: string[] = [];
      for (const entry of entries ?? []) {
        const look = looked.get(entry.inode) ?? this.#look(pid, entry, targets, gaps);
        looked.set(entry.inode, look);
        if ((await look)?.transport !== true) continue;
        libraries.push(entry.path);
        users.set(entry.inode, [...(users.get(entry.inode) ?? []), pid]);
      }
      return libraries.length === 0 ? null : await this.#describe(pid, libraries);
    });
    const processes = found.filter((one) => one !== null);
    const withUsers = [...targets.values()].map((file) => ({ ...file, pids: users.get(file.inode) ?? [] }));
    return { targets: withUsers, processes, denied, gaps };
  }

  async #allPids(gaps: string[]): Promise<number[]> {
    const pids = (await this.#context.fs.list("/proc")).filter((name) => PID.test(name)).map(Number);
    if (pids.length > MAX_PROCESSES) gaps.push(`${pids.length} processes exist, ${MAX_PROCESSES} were looked at`);
    return pids.slice(0, MAX_PROCESSES);
  }

  /** Distinct files that the process may execute from; null when its maps may not be read. */
  async #executableFiles(pid: number): Promise<MapEntry[] | null> {
    const distinct = new Map<string, MapEntry>();
    try {
      for (const entry of (await readMaps(this.#context, pid)).entries) {
        const wanted = entry.isFile && entry.perms[2] === "x" && (entry.deleted || !isSystemLibrary(entry.path));
        if (wanted && !distinct.has(entry.inode)) distinct.set(entry.inode, entry);
      }
    } catch (error) {
      const code = errnoOf(error);
      if (code === "EACCES" || code === "EPERM") return null;
    }
    return [...distinct.values()];
  }

  /** Whether the file is a transport; adds it to `targets` when that is news. */
  async #look(pid: number, entry: MapEntry, targets: Map<string, FoundFile>, gaps: string[]): Promise<Known | null> {
    let handle: FileHandle | null = null;
    try {
      handle = await this.#open(pid, entry);
      const { mtimeNs, size } = await handle.stat({ bigint: true });
      const stamp = `${mtimeNs}:${size}`;
      const before = this.#known.get(entry.inode);
      if (before?.stamp === stamp) return before;
      const offset = await probeOffset(handle);
      const known = { stamp, transport: offset !== null };
      if (this.#known.size < MAX_FILES) this.#known.set(entry.inode, known);
      if (offset !== null) {
        targets.set(entry.inode, { inode: entry.inode, stamp, library: entry.path, offset, handle });
        handle = null;
      }
      return known;
    } catch (error) {
      if (error instanceof InvalidElf || errnoOf(error) === "EINVAL") return null;
      // A process that ended takes its view with it; the file is met again in the next process that maps it.
      const code = errnoOf(error);
      if (code !== "ENOENT" && code !== "ESRCH") gaps.push(`${entry.path} of process ${pid}: ${code ?? String(error)}`);
      return this.#known.get(entry.inode) ?? null;
    } finally {
      await handle?.close();
    }
  }

  /** The mapped file itself: at its path when that still leads to it, else through map_files. */
  async #open(pid: number, entry: MapEntry): Promise<FileHandle> {
    const mapped = `/proc/${pid}/map_files/${entry.range}`;
    const view = await viewOf(this.#context, pid);
    if (!entry.deleted) {
      const atPath = await view.fs.stat(entry.path).catch(() => null);
      if (atPath?.inode === entry.inode) return await view.fs.open(entry.path);
    }
    return await this.#context.fs.open(mapped);
  }

  /** Who the process is. What cannot be read of one that ends meanwhile stays unknown. */
  async #describe(pid: number, libraries: readonly string[]): Promise<LedgerProcess> {
    const { fs, scope } = this.#context;
    const read = async (file: string) =>
      (await fs.read(`/proc/${pid}/${file}`, MAX_SMALL_FILE).catch(() => null))?.bytes ?? Buffer.alloc(0);
    const stat = parseStat(await read("stat"));
    const unit = unitOf(parseCgroup(await read("cgroup")), scope.unit);
    return { pid, comm: stat?.comm ?? "", libraries, unit, group: null, ppid: stat?.ppid ?? null };
  }
}

/**
 * File offset of the instruction to probe: the transport function's first, or the second when the first is endbr64.
 * Null for a file without the function. @throws InvalidElf
 */
export async function probeOffset(handle: FileHandle): Promise<number | null> {
  const offset = (await readElf(handle, [TRANSPORT_SYMBOL])).exports.get(TRANSPORT_SYMBOL) ?? null;
  if (offset === null) return null;
  const first = Buffer.alloc(ENDBR64.length);
  await handle.read(first, 0, first.length, offset);
  return first.equals(ENDBR64) ? offset + ENDBR64.length : offset;
}

/**
 * Every mapped file with the transport's function, in these processes or on the whole machine for null. The receiver
 * closes the handles.
 */
export async function findTargets(
  context: SensorContext,
  processes: readonly ProcessFacts[] | null,
): Promise<TargetScan> {
  return await new TargetScanner(context).scan(processes?.map(({ pid }) => pid) ?? null);
}
