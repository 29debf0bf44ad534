import { type NotRead, notRead, notReadFromError, type Reading, wasRead } from "../facts/reading.ts";
import type { SensorContext } from "./context.ts";
import { RootFs } from "./root-fs.ts";

/**
 * When only a log is judged, nothing of the machine that judges may be mixed in. Null when files may be read.
 */
export function outsideEvidence(context: SensorContext): NotRead | null {
  if (context.scope.subject !== "evidence") return null;
  return notRead("skipped", "only a log is judged: no files of its machine are at hand");
}

/** The result of `read`, or why there is none. `what` names the source in the words of the report. */
export async function attempt<T>(what: string, read: () => Promise<T>): Promise<Reading<T>> {
  try {
    return wasRead(await read());
  } catch (error) {
    return notReadFromError(error, what);
  }
}

/** Runs `work` on each item, `width` at a time, and keeps the order. */
export async function mapLimit<T, R>(items: readonly T[], width: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Map<number, R>();
  const queue = items.entries();
  const lane = async () => {
    for (const [index, item] of queue) results.set(index, await work(item));
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane));
  return [...results.entries()].sort(([a], [b]) => a - b).map(([, result]) => result);
}

/** A file system as one process sees it. */
export interface View {
  /** Null for the root itself. */
  readonly pid: number | null;
  /** Links are resolved below the process's root, as the process would resolve them. */
  readonly fs: RootFs;
  /** What to put before a path to name the file for a reader outside: "/proc/1187/root", or "". */
  readonly prefix: string;
}

/**
 * The view of process `pid`, or of the root itself for null. A capture that has no /proc/PID/root is every process's
 * view. Whether it may be entered shows only when something is read.
 */
export async function viewOf(context: SensorContext, pid: number | null): Promise<View> {
  if (context.fs.live) {
    const root = `/proc/${pid ?? "self"}/root`;
    return { pid, fs: new RootFs(root), prefix: pid === null ? "" : root };
  }
  if (pid !== null && (await context.fs.exists(`/proc/${pid}/root`))) {
    const prefix = `/proc/${pid}/root`;
    return { pid, fs: new RootFs(await context.fs.locate(prefix)), prefix };
  }
  return { pid: null, fs: context.fs, prefix: "" };
}

/**
 * The view of process `pid` where it may be entered, else the root itself, with the reason in `trouble`: what only the
 * process sees is then missed.
 */
export async function enterableView(
  context: SensorContext,
  pid: number | null,
): Promise<{ readonly view: View; readonly trouble: string | null }> {
  const view = await viewOf(context, pid);
  const root = await attempt(view.prefix, () => view.fs.stat("/"));
  if (view.pid === null || root.state === "read") return { view, trouble: null };
  return { view: await viewOf(context, null), trouble: `seen from outside process ${view.pid}: ${root.detail}` };
}
