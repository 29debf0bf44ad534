/**
 * What native-probe reports, in words: why it left a device alone, and what an errno of open(2) or mmap(2) on
 * resource0 means on this stack. The names are those of native-probe's np_refusal_name().
 */

export const REFUSALS = {
  "not-sysfs": "the path is not a device directory of sysfs",
  "wrong-ids": "its vendor and device ids are not 10de:2331",
  "wrong-class": "its class is not 0x0302xx (3D controller)",
  "driver-bound": "a kernel driver is bound to it: it may be somebody's real GPU",
  "wrong-bar-size": "its BARs are not 4096 bytes and 16 MiB of memory: it may be a passthrough GPU",
  "device-gone": "its configuration space reads all ones: the device is gone or does not answer",
  "memory-decode-off": "memory decode is off (command register bit 1), so its registers do not answer",
  "all-ones": "every identity register reads 0xffffffff",
  "unknown-protocol": "PROTOCOL_VER is not 0x00010000: the meaning of its registers is not known",
  "register-not-listed": "a register was asked for that is not safe to read",
  "status-already-read": "STATUS was asked for twice",
  unchecked: "what it is could not be checked",
  "bad-argument": "native-probe was called wrongly",
} as const;

export type Refusal = keyof typeof REFUSALS;

export function isRefusal(name: string): name is Refusal {
  return Object.hasOwn(REFUSALS, name);
}

const OPEN_MEANINGS: Readonly<Record<string, string>> = {
  EACCES: "this user may not read resource0 (0600 root unless a udev rule says otherwise)",
  EPERM: "the kernel forbids it: kernel lockdown (Secure Boot), or a sandbox of this process",
  EROFS: "/sys is mounted read-only where this process looks",
  ENOENT: "the device has gone, or has no memory BAR",
  ENODEV: "the device has gone",
  ENOTDIR: "that is not a device directory",
  ELOOP: "resource0 is a symbolic link: this is not sysfs",
};

const MMAP_MEANINGS: Readonly<Record<string, string>> = {
  EPERM: "kernel lockdown (Secure Boot) forbids mapping PCI resources",
  EACCES: "a security policy forbids mapping PCI resources",
  EINVAL: "BAR0 is claimed by a kernel driver",
  ENODEV: "resource0 cannot be mapped on this machine",
  ENOMEM: "no memory, or too many mappings",
};

/** What an errno means at a step, for an operator. */
export function errnoMeaning(step: "open" | "mmap", errno: string): string {
  const known = step === "open" ? OPEN_MEANINGS[errno] : MMAP_MEANINGS[errno];
  return known ?? `${step === "open" ? "opening" : "mapping"} resource0 failed`;
}
