/**
 * Parsers of the kernel's /proc files (proc(5)), each a pure function of bytes. A field that is not there is null;
 * lines that do not fit are passed over. None of them throws.
 */

export interface StatFields {
  readonly pid: number;
  readonly comm: string;
  /** "R", "S", "Z", … */
  readonly state: string;
  readonly ppid: number;
  /** Clock ticks since boot. */
  readonly startTicks: number;
  /** A thread of the kernel: it has no program, no command line and no memory of its own. */
  readonly kernelThread: boolean;
}

/** Bit of the flags (linux/sched.h, PF_KTHREAD); Linux has not moved it since 2.6. */
const PF_KTHREAD = 0x0020_0000;

/** Ticks a second of the times in /proc/PID/stat: USER_HZ, 100 on x86. */
export const TICKS_PER_SECOND = 100;

/** /proc/PID/stat. The command's name may hold spaces and parentheses: fields are counted from the last ")". */
export function parseStat(bytes: Buffer): StatFields | null {
  const text = bytes.toString("utf8");
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open === -1 || close < open) return null;
  const pid = Number(text.slice(0, open).trim());
  const fields = text
    .slice(close + 1)
    .trim()
    .split(/\s+/);
  const ppid = Number(fields[1]);
  const startTicks = Number(fields[19]);
  const state = fields[0];
  if (!Number.isSafeInteger(pid) || !Number.isSafeInteger(ppid) || !Number.isSafeInteger(startTicks)) return null;
  if (state === undefined) return null;
  const kernelThread = (Number(fields[6]) & PF_KTHREAD) !== 0;
  return { pid, comm: text.slice(open + 1, close), state, ppid, startTicks, kernelThread };
}

export interface StatusFields {
  readonly name: string | null;
  readonly state: string | null;
  readonly ppid: number | null;
  /** Effective ids. */
  readonly uid: number | null;
  readonly gid: number | null;
  readonly groups: readonly number[] | null;
  /** 16 hex digits. */
  readonly capEff: string | null;
  readonly noNewPrivs: boolean | null;
  /** The pid in its innermost namespace. */
  readonly nsPid: number | null;
  /** Locked memory in KiB. */
  readonly lockedKb: number | null;
}

/** /proc/PID/status. */
export function parseStatus(bytes: Buffer): StatusFields {
  const fields = new Map<string, string>();
  for (const line of bytes.toString("utf8").split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0 && !fields.has(line.slice(0, colon))) fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const words = (name: string) =>
    fields
      .get(name)
      ?.split(/\s+/)
      .filter((word) => word !== "") ?? null;
  const number = (text: string | undefined) => (text !== undefined && /^\d+$/.test(text) ? Number(text) : null);
  const capEff = fields.get("CapEff");
  const noNewPrivs = fields.get("NoNewPrivs");
  return {
    name: fields.get("Name") ?? null,
    state: words("State")?.[0] ?? null,
    ppid: number(fields.get("PPid")),
    uid: number(words("Uid")?.[1]),
    gid: number(words("Gid")?.[1]),
    groups:
      words("Groups")
        ?.filter((word) => /^\d+$/.test(word))
        .map(Number) ?? null,
    capEff: capEff !== undefined && /^[0-9a-f]{16}$/i.test(capEff) ? capEff.toLowerCase() : null,
    noNewPrivs: noNewPrivs === "0" || noNewPrivs === "1" ? noNewPrivs === "1" : null,
    nsPid: number(words("NSpid")?.at(-1)),
    lockedKb: number(words("VmLck")?.[0]),
  };
}

const MEMLOCK = /^Max locked memory\s+(\d+|unlimited)\s/m;

/** Soft limit of locked memory in /proc/PID/limits, in bytes. */
export function parseMemlock(bytes: Buffer): number | "unlimited" | null {
  const found = MEMLOCK.exec(bytes.toString("utf8"))?.[1];
  if (found === undefined) return null;
  return found === "unlimited" ? found : Number(found);
}

export interface MapEntry {
  /** "7f12…-7f13…", also the name of its entry in map_files. */
  readonly range: string;
  /** "r-xp". */
  readonly perms: string;
  /** "major:minor:inode" as in the file; inode "0" for memory without a file. */
  readonly inode: string;
  /** Without " (deleted)" and with its newlines; "" for anonymous memory. */
  readonly path: string;
  readonly deleted: boolean;
  /** The mapping is of a file: it has an inode. */
  readonly isFile: boolean;
}

const MAP_LINE = /^([0-9a-f]+-[0-9a-f]+) ([r-][w-][x-][ps]) [0-9a-f]+ ([0-9a-f]+:[0-9a-f]+) (\d+) *(.*)$/s;
const DELETED = " (deleted)";

/** /proc/PID/maps. The kernel writes a newline in a path as \012. */
export function parseMaps(bytes: Buffer): MapEntry[] {
  const entries: MapEntry[] = [];
  for (const line of bytes.toString("utf8").split("\n")) {
    const found = MAP_LINE.exec(line);
    if (found === null) continue;
    const [, range = "", perms = "", device = "", inode = "", written = ""] = found;
    const deleted = written.endsWith(DELETED);
    const path = (deleted ? written.slice(0, -DELETED.length) : written).replaceAll("\\012", "\n");
    entries.push({
      range,
      perms,
      inode: `${device}:${inode}`,
      path,
      deleted,
      isFile: inode !== "0" && path.startsWith("/"),
    });
  }
  return entries;
}

const RESOURCE = /^\/sys\/devices\/(?:.*\/)?([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\/resource(\d)(?:_wc)?$/;

/** The device and BAR of a mapped sysfs resource file; null for any other path. */
export function barOfPath(path: string): { readonly bdf: string; readonly bar: number } | null {
  const found = RESOURCE.exec(path);
  if (found?.[1] === undefined || found[2] === undefined) return null;
  return { bdf: found[1], bar: Number(found[2]) };
}

export interface Mount {
  /** "major:minor" of the file system. */
  readonly device: string;
  /** The directory of the file system that is mounted. */
  readonly root: string;
  readonly point: string;
  readonly readOnly: boolean;
  readonly fsType: string;
}

/** /proc/PID/mountinfo. Space, tab, newline and backslash are written in octal. A file system may be read-only itself. */
export function parseMountinfo(bytes: Buffer): Mount[] {
  const mounts: Mount[] = [];
  for (const line of bytes.toString("utf8").split("\n")) {
    const [before = "", after = ""] = line.split(" - ", 2);
    const [, , device, root, point, options] = before.split(" ");
    const [fsType, , superOptions] = after.split(" ");
    if (device === undefined || root === undefined || point === undefined || options === undefined) continue;
    if (fsType === undefined) continue;
    const readOnly = options.split(",").includes("ro") || (superOptions ?? "").split(",").includes("ro");
    mounts.push({ device, root: unescapeOctal(root), point: unescapeOctal(point), readOnly, fsType });
  }
  return mounts;
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Whether `path` is `directory` or lies below it. */
export function isBelow(path: string, directory: string): boolean {
  return directory === "/" || path === directory || path.startsWith(`${directory}/`);
}

/** The mount that a path lies on: the deepest mount point above it, the later one where two share a point. */
export function coveringMount(mounts: readonly Mount[], path: string): Mount | null {
  let best: Mount | null = null;
  for (const mount of mounts) {
    if (isBelow(path, mount.point) && mount.point.length >= (best?.point.length ?? 0)) best = mount;
  }
  return best;
}

export interface ControlGroup {
  /** "" for the unified hierarchy (cgroup v2), "name=systemd" for systemd's own in v1. */
  readonly controllers: string;
  readonly path: string;
}

/** /proc/PID/cgroup, v1, hybrid and v2. */
export function parseCgroup(bytes: Buffer): ControlGroup[] {
  const groups: ControlGroup[] = [];
  for (const line of bytes.toString("utf8").split("\n")) {
    const [hierarchy, controllers, ...rest] = line.split(":");
    if (controllers === undefined || rest.length === 0 || !/^\d+$/.test(hierarchy ?? "")) continue;
    groups.push({ controllers, path: rest.join(":") });
  }
  return groups;
}

/** Whether a process with these control groups belongs to `unit`: a whole component of a path, in any hierarchy. */
export function belongsToUnit(groups: readonly ControlGroup[], unit: string): boolean {
  return groups.some((group) => group.path.split("/").includes(unit));
}

/** The unit of a process: the wanted one if it is in it, else the innermost service, else the innermost scope. */
export function unitOf(groups: readonly ControlGroup[], wanted: string): string | null {
  if (belongsToUnit(groups, wanted)) return wanted;
  const own = groups.filter((group) => group.controllers === "" || group.controllers === "name=systemd");
  const parts = own.flatMap((group) => group.path.split("/"));
  return (
    parts.findLast((part) => part.endsWith(".service")) ?? parts.findLast((part) => part.endsWith(".scope")) ?? null
  );
}

const BTIME = /^btime (\d+)$/m;

/** Boot time from /proc/stat, in epoch milliseconds. */
export function parseBootTime(bytes: Buffer): number | null {
  const found = BTIME.exec(bytes.toString("utf8"))?.[1];
  return found === undefined ? null : Number(found) * 1000;
}

/** The words of /proc/PID/cmdline. A process that rewrote its title may leave one word with spaces. */
export function parseCmdline(bytes: Buffer): string[] {
  const words = bytes.toString("utf8").split("\0");
  while (words.at(-1) === "") words.pop();
  return words;
}

export interface FlockEntry {
  /** 0 or below when the holder is in a pid namespace that the reader does not see. */
  readonly pid: number;
  /** "major:minor:inode", major and minor in hex. */
  readonly inode: string;
  readonly waiting: boolean;
}

const FLOCK = /^\d+: (-> )?FLOCK +\w+ +\w+ +(-?\d+) ([0-9a-f]+:[0-9a-f]+:\d+) /;

/** The flock(2) locks of /proc/locks; "->" marks those who wait. */
export function parseFlocks(bytes: Buffer): FlockEntry[] {
  const entries: FlockEntry[] = [];
  for (const line of bytes.toString("latin1").split("\n")) {
    const found = FLOCK.exec(line);
    if (found?.[2] === undefined || found[3] === undefined) continue;
    entries.push({ pid: Number(found[2]), inode: found[3], waiting: found[1] !== undefined });
  }
  return entries;
}
