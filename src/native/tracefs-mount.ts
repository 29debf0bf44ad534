import { closeSync } from "node:fs";
import { addressOf, type Kernel, stableString } from "./syscall.ts";

/** include/uapi/linux/mount.h. */
const CLOEXEC = 1;
const FSCONFIG_CMD_CREATE = 6;
const NOSUID_NODEV_NOEXEC = 2 | 4 | 8;

/**
 * Mounts tracefs where nobody else sees it: on a file descriptor, in no directory. Its files are below
 * /proc/self/fd/N until the descriptor is closed.
 * @throws SystemCallError: EPERM without CAP_SYS_ADMIN, ENOSYS before Linux 5.2, ENODEV without tracefs.
 */
export function mountTracefs(kernel: Kernel): number {
  const name = stableString("tracefs");
  const setUp = kernel("fsopen", addressOf(name), CLOEXEC);
  try {
    kernel("fsconfig", setUp, FSCONFIG_CMD_CREATE, 0, 0, 0);
    return kernel("fsmount", setUp, CLOEXEC, NOSUID_NODEV_NOEXEC);
  } finally {
    closeSync(setUp);
  }
}
