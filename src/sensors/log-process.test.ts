import assert from "node:assert/strict";
import { test } from "node:test";
import { fold, onlyProcess } from "../../test/fixtures/log-entries.ts";

for (const line of [
  "[libvgpu-cuda] GPU info (live): HEXACORE vH100 CAP, mem=81079 MB, CC=9.0",
  "[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x0050 seq=19 status=DONE (pid=7)",
  "[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=0x7f86bbe00000, size=16384 (pid=7)",
  "[libvgpu-cuda] cuMemcpyHtoD() SUCCESS: forwarded to host (pid=7)",
  "[libvgpu-cuda] INIT PHASE COMPLETE: cleared g_in_init_phase after successful context creation",
  "[cuda-transport] STATUS_ERROR host-cuda: call=cuLaunchKernel(0x0050) seq=42 host_status=0x000002bc",
]) {
  test(`an answer of the host is proven by: ${line.slice(0, 60)}`, () => {
    assert.equal(onlyProcess(fold([{ text: line }])).answered?.count, 1);
  });
}

for (const line of [
  "[cuda-transport] Connected (vm_id=11) data_path=BAR1 status_from=BAR1-status-mirror",
  "[libvgpu-cuda] ensure_connected() transport live (vm_id=11 bdf=0000:00:01.0)",
  "[libvgpu-cuda] GPU defaults applied (H100 80GB CC=9.0 VRAM=81920 MB)",
  '[libvgpu-cuda] cuDeviceGetName SUCCESS: returning name="HEXACORE vH100 CAP"',
  "[libvgpu-cuda] cuInit() device found at 0000:00:05.0 - transport deferred",
  "[cuda-transport] cuda_transport_call() INVOKED: call_id=0x0001 data_len=0 tp=0x1 bar0=0x2 (pid=7)",
  "[cuda-transport] SENDING to VGPU-STUB: call_id=0x0001 seq=1 args=0 data_len=0 (pid=7)",
  "[libvgpu-cuda] cuMemcpyHtoD input prefix len=1024 prefix_len=2 bytes=[5a 5a ] (pid=384)",
  "[libvgpu-cudart] cudaMalloc() SUCCESS: ptr=0x1000000, size=545947648 (pid=107616)",
  "[libvgpu-cublas] cublasCreate_v2() SUCCESS: handle=0x1000 (pid=107616)",
  "[cuda-transport] STATUS_ERROR: call=cuInit(0x0001) seq=1 err=0x00000003(MEDIATOR_UNAVAIL) vm_id=11",
  "[cuda-transport] Timeout on call 0x0001 (seq=1) after 120s",
  "[libvgpu-cuda] cuMemAlloc_v2() ERROR: rc=2 status=2 num_results=0 ptr=0x0 (pid=241)",
]) {
  test(`no answer of the host is proven by: ${line.slice(0, 60)}`, () => {
    assert.equal(onlyProcess(fold([{ text: line }])).answered, null);
  });
}

test("errors are grouped by what they are, with the order in which they were seen last", () => {
  const process = onlyProcess(
    fold([
      { text: "[cuda-transport] STATUS_ERROR host-cuda: call=cuMemAlloc_v2(0x0030) seq=4 host_status=0x00000002" },
      { text: "[cuda-transport] STATUS_ERROR host-cuda: call=cuMemAlloc_v2(0x0030) seq=3 host_status=0x00000002" },
      { text: "[cuda-transport] STATUS_ERROR host-cuda: call=cuLaunchKernel(0x0050) seq=5 host_status=0x000002bc" },
      { text: "[cuda-transport] Timeout on call 0x0050 (seq=6) after 120s" },
      { text: "[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=0x7f86bbe00000, size=16384" },
    ]),
  );
  assert.deepEqual(
    process.hostErrors.map(({ code, callId, count, last }) => [code, callId, count, last.ordinal]),
    [
      [2, 0x30, 2, 1],
      [700, 0x50, 1, 2],
    ],
  );
  assert.deepEqual(
    process.timeouts.map(({ callId, count }) => [callId, count]),
    [[0x50, 1]],
  );
  assert.equal(process.answered?.last.ordinal, 4);
});

test("failed tries at shared memory that end well are no fallback", () => {
  const process = onlyProcess(
    fold([
      { text: "[cuda-transport] mlock(256 MB) failed (attempt=1 map32=0): Cannot allocate memory" },
      { text: "[cuda-transport] SHMEM_REG stage=register pid=100 tp=0x1 req_gpa=0x2 size=65536 g2h=0x3" },
      { text: "[cuda-transport] Connected (vm_id=1) data_path=shmem status_from=BAR1-status-mirror" },
    ]),
  );
  assert.equal(process.shmemFallback, null);
  assert.equal(process.shmemBytes, 65536);
});

test("a fallback is told with the reason of the last failed try", () => {
  const process = onlyProcess(
    fold([
      { text: "[cuda-transport] mlock(256 MB) failed (attempt=1 map32=0): Cannot allocate memory" },
      { text: "[cuda-transport] Cannot resolve GPA for shmem (attempt=1 map32=0 reason=pfn_hidden detail=0xa1)" },
      { text: "[cuda-transport] Exhausted shmem registration retries — using BAR1" },
      { text: "[cuda-transport] Connected (vm_id=10) data_path=BAR1 status_from=BAR1-status-mirror" },
    ]),
  );
  assert.equal(process.shmemFallback?.reason, "pagemap: pfn_hidden");
  assert.equal(process.shmemFallback?.count, 1);
});

test("an older build falls back without a word, and is seen to", () => {
  const process = onlyProcess(
    fold([
      { text: "[cuda-transport] mmap shmem 256 MB failed: Resource temporarily unavailable" },
      { text: "[cuda-transport] Connected (vm_id=9) data_path=BAR1 status_from=BAR1" },
    ]),
  );
  assert.equal(process.shmemFallback?.reason, "mmap: Resource temporarily unavailable");
});
