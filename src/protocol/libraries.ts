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

interface LibraryRule {
  readonly kind: LibraryKind;
  /** Symbols that the library exports, all of them. */
  readonly exports: readonly string[];
  /** Strings in its read-only data, one of them at least; none needed when empty. */
  readonly markers: readonly string[];
}

/** The symbol that every shim with a transport of its own exports. */
export const TRANSPORT_SYMBOL = "cuda_transport_call";

/**
 * The first rule that holds decides (docs/wire.md, "Recognising a shim"). A marker is the tag that the shim puts
 * before its log lines: it tells shims without a transport (cudart, cublasLt, dummy builds) from NVIDIA's libraries.
 * The exec and syscall interposers are told from libc, which exports the same names, by the shim that they name.
 */
const RULES: readonly LibraryRule[] = [
  { kind: "driver-shim", exports: [TRANSPORT_SYMBOL, "cuInit"], markers: [] },
  { kind: "nvml-shim", exports: [TRANSPORT_SYMBOL, "nvmlInit_v2"], markers: [] },
  { kind: "cublas-shim", exports: [TRANSPORT_SYMBOL, "cublasCreate_v2"], markers: [] },
  { kind: "driver-shim", exports: ["cuInit"], markers: ["[libvgpu-cuda]"] },
  { kind: "nvml-shim", exports: ["nvmlInit_v2"], markers: ["[libvgpu-nvml]"] },
  { kind: "cublas-shim", exports: ["cublasCreate_v2"], markers: ["[libvgpu-cublas]", "VGPU_CUBLAS_MODE"] },
  { kind: "cudart-shim", exports: ["cudaMalloc"], markers: ["[libvgpu-cudart]"] },
  { kind: "cublaslt-shim", exports: ["cublasLtCreate"], markers: ["[libvgpu-cublasLt]"] },
  { kind: "ggml-cuda", exports: ["ggml_backend_cuda_reg"], markers: [] },
  { kind: "ggml-cuda", exports: ["ggml_backend_cuda_init"], markers: [] },
  { kind: "driver-vendor", exports: ["cuInit"], markers: [] },
  { kind: "nvml-vendor", exports: ["nvmlInit_v2"], markers: [] },
  { kind: "cublas-vendor", exports: ["cublasCreate_v2"], markers: [] },
  { kind: "cudart-vendor", exports: ["cudaMalloc"], markers: [] },
  { kind: "syscall-shim", exports: ["openat", "read"], markers: ["libvgpu-"] },
  { kind: "exec-shim", exports: ["execve"], markers: ["libvgpu-", "/opt/vgpu/lib/"] },
];

/** Every symbol that a rule asks for. */
export const TELLING_SYMBOLS: readonly string[] = [...new Set(RULES.flatMap((rule) => rule.exports))];

/** The kind of a library that exports `symbols` and holds the strings `markers`. */
export function classifyLibrary(symbols: ReadonlySet<string>, markers: ReadonlySet<string>): LibraryKind {
  for (const rule of RULES) {
    if (!rule.exports.every((name) => symbols.has(name))) continue;
    if (rule.markers.length === 0 || rule.markers.some((marker) => markers.has(marker))) return rule.kind;
  }
  return "other";
}

/** The markers worth looking for in a library that exports `symbols`: empty when its symbols alone decide. */
export function markersThatDecide(symbols: ReadonlySet<string>): readonly string[] {
  const wanted: string[] = [];
  for (const rule of RULES) {
    if (!rule.exports.every((name) => symbols.has(name))) continue;
    if (rule.markers.length === 0) break;
    wanted.push(...rule.markers);
  }
  return wanted;
}

/** A shim of any kind: a library that stands in for, or comes between, a program and NVIDIA's libraries. */
export function isShim(kind: LibraryKind): boolean {
  return kind.endsWith("-shim");
}

const TELLING_NAME = /vgpu|libcuda|libcudart|libcublas|libnvidia-ml|libggml|libnvrtc/;

/** The file name claims to be a shim, a CUDA library or a ggml back end: worth showing whatever its symbols say. */
export function nameTells(path: string): boolean {
  return TELLING_NAME.test(path.slice(path.lastIndexOf("/") + 1));
}

const SYSTEM_LIBRARY =
  /^(?:\/usr)?\/lib(?:64)?\/(?:x86_64-linux-gnu\/)?(?:ld-linux-x86-64|lib(?:c|m|dl|rt|pthread|util|resolv|gcc_s|stdc\+\+|z|zstd|lzma|crypto|ssl|systemd|selinux|pcre2-8|cap|gcrypt|gpg-error|lz4|nss_\w+|mount|blkid|udev|dbus-1|glib-2\.0))[-.][\w.-]*$/;

/** A library of the base system at its usual place: its symbols are not read when libraries are looked through. */
export function isSystemLibrary(path: string): boolean {
  return SYSTEM_LIBRARY.test(path);
}
