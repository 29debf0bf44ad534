import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { CAPTURES, skipWithoutCaptures } from "../../test/fixtures/captures.ts";
import { STATE_FILE_WINDOW, STATE_FILES, stateFileNamed } from "./state-files.ts";

function parse(name: string, content: string | Buffer): Record<string, string | number> | null {
  const file = stateFileNamed(name);
  assert.ok(file, `${name} is a state file`);
  return file.parse(Buffer.isBuffer(content) ? content : Buffer.from(content, "latin1"));
}

test("a last error of the transport is read", () => {
  assert.deepEqual(
    parse(
      "vgpu_last_error",
      "VGPU_ERR|1795371893|MEDIATOR_UNAVAIL|0x00fe|0x00000003|seq=7 vm_id=11 MEDIATOR_UNAVAIL\n",
    ),
    {
      at: 1795371893,
      code: "MEDIATOR_UNAVAIL",
      callId: 0xfe,
      error: 3,
      detail: "seq=7 vm_id=11 MEDIATOR_UNAVAIL",
      seq: 7,
      vmId: 11,
    },
  );
});

test("a last error with the host's code is read", () => {
  assert.deepEqual(
    parse("vgpu_last_error", "VGPU_ERR|1795371951|CUDA_CALL_FAILED|0x0030|0x000002bc|host_cuda_status=0x2bc seq=3"),
    {
      at: 1795371951,
      code: "CUDA_CALL_FAILED",
      callId: 0x30,
      error: 700,
      detail: "host_cuda_status=0x2bc seq=3",
      hostStatus: 700,
      seq: 3,
    },
  );
});

test("the cuBLAS variant of a last error, with decimal numbers, is read", () => {
  assert.deepEqual(
    parse("vgpu_last_error", "VGPU_ERR|1795371951|CUBLAS_CREATE_FAILED|0|14|real_cublasCreate_v2=14\n"),
    {
      at: 1795371951,
      code: "CUBLAS_CREATE_FAILED",
      callId: 0,
      error: 14,
      detail: "real_cublasCreate_v2=14",
      cublasStatus: 14,
    },
  );
});

test("a checkpoint is read", () => {
  assert.deepEqual(parse("vgpu_checkpoint", "VGPU_CHECKPOINT|1795371893|TRANSPORT_READY\n"), {
    at: 1795371893,
    phase: "TRANSPORT_READY",
  });
});

test("a debug report is read, with its process, its call and the steps reached", () => {
  const report = [
    "===============",
    "VGPU DEBUG REPORT \xe2\x80\x94 Exact error diagnosis",
    "===============",
    "timestamp: 1795371951  pid: 241",
    "",
    ">>> WHAT FAILED: CUDA_CALL_FAILED",
    ">>> FAILING CALL: ?(call_id) (call_id=0x00fe)",
    ">>> TRANSPORT ERR: 0x00000002 (OTHER)",
    ">>> DETAIL: host_cuda_status=0x2 seq=3",
    "",
    "--- RECENT CALL HISTORY (oldest first) ---",
    "   1. 0x0001 cuInit                         seq=1  -> OK",
    "",
    "--- CHECKPOINT TRAIL ---",
    "INIT_START -> DEVICE_FOUND -> BAR0_OPENED -> TRANSPORT_READY",
    "",
    ">>> LIKELY CAUSE: Host GPU returned CUDA error.",
  ].join("\n");
  assert.deepEqual(parse("vgpu_debug.txt", report), {
    at: 1795371951,
    pid: 241,
    code: "CUDA_CALL_FAILED",
    callId: 0xfe,
    error: 2,
    detail: "host_cuda_status=0x2 seq=3",
    hostStatus: 2,
    seq: 3,
    phase: "TRANSPORT_READY",
  });
});

test("the small files are read", () => {
  assert.deepEqual(parse("vgpu_transport_returned_nonzero", "ret=700 call_id=0x00fe seq=8\n"), {
    result: 700,
    callId: 0xfe,
    seq: 8,
  });
  assert.deepEqual(parse("vgpu_ensure_connected_called", "pid=133\n"), { pid: 133 });
  assert.deepEqual(parse("vgpu_cuda_owner_pids", "133\n149\n"), { count: 2, pids: "133 149" });
  assert.deepEqual(parse("vgpu_cuda_owner_pids", ""), { count: 0, pids: "" });
  assert.deepEqual(parse("vgpu_status", "VGPU_CUBLAS_MODE=REMOTE\n"), { cublasMode: "REMOTE" });
  assert.deepEqual(
    parse("vgpu-shim-cuda-384.log", "[libvgpu-cuda] cuInit() OK: bdf=0000:00:05.0 CC=9.0 VRAM=81920 MB\n".repeat(2)),
    { bdf: "0000:00:05.0", compute: "9.0", memoryMb: 81920, inits: 2 },
  );
  assert.deepEqual(parse("vgpu_next_call.log", "htod size=64\n\0stream_sync\n"), {});
});

test("of the module loads the last result is read, and nothing of the image", () => {
  const content =
    "[libvgpu-cuda] cuModuleLoadData image=0x5595 resolved=0x5595 kind=string size=131 first8=2e76657273696f6e (pid=384)\n" +
    "[libvgpu-cuda] cuModuleLoadData result kind=string size=131 rc=0 host_status=0 num_results=1 recv_len=0 module=0x5010 (pid=384)\n" +
    "[libvgpu-cuda] cuModuleLoadData result kind=string size=155 rc=218 host_status=218 num_results=0 recv_len=0 module=0x0 (pid=385)\n";
  assert.deepEqual(parse("vgpu_module_load_diag.txt", content), {
    kind: "string",
    sizeBytes: 155,
    rc: 218,
    hostStatus: 218,
    results: 2,
    pid: 385,
  });
});

test("content of another format is null, not a guess", () => {
  for (const file of STATE_FILES.filter(({ name }) => name !== "vgpu_next_call.log")) {
    for (const content of ["hello", "pid=", "VGPU_ERR|x|y", "VGPU_CHECKPOINT|12|", "12 monkeys\n", "\0\0\0"]) {
      assert.equal(file.parse(Buffer.from(content)), null, `${file.name}: ${JSON.stringify(content)}`);
    }
  }
});

test("names that only begin or end like a state file are none", () => {
  for (const name of [
    "vgpu_last_error.old",
    "xvgpu_status",
    "vgpu-shim-cuda-.log",
    "vgpu_debug_txt",
    "../vgpu_status",
  ]) {
    assert.equal(stateFileNamed(name), undefined, name);
  }
});

test("free text keeps no control character and is cut", () => {
  const fields = parse("vgpu_last_error", `VGPU_ERR|1|X_Y|0x0000|0x00000000|a\x1b[31m\xe2${"b".repeat(390)}`);
  assert.match(String(fields?.["detail"]), /^a\?\[31m\?b{153}$/);
});

test("any bytes are read without an exception, quickly", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...STATE_FILES), (bytes, file) => {
      file.parse(Buffer.from(bytes));
    }),
  );
  for (const seed of [
    "VGPU_ERR|1|A|0|0|",
    "pid=1\n",
    ">>> WHAT FAILED: A\n",
    "cuInit() OK: bdf=",
    "A -> ",
    "1\n",
    " ",
  ]) {
    const bytes = Buffer.from(seed.repeat(Math.ceil((4 * STATE_FILE_WINDOW) / seed.length)));
    const started = performance.now();
    for (const file of STATE_FILES) file.parse(bytes);
    assert.ok(performance.now() - started < 2000, seed);
  }
});

const captures = join(CAPTURES, "h100/guest-vm11");
test("state files of real runs fit their grammar", { skip: skipWithoutCaptures }, () => {
  const seen = new Set<string>();
  for (const scenario of readdirSync(captures)) {
    const directory = join(captures, scenario, "tmp");
    if (!existsSync(directory)) continue;
    for (const name of readdirSync(directory)) {
      const file = stateFileNamed(name);
      if (file === undefined) continue;
      seen.add(file.name);
      const fields = file.parse(readFileSync(join(directory, name)));
      assert.ok(fields, `${scenario}/${name}`);
      if (scenario === "S04b-oom-nodebug" && name === "vgpu_last_error") assert.equal(fields["hostStatus"], 2);
      if (scenario === "S14-badptx" && name === "vgpu_module_load_diag.txt") assert.equal(fields["hostStatus"], 218);
      if (scenario === "S00-no-mediator" && name === "vgpu_debug.txt") {
        assert.equal(fields["pid"], 133);
        assert.equal(fields["code"], "MEDIATOR_UNAVAIL");
      }
    }
  }
  assert.ok(seen.size >= 6, [...seen].join(" "));
});
