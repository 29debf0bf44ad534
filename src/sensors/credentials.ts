import type { Credentials } from "../facts/workload.ts";
import type { FileMeta, RootFs } from "./root-fs.ts";

/** Capability names in the order of their bits (include/uapi/linux/capability.h). */
const CAPABILITIES: readonly string[] = [
  "chown",
  "dac_override",
  "dac_read_search",
  "fowner",
  "fsetid",
  "kill",
  "setgid",
  "setuid",
  "setpcap",
  "linux_immutable",
  "net_bind_service",
  "net_broadcast",
  "net_admin",
  "net_raw",
  "ipc_lock",
  "ipc_owner",
  "sys_module",
  "sys_rawio",
  "sys_chroot",
  "sys_ptrace",
  "sys_pacct",
  "sys_admin",
  "sys_boot",
  "sys_nice",
  "sys_resource",
  "sys_time",
  "sys_tty_config",
  "mknod",
  "lease",
  "audit_write",
  "audit_control",
  "setfcap",
  "mac_override",
  "mac_admin",
  "syslog",
  "wake_alarm",
  "block_suspend",
  "audit_read",
  "perfmon",
  "bpf",
  "checkpoint_restore",
];

export const CAP_DAC_OVERRIDE = 1;
export const CAP_DAC_READ_SEARCH = 2;
/** mlock(2) beyond RLIMIT_MEMLOCK. */
export const CAP_IPC_LOCK = 14;
/** Frame numbers in /proc/self/pagemap, without which the shim has no shared memory. */
export const CAP_SYS_ADMIN = 21;

const ALL_CAPABILITIES = (1n << BigInt(CAPABILITIES.length)) - 1n;
const HEX16 = /^[0-9a-f]{1,16}$/i;

/** Whether a capability bit is set in a set written in hex. */
export function hasCapability(capEff: string, bit: number): boolean {
  return HEX16.test(capEff) && (BigInt(`0x${capEff}`) & (1n << BigInt(bit))) !== 0n;
}

/**
 * Whether a process with these credentials may access a file, by POSIX modes and capabilities alone: mount options,
 * lockdown, ACLs and security modules come on top. The first class that applies decides, as in the kernel.
 */
export function mayAccess(
  meta: Pick<FileMeta, "mode" | "uid" | "gid">,
  credentials: Credentials,
  want: { readonly read: boolean; readonly write: boolean },
): boolean {
  if (hasCapability(credentials.capEff, CAP_DAC_OVERRIDE)) return true;
  const readBypassed = !want.write && hasCapability(credentials.capEff, CAP_DAC_READ_SEARCH);
  if (readBypassed) return true;
  const inGroup = credentials.gid === meta.gid || credentials.groups.includes(meta.gid);
  const shift = credentials.uid === meta.uid ? 6 : inGroup ? 3 : 0;
  const bits = meta.mode >> shift;
  return (!want.read || (bits & 4) !== 0) && (!want.write || (bits & 2) !== 0);
}

/**
 * A capability set as systemd writes it: names, or names after "~" for all but those. Names that are not known count
 * for nothing.
 */
export function parseCapabilitySet(text: string): bigint {
  const inverted = text.startsWith("~");
  let set = 0n;
  for (const word of text.replace(/^~/, "").split(/\s+/)) {
    const name = word.toLowerCase().replace(/^cap_/, "");
    const bit = CAPABILITIES.indexOf(name);
    if (bit !== -1) set |= 1n << BigInt(bit);
  }
  return inverted ? ALL_CAPABILITIES & ~set : set;
}

function asHex(set: bigint): string {
  return set.toString(16).padStart(16, "0");
}

/**
 * The effective capabilities that a unit's process starts with: root has its bounding set, another user what is
 * ambient. Null stands for a setting that the unit does not have.
 */
export function startCapabilities(uid: number, ambient: string | null, bounding: string | null): string {
  const limit = bounding === null || bounding === "" ? ALL_CAPABILITIES : parseCapabilitySet(bounding);
  const own = uid === 0 ? ALL_CAPABILITIES : parseCapabilitySet(ambient ?? "");
  return asHex(own & limit);
}

const MAX_ACCOUNTS_FILE = 4 << 20;

/**
 * The credentials of a user by /etc/passwd and /etc/group below the root; `group` replaces the primary group and
 * `extraGroups` are added. No capabilities. Null when the user or a named group is in neither file: directory services
 * are not asked.
 */
export async function lookupUser(
  fs: RootFs,
  name: string,
  extraGroups: readonly string[],
  group: string | null = null,
): Promise<Credentials | null> {
  const passwd = await accounts(fs, "/etc/passwd");
  const groups = await accounts(fs, "/etc/group");
  const user = passwd.find((fields) => fields[0] === name || fields[2] === name);
  const uid = user === undefined ? idOf(name) : idOf(user[2]);
  const gidOf = (wanted: string) => idOf(wanted) ?? idOf(groups.find((fields) => fields[0] === wanted)?.[2]);
  const gid = group === null || group === "" ? idOf(user?.[3]) : gidOf(group);
  if (uid === null || gid === null) return null;
  const member = groups.filter((fields) => user !== undefined && fields[3]?.split(",").includes(user[0] ?? ""));
  const extra = extraGroups.map(gidOf);
  if (extra.includes(null)) return null;
  const all = [gid, ...member.map((fields) => idOf(fields[2])), ...extra].filter((id) => id !== null);
  return { uid, gid, groups: [...new Set(all)], capEff: asHex(0n) };
}

async function accounts(fs: RootFs, path: string): Promise<string[][]> {
  const text = await fs.text(path, MAX_ACCOUNTS_FILE).catch(() => "");
  return text.split("\n").map((line) => line.split(":"));
}

function idOf(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : null;
}
