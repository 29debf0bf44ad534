/**
 * What a library is, told by its dynamic symbols and never by its name: a shim may carry NVIDIA's file name and
 * SONAME, and NVIDIA's library may lie where a shim should (docs/wire.md, "Recognising a shim").
 */
export type LibraryKind =
  | "driver-shim"
  | "nvml-shim"
  | "cublas-shim"
  | "cudart-shim"
  | "cublaslt-shim"
  | "exec-shim"
  | "syscall-shim"
  | "driver-vendor"
  | "cudart-vendor"
  | "cublas-vendor"
  | "nvml-vendor"
  | "ggml-cuda"
  | "other";
