import type { CallEvent, MediatorLine } from "../../../protocol/mediator-events.ts";
import { cudaResultName } from "../../../protocol/status.ts";

/** The fault that broke the context of all VMs. */
export interface Fault {
  readonly vmId: number;
  readonly owner: number;
  readonly requestId: number;
  readonly callId: number;
  readonly status: number;
  /** The executor's own words: "cuLaunchKernel sync hit CUDA_ERROR_ILLEGAL_ADDRESS". */
  readonly words: string;
  readonly log: number;
  readonly epoch: number;
  readonly at: number;
  /** When it was written at the latest, milliseconds; null where the log has no times. */
  readonly writtenAt: number | null;
}

/** CUDA results that a context gives which something else broke. */
const CONSEQUENCES: readonly number[] = [1, 201, 400, 700, 709];

/**
 * R12: after a fault the executor resets the one context of all VMs, and what fails from there on fails because of it,
 * whoever's it was. The root is the first recovery since the last thing that worked; later recoveries are its
 * consequences. A restart of the mediator ends it. Docs/wire.md, "Mediator log: faults".
 */
export class PoisonTracker {
  #root: Fault | null = null;

  /** The fault that this failing call follows from; null: it is its own cause. To be asked before `note`. */
  rootOf(call: CallEvent): Fault | null {
    if (this.#root === null || call.epoch !== this.#root.epoch) return null;
    return CONSEQUENCES.includes(call.status) ? this.#root : null;
  }

  /** The fault that holds now; null: none. */
  get current(): Fault | null {
    return this.#root;
  }

  /** The fault that begins with this call; null: none does. */
  note(call: CallEvent): Fault | null {
    if (call.lines.length === 0) return null;
    if (this.#root !== null && (this.#root.epoch !== call.epoch || healed(call))) this.#root = null;
    const recovering = call.lines.find((line) => line.kind === "recovering");
    if (recovering === undefined || this.#root !== null) return null;
    this.#root = {
      vmId: call.vmId,
      owner: recovering.owner,
      requestId: call.requestId,
      callId: call.callId,
      status: call.status,
      words: recovering.fault,
      log: call.log,
      epoch: call.epoch,
      at: call.terminatorAt,
      writtenAt: call.when?.notAfter ?? null,
    };
    return this.#root;
  }

  /** The mediator was started anew: nothing of before holds. */
  restart(): void {
    this.#root = null;
  }
}

/** Work that the GPU did: only a sound context can. */
function healed({ status, lines }: CallEvent): boolean {
  return status === 0 && lines.some(isWork) && !lines.some(({ kind }) => kind === "recovery-failed");
}

const isWork = ({ kind }: MediatorLine): boolean =>
  kind === "alloc-ok" || kind === "launch-ok" || kind === "copy-out-ok";

/** What happened, for people: "CUDA_ERROR_ILLEGAL_ADDRESS in cuLaunchKernel". */
export function faultText(callName: string, status: number): string {
  return `${cudaResultName(status)} in ${callName}`;
}
