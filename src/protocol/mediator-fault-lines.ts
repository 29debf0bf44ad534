import { decimal, textOf } from "./grammar.ts";
import {
  callIdIn,
  described,
  inCall,
  type MediatorGrammar,
  type MediatorReading,
  NOTHING,
  startsCall,
} from "./mediator-grammar.ts";

const FAULTS = described("Mediator log: faults", "stderr", [
  {
    id: "call-failed",
    markers: ["[cuda-executor] call FAILED: "],
    pattern:
      /\[cuda-executor\] call FAILED: vm=(\d{1,10}) call=\w{1,60}\(0x([0-9a-f]{4})\) rc=(-?\d{1,10})\((\w{1,60})\)/y,
    examples: [
      "[cuda-executor] call FAILED: vm=167820931 call=cuLaunchKernel(0x0050) rc=700(CUDA_ERROR_ILLEGAL_ADDRESS) detail=an illegal memory access was encountered",
      "[cuda-executor] call FAILED: vm=167820931 call=cuda_call(0x00aa) rc=709(CUDA_ERROR_CONTEXT_IS_DESTROYED) detail=context is destroyed",
    ],
    read: (m) =>
      inCall({
        kind: "call-failed",
        owner: decimal(m, 1),
        callId: callIdIn(m, 2),
        rc: decimal(m, 3),
        error: textOf(m, 4),
      }),
  },
  {
    id: "call-unsupported",
    markers: ["[cuda-executor] Unsupported CUDA "],
    pattern: /\[cuda-executor\] Unsupported CUDA (?:protocol call: \w{1,60}\(|call: )0x([0-9a-f]{1,8})/y,
    examples: [
      "[cuda-executor] Unsupported CUDA protocol call: cuMemcpyDtoHAsync(0x003d)",
      "[cuda-executor] Unsupported CUDA call: 0x01ff",
    ],
    read: (m) => startsCall({ kind: "call-unsupported", callId: callIdIn(m, 1) }),
  },
  {
    id: "recovering",
    markers: ["[cuda-executor] Recovering primary context "],
    pattern: /\[cuda-executor\] Recovering primary context after vm_id=(\d{1,10}) fault: ([^\n]{1,200})/y,
    examples: [
      "[cuda-executor] Recovering primary context after vm_id=167820931 fault: cuLaunchKernel sync hit CUDA_ERROR_ILLEGAL_ADDRESS",
    ],
    read: (m) => inCall({ kind: "recovering", owner: decimal(m, 1), fault: textOf(m, 2) }),
  },
  {
    id: "recovery-failed",
    markers: ["[cuda-executor] ERROR: failed to re-retain ", "[cuda-executor] ERROR: recovered primary context "],
    pattern:
      /\[cuda-executor\] ERROR: (?:(failed to re-retain primary context after recovery)|recovered primary context could not be made current): rc=(-?\d{1,10})/y,
    examples: [
      "[cuda-executor] ERROR: failed to re-retain primary context after recovery: rc=700",
      "[cuda-executor] ERROR: recovered primary context could not be made current: rc=201",
    ],
    read: (m) =>
      inCall({ kind: "recovery-failed", stage: m[1] === undefined ? "make-current" : "retain", rc: decimal(m, 2) }),
  },
  {
    id: "owner-cleaned",
    generation: "any",
    markers: ["[cuda-executor] Cleaned up VM "],
    pattern: /\[cuda-executor\] Cleaned up VM (\d{1,10})/y,
    examples: ["[cuda-executor] Cleaned up VM 167776108"],
    read: (m) => inCall({ kind: "owner-cleaned", owner: decimal(m, 1) }),
  },
  {
    id: "dump-written",
    generation: "any",
    markers: ["[cuda-executor] dumped "],
    pattern: /\[cuda-executor\] dumped (\S{1,200}) \((\d{1,10}) bytes\)/y,
    examples: [
      "[cuda-executor] dumped /tmp/fail401312.bin (401312 bytes)",
      "[cuda-executor] dumped /tmp/libload_vm9_len640561.bin (640561 bytes) before cuLibraryLoadData",
    ],
    read: (m) => inCall({ kind: "dump-written", path: textOf(m, 1), bytes: decimal(m, 2) }),
  },
]);

const owned = (m: RegExpExecArray): MediatorReading => ({ role: "owned", owner: decimal(m, 1) });

const BLAS = described("Mediator log: cuBLAS", "stderr", [
  {
    id: "blas-result",
    markers: ["[cuda-executor] vm_id="],
    pattern: /\[cuda-executor\] vm_id=(\d{1,10}) (cublas\w{1,60}) rc=(-?\d{1,10})/y,
    examples: [
      "[cuda-executor] vm_id=9 cublasCreate_v2 rc=3 handle=(nil)",
      "[cuda-executor] vm_id=9 cublasGemmEx rc=13 trans=(1,0) m=512 n=1 k=2048 types=(2,2,0) compute=68 algo=99 lda=2048 ldb=2048 ldc=512 a=0x7f0dba800000 b=0x7f0dba900000 c=0x7f0dbaa00000",
    ],
    read: (m) => inCall({ kind: "blas-result", owner: decimal(m, 1), op: textOf(m, 2), rc: decimal(m, 3) }),
  },
  {
    id: "blas-sync-failed",
    markers: ["[cuda-executor] vm_id="],
    pattern: /\[cuda-executor\] vm_id=(\d{1,10}) after (cublas\w{1,60}): cuCtxSynchronize rc=(-?\d{1,10})/y,
    examples: [
      "[cuda-executor] vm_id=9 after cublasGemmBatchedEx: cuCtxSynchronize rc=700 (CUDA_ERROR_ILLEGAL_ADDRESS) an illegal memory access was encountered",
    ],
    read: (m) => inCall({ kind: "blas-sync-failed", owner: decimal(m, 1), op: textOf(m, 2), rc: decimal(m, 3) }),
  },
  {
    id: "blas-mapping-failed",
    markers: ["[cuda-executor] cublas"],
    pattern: /\[cuda-executor\] (cublas\w{1,60}) MAPPING FAILED vm_id=(\d{1,10})/y,
    examples: [
      "[cuda-executor] cublasGemmEx MAPPING FAILED vm_id=167820931: handle=0x1 host_a=(nil) host_b=(nil) host_c=(nil) guest_a=0x1 guest_b=0x2 guest_c=0x3 mem_count=3",
      "[cuda-executor] cublasGemmBatchedEx MAPPING FAILED vm_id=167820931 batch=2 mem_count=3",
    ],
    read: (m) => inCall({ kind: "blas-mapping-failed", owner: decimal(m, 2), op: textOf(m, 1) }),
  },
  {
    id: "blas-replay-failed",
    markers: ["[cuda-executor] vm_id="],
    pattern:
      /\[cuda-executor\] vm_id=(\d{1,10}) batched replay fallback failed at batch_idx=(\d{1,10}) rc=(-?\d{1,10})/y,
    examples: ["[cuda-executor] vm_id=9 batched replay fallback failed at batch_idx=3 rc=13"],
    read: (m) => inCall({ kind: "blas-replay-failed", owner: decimal(m, 1), index: decimal(m, 2), rc: decimal(m, 3) }),
  },
  {
    id: "blas-detail",
    markers: ["[cuda-executor] vm_id="],
    pattern: /\[cuda-executor\] vm_id=(\d{1,10}) (?:SGEMM|GEMM_\w{1,30}) (?:dims|ptrs) /y,
    examples: [
      "[cuda-executor] vm_id=9 SGEMM dims m=512 n=1 k=2048 lda=2048 ldb=2048 ldc=512 alpha=1 beta=0",
      "[cuda-executor] vm_id=9 GEMM_EX ptrs guest=(0x1,0x2,0x3) host=(0x1,0x2,0x3) base_guest=(0x1,0x2,0x3) base_host=(0x1,0x2,0x3) sizes=(4096,4096,4096)",
    ],
    read: owned,
  },
]);

const SAMPLES = described("Mediator log: payload in lines", "stderr", [
  {
    id: "sample-failed",
    markers: ["[cuda-executor] "],
    pattern: /\[cuda-executor\] [^\n]{1,200}? (?:sample|bytes) FAILED vm=(\d{1,10}) ptr=/y,
    examples: [
      "[cuda-executor] k_set_rows dst sample FAILED vm=167820931 ptr=0x7f0dba800000 rc=700(CUDA_ERROR_ILLEGAL_ADDRESS) detail=an illegal memory access was encountered",
      "[cuda-executor] soft_max_f32 dst bytes FAILED vm=167820931 ptr=0x7f0dba800000 rc=700(CUDA_ERROR_ILLEGAL_ADDRESS) detail=an illegal memory access was encountered",
    ],
    read: owned,
  },
  {
    id: "sample",
    markers: ["[cuda-executor] "],
    pattern: /\[cuda-executor\] [^\n]{1,200}? (?:sample|decoded params|src1 peek(?: FAILED)?|prefix) vm=(\d{1,10}) /y,
    examples: [
      "[cuda-executor] cublasGemmEx C sample vm=167820931 ptr=0x7f0dba800000 count=8 values=[1 2 3 4 5 6 7 8]",
      "[cuda-executor] soft_max_f32 dst bytes sample vm=167820931 ptr=0x7f0dba800000 count=64",
      "[cuda-executor] soft_max_f32 decoded params vm=167820931 x=0x1 mask=(nil) sinks=(nil) dst=0x2",
      "[cuda-executor] k_set_rows src1 peek vm=167820931 [0 1 2 3 4 5 6 7]",
      "[cuda-executor] k_set_rows src1 peek FAILED vm=167820931 rc=700",
      "[cuda-executor] final_logits output prefix vm=167820931 len=64 prefix_len=64 bytes=[00 00]",
    ],
    read: owned,
  },
  {
    id: "payload-tail",
    markers: [..."0123456789abcdef] "],
    pattern: / ?(?:[0-9a-f]{2} ){0,200}[0-9a-f]{0,2}\]$/y,
    examples: ["80 3f]", " 3f]", "]"],
    read: () => NOTHING,
  },
]);

/** Lines of the executor about what failed, and those that show payload. */
export const FAULT_LINES: readonly MediatorGrammar[] = [...FAULTS, ...BLAS, ...SAMPLES];
