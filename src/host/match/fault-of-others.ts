import { isCall } from "../../protocol/call-ids.ts";
import type { HostState } from "./host-state.ts";
import type { ProcessState } from "./process-state.ts";
import type { Fault } from "./rules/r12-poison.ts";
import type { HostWindow } from "./time-buckets.ts";
import type { FaultOfOther, VmState } from "./vm-state.ts";

/** A fault of another VM while this VM's processes ran: of the other VM nothing is told. */
export interface OtherFault {
  /** For the host's operator alone. */
  readonly fault: Fault;
  /** No launch of this VM went well after it. */
  readonly isLast: boolean;
  /** The context is broken still, as far as the log goes. */
  readonly stands: boolean;
}

/**
 * R12 for a VM that need not have called since: the context is one for all VMs, and a fault of one of them ends what the
 * others have on the GPU. The newest such fault in the window, or in the lives of these processes; null: none.
 */
export function faultOfOthers(
  vm: VmState | undefined,
  processes: readonly ProcessState[],
  host: HostState,
  window: HostWindow | null,
): OtherFault | null {
  if (vm === undefined) return null;
  const now = host.poison.current;
  const concerns = ({ fault, after }: FaultOfOther): boolean => {
    const { writtenAt } = fault;
    if (window === null || writtenAt === null) return processes.some((process) => livesAfter(process, after));
    return writtenAt <= window.to && (writtenAt >= window.from || fault === now);
  };
  const newest = vm.faultsOfOthers.items.findLast(concerns);
  if (newest === undefined) return null;
  const lastGood = processes.reduce((last, { lastGoodLaunch }) => Math.max(last, lastGoodLaunch), -1);
  return { fault: newest.fault, isLast: lastGood <= newest.after, stands: newest.fault === now };
}

function livesAfter({ firstRequest, lastRequest, lastCallId }: ProcessState, request: number): boolean {
  const ended = isCall(lastCallId, "cleanup") && lastRequest <= request;
  return firstRequest <= request && !ended;
}

/** For a sentence. The other VM is only told to be one. */
export function otherFaultText({ isLast, stands }: OtherFault): string {
  const fault = "a fault of another VM broke the GPU context of all VMs";
  if (!isLast) return `${fault} in between, and launches of this VM went well after it`;
  const then = stands ? ", and its next calls fail" : "";
  return `${fault} after this VM's last good launch: what this VM had on the GPU is gone${then}`;
}
