import { decimal, decimalOrNull, textOf } from "./grammar.ts";
import {
  addressIn,
  addressOrNull,
  callIdIn,
  described,
  inCall,
  type MediatorGrammar,
  startsCall,
} from "./mediator-grammar.ts";

/** The first and the last line of a call. */
export const FRAME_LINES: readonly MediatorGrammar[] = described("Mediator log: framing", "stderr", [
  {
    id: "terminator",
    markers: ["[MEDIATOR] CUDA result sent "],
    pattern:
      /\[MEDIATOR\] CUDA result sent vm_id=(\d{1,10}) request_id=(\d{1,10}) call_id=0x([0-9a-f]{1,8}) result\.status=(-?\d{1,10}) -> stub sets DONE/y,
    examples: [
      "[MEDIATOR] CUDA result sent vm_id=10 request_id=19834 call_id=0x30 result.status=0 -> stub sets DONE",
      "[MEDIATOR] CUDA result sent vm_id=10 request_id=19904 call_id=0x50 result.status=700 -> stub sets DONE",
    ],
    read: (m) => ({
      role: "terminator",
      vmId: decimal(m, 1),
      requestId: decimal(m, 2),
      callId: callIdIn(m, 3),
      status: decimal(m, 4),
    }),
  },
  {
    id: "input",
    markers: ["[mediator] CUDA call input prefix "],
    pattern:
      /\[mediator\] CUDA call input prefix vm=(\d{1,10}) call_id=0x([0-9a-f]{4,8}) seq=(\d{1,10}) len=(\d{1,10}) prefix_len=\d{1,10} bytes=\[/y,
    examples: ["[mediator] CUDA call input prefix vm=10 call_id=0x003c seq=58 len=4 prefix_len=4 bytes=[00 00 80 3f]"],
    read: (m) => ({
      role: "input",
      vmId: decimal(m, 1),
      callId: callIdIn(m, 2),
      seq: decimal(m, 3),
      payloadBytes: decimal(m, 4),
    }),
  },
  {
    id: "process-cleanup",
    markers: ["[MEDIATOR] CUDA process cleanup "],
    pattern: /\[MEDIATOR\] CUDA process cleanup vm_id=(\d{1,10}) owner=(\d{1,10}) request_id=(\d{1,10})/y,
    examples: ["[MEDIATOR] CUDA process cleanup vm_id=10 owner=167820875 request_id=19808"],
    read: (m) =>
      startsCall({ kind: "process-cleanup", vmId: decimal(m, 1), owner: decimal(m, 2), requestId: decimal(m, 3) }),
  },
]);

const MEMORY = described("Mediator log: executor lines", "stderr", [
  {
    id: "init",
    markers: ["[cuda-executor] CUDA_CALL_INIT vm="],
    pattern: /\[cuda-executor\] CUDA_CALL_INIT vm=(\d{1,10}) /y,
    examples: ["[cuda-executor] CUDA_CALL_INIT vm=167820931 \xe2\x80\x94 pipeline live"],
    read: (m) => startsCall({ kind: "init", owner: decimal(m, 1) }),
  },
  {
    id: "alloc-start",
    generation: "any",
    markers: ["[cuda-executor] cuMemAlloc: allocating "],
    pattern: /\[cuda-executor\] cuMemAlloc: allocating (\d{1,20}) bytes on physical GPU \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] cuMemAlloc: allocating 2097152 bytes on physical GPU (vm=167820931)"],
    read: (m) => startsCall({ kind: "alloc-start", bytes: decimal(m, 1), owner: decimal(m, 2) }),
  },
  {
    id: "alloc-ok",
    generation: "any",
    markers: ["[cuda-executor] cuMemAlloc SUCCESS: allocated 0x"],
    pattern:
      /\[cuda-executor\] cuMemAlloc SUCCESS: allocated 0x([0-9a-f]{1,16}) on physical GPU \(vm=(\d{1,10})(, after context recovery)?\)/y,
    examples: [
      "[cuda-executor] cuMemAlloc SUCCESS: allocated 0x7f0dba800000 on physical GPU (vm=167820931)",
      "[cuda-executor] cuMemAlloc SUCCESS: allocated 0x7f0dba800000 on physical GPU (vm=167820931, after context recovery)",
    ],
    read: (m) =>
      inCall({ kind: "alloc-ok", owner: decimal(m, 2), ptr: addressIn(m, 1), recovered: m[3] !== undefined }),
  },
  {
    id: "alloc-failed",
    markers: ["[cuda-executor] cuMemAlloc FAILED: rc="],
    pattern:
      /\[cuda-executor\] cuMemAlloc FAILED: rc=(-?\d{1,10}) \(\w{1,60}\) .{1,120}? size=(\d{1,20}) bytes \(vm=(\d{1,10})\)/y,
    examples: [
      "[cuda-executor] cuMemAlloc FAILED: rc=2 (CUDA_ERROR_OUT_OF_MEMORY) out of memory size=214748364800 bytes (vm=184549602)",
    ],
    read: (m) => inCall({ kind: "alloc-failed", owner: decimal(m, 3), rc: decimal(m, 1), bytes: decimal(m, 2) }),
  },
  {
    id: "alloc-failed",
    generation: "2025",
    markers: ["[cuda-executor] cuMemAlloc FAILED: rc="],
    pattern: /\[cuda-executor\] cuMemAlloc FAILED: rc=(-?\d{1,10}) \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] cuMemAlloc FAILED: rc=2 (vm=9)"],
    read: (m) => inCall({ kind: "alloc-failed", owner: decimal(m, 2), rc: decimal(m, 1), bytes: null }),
  },
  {
    id: "alloc-retry",
    markers: ["[cuda-executor] cuMemAlloc preflight saw ", "[cuda-executor] cuMemAlloc hit rc="],
    pattern:
      /\[cuda-executor\] cuMemAlloc (?:preflight saw \w{1,60}|hit rc=(-?\d{1,10}) before allocation completed); recovering context and retrying once \(vm=(\d{1,10}) size=(\d{1,20})\)/y,
    examples: [
      "[cuda-executor] cuMemAlloc hit rc=201 before allocation completed; recovering context and retrying once (vm=184549647 size=16384)",
      "[cuda-executor] cuMemAlloc preflight saw CUDA_ERROR_INVALID_CONTEXT; recovering context and retrying once (vm=184549647 size=16384)",
    ],
    read: (m) => inCall({ kind: "alloc-retry", owner: decimal(m, 2), rc: decimalOrNull(m, 1), bytes: decimal(m, 3) }),
  },
  {
    id: "free-synchronize-failed",
    markers: ["[cuda-executor] cuMemFree: cuCtxSynchronize before free: rc="],
    pattern:
      /\[cuda-executor\] cuMemFree: cuCtxSynchronize before free: rc=(-?\d{1,10}) \(\w{1,60}\) .{1,120}?\(vm=(\d{1,10})\)/y,
    examples: [
      "[cuda-executor] cuMemFree: cuCtxSynchronize before free: rc=201 (CUDA_ERROR_INVALID_CONTEXT) invalid device context (vm=184549647)",
    ],
    read: (m) =>
      inCall({
        kind: "free-failed",
        owner: decimal(m, 2),
        stage: "synchronize",
        rc: decimal(m, 1),
        guestPtr: null,
      }),
  },
  {
    id: "free-failed",
    markers: ["[cuda-executor] cuMemFree FAILED: rc="],
    pattern:
      /\[cuda-executor\] cuMemFree FAILED: rc=(-?\d{1,10}) \(\w{1,60}\) .{1,120}? guest=0x([0-9a-f]{1,16}) host=0x[0-9a-f]{1,16} \(vm=(\d{1,10})\)/y,
    examples: [
      "[cuda-executor] cuMemFree FAILED: rc=1 (CUDA_ERROR_INVALID_VALUE) invalid argument guest=0x7f86bbe00000 host=0x7f86bbe00000 (vm=184549647)",
    ],
    read: (m) =>
      inCall({
        kind: "free-failed",
        owner: decimal(m, 3),
        stage: "free",
        rc: decimal(m, 1),
        guestPtr: addressIn(m, 2),
      }),
  },
  {
    id: "free-unmapped",
    markers: ["[cuda-executor] cuMemFree: no mapping for guest=0x"],
    pattern: /\[cuda-executor\] cuMemFree: no mapping for guest=0x([0-9a-f]{1,16}) \(vm=(\d{1,10})\)/y,
    examples: [
      "[cuda-executor] cuMemFree: no mapping for guest=0x7f86bbe00000 (vm=184549647) \xe2\x80\x94 treating as success",
    ],
    read: (m) => startsCall({ kind: "free-unmapped", owner: decimal(m, 2), guestPtr: addressIn(m, 1) }),
  },
]);

const COPIES = described("Mediator log: executor lines", "stderr", [
  {
    id: "copy-in-start",
    generation: "any",
    markers: ["[cuda-executor] cuMemcpyHtoD: dst=0x"],
    pattern: /\[cuda-executor\] cuMemcpyHtoD: dst=0x([0-9a-f]{1,16}) size=(\d{1,20}) bytes \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] cuMemcpyHtoD: dst=0x7f8a00000000 size=65536 bytes (vm=11)"],
    read: (m) =>
      startsCall({ kind: "copy-in-start", owner: decimal(m, 3), dst: addressIn(m, 1), bytes: decimal(m, 2) }),
  },
  {
    id: "copy-in-ok",
    generation: "any",
    markers: ["[cuda-executor] cuMemcpyHtoD SUCCESS: "],
    pattern: /\[cuda-executor\] cuMemcpyHtoD SUCCESS: data copied to physical GPU \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] cuMemcpyHtoD SUCCESS: data copied to physical GPU (vm=11)"],
    read: (m) => inCall({ kind: "copy-in-ok", owner: decimal(m, 1) }),
  },
  {
    id: "copy-in-failed",
    generation: "any",
    markers: ["[cuda-executor] cuMemcpyHtoD FAILED: rc="],
    pattern:
      /\[cuda-executor\] cuMemcpyHtoD FAILED: rc=(-?\d{1,10}) dst=0x([0-9a-f]{1,16}) size=(\d{1,20}) \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] cuMemcpyHtoD FAILED: rc=1 dst=0x7f5774fff000 size=1048576 (vm=9)"],
    read: (m) =>
      inCall({
        kind: "copy-in-failed",
        owner: decimal(m, 4),
        mode: "sync",
        rc: decimal(m, 1),
        dst: addressIn(m, 2),
        bytes: decimal(m, 3),
      }),
  },
  {
    id: "copy-in-async-failed",
    markers: [
      "[cuda-executor] cuMemcpyHtoDAsync FAILED: rc=",
      "[cuda-executor] cuMemcpyHtoDAsync small-sync FAILED: rc=",
    ],
    pattern:
      /\[cuda-executor\] cuMemcpyHtoDAsync (small-sync )?FAILED: rc=(-?\d{1,10}) dst=0x([0-9a-f]{1,16}) size=(\d{1,20}) stream_guest=0x[0-9a-f]{1,16} \(vm=(\d{1,10})\)/y,
    examples: [
      "[cuda-executor] cuMemcpyHtoDAsync small-sync FAILED: rc=201 dst=0x7f0dba800600 size=4 stream_guest=0x2a0ad40 (vm=167820931)",
      "[cuda-executor] cuMemcpyHtoDAsync FAILED: rc=201 dst=0x7f0dba800600 size=65536 stream_guest=0x2a0ad40 (vm=167820931) -> fallback sync copy",
    ],
    read: (m) =>
      inCall({
        kind: "copy-in-failed",
        owner: decimal(m, 5),
        mode: m[1] === undefined ? "fallback" : "small-sync",
        rc: decimal(m, 2),
        dst: addressIn(m, 3),
        bytes: decimal(m, 4),
      }),
  },
  {
    id: "copy-in-async",
    markers: ["[cuda-executor] cuMemcpyHtoDAsync vm="],
    pattern:
      /\[cuda-executor\] cuMemcpyHtoDAsync vm=(\d{1,10}) seq=(\d{1,10}) guest_dst=0x([0-9a-f]{1,16}) host_dst=0x([0-9a-f]{1,16}) size=(\d{1,20}) stream_guest=0x([0-9a-f]{1,16}) fnv1a64=0x([0-9a-f]{16})/y,
    examples: [
      "[cuda-executor] cuMemcpyHtoDAsync vm=167820931 seq=58 guest_dst=0x7f0dba800600 host_dst=0x7f0dba800600 size=4 stream_guest=0x2a0ad40 fnv1a64=0x2fa183a08531045a",
    ],
    read: (m) =>
      startsCall({
        kind: "copy-in-async",
        owner: decimal(m, 1),
        seq: decimal(m, 2),
        guestDst: addressIn(m, 3),
        hostDst: addressIn(m, 4),
        bytes: decimal(m, 5),
        stream: addressIn(m, 6),
        hash: addressIn(m, 7),
      }),
  },
  {
    id: "copy-in-suppressed",
    markers: ["[cuda-executor] cuMemcpyHtoDAsync: fatbin suppressed "],
    pattern:
      /\[cuda-executor\] cuMemcpyHtoDAsync: fatbin suppressed vm=(\d{1,10}) dst=0x([0-9a-f]{1,16}) size=(\d{1,20})/y,
    examples: [
      "[cuda-executor] cuMemcpyHtoDAsync: fatbin suppressed vm=167820931 dst=0x7f0dba800600 size=8192 (preserves tensor zero-state)",
    ],
    read: (m) =>
      inCall({ kind: "copy-in-suppressed", owner: decimal(m, 1), dst: addressIn(m, 2), bytes: decimal(m, 3) }),
  },
  {
    id: "copy-in-progress",
    generation: "any",
    markers: ["[cuda-executor] HtoD progress: "],
    pattern: /\[cuda-executor\] HtoD progress: (\d{1,20}) MB total \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] HtoD progress: 16 MB total (vm=9)"],
    read: (m) => inCall({ kind: "copy-in-progress", owner: decimal(m, 2), totalMb: decimal(m, 1) }),
  },
  {
    id: "stream-unresolved",
    markers: ["[cuda-executor] cuMemcpyHtoDAsync unresolved stream handle "],
    pattern: /\[cuda-executor\] cuMemcpyHtoDAsync unresolved stream handle guest=0x([0-9a-f]{1,16}) \(vm=(\d{1,10})\)/y,
    examples: [
      "[cuda-executor] cuMemcpyHtoDAsync unresolved stream handle guest=0x2a0ad40 (vm=167820931) -> fallback default stream",
    ],
    read: (m) => inCall({ kind: "stream-unresolved", owner: decimal(m, 2), stream: addressIn(m, 1) }),
  },
  {
    id: "copy-out-start",
    markers: ["[cuda-executor] cuMemcpyDtoH start "],
    pattern:
      /\[cuda-executor\] cuMemcpyDtoH start vm=(\d{1,10}) guest_src=0x([0-9a-f]{1,16}) host_src=0x([0-9a-f]{1,16}) mapped=(yes|no) size=(\d{1,20})/y,
    examples: [
      "[cuda-executor] cuMemcpyDtoH start vm=184549525 guest_src=0x7f86bbe08000 host_src=0x7f86bbe08000 mapped=yes size=16384",
    ],
    read: (m) =>
      startsCall({
        kind: "copy-out-start",
        owner: decimal(m, 1),
        guestSrc: addressIn(m, 2),
        hostSrc: addressIn(m, 3),
        mapped: textOf(m, 4) === "yes",
        bytes: decimal(m, 5),
      }),
  },
  {
    id: "copy-out-start",
    generation: "2025",
    markers: ["[cuda-executor] cuMemcpyDtoH: src=0x"],
    pattern: /\[cuda-executor\] cuMemcpyDtoH: src=0x([0-9a-f]{1,16}) size=(\d{1,20}) bytes \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] cuMemcpyDtoH: src=0x7f8a00000000 size=65536 bytes (vm=11)"],
    read: (m) =>
      startsCall({
        kind: "copy-out-start",
        owner: decimal(m, 3),
        guestSrc: addressIn(m, 1),
        hostSrc: null,
        mapped: null,
        bytes: decimal(m, 2),
      }),
  },
  {
    id: "copy-out-ok",
    markers: ["[cuda-executor] cuMemcpyDtoH SUCCESS vm="],
    pattern:
      /\[cuda-executor\] cuMemcpyDtoH SUCCESS vm=(\d{1,10}) guest_src=0x([0-9a-f]{1,16}) host_src=0x[0-9a-f]{1,16} size=(\d{1,20})/y,
    examples: [
      "[cuda-executor] cuMemcpyDtoH SUCCESS vm=184549525 guest_src=0x7f86bbe08000 host_src=0x7f86bbe08000 size=16384",
    ],
    read: (m) =>
      inCall({ kind: "copy-out-ok", owner: decimal(m, 1), guestSrc: addressOrNull(m, 2), bytes: decimal(m, 3) }),
  },
  {
    id: "copy-out-ok",
    generation: "2025",
    markers: ["[cuda-executor] cuMemcpyDtoH SUCCESS: "],
    pattern: /\[cuda-executor\] cuMemcpyDtoH SUCCESS: data copied from physical GPU \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] cuMemcpyDtoH SUCCESS: data copied from physical GPU (vm=11)"],
    read: (m) => inCall({ kind: "copy-out-ok", owner: decimal(m, 1), guestSrc: null, bytes: null }),
  },
  {
    id: "copy-out-failed",
    generation: "any",
    markers: ["[cuda-executor] cuMemcpyDtoH FAILED: rc="],
    pattern:
      /\[cuda-executor\] cuMemcpyDtoH FAILED: rc=(-?\d{1,10}) src=0x([0-9a-f]{1,16}) size=(\d{1,20}) \(vm=(\d{1,10})\)/y,
    examples: ["[cuda-executor] cuMemcpyDtoH FAILED: rc=201 src=0x7f86bbe08000 size=16384 (vm=184549647)"],
    read: (m) =>
      inCall({
        kind: "copy-out-failed",
        owner: decimal(m, 4),
        rc: decimal(m, 1),
        src: addressIn(m, 2),
        bytes: decimal(m, 3),
      }),
  },
  {
    id: "payload-shown",
    markers: [
      "[cuda-executor] cuMemcpyHtoD input prefix ",
      "[cuda-executor] cuMemcpyHtoDAsync input prefix ",
      "[cuda-executor] cuMemcpyDtoH result prefix ",
      "[cuda-executor] cuLaunchKernel param buffer prefix ",
    ],
    pattern:
      /\[cuda-executor\] (?:cuMemcpyHtoD input|cuMemcpyHtoDAsync input|cuMemcpyDtoH result|cuLaunchKernel param buffer) prefix vm=(\d{1,10}) len=\d{1,20} prefix_len=\d{1,20} bytes=\[/y,
    examples: [
      "[cuda-executor] cuMemcpyHtoDAsync input prefix vm=167820931 len=4 prefix_len=4 bytes=[00 00 80 3f]",
      "[cuda-executor] cuLaunchKernel param buffer prefix vm=184549647 len=8 prefix_len=8 bytes=[00 00 ad de 00 00 00 00]",
    ],
    read: (m) => ({ role: "owned", owner: decimal(m, 1) }),
  },
]);

/** Lines of the executor about memory and copies. */
export const COPY_LINES: readonly MediatorGrammar[] = [...MEMORY, ...COPIES];
