import { CALL, ERROR_CODE, OUT_OF_MEMORY } from "./registers.ts";

/**
 * How the host behind the device behaves.
 * - `ok`: every call succeeds at once.
 * - `unavailable`: no mediator, ERROR 0x03.
 * - `out-of-memory`: allocations fail with CUDA status 2 and ERROR 0x05, the rest succeeds.
 * - `quarantined`: every call is refused with ERROR 0x0B.
 * - `slow`: every call succeeds, delayMs later. STATUS is BUSY until then.
 * - `silent`: calls are never answered. STATUS stays BUSY.
 * - `stalled`: the device answers no register access for delayMs: what a blocked device model does to a vCPU.
 * - `gone`: every register reads all ones and writes are lost.
 */
export type HostBehaviour =
  | { readonly kind: "ok" | "unavailable" | "out-of-memory" | "quarantined" | "silent" | "gone" }
  | { readonly kind: "slow" | "stalled"; readonly delayMs: number };

export interface HostAnswer {
  readonly errorCode: number;
  /** CUresult. */
  readonly status: number;
  readonly results: readonly bigint[];
}

/** What the real host says of the GPU's memory, MiB: not the shim's built-in 81920 (docs/wire.md, "Live GPU info"). */
const LIVE_MEMORY_MIB = 81_079n;
const FIRST_POINTER = 0x7f86bbe00000n;
const POINTER_STEP = 0x10000n;

/** STAND-IN for the mediator and the GPU: answers calls by id, executes nothing. */
export class StandinMediator {
  #nextPointer = FIRST_POINTER;

  /** null: never answered. */
  answer(callId: number, behaviour: HostBehaviour): HostAnswer | null {
    switch (behaviour.kind) {
      case "silent":
        return null;
      case "unavailable":
        return { errorCode: ERROR_CODE.mediatorUnavailable, status: 0, results: [] };
      case "quarantined":
        return { errorCode: ERROR_CODE.quarantined, status: 0, results: [] };
      case "out-of-memory":
        if (callId === CALL.alloc) return { errorCode: ERROR_CODE.cudaError, status: OUT_OF_MEMORY, results: [0n] };
    }
    return { errorCode: ERROR_CODE.none, status: 0, results: [this.#result(callId)] };
  }

  #result(callId: number): bigint {
    if (callId === CALL.gpuInfo) return LIVE_MEMORY_MIB;
    if (callId !== CALL.alloc) return 1n;
    const pointer = this.#nextPointer;
    this.#nextPointer += POINTER_STEP;
    return pointer;
  }
}
