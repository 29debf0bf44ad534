import { open, stat, statfs } from "node:fs/promises";
import { notRead, notReadFromError, type Reading, wasRead } from "../../facts/reading.ts";
import type { SensorContext } from "../../sensors/context.ts";
import { listProcesses, type ProcessList } from "../../sensors/process-list.ts";
import { readBootTime } from "../../sensors/processes.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { withLimit } from "../../sensors/with-limit.ts";
import { ADMIN_SOCKET } from "./admin-protocol.ts";
import { readDeviceModels, readSocketFile } from "./device-models.ts";
import type { GuestProcess, LogFile, LogHealth, MediatorHealthFacts, MediatorProcess } from "./facts.ts";
import { readMediators } from "./mediator-process.ts";

const LIMIT_MS = 8000;
/** Of the end of the log, where a program that ends leaves its last words. */
const TAIL = 16 * 1024;
/** What glibc prints before it ends a program (malloc/malloc.c, debug/fortify_fail.c), and C++'s last word. */
const ABORT =
  /^(?:double free or corruption|free\(\): |malloc\(\): |munmap_chunk\(\): |corrupted |realloc\(\): |malloc_consolidate\(\): |\*\*\* [\w ]{1,40} \*\*\*: terminated|terminate called )[ -~]{0,120}$/m;

export interface HealthSources {
  /** Below it /proc, /var and /tmp are read. */
  readonly root: string;
  /** A path of this machine, whatever the root; null: none was named. */
  readonly logPath: string | null;
  readonly log: Reading<LogHealth>;
  readonly guests: Reading<readonly GuestProcess[]>;
  /** Look at this process alone as a mediator; null: at all that are one. */
  readonly pid: number | null;
  readonly now: () => number;
}

/**
 * Everything about the mediator that can be known without asking it. Reads /proc, looks at files, and connects to
 * nothing. Never rejects: what could not be read says why.
 */
export async function collectMediatorHealth(sources: HealthSources): Promise<MediatorHealthFacts> {
  const fs = new RootFs(sources.root);
  const context = (signal: AbortSignal): SensorContext => ({
    fs,
    scope: {
      subject: fs.live ? "live" : "tree",
      root: fs.root,
      unit: "",
      pid: null,
      since: null,
      until: null,
    },
    signal,
    now: sources.now,
  });
  const listed = await withLimit("processes", LIMIT_MS, async (signal) =>
    wasRead(await listProcesses(context(signal))),
  );
  const bootedAt = await readBootTime(context(AbortSignal.timeout(LIMIT_MS)));
  const among = <T>(
    name: string,
    read: (context: SensorContext, glances: ProcessList["glances"]) => Promise<readonly T[]>,
  ): Promise<Reading<readonly T[]>> =>
    withLimit(name, LIMIT_MS, async (signal) => {
      if (listed.state !== "read") return listed;
      if (listed.value.glances.length === 0) return notRead("absent", `no process is described below ${fs.root}`);
      return wasRead(await read(context(signal), listed.value.glances));
    });
  const processes: Reading<readonly MediatorProcess[]> = await among("mediator processes", (now, glances) =>
    readMediators(now, sources.pid === null ? glances : glances.filter(({ pid }) => pid === sources.pid), bootedAt),
  );
  return {
    schema: "vgpu-agent/mediator-health/1",
    collectedAt: sources.now(),
    processes,
    unseen: listed.state === "read" ? unseenOf(listed.value) : [],
    askedFor: sources.pid,
    deviceModels: await among("device models", (now, glances) => readDeviceModels(now, glances, bootedAt)),
    adminSocket: await readSocketFile(context(AbortSignal.timeout(LIMIT_MS)), ADMIN_SOCKET),
    logFile: await withLimit("log file", LIMIT_MS, () => readLogFile(sources.logPath)),
    log: sources.log,
    guests: sources.guests,
  };
}

/** The list's own reasons speak of a guest's workload. */
function unseenOf({ incomplete }: ProcessList): readonly string[] {
  return incomplete.map((reason) => (reason.includes("hidepid") ? "/proc hides other users' processes" : reason));
}

async function readLogFile(path: string | null): Promise<Reading<LogFile>> {
  if (path === null) return notRead("skipped", "no log of the mediator was named");
  try {
    const found = await new RootFs("/").stat(path);
    if (!found.isFile) return notRead("invalid", `${path} is not a regular file`);
    const space = await statfs(path).catch(() => null);
    return wasRead({
      path,
      inode: found.inode,
      size: found.size,
      writtenAt: (await stat(path)).mtimeMs,
      free: space === null ? null : space.bavail * space.bsize,
      capacity: space === null ? null : space.blocks * space.bsize,
      abortText: await abortTextIn(path, found.size),
    });
  } catch (error) {
    return notReadFromError(error, path);
  }
}

async function abortTextIn(path: string, size: number): Promise<string | null> {
  const file = await open(path, "r");
  try {
    const buffer = Buffer.alloc(TAIL);
    const { bytesRead } = await file.read(buffer, 0, TAIL, Math.max(0, size - TAIL));
    return ABORT.exec(buffer.toString("latin1", 0, bytesRead))?.[0] ?? null;
  } finally {
    await file.close();
  }
}
