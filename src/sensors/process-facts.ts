import { type NotRead, notRead, notReadFromError, type Reading, wasRead } from "../facts/reading.ts";
import type { Credentials, ProcessFacts, UnitFacts } from "../facts/workload.ts";
import { environmentValue, filterEnvironment } from "../protocol/environment.ts";
import { keepableArgv } from "../protocol/process-shapes.ts";
import type { SensorContext } from "./context.ts";
import { describeMaps, readMaps } from "./mapped-libraries.ts";
import { type MountBaseline, mountView, readMounts } from "./mount-view.ts";
import { parseMemlock, parseStat, parseStatus, type StatusFields, TICKS_PER_SECOND, unitOf } from "./proc.ts";
import type { Glance } from "./process-list.ts";
import { attempt } from "./scope.ts";
import { readLinkOrText, readSink } from "./sink.ts";

/** What is read once and holds for all processes. */
export interface ProcessSurroundings {
  /** Epoch milliseconds of the boot; null when not known. */
  readonly bootedAt: number | null;
  readonly mounts: MountBaseline;
  readonly unit: UnitFacts | undefined;
}

export interface ProcessReading {
  /** Null when the process ended, or its pid was given to another, while it was read. */
  readonly facts: ProcessFacts | null;
  readonly incomplete: readonly string[];
}

const MAX_FILE = 1 << 20;
const MAX_COMM = 64;
const DELETED = " (deleted)";
const NAMESPACE = /\[(\d+)\]/;

/** Reads one process. Parts that may not be read are `denied`; only its end makes the whole null. */
export async function readProcess(
  context: SensorContext,
  seen: Glance,
  around: ProcessSurroundings,
): Promise<ProcessReading> {
  const { pid } = seen;
  const bytes = (file: string) =>
    attempt(`/proc/${pid}/${file}`, async () => (await context.fs.read(`/proc/${pid}/${file}`, MAX_FILE)).bytes);
  const statusBytes = await bytes("status");
  const status = statusBytes.state === "read" ? parseStatus(statusBytes.value) : null;
  const environ = await bytes("environ");
  const limits = await bytes("limits");
  const maps = await attempt(`/proc/${pid}/maps`, async () => describeMaps(context, pid, await readMaps(context, pid)));
  const inUnit = unitOf(seen.groups, context.scope.unit);
  const journalStream = environ.state === "read" ? environmentValue(environ.value, "JOURNAL_STREAM") : null;
  const ofUnit = around.unit !== undefined && inUnit === around.unit.name;
  const output = ofUnit ? around.unit.standardOutput : null;
  const error = ofUnit ? around.unit.standardError : null;
  const facts: ProcessFacts = {
    pid,
    nsPid: status?.nsPid ?? pid,
    ppid: seen.ppid,
    role: seen.shape?.role ?? "program",
    comm: seen.comm.slice(0, MAX_COMM),
    argv: seen.shape?.argv ?? keepableArgv(seen.argv),
    startedAt: startTime(seen.startTicks, around.bootedAt),
    exe: await attempt(`/proc/${pid}/exe`, async () => executable(await readLinkOrText(context, `/proc/${pid}/exe`))),
    unit: inUnit,
    credentials: statusBytes.state === "read" ? credentialsOf(pid, status) : statusBytes,
    noNewPrivs: status?.noNewPrivs ?? null,
    env: environ.state === "read" ? wasRead(filterEnvironment(environ.value)) : environ,
    memlock: limits.state === "read" ? memlockOf(pid, limits.value) : limits,
    maps: maps.state === "read" ? wasRead(maps.value.facts) : maps,
    mounts: await attempt(`/proc/${pid}/mountinfo`, async () =>
      mountView(await readMounts(context, pid), around.mounts),
    ),
    stdout: await readSink(context, pid, 1, { journalStream, unitSetting: output }),
    stderr: await readSink(context, pid, 2, { journalStream, unitSetting: error === "inherit" ? output : error }),
    mountNs: await namespaceOf(context, pid, "mnt"),
    pidNs: await namespaceOf(context, pid, "pid"),
  };
  if (await hasEnded(context, seen)) {
    return { facts: null, incomplete: [`process ${pid} (${facts.role}) ended while it was read`] };
  }
  return { facts, incomplete: maps.state === "read" ? maps.value.incomplete : [] };
}

/** A pid alone does not name a process: the start time tells whether it is still the same one. */
async function hasEnded(context: SensorContext, seen: Glance): Promise<boolean> {
  if (!context.fs.live) return false;
  try {
    const now = parseStat((await context.fs.read(`/proc/${seen.pid}/stat`, MAX_FILE)).bytes);
    return now === null || now.startTicks !== seen.startTicks || now.state === "Z";
  } catch (error) {
    return notReadFromError(error, "stat").state === "absent";
  }
}

function startTime(ticks: number | null, bootedAt: number | null): number | null {
  return ticks === null || bootedAt === null ? null : bootedAt + Math.round((ticks * 1000) / TICKS_PER_SECOND);
}

function executable(target: string): { readonly path: string; readonly deleted: boolean } {
  const deleted = target.endsWith(DELETED);
  return { path: deleted ? target.slice(0, -DELETED.length) : target, deleted };
}

function credentialsOf(pid: number, status: StatusFields | null): Reading<Credentials> | NotRead {
  if (status?.uid == null || status.gid === null || status.capEff === null) {
    return notRead("invalid", `/proc/${pid}/status has no Uid, Gid or CapEff line`);
  }
  return wasRead({ uid: status.uid, gid: status.gid, groups: status.groups ?? [], capEff: status.capEff });
}

function memlockOf(pid: number, limits: Buffer): Reading<number | "unlimited"> {
  const value = parseMemlock(limits);
  return value === null ? notRead("invalid", `/proc/${pid}/limits has no line of locked memory`) : wasRead(value);
}

async function namespaceOf(context: SensorContext, pid: number, kind: string): Promise<string | null> {
  const target = await readLinkOrText(context, `/proc/${pid}/ns/${kind}`).catch(() => "");
  return NAMESPACE.exec(target)?.[1] ?? null;
}
