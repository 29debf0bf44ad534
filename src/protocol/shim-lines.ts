import { decimal, decimalOrNull, type Grammar, hexadecimal, textOf, textOrNull } from "./grammar.ts";
import type { ShimEvent } from "./guest-events.ts";

/**
 * Device pointers below this are made up. An H100's addresses are unified with the host's and lie far above 4 GiB
 * (seen: 0x7f...); the builds that invent them begin at 0x1000000 (docs/wire.md, "What a line proves").
 */
export const LOWEST_DEVICE_POINTER = 0x1_0000_0000;
/** cuBLAS handles of the builds that invent them: 0x1000. A real one is a pointer. */
const LOWEST_HANDLE = 0x10_0000;
/** The context that the shim gives out when it has none. */
const DUMMY_CONTEXT = "0xdeadbeef";

const allocated = (ptr: string, sizeBytes: number): ShimEvent =>
  Number(`0x${ptr}`) < LOWEST_DEVICE_POINTER
    ? { kind: "invented-success", what: "memory" }
    : { kind: "alloc-ok", ptr: `0x${ptr}`, sizeBytes };

const lines = (doc: string, grammars: readonly Omit<Grammar, "source" | "doc">[]): readonly Grammar[] =>
  grammars.map((grammar) => ({ source: "shim", doc, ...grammar }));

const DEVICE = lines("Shim lines: device and registers", [
  {
    id: "device-found",
    generation: "head",
    markers: ["cuInit() device found at "],
    pattern: /cuInit\(\) device found at ([0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7])/y,
    examples: [
      "[libvgpu-cuda] cuInit() device found at 0000:00:05.0 \xe2\x80\x94 transport deferred (CC=9.0 VRAM=81920 MB, init_phase=1)",
    ],
    event: (m) => ({ kind: "device-found", bdf: textOf(m, 1) }),
  },
  {
    id: "device-found-scan",
    generation: "feb-2026",
    markers: ["Found VGPU-STUB at "],
    pattern: /Found VGPU-STUB at ([0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7])/y,
    examples: [
      "[cuda-transport] Found VGPU-STUB at 0000:00:05.0 (vendor=0x10de device=0x2331 class=0x030200 match=exact)",
    ],
    event: (m) => ({ kind: "device-found", bdf: textOf(m, 1) }),
  },
  {
    id: "device-missing-scan",
    generation: "head",
    markers: ["VGPU-STUB not found in "],
    pattern: /VGPU-STUB not found in \S{1,80}(?: \(scanned (\d{1,6}) devices)?/y,
    examples: [
      "[cuda-transport] VGPU-STUB not found in /sys/bus/pci/devices (scanned 7 devices, want vendor=0x10de device=0x2331 OR QEMU-vendor with class=0x030200)",
    ],
    event: (m) => ({ kind: "device-missing", scanned: decimalOrNull(m, 1), reason: null }),
  },
  {
    id: "device-missing",
    generation: "any",
    markers: ["VGPU-STUB device not found", "cuInit() no VGPU device found in /sys"],
    pattern: /VGPU-STUB device not found|cuInit\(\) no VGPU device found in \/sys/y,
    examples: ["[cuda-transport] VGPU-STUB device not found", "[libvgpu-cuda] cuInit() no VGPU device found in /sys"],
    event: () => ({ kind: "device-missing", scanned: null, reason: null }),
  },
  {
    id: "device-scan-denied",
    generation: "head",
    markers: ["Cannot open /sys/bus/pci/devices: "],
    pattern: /Cannot open \/sys\/bus\/pci\/devices: ([^[\r\n]{1,120})/y,
    examples: ["[cuda-transport] Cannot open /sys/bus/pci/devices: Permission denied"],
    event: (m) => ({ kind: "device-missing", scanned: null, reason: textOf(m, 1) }),
  },
  {
    id: "device-invented",
    generation: "head",
    markers: ["cuInit() device discovery failed but in init phase", "cuInit() returning SUCCESS with defaults"],
    pattern: /cuInit\(\) (?:device discovery failed but in init phase|returning SUCCESS with defaults)/y,
    examples: [
      "[libvgpu-cuda] cuInit() device discovery failed but in init phase, proceeding with defaults",
      "[libvgpu-cuda] cuInit() returning SUCCESS with defaults (CC=9.0, VRAM=81920 MB, device_count=1)",
    ],
    event: () => ({ kind: "device-invented" }),
  },
  {
    id: "bar0-open-failed",
    generation: "head",
    markers: ["Cannot open BAR0: "],
    pattern: /Cannot open BAR0: ([^\s[]{1,200}) \(([^)[\r\n]{1,120})\)/y,
    examples: ["[cuda-transport] Cannot open BAR0: /sys/bus/pci/devices/0000:00:05.0/resource0 (Permission denied)"],
    event: (m) => ({ kind: "bar0-open-failed", path: textOf(m, 1), reason: textOf(m, 2) }),
  },
  {
    id: "bar0-map-failed",
    generation: "head",
    markers: ["Cannot mmap BAR0: "],
    pattern: /Cannot mmap BAR0: ([^[\r\n]{1,120})/y,
    examples: ["[cuda-transport] Cannot mmap BAR0: Invalid argument"],
    event: (m) => ({ kind: "bar0-map-failed", reason: textOf(m, 1) }),
  },
  {
    id: "bar1-unavailable",
    generation: "head",
    markers: ["BAR1 mmap failed", "BAR1 open failed"],
    pattern: /BAR1 (?:mmap|open) failed(?: \(errno=(\d{1,4})\))?/y,
    examples: [
      "[cuda-transport] BAR1 open failed (errno=13) - status will be read from BAR0",
      "[cuda-transport] BAR1 mmap failed - status will be read from BAR0",
    ],
    event: (m) => ({ kind: "bar1-unavailable", errno: decimalOrNull(m, 1) }),
  },
]);

const CONNECTION = lines("Shim lines: connecting", [
  {
    id: "connected",
    generation: "head",
    markers: ["Connected (vm_id="],
    pattern: /Connected \(vm_id=(\d{1,10})\) data_path=([A-Za-z0-9-]{1,24})(?: status_from=([A-Za-z0-9-]{1,40}))?/y,
    examples: [
      "[cuda-transport] Connected (vm_id=11) data_path=shmem status_from=BAR1-status-mirror",
      "[cuda-transport] Connected (vm_id=9) data_path=BAR1 status_from=BAR1",
    ],
    event: (m) => ({ kind: "connected", vmId: decimal(m, 1), dataPath: textOf(m, 2), statusFrom: textOrNull(m, 3) }),
  },
  {
    id: "connected",
    generation: "feb-2026",
    markers: ["Connected to VGPU-STUB (vm_id="],
    pattern: /Connected to VGPU-STUB \(vm_id=(\d{1,10}), data_path=([A-Za-z0-9-]{1,24})\)/y,
    examples: ["[cuda-transport] Connected to VGPU-STUB (vm_id=111, data_path=BAR1)"],
    event: (m) => ({ kind: "connected", vmId: decimal(m, 1), dataPath: textOf(m, 2), statusFrom: null }),
  },
  {
    id: "gpu-info-live",
    generation: "head",
    markers: ["GPU info (live): "],
    pattern: /GPU info \(live\): ([^,[\r\n]{1,80}), mem=(\d{1,9}) MB/y,
    examples: ["[libvgpu-cuda] GPU info (live): HEXACORE vH100 CAP, mem=81079 MB, CC=9.0"],
    event: (m) => ({ kind: "gpu-info-live", name: textOf(m, 1), memoryMb: decimal(m, 2) }),
  },
  {
    id: "gpu-info-failed",
    generation: "head",
    markers: ["GPU info fetch failed"],
    pattern: /GPU info fetch failed/y,
    examples: ["[libvgpu-cuda] GPU info fetch failed \xe2\x80\x94 using defaults"],
    event: () => ({ kind: "gpu-info-failed" }),
  },
  {
    id: "init-failed",
    generation: "head",
    markers: ["ensure_connected() transport init failed"],
    pattern: /ensure_connected\(\) transport init failed/y,
    examples: [
      "[libvgpu-cuda] ensure_connected() transport init failed \xe2\x80\x94 check resource0 permissions and mediator",
    ],
    event: () => ({ kind: "init-failed" }),
  },
  {
    id: "init-call-failed",
    generation: "head",
    markers: ["ensure_connected() CUDA_CALL_INIT non-fatal: "],
    pattern: /ensure_connected\(\) CUDA_CALL_INIT non-fatal: rc=(-?\d{1,10}) status=(\d{1,10})/y,
    examples: ["[libvgpu-cuda] ensure_connected() CUDA_CALL_INIT non-fatal: rc=999 status=999 num_results=0 seq=1"],
    event: (m) => ({ kind: "init-call-failed", rc: decimal(m, 1), status: decimal(m, 2) }),
  },
  {
    id: "stale-owner",
    generation: "head",
    markers: ["stale owner pid="],
    pattern: /stale owner pid=(\d{1,10}) detected/y,
    examples: ["[cuda-transport] stale owner pid=812 detected; requesting host cleanup"],
    event: (m) => ({ kind: "stale-owner", ownerPid: decimal(m, 1) }),
  },
]);

const CALLS = lines("Shim lines: calls", [
  {
    id: "debug-on",
    generation: "head",
    markers: ["(debug logging on)", "[cuda-transport] DEBUG: "],
    pattern: /\(debug logging on\)|\[cuda-transport\] DEBUG: /y,
    examples: ["[cuda-transport] (debug logging on)", "[cuda-transport] DEBUG: Starting device scan..."],
    event: () => ({ kind: "debug-on" }),
  },
  {
    id: "call-invoked",
    generation: "any, with VGPU_DEBUG or before mar-2026",
    markers: ["cuda_transport_call() INVOKED: "],
    pattern: /cuda_transport_call\(\) INVOKED: call_id=0x([0-9a-fA-F]{1,8}) data_len=(\d{1,10})/y,
    examples: [
      "[cuda-transport] cuda_transport_call() INVOKED: call_id=0x0032 data_len=200000 tp=0x715b40028300 bar0=0x715b95824000 (pid=129294)",
    ],
    event: (m) => ({ kind: "call-invoked", callId: hexadecimal(m, 1), dataLen: decimal(m, 2) }),
  },
  {
    id: "call-sent",
    generation: "any, with VGPU_DEBUG or before mar-2026",
    markers: ["SENDING to VGPU-STUB: "],
    pattern: /SENDING to VGPU-STUB: call_id=0x([0-9a-fA-F]{1,8}) seq=(\d{1,10}) args=\d{1,10} data_len=(\d{1,10})/y,
    examples: ["[cuda-transport] SENDING to VGPU-STUB: call_id=0x0030 seq=3 args=4 data_len=0 (pid=129294)"],
    event: (m) => ({ kind: "call-sent", callId: hexadecimal(m, 1), seq: decimal(m, 2), dataLen: decimal(m, 3) }),
  },
  {
    id: "call-doorbell",
    generation: "any, with VGPU_DEBUG or before mar-2026",
    markers: ["RINGING DOORBELL: "],
    pattern: /RINGING DOORBELL: MMIO write to VGPU-STUB \(call_id=0x([0-9a-fA-F]{1,8})/y,
    examples: ["[cuda-transport] RINGING DOORBELL: MMIO write to VGPU-STUB (call_id=0x0030, pid=129294)"],
    event: (m) => ({ kind: "call-doorbell", callId: hexadecimal(m, 1) }),
  },
  {
    id: "call-done",
    generation: "any, with VGPU_DEBUG or before mar-2026",
    markers: ["RECEIVED from VGPU-STUB: "],
    pattern: /RECEIVED from VGPU-STUB: call_id=0x([0-9a-fA-F]{1,8}) seq=(\d{1,10}) status=DONE/y,
    examples: ["[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x0050 seq=19 status=DONE (pid=130074)"],
    event: (m) => ({ kind: "call-done", callId: hexadecimal(m, 1), seq: decimal(m, 2) }),
  },
  {
    id: "call-forwarded",
    generation: "any, with VGPU_DEBUG or before mar-2026",
    markers: ["SUCCESS: forwarded to host"],
    pattern: /(?<=\b(cu\w{1,48})\(\) )SUCCESS: forwarded to host/y,
    examples: [
      "[libvgpu-cuda] cuLaunchKernel() SUCCESS: forwarded to host (pid=13276)",
      "[libvgpu-cuda] cuMemcpyDtoH() SUCCESS: forwarded to host, received 16384 bytes (pid=149)",
    ],
    event: (m) => ({ kind: "call-forwarded", name: textOf(m, 1) }),
  },
  {
    id: "alloc-ok",
    generation: "head",
    markers: ["cuMemAlloc_v2() SUCCESS: "],
    pattern: /cuMemAlloc_v2\(\) SUCCESS: ptr=0x([0-9a-fA-F]{1,16}), size=(\d{1,20})/y,
    examples: ["[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=0x7f86bbe00000, size=16384 (pid=149)"],
    event: (m) => allocated(textOf(m, 1), decimal(m, 2)),
  },
  {
    id: "alloc-ok",
    generation: "feb-2026",
    markers: ["cudaMalloc() SUCCESS: "],
    pattern: /cudaMalloc\(\) SUCCESS: ptr=0x([0-9a-fA-F]{1,16}), size=(\d{1,20})/y,
    examples: [
      "[libvgpu-cudart] cudaMalloc() SUCCESS: ptr=0x7f9a58000000, size=545947648 (pid=126540, cu_result=0)",
      "[libvgpu-cudart] cudaMalloc() SUCCESS: ptr=0x1000000, size=545947648 (pid=107616)",
    ],
    event: (m) => allocated(textOf(m, 1), decimal(m, 2)),
  },
  {
    id: "alloc-failed",
    generation: "head",
    markers: ["cuMemAlloc_v2() ERROR: "],
    pattern: /cuMemAlloc_v2\(\) ERROR: rc=(-?\d{1,10})/y,
    examples: ["[libvgpu-cuda] cuMemAlloc_v2() ERROR: rc=2 status=2 num_results=0 ptr=0x0 (pid=241)"],
    event: (m) => ({ kind: "alloc-failed", rc: decimal(m, 1) }),
  },
  {
    id: "context-by-rpc",
    generation: "head",
    markers: ["INIT PHASE COMPLETE: ", "SUCCESS (via RPC)"],
    pattern: /INIT PHASE COMPLETE: cleared|SUCCESS \(via RPC\)/y,
    examples: [
      "[libvgpu-cuda] INIT PHASE COMPLETE: cleared g_in_init_phase after successful context creation",
      "[libvgpu-cuda] cuDevicePrimaryCtxRetain SUCCESS (via RPC): pctx=0x7f9a58000000",
    ],
    event: () => ({ kind: "context-by-rpc" }),
  },
  {
    id: "context-snapshot",
    generation: "head",
    markers: ["via RPC: arg_ctx="],
    pattern: /via RPC: arg_ctx=[^\s[]{1,24} out_ctx=([^\s[]{1,24}) rc=(-?\d{1,10})/y,
    examples: [
      "[libvgpu-cuda] cuDevicePrimaryCtxRetain via RPC: arg_ctx=(nil) out_ctx=0x7f9a58000000 rc=0 extra0=0 extra1=0 current=0x7f9a58000000 global=0x7f9a58000000 init_phase=0 (pid=13276)",
    ],
    event: (m) => (decimal(m, 2) === 0 && textOf(m, 1) !== DUMMY_CONTEXT ? { kind: "context-by-rpc" } : null),
  },
  {
    id: "context-invented",
    generation: "head",
    markers: ["RPC non-success", "dummy fallback"],
    pattern:
      /(?:RPC non-success|dummy fallback)[^[\r\n]{0,60}?: arg_ctx=[^\s[]{1,24} out_ctx=([^\s[]{1,24}) rc=-?\d{1,10}/y,
    examples: [
      "[libvgpu-cuda] cuCtxCreate_v2 RPC non-success: arg_ctx=(nil) out_ctx=0xdeadbeef rc=999 extra0=0 extra1=0 current=0xdeadbeef global=0xdeadbeef init_phase=1 (pid=31)",
    ],
    event: (m) => (textOf(m, 1) === DUMMY_CONTEXT ? { kind: "invented-success", what: "context" } : null),
  },
  {
    id: "vmm-invented",
    generation: "feb-2026",
    markers: ["SUCCESS (dummy handle)"],
    pattern: /SUCCESS \(dummy handle\)/y,
    examples: ["[libvgpu-cuda] cuMemCreate returning SUCCESS (dummy handle)"],
    event: () => ({ kind: "invented-success", what: "memory" }),
  },
  {
    id: "cublas-invented",
    generation: "feb-2026",
    markers: ["cublasCreate_v2() SUCCESS: "],
    pattern: /cublasCreate_v2\(\) SUCCESS: handle=0x([0-9a-fA-F]{1,16})/y,
    examples: ["[libvgpu-cublas] cublasCreate_v2() SUCCESS: handle=0x1000 (pid=107616)"],
    event: (m) => (hexadecimal(m, 1) < LOWEST_HANDLE ? { kind: "invented-success", what: "cublas handle" } : null),
  },
  {
    id: "copy-attempt",
    generation: "head",
    markers: ["cuMemcpyHtoD input prefix ", "cuMemcpyHtoDAsync input prefix "],
    pattern: /cuMemcpyHtoD(?:Async)? input prefix len=(\d{1,20})/y,
    examples: [
      "[libvgpu-cuda] cuMemcpyHtoD input prefix len=1024 prefix_len=2 bytes=[5a 5a ] (pid=384)",
      "[libvgpu-cuda] cuMemcpyHtoDAsync input prefix len=200000 prefix_len=2 bytes=[5a 5a ] (pid=384)",
    ],
    event: (m) => ({ kind: "copy-attempt", bytes: decimal(m, 1) }),
  },
]);

export const SHIM_CALL_LINES: readonly Grammar[] = [...DEVICE, ...CONNECTION, ...CALLS];
