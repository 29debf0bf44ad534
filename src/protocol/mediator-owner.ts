/** Who an executor's `vm=` means. Source: docs/wire.md, "Owner ids". */
export type Owner =
  /** A process of the VM, by the pid that the shim's getpid() gave: in a container, that namespace's. */
  | { readonly by: "pid"; readonly pid: number }
  /** A connection of the VM: stubs that send no pid, mediators of that time. All processes of the VM share it. */
  | { readonly by: "fd"; readonly fd: number }
  /** The VM as a whole: builds before owner ids, or a call with no pid set. */
  | { readonly by: "vm" };

/** Owners from here on carry a pid (or, for VM ids of 256 and more, a file descriptor). */
export const FIRST_PID_OWNER = 2 ** 24;

/**
 * What an owner id means for the VM that its record's terminator names; null when it contradicts that VM. The VM's id
 * is only kept in 8 bits beside a pid, so VM ids of 256 and more share theirs with another VM. Where both readings
 * fit, which needs VM id 0, the pid is taken.
 */
export function decodeOwner(owner: number, vmId: number): Owner | null {
  if (owner === vmId) return { by: "vm" };
  const low24 = owner % 2 ** 24;
  if (Math.floor(owner / 2 ** 24) === vmId % 256 && low24 > 0) return { by: "pid", pid: low24 };
  if (Math.floor(owner / 2 ** 16) === vmId % 2 ** 16) return { by: "fd", fd: owner % 2 ** 16 };
  return null;
}

/** The owner id that a device with this VM id sends for a pid; the VM's id itself for pid 0. */
export function ownerOf(vmId: number, pid: number): number {
  return pid === 0 ? vmId : (vmId % 256) * 2 ** 24 + (pid % 2 ** 24);
}
