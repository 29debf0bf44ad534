/**
 * A pointer or handle, as printed in hex; "(nil)" is 0. A bigint only above 2^53 - 1, so equal addresses are always
 * `===` and work as keys of a Map. Guest pointer and host pointer of device memory are the same number.
 */
export type Address = number | bigint;

/** Grid or block of a launch: x, y, z. */
export type Dimensions = readonly [number, number, number];

/**
 * One line inside a call's slice. `owner` is what these lines print as `vm=`: never a VM id by itself, see `decodeOwner`
 * in mediator-owner.ts. `rc` is a CUresult, except for `blas-…` lines, where it is a cublasStatus_t.
 * Docs/wire.md, "Mediator log: executor lines".
 */
export type MediatorLine =
  | { readonly kind: "init"; readonly owner: number }
  /** Printed before the attempt. */
  | { readonly kind: "alloc-start"; readonly owner: number; readonly bytes: number }
  /** `recovered`: it took a recovery of the primary context, which cleared every owner's tables. */
  | { readonly kind: "alloc-ok"; readonly owner: number; readonly ptr: Address; readonly recovered: boolean }
  /** `bytes` null: builds before 2026-04 do not print it. */
  | { readonly kind: "alloc-failed"; readonly owner: number; readonly rc: number; readonly bytes: number | null }
  /** The executor recovers the context and tries once more. `rc` null: seen before the attempt (invalid context). */
  | { readonly kind: "alloc-retry"; readonly owner: number; readonly rc: number | null; readonly bytes: number }
  /** `stage` "synchronize": a fault of earlier work showed when freeing. `guestPtr` null there. */
  | {
      readonly kind: "free-failed";
      readonly owner: number;
      readonly stage: "synchronize" | "free";
      readonly rc: number;
      readonly guestPtr: Address | null;
    }
  /** The pointer is not one of this owner; success is returned all the same. */
  | { readonly kind: "free-unmapped"; readonly owner: number; readonly guestPtr: Address }
  /** Only with the executor's debug variable set, or from old builds. */
  | { readonly kind: "copy-in-start"; readonly owner: number; readonly dst: Address; readonly bytes: number }
  | { readonly kind: "copy-in-ok"; readonly owner: number }
  /** `mode`: "sync"; "small-sync" for an asynchronous copy of at most 4096 bytes; "fallback": a synchronous try follows. */
  | {
      readonly kind: "copy-in-failed";
      readonly owner: number;
      readonly mode: "sync" | "small-sync" | "fallback";
      readonly rc: number;
      readonly dst: Address;
      readonly bytes: number;
    }
  /** Printed before the copy; no line follows a success. */
  | {
      readonly kind: "copy-in-async";
      readonly owner: number;
      readonly seq: number;
      readonly guestDst: Address;
      readonly hostDst: Address;
      readonly bytes: number;
      readonly stream: Address;
      /** The payload's FNV-1a, 64 bits, with this stack's own basis (docs/wire.md, "Payload hash"). */
      readonly hash: Address;
    }
  /** The payload began like a fat binary: nothing was copied, and success was returned. */
  | { readonly kind: "copy-in-suppressed"; readonly owner: number; readonly dst: Address; readonly bytes: number }
  | { readonly kind: "copy-in-progress"; readonly owner: number; readonly totalMb: number }
  /** The stream's handle is not known: the default stream was used. */
  | { readonly kind: "stream-unresolved"; readonly owner: number; readonly stream: Address }
  /** `mapped` false: the pointer is not one of this owner. `hostSrc` and `mapped` null: old builds. */
  | {
      readonly kind: "copy-out-start";
      readonly owner: number;
      readonly guestSrc: Address;
      readonly hostSrc: Address | null;
      readonly mapped: boolean | null;
      readonly bytes: number;
    }
  /** Null: old builds, whose line names only the owner. */
  | {
      readonly kind: "copy-out-ok";
      readonly owner: number;
      readonly guestSrc: Address | null;
      readonly bytes: number | null;
    }
  | {
      readonly kind: "copy-out-failed";
      readonly owner: number;
      readonly rc: number;
      readonly src: Address;
      readonly bytes: number;
    }
  | {
      readonly kind: "module-chunk";
      readonly owner: number;
      readonly callId: number;
      readonly first: boolean;
      readonly last: boolean;
      readonly single: boolean;
      readonly bytes: number;
      readonly usedBefore: number;
    }
  /** `path`: which function of the driver, "cuModuleLoadData" or "cuModuleLoadFatBinary". */
  | {
      readonly kind: "module-load-start";
      readonly owner: number;
      readonly callId: number;
      readonly path: string;
      readonly bytes: number;
    }
  | {
      readonly kind: "module-load-done";
      readonly owner: number;
      readonly callId: number;
      readonly rc: number;
      readonly module: Address;
    }
  /** The compiler's words, first line, at most 200 characters. They may quote the guest's code. */
  | { readonly kind: "module-jit-log"; readonly owner: number; readonly callId: number; readonly error: string }
  | {
      readonly kind: "module-no-memory";
      readonly owner: number;
      readonly stage: "host-heap" | "after-copy";
      readonly bytes: number;
    }
  /** The name is whole here, and cut after 127 bytes in launches. At most 256 characters are kept. */
  | {
      readonly kind: "function";
      readonly owner: number;
      readonly module: Address;
      readonly func: Address;
      readonly name: string;
    }
  /** Before the launch. `name` is "<unknown>" and `module` 0 for a handle that the executor does not know. */
  | ({ readonly kind: "launch" } & LaunchShape & { readonly stream: Address | null; readonly mode: number | null })
  /** After the launch and a synchronisation: the kernel ran to its end. `func` null: old builds. */
  | {
      readonly kind: "launch-ok";
      readonly owner: number;
      readonly func: Address | null;
      readonly name: string | null;
      readonly module: Address | null;
    }
  /** `stage` "launch": refused; "sync": it failed while it ran; null: an old build, which does not tell. */
  | ({ readonly kind: "launch-failed"; readonly stage: "launch" | "sync" | null; readonly rc: number } & LaunchShape)
  | { readonly kind: "launch-detail"; readonly owner: number; readonly mode: number; readonly paramBytes: number }
  | {
      readonly kind: "library-chunk";
      readonly owner: number;
      readonly first: boolean;
      readonly last: boolean;
      readonly single: boolean;
      readonly bytes: number;
      readonly used: number;
    }
  | { readonly kind: "library-loaded"; readonly owner: number; readonly bytes: number; readonly handle: Address }
  | { readonly kind: "library-failed"; readonly owner: number; readonly bytes: number; readonly rc: number }
  | { readonly kind: "library-table-full"; readonly owner: number; readonly handle: Address }
  | { readonly kind: "library-module"; readonly owner: number; readonly handle: Address; readonly module: Address }
  /** `rc` null: the handle is not known here. */
  | {
      readonly kind: "library-module-failed";
      readonly owner: number;
      readonly handle: Address;
      readonly rc: number | null;
    }
  /** `rc` null where none is printed. "synthesized" is a success that the driver did not give. */
  | {
      readonly kind: "param-info";
      readonly owner: number;
      readonly outcome: "synthesized" | "failed" | "unsupported" | "invalid";
      readonly func: Address;
      readonly param: number;
      readonly rc: number | null;
    }
  /** Any call whose result is not 0, but for cuBLAS. */
  | {
      readonly kind: "call-failed";
      readonly owner: number;
      readonly callId: number;
      readonly rc: number;
      /** "CUDA_ERROR_ILLEGAL_ADDRESS". */
      readonly error: string;
    }
  /** Names no owner. */
  | { readonly kind: "call-unsupported"; readonly callId: number }
  /**
   * The executor resets the one primary context that all VMs share, because of a fault of this owner. `fault` is the
   * executor's own words ("cuLaunchKernel sync hit CUDA_ERROR_ILLEGAL_ADDRESS").
   */
  | { readonly kind: "recovering"; readonly owner: number; readonly fault: string }
  /** From here every VM fails until the mediator is restarted. Names no owner. */
  | { readonly kind: "recovery-failed"; readonly stage: "retain" | "make-current"; readonly rc: number }
  /** `rc` 0 only with the executor's debug variable set. `op`: "cublasGemmEx", … */
  | { readonly kind: "blas-result"; readonly owner: number; readonly op: string; readonly rc: number }
  | { readonly kind: "blas-mapping-failed"; readonly owner: number; readonly op: string }
  /** The synchronisation after a GEMM failed; `rc` is a CUresult. */
  | { readonly kind: "blas-sync-failed"; readonly owner: number; readonly op: string; readonly rc: number }
  | { readonly kind: "blas-replay-failed"; readonly owner: number; readonly index: number; readonly rc: number }
  | { readonly kind: "owner-cleaned"; readonly owner: number }
  /** A guest's payload was written to a file on the host. */
  | { readonly kind: "dump-written"; readonly path: string; readonly bytes: number }
  /** In the slice of a 0xfe call: `owner` decodes to the pid that is cleaned, which is not the caller's. */
  | {
      readonly kind: "process-cleanup";
      readonly vmId: number;
      readonly owner: number;
      readonly requestId: number;
    };

/** What the lines about a launch have in common. Null: the build does not print it. */
export interface LaunchShape {
  readonly owner: number;
  readonly func: Address | null;
  readonly name: string | null;
  readonly module: Address | null;
  readonly grid: Dimensions | null;
  readonly block: Dimensions | null;
  readonly sharedBytes: number | null;
  readonly params: number | null;
}

export type MediatorLineKind = MediatorLine["kind"];
