import assert from "node:assert/strict";
import { test } from "node:test";
import {
  classifyLibrary,
  isShim,
  isSystemLibrary,
  type LibraryKind,
  markersThatDecide,
  nameTells,
} from "./libraries.ts";

const CASES: readonly [string, string[], string[], LibraryKind][] = [
  ["the transport and cuInit", ["cuda_transport_call", "cuInit", "openat", "read"], [], "driver-shim"],
  ["the transport and nvmlInit_v2", ["cuda_transport_call", "nvmlInit_v2"], [], "nvml-shim"],
  ["the transport and cublasCreate_v2", ["cuda_transport_call", "cublasCreate_v2"], [], "cublas-shim"],
  ["cudaMalloc with the shim's tag", ["cudaMalloc"], ["[libvgpu-cudart]"], "cudart-shim"],
  ["cudaMalloc alone", ["cudaMalloc"], [], "cudart-vendor"],
  ["cublasLtCreate with the shim's tag", ["cublasLtCreate"], ["[libvgpu-cublasLt]"], "cublaslt-shim"],
  ["cublasLtCreate alone", ["cublasLtCreate"], [], "other"],
  ["cuInit without the transport", ["cuInit"], [], "driver-vendor"],
  ["cuInit without the transport but with the shim's tag", ["cuInit"], ["[libvgpu-cuda]"], "driver-shim"],
  ["cublasCreate_v2 of a dummy build", ["cublasCreate_v2"], ["[libvgpu-cublas]"], "cublas-shim"],
  ["cublasCreate_v2 alone", ["cublasCreate_v2"], [], "cublas-vendor"],
  ["nvmlInit_v2 alone", ["nvmlInit_v2"], [], "nvml-vendor"],
  ["the CUDA back end of ggml", ["ggml_backend_cuda_reg"], [], "ggml-cuda"],
  ["execve with the shim's directory", ["execve"], ["/opt/vgpu/lib/"], "exec-shim"],
  ["openat and read with the shim's tag", ["openat", "read", "readv", "pread"], ["libvgpu-"], "syscall-shim"],
  ["libc, which exports what interposers export", ["execve", "openat", "read", "readv", "pread"], [], "other"],
  ["the transport alone", ["cuda_transport_call"], [], "other"],
  ["nothing", [], [], "other"],
];

for (const [what, symbols, markers, kind] of CASES) {
  test(`a library with ${what} is ${kind}`, () => {
    assert.equal(classifyLibrary(new Set(symbols), new Set(markers)), kind);
  });
}

test("no marker is looked for where the symbols decide", () => {
  assert.deepEqual(markersThatDecide(new Set(["cuda_transport_call", "cuInit"])), []);
  assert.deepEqual(markersThatDecide(new Set(["cudaMalloc"])), ["[libvgpu-cudart]"]);
});

test("vendor libraries and back ends are not shims", () => {
  assert.ok(isShim("cudart-shim"));
  assert.ok(!isShim("driver-vendor") && !isShim("ggml-cuda") && !isShim("other"));
});

test("only the base system's own libraries at their places are passed over", () => {
  assert.ok(isSystemLibrary("/usr/lib/x86_64-linux-gnu/libc.so.6"));
  assert.ok(isSystemLibrary("/lib64/ld-linux-x86-64.so.2"));
  for (const path of ["/opt/x/libc.so.6", "/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/lib64/libc/evil.so"]) {
    assert.ok(!isSystemLibrary(path), path);
  }
});

test("a telling name is one of the file, not of its directory", () => {
  assert.ok(nameTells("/usr/lib64/libvgpu-cuda.so"));
  assert.ok(!nameTells("/opt/vgpu/lib/libz.so"));
});
