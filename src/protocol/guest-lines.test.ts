import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { GuestEvent } from "./guest-events.ts";
import { GUEST_GRAMMARS, matchLine, matchManagerLine } from "./guest-lines.ts";

/** Written by hand from the lines' meaning: one event for each example of the grammar, in its order. */
const EXPECTED: Readonly<Record<string, readonly GuestEvent[]>> = {
  "device-found/head": [{ kind: "device-found", bdf: "0000:00:05.0" }],
  "device-found-scan/feb-2026": [{ kind: "device-found", bdf: "0000:00:05.0" }],
  "device-missing-scan/head": [{ kind: "device-missing", scanned: 7, reason: null }],
  "device-missing/any": [
    { kind: "device-missing", scanned: null, reason: null },
    { kind: "device-missing", scanned: null, reason: null },
  ],
  "device-scan-denied/head": [{ kind: "device-missing", scanned: null, reason: "Permission denied" }],
  "device-invented/head": [{ kind: "device-invented" }, { kind: "device-invented" }],
  "bar0-open-failed/head": [
    {
      kind: "bar0-open-failed",
      path: "/sys/bus/pci/devices/0000:00:05.0/resource0",
      reason: "Permission denied",
    },
  ],
  "bar0-map-failed/head": [{ kind: "bar0-map-failed", reason: "Invalid argument" }],
  "bar1-unavailable/head": [
    { kind: "bar1-unavailable", errno: 13 },
    { kind: "bar1-unavailable", errno: null },
  ],
  "connected/head": [
    { kind: "connected", vmId: 11, dataPath: "shmem", statusFrom: "BAR1-status-mirror" },
    { kind: "connected", vmId: 9, dataPath: "BAR1", statusFrom: "BAR1" },
  ],
  "connected/feb-2026": [{ kind: "connected", vmId: 111, dataPath: "BAR1", statusFrom: null }],
  "gpu-info-live/head": [{ kind: "gpu-info-live", name: "HEXACORE vH100 CAP", memoryMb: 81079 }],
  "gpu-info-failed/head": [{ kind: "gpu-info-failed" }],
  "init-failed/head": [{ kind: "init-failed" }],
  "init-call-failed/head": [{ kind: "init-call-failed", rc: 999, status: 999 }],
  "stale-owner/head": [{ kind: "stale-owner", ownerPid: 812 }],
  "debug-on/head": [{ kind: "debug-on" }, { kind: "debug-on" }],
  "call-invoked/any, with VGPU_DEBUG or before mar-2026": [{ kind: "call-invoked", callId: 0x32, dataLen: 200000 }],
  "call-sent/any, with VGPU_DEBUG or before mar-2026": [{ kind: "call-sent", callId: 0x30, seq: 3, dataLen: 0 }],
  "call-doorbell/any, with VGPU_DEBUG or before mar-2026": [{ kind: "call-doorbell", callId: 0x30 }],
  "call-done/any, with VGPU_DEBUG or before mar-2026": [{ kind: "call-done", callId: 0x50, seq: 19 }],
  "call-forwarded/any, with VGPU_DEBUG or before mar-2026": [
    { kind: "call-forwarded", name: "cuLaunchKernel" },
    { kind: "call-forwarded", name: "cuMemcpyDtoH" },
  ],
  "alloc-ok/head": [{ kind: "alloc-ok", ptr: "0x7f86bbe00000", sizeBytes: 16384 }],
  "alloc-ok/feb-2026": [
    { kind: "alloc-ok", ptr: "0x7f9a58000000", sizeBytes: 545947648 },
    { kind: "invented-success", what: "memory" },
  ],
  "alloc-failed/head": [{ kind: "alloc-failed", rc: 2 }],
  "context-by-rpc/head": [{ kind: "context-by-rpc" }, { kind: "context-by-rpc" }],
  "context-snapshot/head": [{ kind: "context-by-rpc" }],
  "context-invented/head": [{ kind: "invented-success", what: "context" }],
  "vmm-invented/feb-2026": [{ kind: "invented-success", what: "memory" }],
  "cublas-invented/feb-2026": [{ kind: "invented-success", what: "cublas handle" }],
  "copy-attempt/head": [
    { kind: "copy-attempt", bytes: 1024 },
    { kind: "copy-attempt", bytes: 200000 },
  ],
  "status-error/head": [
    { kind: "status-error", callId: 0x30, seq: 4, err: 3, errName: "MEDIATOR_UNAVAIL", vmId: 200 },
    { kind: "status-error", callId: 0xfe, seq: 8, err: 0x0b, errName: "VM_QUARANTINED", vmId: 10 },
  ],
  "status-error/apr-1-prebuilt": [
    { kind: "status-error", callId: 0x30, seq: 3, err: 5, errName: "CUDA_ERROR", vmId: 9 },
    { kind: "status-error", callId: 0x32, seq: 12, err: 0x0a, errName: null, vmId: null },
  ],
  "host-cuda-error/head": [
    { kind: "host-cuda-error", callId: 0x50, seq: 42, status: 700 },
    { kind: "host-cuda-error", callId: 0x3c, seq: 7, status: 201 },
  ],
  "timeout/head": [
    { kind: "timeout", callId: 1, seq: 1, seconds: 120 },
    { kind: "timeout", callId: 0x30, seq: 3, seconds: null },
  ],
  "chunk-failed/any": [
    { kind: "chunk-failed", what: "DTOH", rc: 201 },
    { kind: "chunk-failed", what: "MODULE_LOAD", rc: 999 },
  ],
  "shmem-registered/head": [{ kind: "shmem-registered", bytes: 6365184 }],
  "shmem-registered/mar-2026": [{ kind: "shmem-registered", bytes: 256 * 1024 * 1024 }],
  "shmem-disabled/head": [{ kind: "shmem-fallback", reason: "VGPU_DISABLE_SHMEM=1", final: true }],
  "shmem-helper/head": [{ kind: "shmem-fallback", reason: "--ollama-engine process", final: true }],
  "shmem-owner/head": [{ kind: "shmem-fallback", reason: "owner lock held or not openable", final: true }],
  "shmem-unsupported/head": [{ kind: "shmem-fallback", reason: "not supported by the device caps=0x20", final: true }],
  "shmem-mmap/any": [
    { kind: "shmem-fallback", reason: "mmap: Cannot allocate memory", final: false },
    { kind: "shmem-fallback", reason: "mmap: Resource temporarily unavailable", final: false },
  ],
  "shmem-mlock/head": [{ kind: "shmem-fallback", reason: "mlock: Cannot allocate memory", final: false }],
  "shmem-fragmented/any": [
    { kind: "shmem-fallback", reason: "no contiguous guest memory", final: false },
    { kind: "shmem-fallback", reason: "no contiguous guest memory", final: false },
  ],
  "shmem-pagemap/head": [{ kind: "shmem-fallback", reason: "pagemap: pfn_hidden", final: false }],
  "shmem-pagemap/mar-2026": [{ kind: "shmem-fallback", reason: "pagemap: not readable", final: true }],
  "shmem-rejected/any": [
    { kind: "shmem-fallback", reason: "rejected by the device: status 0xff, NONE", final: false },
    { kind: "shmem-fallback", reason: "rejected by the device: status 0x03, INVALID_REQUEST", final: false },
  ],
  "shmem-given-up/head": [
    { kind: "shmem-fallback", reason: null, final: true },
    { kind: "shmem-fallback", reason: null, final: true },
  ],
  "server-listening/any": [{ kind: "server-listening", address: "127.0.0.1:11434", version: "0.0.0" }],
  "discovery-started/ollama >=0.12.4": [{ kind: "discovery-started" }],
  "discovery-started/ollama <=0.12.3": [{ kind: "discovery-started" }],
  "inference-compute/ollama, all": [
    {
      kind: "inference-compute",
      library: "cuda",
      compute: "9.0",
      name: "NVIDIA H100",
      pciId: null,
      total: "79.6 GiB",
      id: "GPU-0a1b",
    },
    { kind: "inference-compute", library: "cpu", compute: null, name: null, pciId: null, total: "31.2 GiB", id: "0" },
    {
      kind: "inference-compute",
      library: "CUDA",
      compute: "9.0",
      name: "NVIDIA H100 80GB HBM3",
      pciId: "0000:17361170:7",
      total: "80.0 GiB",
      id: "GPU-00000000-1400-0000-00c0-000000000000",
    },
    { kind: "inference-compute", library: "cpu", compute: null, name: "cpu", pciId: null, total: "3.8 GiB", id: "cpu" },
  ],
  "no-compatible-gpu/ollama <=0.12.3": [{ kind: "no-compatible-gpu" }],
  "low-vram/ollama 0.11-0.15.4": [{ kind: "zero-vram" }, { kind: "low-vram", total: "15.9 GiB" }],
  "default-context/ollama >=0.15.5": [
    { kind: "zero-vram" },
    { kind: "default-context", totalVram: "80.0 GiB", tokens: 262144 },
  ],
  "discovery-timeout/ollama >=0.12.11": [{ kind: "discovery-timeout" }],
  "device-filtered/ollama >=0.12.4, debug": [{ kind: "device-filtered" }],
  "refresh-failed/any": [{ kind: "refresh-failed" }],
  "ggml-cuda-failed/any": [
    { kind: "ggml-cuda-failed", reason: "CUDA driver version is insufficient for CUDA runtime version" },
    { kind: "ggml-cuda-failed", reason: null },
  ],
  "ggml-cuda-found/any": [{ kind: "ggml-cuda-init", count: 1, compute: null }],
  "ggml-cuda-device/any": [{ kind: "ggml-cuda-init", count: null, compute: "9.0" }],
  "offloaded/any": [
    { kind: "offloaded", layers: 23, of: 23 },
    { kind: "offloaded", layers: 0, of: 23 },
  ],
  "model-buffer/llama engine": [{ kind: "model-buffer", device: "CUDA0", mib: 571.37 }],
  "model-buffer/ollama engine": [{ kind: "model-buffer", device: "CUDA0", mib: 571.4 }],
  "runner-terminated/any": [
    { kind: "runner-crash", text: "exit status 2" },
    { kind: "runner-crash", text: "signal: killed" },
  ],
  "runner-process-terminated/any": [
    { kind: "runner-crash", text: "exit status 2" },
    { kind: "runner-crash", text: "signal: aborted (core dumped)" },
  ],
  "assertion/any": [
    {
      kind: "runner-crash",
      text: 'GGML_ASSERT((uintptr_t)ptr % TENSOR_ALIGNMENT == 0 && "buffer pointer must be aligned") failed',
    },
  ],
  "kernel-fatal/any": [{ kind: "runner-crash", text: "mmq.cuh:3884: fatal error" }],
  "cuda-error/any": [{ kind: "runner-crash", text: "CUDA error: an illegal memory access was encountered" }],
  "signal/any": [{ kind: "runner-crash", text: "SIGSEGV: segmentation violation" }],
  "load-panic/any": [{ kind: "runner-crash", text: "panic: unable to load model" }],
  "linker-error/glibc": [
    {
      kind: "linker-error",
      text: "symbol lookup error: /opt/vgpu/lib/libcuda.so.1: undefined symbol: cuCtxGetFlags",
    },
    {
      kind: "linker-error",
      text: "error while loading shared libraries: libcudart.so.12: cannot open shared object file: No such file or directory",
    },
  ],
  "linker-version/glibc": [{ kind: "linker-error", text: "version `GLIBC_2.38' not found" }],
  "preload-ignored/glibc": [
    {
      kind: "preload-ignored",
      object: "/opt/vgpu/lib/libvgpu-exec.so",
      from: "LD_PRELOAD",
      reason: "cannot open shared object file",
    },
    { kind: "preload-ignored", object: "/usr/lib64/libvgpu-cuda.so", from: "/etc/ld.so.preload", reason: null },
  ],
  "request/any": [
    {
      kind: "request",
      status: 500,
      durationText: "1h11m3s",
      method: "POST",
      path: "/api/generate",
      inference: true,
    },
    {
      kind: "request",
      status: 200,
      durationText: "38.456µs",
      method: "GET",
      path: "/api/version",
      inference: false,
    },
  ],
  "unit-started/any": [
    { kind: "unit-started", unit: "ollama.service" },
    { kind: "unit-started", unit: null },
  ],
  "main-exited/any": [
    { kind: "main-exited", unit: "ollama.service", code: "exited", status: "2/INVALIDARGUMENT" },
    { kind: "main-exited", unit: "ollama.service", code: "dumped", status: "11/SEGV" },
  ],
  "unit-failed/any": [{ kind: "unit-failed", unit: "ollama.service", result: "exit-code" }],
  "deactivated/systemd >=246": [{ kind: "deactivated", unit: "ollama.service" }],
  "deactivated/systemd <246": [{ kind: "deactivated", unit: "ollama.service" }],
  "restart-scheduled/any": [{ kind: "restart-scheduled", unit: "ollama.service", counter: 3 }],
  "messages-suppressed/any": [{ kind: "messages-suppressed", unit: "ollama.service", count: 10234 }],
};

for (const grammar of GUEST_GRAMMARS) {
  const name = `${grammar.id}/${grammar.generation}`;
  test(`a line of ${name} is read as what it says`, () => {
    const expected = EXPECTED[name];
    assert.ok(expected, "no expectation is written for this grammar");
    assert.equal(grammar.examples.length, expected.length);
    const match = grammar.source === "shim" || grammar.source === "ollama" ? matchLine : matchManagerLine;
    for (const [index, example] of grammar.examples.entries()) {
      const found = match(example);
      assert.deepEqual(
        found.map(({ event }) => event),
        [expected[index]],
      );
      assert.equal(found[0]?.grammar, grammar);
    }
  });
}

test("every expectation belongs to a grammar, and no two grammars share a name and a generation", () => {
  const names = GUEST_GRAMMARS.map((grammar) => `${grammar.id}/${grammar.generation}`);
  assert.deepEqual(new Set(names), new Set(Object.keys(EXPECTED)));
  assert.equal(new Set(names).size, names.length);
});

test("patterns are sticky, begin with a marker and hold no character outside ASCII", () => {
  for (const grammar of GUEST_GRAMMARS) {
    assert.ok(grammar.pattern.sticky, grammar.id);
    assert.match(grammar.pattern.source, /^[\x20-\x7e]*$/, grammar.id);
    for (const marker of grammar.markers) assert.match(marker, /^[\x20-\x7e]{4,}$/, grammar.id);
  }
});

test("no quantifier of a pattern is without a bound", () => {
  for (const grammar of GUEST_GRAMMARS) {
    const bare = grammar.pattern.source.replace(/\\./g, "_").replace(/\[(?:\^?)[^\]]*\]/g, "_");
    assert.doesNotMatch(bare, /[*+]|,\}/, `${grammar.id}: ${grammar.pattern.source}`);
  }
});

test("every grammar names a section of docs/wire.md that is there", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/wire.md"), "utf8");
  const headings = new Set([...page.matchAll(/^##+ (.+)$/gm)].map((match) => match[1]));
  for (const { id, doc } of GUEST_GRAMMARS) assert.ok(headings.has(doc), `${id}: ${doc}`);
});
