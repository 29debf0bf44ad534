import { basename } from "node:path";
import { notRead, notReadFromError, type Reading, wasRead } from "../../facts/reading.ts";
import type { SensorContext } from "../../sensors/context.ts";
import { type FlockEntry, parseFlocks, TICKS_PER_SECOND } from "../../sensors/proc.ts";
import type { Glance } from "../../sensors/process-list.ts";
import { attempt } from "../../sensors/scope.ts";
import { readLinkOrText, readSink } from "../../sensors/sink.ts";
import type { Executable, MediatorProcess, Output } from "./facts.ts";

/** Name of the mediator's program; builds beside it add a suffix. Exactly as long as the kernel's `comm`. */
const PROGRAM = /^mediator_phase3(?:$|[._-])/;
const COMM = "mediator_phase3";
/** Holds its pid as text, and is locked with flock(2) while it runs. */
export const INSTANCE_LOCK = "/var/run/mediator_phase3.lock";

const DELETED = " (deleted)";
const MAX_LOCKS = 16 << 20;
const MAX_SOCKETS = 4 << 20;
const MAX_FDS = 4096;
/** More than this are no mediators. */
const MAX_MEDIATORS = 32;
/** Flags of a listening socket in /proc/net/unix (__SO_ACCEPTCON), its inode, and its path. */
const LISTENING = /^[0-9a-f]+: [0-9A-F]+ [0-9A-F]+ 00010000 [0-9A-F]+ [0-9A-F]+ +(\d+) (\/.*)$/i;
const SOCKET = /^socket:\[(\d+)\]$/;

/** The mediators among all processes. `bootedAt`: epoch milliseconds. */
export async function readMediators(
  context: SensorContext,
  glances: readonly Glance[],
  bootedAt: number | null,
): Promise<readonly MediatorProcess[]> {
  const holder = await lockHolder(context);
  const found: MediatorProcess[] = [];
  for (const glance of glances) {
    if (found.length === MAX_MEDIATORS || context.signal.aborted) break;
    const isHolder = glance.pid === holder;
    const named = glance.comm === COMM || PROGRAM.test(basename(glance.argv[0] ?? ""));
    if (glance.kernelThread || !(isHolder || named)) continue;
    const executable = glance.zombie
      ? notRead("absent", `process ${glance.pid} has ended: it has no executable any more`)
      : await readExecutable(context, glance.pid);
    const knownBy = knownByOf(glance, executable, isHolder);
    if (knownBy !== null) found.push(await readMediator(context, glance, knownBy, executable, bootedAt));
  }
  return found;
}

/** Null: it is none, for example a shell that runs a script of that name, or an editor. */
function knownByOf(
  glance: Glance,
  executable: Reading<Executable>,
  isHolder: boolean,
): MediatorProcess["knownBy"] | null {
  if (executable.state === "read" && PROGRAM.test(basename(executable.value.path))) return "executable";
  if (isHolder) return "lock";
  if (executable.state === "read") return null;
  if (glance.argv.length > 0) return PROGRAM.test(basename(glance.argv[0] ?? "")) ? "command line" : null;
  return "command line";
}

async function readMediator(
  context: SensorContext,
  glance: Glance,
  knownBy: MediatorProcess["knownBy"],
  executable: Reading<Executable>,
  bootedAt: number | null,
): Promise<MediatorProcess> {
  const { pid, startTicks, zombie } = glance;
  const gone = notRead("absent", `process ${pid} has ended: it has no open files any more`);
  return {
    pid,
    knownBy,
    hasEnded: zombie,
    startedAt: bootedAt === null || startTicks === null ? null : bootedAt + (startTicks * 1000) / TICKS_PER_SECOND,
    executable,
    stdout: zombie ? gone : await readOutput(context, pid, 1),
    stderr: zombie ? gone : await readOutput(context, pid, 2),
    listening: zombie ? gone : await readListening(context, pid),
  };
}

async function readExecutable(context: SensorContext, pid: number): Promise<Reading<Executable>> {
  const link = `/proc/${pid}/exe`;
  let target: string;
  try {
    target = await readLinkOrText(context, link);
  } catch (error) {
    return notReadFromError(error, link);
  }
  const deleted = target.endsWith(DELETED);
  const path = deleted ? target.slice(0, -DELETED.length) : target;
  return wasRead({ path, deleted, replaced: await isReplaced(context, pid, link, path, deleted) });
}

/** Whether another file than the one that runs has its name. In the process's own view, where it may be entered. */
async function isReplaced(
  context: SensorContext,
  pid: number,
  link: string,
  path: string,
  deleted: boolean,
): Promise<boolean> {
  const view = await context.fs.viewOf(pid, path);
  const named = (await context.fs.stat(view).catch(() => null)) ?? (await context.fs.stat(path).catch(() => null));
  if (named === null) return false;
  if (!context.fs.live) return deleted;
  const running = await context.fs.stat(link).catch(() => null);
  return running !== null && running.inode !== named.inode;
}

async function readOutput(context: SensorContext, pid: number, fd: 1 | 2): Promise<Reading<Output>> {
  const sink = await readSink(context, pid, fd, { journalStream: null, unitSetting: null });
  if (sink.state !== "read") return sink;
  const isFile = sink.value.to === "file";
  const meta = isFile && context.fs.live ? await context.fs.stat(`/proc/${pid}/fd/${fd}`).catch(() => null) : null;
  return wasRead({ target: sink.value, inode: meta?.inode ?? null });
}

/** Unix sockets that the process listens on: those of its network namespace whose inodes it has open. */
async function readListening(context: SensorContext, pid: number): Promise<Reading<readonly string[]>> {
  return await attempt(`sockets of process ${pid}`, async () => {
    const names = (await context.fs.list(`/proc/${pid}/fd`)).slice(0, MAX_FDS);
    const own = new Set<string>();
    for (const name of names) {
      const target = await readLinkOrText(context, `/proc/${pid}/fd/${name}`).catch(() => "");
      const inode = SOCKET.exec(target)?.[1];
      if (inode !== undefined) own.add(inode);
    }
    const { bytes, truncated } = await context.fs.read(`/proc/${pid}/net/unix`, MAX_SOCKETS);
    if (truncated) throw new Error("more sockets than are looked at");
    const paths: string[] = [];
    for (const line of bytes.toString("utf8").split("\n")) {
      const [, inode, path] = LISTENING.exec(line) ?? [];
      if (inode !== undefined && path !== undefined && own.has(inode)) paths.push(path);
    }
    return paths;
  });
}

/** The process that holds the instance lock; null when nobody does, or it cannot be known. */
async function lockHolder(context: SensorContext): Promise<number | null> {
  const lock = await context.fs.stat(INSTANCE_LOCK).catch(() => null);
  const table = await context.fs.read("/proc/locks", MAX_LOCKS).catch(() => null);
  if (lock === null || table === null) return null;
  const [, , inode] = lock.inode.split(":");
  const isOnIt = (entry: FlockEntry) =>
    !entry.waiting &&
    // Overlays and subvolumes have a device in stat(2) that /proc/locks does not show.
    (entry.inode === lock.inode || (lock.inode.startsWith("00:") && entry.inode.split(":")[2] === inode));
  const holder = parseFlocks(table.bytes).find(isOnIt)?.pid ?? 0;
  return holder > 0 ? holder : null;
}
