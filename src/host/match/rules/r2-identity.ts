import { decodeOwner, FIRST_PID_OWNER } from "../../../protocol/mediator-owner.ts";

/** Whose a call is, within the VM that its terminator names. */
export type Whose =
  | { readonly by: "pid"; readonly pid: number }
  /** The VM as a whole: old builds, or no line of the call names anybody. */
  | { readonly by: "vm" }
  /** The lines name another VM than the terminator: neither is believed. */
  | { readonly by: "nobody" };

const WHOLE_VM: Whose = { by: "vm" };
const NOBODY: Whose = { by: "nobody" };

/** R2: a record is a guest's only by the VM id of its terminator, and a process's only by the pid in its owner. */
export function whoseCall(owner: number | null, vmId: number): Whose {
  if (owner === null) return WHOLE_VM;
  const decoded = decodeOwner(owner, vmId);
  if (decoded === null) return NOBODY;
  return decoded.by === "pid" ? { by: "pid", pid: decoded.pid } : WHOLE_VM;
}

/**
 * R2 for lines without a terminator: only builds that print the plain VM id as owner tell whose they are. Null: nobody
 * can say.
 */
export function vmOfUnframed(owner: number | null, vmId: number | null, hasTerminator: boolean): number | null {
  if (vmId !== null) return vmId;
  if (owner === null || hasTerminator || owner >= FIRST_PID_OWNER) return null;
  // A connection's owner is the VM's id in its upper half.
  return owner >= 65_536 ? Math.floor(owner / 65_536) : owner;
}

/** How the request ids of one VM id moved: they grow by one for each call, and begin again with each boot of the VM. */
export interface Succession {
  /** Domains that connected under this VM id in one run of the mediator. */
  readonly domains: number;
  /** Times that the request ids began again at a smaller number. */
  readonly restarts: number;
  /** Times that a succession went on which another one had followed: two devices speak in turns. */
  readonly resumed: number;
}

/**
 * R2: whether two VMs use one VM id. A reboot gives one VM another domain, and its ids begin again once; two domains
 * without that, or ids that jump back and forth, are two VMs. All of their records are then ambiguous.
 */
export function isVmIdShared({ domains, restarts, resumed }: Succession): boolean {
  return resumed > 0 || domains > restarts + 1;
}
