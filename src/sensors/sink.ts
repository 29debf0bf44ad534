import { errnoOf, notReadFromError, type Reading, wasRead } from "../facts/reading.ts";
import type { SinkTarget } from "../facts/workload.ts";
import type { SensorContext } from "./context.ts";
import { viewOf } from "./scope.ts";

/** What else tells where a socket leads. */
export interface SinkHints {
  /** JOURNAL_STREAM of the process: "device:inode" of its stream to journald (systemd.exec(5)); null when not set. */
  readonly journalStream: string | null;
  /** StandardOutput= or StandardError= of the unit that the process belongs to; null when not known. */
  readonly unitSetting: string | null;
}

const DELETED = " (deleted)";
const SOCKET = /^socket:\[(\d+)\]$/;
const STREAM = /^\d+:(\d+)$/;
const TERMINAL = /^\/dev\/(?:pts\/\d+|tty\w*|console)$/;
const JOURNAL_SETTING = /^(?:journal|syslog|kmsg)/;

/**
 * Where file descriptor `fd` of a process really goes, whatever the unit says (docs/wire.md, "Log sinks"). In a
 * capture the entry may be a link or a plain file that holds the target.
 */
export async function readSink(
  context: SensorContext,
  pid: number,
  fd: number,
  hints: SinkHints,
): Promise<Reading<SinkTarget>> {
  const entry = `/proc/${pid}/fd/${fd}`;
  let target: string;
  try {
    target = await readLinkOrText(context, entry);
  } catch (error) {
    return notReadFromError(error, entry);
  }
  const socket = SOCKET.exec(target);
  if (socket?.[1] !== undefined) return wasRead(socketTarget(target, socket[1], hints));
  if (target.startsWith("pipe:[")) return wasRead({ to: "pipe", detail: target });
  if (target === "/dev/null") return wasRead({ to: "null" });
  if (TERMINAL.test(target)) return wasRead({ to: "terminal", detail: target });
  if (!target.startsWith("/") || target.startsWith("/dev/")) return wasRead({ to: "other", detail: target });
  const deleted = target.endsWith(DELETED);
  const path = deleted ? target.slice(0, -DELETED.length) : target;
  return wasRead(await fileTarget(context, pid, entry, path, deleted));
}

/** The text of a /proc link; a capture may hold it as the content of a plain file. */
export async function readLinkOrText(context: SensorContext, path: string): Promise<string> {
  try {
    return await context.fs.readlink(path);
  } catch (error) {
    if (context.fs.live || errnoOf(error) !== "EINVAL") throw error;
    return (await context.fs.text(path, 4096)).trim();
  }
}

/**
 * The peer of a socket is not shown in /proc. systemd tells the process itself which socket is the journal's, which
 * holds until a wrapper replaces the descriptor; the unit's setting is the weaker hint.
 */
function socketTarget(target: string, inode: string, hints: SinkHints): SinkTarget {
  if (STREAM.exec(hints.journalStream ?? "")?.[1] === inode) {
    return { to: "journal", detail: `${target} is JOURNAL_STREAM of the process` };
  }
  if (hints.unitSetting !== null && JOURNAL_SETTING.test(hints.unitSetting)) {
    return { to: "journal", detail: `${target}, and the unit sends it to ${hints.unitSetting}` };
  }
  return { to: "socket", detail: target };
}

async function fileTarget(
  context: SensorContext,
  pid: number,
  entry: string,
  path: string,
  deleted: boolean,
): Promise<SinkTarget> {
  const view = await viewOf(context, pid);
  // On a live system the descriptor itself tells the size, also of a deleted file.
  const meta = context.fs.live
    ? await context.fs.stat(entry).catch(() => null)
    : await view.fs.stat(path).catch(() => null);
  if (meta !== null && !meta.isFile) return { to: "other", detail: path };
  return {
    to: "file",
    path,
    deleted,
    size: meta?.size ?? null,
    readable: await isReadable(context, view.fs, path, deleted),
  };
}

async function isReadable(
  context: SensorContext,
  fs: SensorContext["fs"],
  path: string,
  deleted: boolean,
): Promise<boolean | null> {
  if (deleted) return false;
  try {
    await (await fs.open(path)).close();
    return true;
  } catch (error) {
    const captured = !context.fs.live && errnoOf(error) === "ENOENT";
    return captured ? null : false;
  }
}
