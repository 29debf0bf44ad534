import { decimal, decimalOrNull, type Grammar, hexadecimal, textOf, textOrNull } from "./grammar.ts";

const lines = (doc: string, grammars: readonly Omit<Grammar, "source" | "doc">[]): readonly Grammar[] =>
  grammars.map((grammar) => ({ source: "shim", doc, ...grammar }));

/** Errors of calls (docs/wire.md, "Shim lines: errors"). */
const ERRORS = lines("Shim lines: errors", [
  {
    id: "status-error",
    generation: "head",
    markers: ["STATUS_ERROR: call="],
    pattern:
      /STATUS_ERROR: call=[^\s(]{0,64}(?:\(call_id\))?\(0x([0-9a-fA-F]{1,8})\) seq=(\d{1,10}) err=0x([0-9a-fA-F]{1,8})(?:\((\w{1,40})\))?(?: vm_id=(\d{1,10}))?/y,
    examples: [
      "[cuda-transport] STATUS_ERROR: call=cuMemAlloc_v2(0x0030) seq=4 err=0x00000003(MEDIATOR_UNAVAIL) vm_id=200",
      "[cuda-transport] STATUS_ERROR: call=?(call_id)(0x00fe) seq=8 err=0x0000000b(VM_QUARANTINED) vm_id=10",
    ],
    event: (m) => ({
      kind: "status-error",
      callId: hexadecimal(m, 1),
      seq: decimal(m, 2),
      err: hexadecimal(m, 3),
      errName: textOrNull(m, 4),
      vmId: decimalOrNull(m, 5),
    }),
  },
  {
    id: "status-error",
    generation: "apr-1-prebuilt",
    markers: ["STATUS_ERROR: call_id="],
    pattern:
      /STATUS_ERROR: call_id=0x([0-9a-fA-F]{1,8}) seq=(\d{1,10}) err=0x([0-9a-fA-F]{1,8})(?:\((\w{1,40})\))?(?: vm_id=(\d{1,10}))?/y,
    examples: [
      "[cuda-transport] STATUS_ERROR: call_id=0x0030 seq=3 err=0x00000005(CUDA_ERROR) vm_id=9",
      "[cuda-transport] STATUS_ERROR: call_id=0x0032 seq=12 err=0x0000000a",
    ],
    event: (m) => ({
      kind: "status-error",
      callId: hexadecimal(m, 1),
      seq: decimal(m, 2),
      err: hexadecimal(m, 3),
      errName: textOrNull(m, 4),
      vmId: decimalOrNull(m, 5),
    }),
  },
  {
    id: "host-cuda-error",
    generation: "head",
    markers: ["STATUS_ERROR host-cuda: "],
    pattern:
      /STATUS_ERROR host-cuda: (?:call=[^\s(]{0,64}(?:\(call_id\))?\(0x([0-9a-fA-F]{1,8})\)|call_id=0x([0-9a-fA-F]{1,8})) seq=(\d{1,10}) host_status=0x([0-9a-fA-F]{1,8})/y,
    examples: [
      "[cuda-transport] STATUS_ERROR host-cuda: call=cuLaunchKernel(0x0050) seq=42 host_status=0x000002bc",
      "[cuda-transport] STATUS_ERROR host-cuda: call=?(call_id)(0x003c) seq=7 host_status=0x000000c9",
    ],
    event: (m) => ({
      kind: "host-cuda-error",
      callId: hexadecimal(m, m[1] === undefined ? 2 : 1),
      seq: decimal(m, 3),
      status: hexadecimal(m, 4),
    }),
  },
  {
    id: "timeout",
    generation: "head",
    markers: ["Timeout on call 0x"],
    pattern: /Timeout on call 0x([0-9a-fA-F]{1,8}) \(seq=(\d{1,10})\)(?: after (\d{1,10})s)?/y,
    examples: [
      "[cuda-transport] Timeout on call 0x0001 (seq=1) after 120s",
      "[cuda-transport] Timeout on call 0x0030 (seq=3)",
    ],
    event: (m) => ({
      kind: "timeout",
      callId: hexadecimal(m, 1),
      seq: decimal(m, 2),
      seconds: decimalOrNull(m, 3),
    }),
  },
  {
    id: "chunk-failed",
    generation: "any",
    markers: ["HTOD chunk failed", "DTOH chunk failed", "IMAGE_LOAD chunk failed", "MODULE_LOAD chunk failed"],
    pattern:
      /(HTOD|DTOH|IMAGE_LOAD|MODULE_LOAD) chunk failed at offset=\d{1,20} chunk=\d{1,20} total=\d{1,20} rc=(-?\d{1,10})/y,
    examples: [
      "[cuda-transport] DTOH chunk failed at offset=0 chunk=65536 total=1048576 rc=201",
      "[cuda-transport] MODULE_LOAD chunk failed at offset=1024 chunk=73 total=1097 rc=999",
    ],
    event: (m) => ({ kind: "chunk-failed", what: textOf(m, 1), rc: decimal(m, 2) }),
  },
]);

/** Setting up shared memory (docs/wire.md, "Shim lines: shared memory"). */
const SHARED_MEMORY = lines("Shim lines: shared memory", [
  {
    id: "shmem-registered",
    generation: "head",
    markers: ["SHMEM_REG stage=register "],
    pattern: /SHMEM_REG stage=register pid=\d{1,10} [^[\r\n]{0,200}?\bsize=(\d{1,15})/y,
    examples: [
      "[cuda-transport] SHMEM_REG stage=register pid=209 tp=0x55eb576b22a0 req_gpa=0x0000000013800000 stored_gpa=0x0000000013800000 size=6365184 g2h=0x7efe557ed000 h2g=0x7efe55af6000 pagemap_st=ok pagemap_gpa=0x0000000013800000",
    ],
    event: (m) => ({ kind: "shmem-registered", bytes: decimal(m, 1) }),
  },
  {
    id: "shmem-registered",
    generation: "mar-2026",
    markers: ["Shared-memory registered: "],
    pattern: /Shared-memory registered: gpa=0x[0-9a-fA-F]{1,16} size=(\d{1,9}) MB/y,
    examples: ["[cuda-transport] Shared-memory registered: gpa=0x00000001d7ce0000 size=256 MB (debug)"],
    event: (m) => ({ kind: "shmem-registered", bytes: decimal(m, 1) * 1024 * 1024 }),
  },
  {
    id: "shmem-disabled",
    generation: "head",
    markers: ["SHMEM disabled by VGPU_DISABLE_SHMEM="],
    pattern: /SHMEM disabled by (VGPU_DISABLE_SHMEM=[\x21-\x7e]{0,32})/y,
    examples: ["[cuda-transport] SHMEM disabled by VGPU_DISABLE_SHMEM=1 \xe2\x80\x94 using BAR1"],
    event: (m) => ({ kind: "shmem-fallback", reason: textOf(m, 1), final: true }),
  },
  {
    id: "shmem-helper",
    generation: "head",
    markers: ["SHMEM disabled for --ollama-engine helper"],
    pattern: /SHMEM disabled for --ollama-engine helper/y,
    examples: ["[cuda-transport] SHMEM disabled for --ollama-engine helper pid=38499; using BAR1/inline only"],
    event: () => ({ kind: "shmem-fallback", reason: "--ollama-engine process", final: true }),
  },
  {
    id: "shmem-owner",
    generation: "head",
    markers: ["SHMEM owner already held by another process"],
    pattern: /SHMEM owner already held by another process/y,
    examples: ["[cuda-transport] SHMEM owner already held by another process; pid=13932 using BAR1/inline only"],
    event: () => ({ kind: "shmem-fallback", reason: "owner lock held or not openable", final: true }),
  },
  {
    id: "shmem-unsupported",
    generation: "head",
    markers: ["vgpu-stub does not support shared-memory data path"],
    pattern: /vgpu-stub does not support shared-memory data path(?: \((caps=0x[0-9a-fA-F]{1,8})\))?/y,
    examples: ["[cuda-transport] vgpu-stub does not support shared-memory data path (caps=0x20), using BAR1"],
    event: (m) => ({
      kind: "shmem-fallback",
      reason: `not supported by the device ${textOf(m, 1)}`.trim(),
      final: true,
    }),
  },
  {
    id: "shmem-mmap",
    generation: "any",
    markers: ["mmap shmem "],
    pattern: /mmap shmem \d{1,9} MB failed(?: \(attempt=\d{1,9} map32=\d\))?: ([^[\r\n]{1,120})/y,
    examples: [
      "[cuda-transport] mmap shmem 256 MB failed (attempt=1 map32=0): Cannot allocate memory",
      "[cuda-transport] mmap shmem 256 MB failed: Resource temporarily unavailable",
    ],
    event: (m) => ({ kind: "shmem-fallback", reason: `mmap: ${textOf(m, 1)}`, final: false }),
  },
  {
    id: "shmem-mlock",
    generation: "head",
    markers: ["mlock("],
    pattern: /mlock\(\d{1,9} MB\) failed(?: \(attempt=\d{1,9} map32=\d\))?: ([^[\r\n]{1,120})/y,
    examples: ["[cuda-transport] mlock(256 MB) failed (attempt=1 map32=0): Cannot allocate memory"],
    event: (m) => ({ kind: "shmem-fallback", reason: `mlock: ${textOf(m, 1)}`, final: false }),
  },
  {
    id: "shmem-fragmented",
    generation: "any",
    markers: ["No contiguous GPA span"],
    pattern: /No contiguous GPA span/y,
    examples: [
      "[cuda-transport] runtime1m_v2 No contiguous GPA span >= 65536 KB (min_span_bytes=65536) inside 256 MB shmem mapping (attempt=1 map32=0 best=0 MB capeff=0x1ff)",
      "[cuda-transport] No contiguous GPA span >= 4 MB inside 256 MB shmem mapping",
    ],
    event: () => ({ kind: "shmem-fallback", reason: "no contiguous guest memory", final: false }),
  },
  {
    id: "shmem-pagemap",
    generation: "head",
    markers: ["Cannot resolve GPA for shmem (attempt="],
    pattern: /Cannot resolve GPA for shmem \(attempt=\d{1,9} map32=\d reason=(\w{1,40})/y,
    examples: [
      "[cuda-transport] Cannot resolve GPA for shmem (attempt=1 map32=0 reason=pfn_hidden detail=0xa100000000000000 capeff=0x0)",
    ],
    event: (m) => ({ kind: "shmem-fallback", reason: `pagemap: ${textOf(m, 1)}`, final: false }),
  },
  {
    id: "shmem-pagemap",
    generation: "mar-2026",
    markers: ["Cannot resolve GPA for shmem (need "],
    pattern: /Cannot resolve GPA for shmem \(need /y,
    examples: [
      "[cuda-transport] Cannot resolve GPA for shmem (need CAP_SYS_ADMIN or /proc/self/pagemap access) \xe2\x80\x94 using BAR1",
    ],
    event: () => ({ kind: "shmem-fallback", reason: "pagemap: not readable", final: true }),
  },
  {
    id: "shmem-rejected",
    generation: "any",
    markers: ["vgpu-stub rejected shmem registration ("],
    pattern:
      /vgpu-stub rejected shmem registration \((?:[^)[\r\n]{0,160} )?status=(0x[0-9a-fA-F]{1,8}) err=(0x[0-9a-fA-F]{1,8}):(\w{1,40})\)/y,
    examples: [
      "[cuda-transport] vgpu-stub rejected shmem registration (gpa=0x00000001d7ce0000 status=0xff err=0x00000000:NONE)",
      "[cuda-transport] vgpu-stub rejected shmem registration (status=0x03 err=0x00000001:INVALID_REQUEST) \xe2\x80\x94 using BAR1",
    ],
    event: (m) => ({
      kind: "shmem-fallback",
      reason: `rejected by the device: status ${textOf(m, 1)}, ${textOf(m, 3)}`,
      final: false,
    }),
  },
  {
    id: "shmem-given-up",
    generation: "head",
    markers: ["Exhausted shmem registration retries", "Non-retryable shmem registration failure"],
    pattern: /Exhausted shmem registration retries|Non-retryable shmem registration failure/y,
    examples: [
      "[cuda-transport] Exhausted shmem registration retries \xe2\x80\x94 using BAR1",
      "[cuda-transport] Non-retryable shmem registration failure \xe2\x80\x94 using BAR1",
    ],
    event: () => ({ kind: "shmem-fallback", reason: null, final: true }),
  },
]);

export const SHIM_ERROR_LINES: readonly Grammar[] = [...ERRORS, ...SHARED_MEMORY];
