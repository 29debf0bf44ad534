import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { pidOf } from "./grammar.ts";
import type { GuestEvent } from "./guest-events.ts";
import { GUEST_GRAMMARS, isBareFailure, managerMessage, matchLine, matchManagerLine } from "./guest-lines.ts";
import { endOf } from "./ollama-lines.ts";

const eventsOf = (text: string): GuestEvent[] => matchLine(text).map(({ event }) => event);
const kindsOf = (text: string): string[] => eventsOf(text).map(({ kind }) => kind);

test("a message in the middle of another thread's message is found", () => {
  const line = "[lib[libvgpu-cuda] cuDeviceGet() SUCCESS: device=[cuda-transport] Connected (vm_id=9) data_path=BAR1";
  assert.deepEqual(eventsOf(line), [{ kind: "connected", vmId: 9, dataPath: "BAR1", statusFrom: null }]);
});

test("all messages of a merged line are found in their order, each with the pid that follows it", () => {
  const line =
    "[cuda-transport] SENDING to VGPU-STUB: call_id=0x0030 seq=3 args=4 data_len=0 (pid=10)" +
    "[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x0030 seq=3 status=DONE (pid=11)" +
    "[cuda-transport] STATUS_ERROR: call=cuMemFree_v2(0x0031) seq=4 err=0x00000005(CUDA_ERROR) vm_id=1" +
    "[cuda-transport] STATUS_ERROR host-cuda: call=cuMemFree_v2(0x0031) seq=4 host_status=0x00000001";
  assert.deepEqual(
    matchLine(line).map(({ event, pid }) => [event.kind, pid]),
    [
      ["call-sent", 10],
      ["call-done", 11],
      ["status-error", null],
      ["host-cuda-error", null],
    ],
  );
});

test("bytes that are not UTF-8, and NULs, do not hide a message", () => {
  const line = Buffer.concat([
    Buffer.from([0xff, 0xfe, 0x00, 0xe2, 0x80]),
    Buffer.from("[cuda-transport] Timeout on call 0x0050 (seq=7) after 120s"),
    Buffer.from([0x00, 0xc3, 0x28]),
  ]).toString("latin1");
  assert.deepEqual(eventsOf(line), [{ kind: "timeout", callId: 0x50, seq: 7, seconds: 120 }]);
});

test("lines that only look like success are not events of an answer", () => {
  for (const line of [
    "[libvgpu-cuda] ensure_connected() transport live (vm_id=11 bdf=0000:00:01.0)",
    "[libvgpu-cuda] ensure_connected() FAST PATH: transport already live (pid=133)",
    "[libvgpu-cuda] GPU defaults applied (H100 80GB CC=9.0 VRAM=81920 MB)",
    '[libvgpu-cuda] cuDeviceGetName SUCCESS: returning name="HEXACORE vH100 CAP"',
    "[libvgpu-cuda] cuCtxSetCurrent() SUCCESS (init phase, local): ctx=0xdeadbeef",
    "[libvgpu-cuda] cuDevicePrimaryCtxRetain init-phase dummy context: pctx=0xdeadbeef",
    "[libvgpu-cuda] cuDevicePrimaryCtxRetain via RPC: arg_ctx=(nil) out_ctx=0xdeadbeef rc=0 extra0=0",
    "[libvgpu-cuda] cuDevicePrimaryCtxRetain via RPC: arg_ctx=(nil) out_ctx=0x7f01 rc=201 extra0=0",
    "[libvgpu-cublas] cublasCreate_v2() SUCCESS: handle=0x7f0012345678 (pid=107616)",
    "[libvgpu-nvml] nvmlDeviceGetMemoryInfo() returning: total=81920 MB, free=79872 MB (pid=107616)",
  ]) {
    assert.deepEqual(kindsOf(line), [], line);
  }
});

test("pointers that a build counts up from 0x1000000 are invented, not allocated", () => {
  for (const ptr of ["0x0", "0x1000", "0x1000000", "0x218a8000", "0xffffffff"]) {
    assert.deepEqual(kindsOf(`[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=${ptr}, size=4096 (pid=1)`), [
      "invented-success",
    ]);
  }
  assert.deepEqual(kindsOf("[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=0x302000000, size=4096 (pid=1)"), ["alloc-ok"]);
});

test("the fields of a discovery line are read in any order, quoted or not", () => {
  const [event] = eventsOf(
    'msg="inference compute" total=79.6GiB "pci_id"="0000:00:05.0" library="CUDA" compute="9.0"',
  );
  assert.deepEqual(event, {
    kind: "inference-compute",
    library: "CUDA",
    compute: "9.0",
    name: null,
    pciId: "0000:00:05.0",
    total: "79.6GiB",
    id: null,
  });
});

test("a client that gave up is not a crash of the runner", () => {
  const line =
    'level=ERROR source=sched.go:575 msg="error loading llama server" error="llama runner process has terminated: context canceled"';
  assert.deepEqual(kindsOf(line), []);
});

test("what an error quotes is kept to two hundred characters", () => {
  const [event] = eventsOf(`msg="llama runner terminated" error="${"x".repeat(390)}"`);
  assert.ok(event?.kind === "runner-crash");
  assert.equal(event.text.length, 200);
});

test("a coloured request line is read", () => {
  const line =
    '[GIN] 2026/03/26 - 06:13:24 |\x1b[97;42m 200 \x1b[0m|  1.234567891s |       127.0.0.1 |\x1b[97;46m POST    \x1b[0m "/v1/chat/completions?x=1"';
  assert.deepEqual(eventsOf(line), [
    {
      kind: "request",
      status: 200,
      durationText: "1.234567891s",
      method: "POST",
      path: "/v1/chat/completions",
      inference: true,
    },
  ]);
});

test("the pid of another process is not taken for the line's own", () => {
  assert.equal(pidOf("stale owner pid=812 detected; requesting host cleanup"), null);
  assert.equal(pidOf("msg=x runner.pid=77 ppid=5"), null);
  assert.equal(pidOf("(pid=0)"), null);
  assert.equal(pidOf("pid=99999999999"), null);
  assert.equal(pidOf("[libvgpu-cuda] Skip flag SET to 0 (pid=38499)"), 38499);
});

test("a workload cannot speak as the manager", () => {
  assert.deepEqual(matchLine("ollama.service: Main process exited, code=exited, status=1/FAILURE"), []);
  assert.equal(managerMessage("ollama.service: Main process exited, code=exited, status=1/FAILURE"), null);
  assert.equal(
    managerMessage("Mar 26 06:13:24 vm systemd[1]: ollama.service: Deactivated successfully."),
    "ollama.service: Deactivated successfully.",
  );
});

test("without a prefix, a failure of a unit may be the manager's word, and never a start or a good end", () => {
  assert.equal(isBareFailure("ollama.service: Main process exited, code=dumped, status=11/SEGV"), true);
  assert.equal(isBareFailure("ollama.service: Failed with result 'core-dump'."), true);
  assert.equal(isBareFailure("said ollama.service: Main process exited, code=dumped, status=11/SEGV"), false);
  assert.equal(isBareFailure("ollama.service: Deactivated successfully."), false);
  assert.equal(isBareFailure("Started ollama.service - Ollama Service."), false);
});

test("the end of a runner is told from its text: a signal, an abort, a reason of its own, or nothing", () => {
  assert.equal(endOf("signal: segmentation fault (core dumped)"), "fault");
  assert.equal(endOf("signal: bus error"), "fault");
  assert.equal(endOf("SIGSEGV: segmentation violation"), "fault");
  assert.equal(endOf("signal: aborted (core dumped)"), "abort");
  assert.equal(endOf("GGML_ASSERT(ptr) failed"), "own-word");
  assert.equal(endOf("CUDA error: an illegal memory access was encountered"), "own-word");
  assert.equal(endOf("exit status 2"), "other");
  assert.equal(endOf("signal: killed"), "other");
});

test("hostile lines of 64 KiB cost time in proportion to their length", () => {
  const size = 64 * 1024;
  const seeds = [
    ...GUEST_GRAMMARS.flatMap((grammar) => [...grammar.markers, ...grammar.examples]),
    'msg="inference compute" a=1',
    'msg="inference compute" "a"="\\"\\"\\"',
    'error="\\',
    "STATUS_ERROR: call=((((",
    "pid=",
    "Device 0: ",
    "[GIN] 2026/03/26 - 06:13:24 | 500 |||||",
    " ",
    "\\\\",
    '"',
  ];
  const started = performance.now();
  for (const seed of seeds) {
    const line = seed.repeat(Math.ceil(size / seed.length)).slice(0, size);
    const before = performance.now();
    matchLine(line);
    matchManagerLine(line);
    assert.ok(performance.now() - before < 1000, `${seed.slice(0, 60)} took ${performance.now() - before} ms`);
  }
  assert.ok(performance.now() - started < 20_000);
});

test("any bytes at all are read without an exception, and offsets stay inside the line", () => {
  const markers = GUEST_GRAMMARS.flatMap((grammar) => [...grammar.markers, ...grammar.examples]);
  const piece = fc.oneof(
    fc.constantFrom(...markers),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const line = pieces.join("");
      let last = 0;
      for (const { start, end } of [...matchLine(line)]) {
        assert.ok(start >= last && end > start && end <= line.length);
        last = end;
      }
      matchManagerLine(line);
    }),
  );
});
