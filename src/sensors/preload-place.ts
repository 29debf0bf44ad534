import { realpath } from "node:fs/promises";
import type { SensorContext } from "./context.ts";
import { type LauncherEvidence, launcherEvidence } from "./launcher-evidence.ts";
import { RootFs } from "./root-fs.ts";

export const PRELOAD_PATH = "/etc/ld.so.preload";
const MAX_MOUNTINFO = 4 << 20;
const MAX_FDINFO = 4096;
const MOUNT_ID = /^mnt_id:\s*(\d+)$/m;

/** Where the machine's own /etc/ld.so.preload is read. */
export interface PreloadPlace {
  readonly fs: RootFs;
  readonly path: string;
  /** The file in words of the report. */
  readonly what: string;
}

/** What lies over a path: the mount's point, and the id of the mount that it lies on. */
interface Cover {
  readonly point: string;
  readonly parent: string;
}

const plain = (context: SensorContext): PreloadPlace => ({ fs: context.fs, path: PRELOAD_PATH, what: PRELOAD_PATH });

/**
 * In a mount namespace of the agent's own an empty file may lie over the machine's: the static launcher puts one there,
 * and so does the service's unit (InaccessiblePaths=). It says nothing about the machine. The file below is read through
 * the descriptor that the launcher opened before, else as the first process sees it.
 */
export async function preloadPlace(context: SensorContext, env = process.env): Promise<PreloadPlace> {
  if (!context.fs.live) return plain(context);
  const cover = await coverOf(context.fs);
  if (cover === null) return plain(context);
  const path = await verified(context.fs, cover, launcherEvidence(env));
  if (path !== null) return { fs: context.fs, path, what: `${PRELOAD_PATH} below the launcher's empty file` };
  if (await sharesMountsWithTheFirst(context.fs)) return plain(context);
  const what = `${PRELOAD_PATH} of process 1 (an empty file may lie over it here)`;
  return { fs: new RootFs("/proc/1/root"), path: PRELOAD_PATH, what };
}

/** Whether this process was given, by the launcher, the very file that something lies over in its mount namespace. */
export async function isCoveredByLauncher(fs: RootFs, evidence: LauncherEvidence | null): Promise<boolean> {
  const cover = await coverOf(fs);
  return cover !== null && (await verified(fs, cover, evidence)) !== null;
}

/** The topmost mount at the file itself, links followed as the loader would; null when nothing lies over it. */
async function coverOf(fs: RootFs): Promise<Cover | null> {
  const point = await realpath(PRELOAD_PATH).catch(() => null);
  if (point === null) return null;
  const { bytes } = await fs.read("/proc/self/mountinfo", MAX_MOUNTINFO);
  let found: Cover | null = null;
  for (const line of bytes.toString("utf8").split("\n")) {
    const [, parent, , , at] = line.split(" ");
    // A path with a space in it is written in octal, and is not one that anybody puts behind this name.
    if (parent !== undefined && at === point) found = { point, parent };
  }
  return found;
}

/**
 * A path to the file below the cover. The descriptor is believed when the kernel says that it is open at this place on
 * the mount that the cover lies on: that makes it the covered file, whoever claims it.
 */
async function verified(fs: RootFs, cover: Cover, evidence: LauncherEvidence | null): Promise<string | null> {
  const descriptor = evidence?.preloadFd ?? null;
  if (descriptor === null) return null;
  const path = `/proc/self/fd/${descriptor}`;
  try {
    const info = (await fs.read(`/proc/self/fdinfo/${descriptor}`, MAX_FDINFO)).bytes.toString("latin1");
    const isBelow = MOUNT_ID.exec(info)?.[1] === cover.parent && (await fs.readlink(path)) === cover.point;
    return isBelow ? path : null;
  } catch {
    return null; // No such descriptor: then it is no evidence either.
  }
}

/** Then what lies over the file lies there for everybody, and what is seen is what counts. */
async function sharesMountsWithTheFirst(fs: RootFs): Promise<boolean> {
  const [own, first] = await Promise.all(
    ["self", "1"].map((pid) => fs.readlink(`/proc/${pid}/ns/mnt`).catch(() => null)),
  );
  return own !== null && own === first;
}
