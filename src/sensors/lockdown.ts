import type { LockdownFacts } from "../facts/device.ts";
import { errnoOf, notRead, notReadFromError, type Reading, wasRead } from "../facts/reading.ts";
import type { SensorContext } from "./context.ts";
import type { RootFs } from "./root-fs.ts";

/** Mount point of securityfs: an empty directory while it is not mounted. */
const SECURITYFS = "/sys/kernel/security";
const LOCKDOWN = `${SECURITYFS}/lockdown`;
/** EFI's own variables have this vendor GUID. Four bytes of attributes, then the value: 1 is on. */
const SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SECURE_BOOT_LENGTH = 5;

const CHOSEN = /\[(none|integrity|confidentiality)\]/;

/**
 * Kernel lockdown and EFI Secure Boot. In lockdown the kernel refuses to map PCI resources, root or not. That the kernel
 * has no lockdown is only said when its securityfs was there to look at.
 */
export async function readLockdown(context: SensorContext): Promise<Reading<LockdownFacts>> {
  const { fs, scope } = context;
  if (scope.subject === "evidence") return notRead("skipped", "a log is judged, not this machine");
  const mode = await readMode(fs);
  if (mode.state !== "read") return mode;
  return wasRead({ mode: mode.value, secureBoot: await readSecureBoot(fs) }, mode.detail);
}

async function readMode(fs: RootFs): Promise<Reading<LockdownFacts["mode"]>> {
  let text: string;
  try {
    text = await fs.text(LOCKDOWN, 256);
  } catch (error) {
    return errnoOf(error) === "ENOENT" ? await explainMissing(fs) : notReadFromError(error, LOCKDOWN);
  }
  const chosen = CHOSEN.exec(text)?.[1];
  if (chosen === "none" || chosen === "integrity" || chosen === "confidentiality") return wasRead(chosen, LOCKDOWN);
  return notRead("invalid", `${LOCKDOWN}: no mode is marked as chosen`);
}

/** No lockdown file: a kernel without lockdown, a securityfs that is not mounted, or a capture that left it out. */
async function explainMissing(fs: RootFs): Promise<Reading<LockdownFacts["mode"]>> {
  let entries: string[];
  try {
    entries = await fs.list(SECURITYFS);
  } catch (error) {
    // A running kernel makes the directory whenever it has securityfs, mounted or not.
    if (fs.live && errnoOf(error) === "ENOENT" && (await fs.exists("/sys/kernel")))
      return wasRead("absent", "this kernel has no securityfs");
    return notReadFromError(error, SECURITYFS);
  }
  if (entries.length > 0) return wasRead("absent", `${SECURITYFS} has no lockdown file`);
  return notRead("absent", `${SECURITYFS} is empty: securityfs is not mounted here, so lockdown is not known`);
}

async function readSecureBoot(fs: RootFs): Promise<boolean | null> {
  try {
    const { bytes } = await fs.read(SECURE_BOOT, SECURE_BOOT_LENGTH + 1);
    return bytes.length === SECURE_BOOT_LENGTH ? bytes[SECURE_BOOT_LENGTH - 1] === 1 : null;
  } catch {
    return null;
  }
}
