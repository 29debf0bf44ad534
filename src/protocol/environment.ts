/** How the reading program takes the value of a variable. */
export type Semantics =
  /** Present in any form, even "0" or empty, is on. */
  | "any-value"
  /** On when not empty and not "0". */
  | "truthy"
  /** On unless "0" or empty; unset is on. */
  | "default-on"
  /** The value itself matters. */
  | "value"
  /** No program reads it. */
  | "ignored";

export interface KnownVariable {
  readonly name: string;
  readonly effect: string;
  readonly semantics: Semantics;
  /** The value of a sound configuration; null is unset, undefined has no opinion. */
  readonly good?: string | null;
}

/** Variables whose effect is known (docs/wire.md, "Environment"). */
export const KNOWN_VARIABLES: readonly KnownVariable[] = [
  { name: "VGPU_DEBUG", effect: "logs every transport call", semantics: "any-value", good: null },
  {
    name: "VGPU_TRACE_BULK_IO",
    effect: "traces every bulk copy to the log and to files",
    semantics: "any-value",
    good: null,
  },
  { name: "VGPU_CUDART_DIAG", effect: "the cudart shim writes a trace file", semantics: "any-value", good: null },
  { name: "CUBLAS_DEBUG", effect: "the cuBLAS shim logs every call", semantics: "any-value", good: null },
  {
    name: "CUDA_TRANSPORT_TIMEOUT_SEC",
    effect: "seconds a call waits for the host; at least 120 whatever it says; a large value hides hangs",
    semantics: "value",
  },
  { name: "VGPU_DISABLE_SHMEM", effect: "bulk data goes through BAR1, slowly", semantics: "truthy", good: null },
  {
    name: "VGPU_SHMEM_ALLOW_OLLAMA_ENGINE",
    effect: "shared memory also for --ollama-engine runners",
    semantics: "truthy",
  },
  {
    name: "VGPU_ALLOW_MULTI_PROCESS_SHMEM",
    effect: "no owner lock on shared memory: the last process to register wins",
    semantics: "truthy",
  },
  {
    name: "VGPU_SHMEM_MIN_SPAN_KB",
    effect: "smallest contiguous span accepted for shared memory; too large falls back to BAR1",
    semantics: "value",
    good: "32",
  },
  {
    name: "VGPU_SHMEM_TRY_COLLAPSE",
    effect: "asks the kernel to collapse shared memory into huge pages",
    semantics: "truthy",
  },
  { name: "VGPU_BULK_BAR1", effect: "forces bulk data through BAR1", semantics: "truthy", good: null },
  { name: "VGPU_HTOD_BAR1", effect: "forces copies to the device through BAR1", semantics: "truthy", good: null },
  { name: "VGPU_MODULE_BAR1", effect: "forces module images through BAR1", semantics: "truthy", good: null },
  {
    name: "VGPU_HTOD_BAR1_SHADOW",
    effect: "copies to the device are written to BAR1 as well",
    semantics: "default-on",
    good: "0",
  },
  { name: "VGPU_CUINIT_EAGER_CONNECT", effect: "connects inside cuInit", semantics: "any-value", good: null },
  { name: "VGPU_GUEST_BULK_TRACE", effect: "none: no build reads it any more", semantics: "ignored" },
  {
    name: "LD_PRELOAD",
    effect: "a preloaded driver shim makes dlopen fail, so that the CUDA back end never loads",
    semantics: "value",
    good: null,
  },
  { name: "LD_AUDIT", effect: "loads an auditing library into the process", semantics: "value", good: null },
  {
    name: "LD_LIBRARY_PATH",
    effect: "where the loader looks first: the shim's directory before NVIDIA's, cuda_v12 before its parent",
    semantics: "value",
  },
  { name: "OLLAMA_LIBRARY_PATH", effect: "where the server's runner looks for back ends", semantics: "value" },
  {
    name: "OLLAMA_LLM_LIBRARY",
    effect: "restricts discovery to one library directory",
    semantics: "value",
    good: "cuda_v12",
  },
  { name: "OLLAMA_NUM_GPU", effect: "none in Ollama; only the shim looks at it", semantics: "ignored" },
  { name: "OLLAMA_NO_MMAP", effect: "none: not a variable of Ollama", semantics: "ignored" },
  { name: "OLLAMA_DEBUG", effect: "1 logs more; 2 also shows what discovery runners write", semantics: "value" },
  { name: "OLLAMA_LOAD_TIMEOUT", effect: "how long a load may stall; 5 minutes when unset", semantics: "value" },
  {
    name: "OLLAMA_CONTEXT_LENGTH",
    effect: "unset with 80 GiB of memory gives a context of 262144 tokens",
    semantics: "value",
  },
  { name: "OLLAMA_FLASH_ATTENTION", effect: "flash attention kernels", semantics: "truthy", good: "0" },
  { name: "GGML_CUDA_DISABLE_GRAPHS", effect: "no CUDA graphs", semantics: "value", good: "1" },
  {
    name: "GGML_CUDA_DISABLE_GRAPH_RESERVE",
    effect: "no graph reservation (patched builds)",
    semantics: "value",
    good: "1",
  },
  {
    name: "GGML_CUDA_DISABLE_BATCHED_CUBLAS",
    effect: "no batched GEMM (patched builds)",
    semantics: "value",
    good: "1",
  },
  { name: "CUDA_VISIBLE_DEVICES", effect: '"-1" or empty hides the GPU', semantics: "value", good: null },
  { name: "HIP_VISIBLE_DEVICES", effect: "overrides device selection", semantics: "value", good: null },
  { name: "ROCR_VISIBLE_DEVICES", effect: "overrides device selection", semantics: "value", good: null },
  { name: "GPU_DEVICE_ORDINAL", effect: "overrides device selection", semantics: "value", good: null },
  { name: "GGML_VK_VISIBLE_DEVICES", effect: "overrides device selection", semantics: "value", good: null },
  { name: "GOTRACEBACK", effect: "what a Go program prints when it crashes", semantics: "value" },
];

const BY_NAME: ReadonlyMap<string, KnownVariable> = new Map(KNOWN_VARIABLES.map((known) => [known.name, known]));

export function knownVariable(name: string): KnownVariable | undefined {
  return BY_NAME.get(name);
}

/** Whether a switch is on in an environment, by the semantics of the program that reads it; null for a plain value. */
export function isSwitchedOn(name: string, environment: Readonly<Record<string, string>>): boolean | null {
  const value = Object.hasOwn(environment, name) ? environment[name] : undefined;
  switch (BY_NAME.get(name)?.semantics) {
    case "any-value":
      return value !== undefined;
    case "truthy":
      return value !== undefined && value !== "" && value !== "0";
    case "default-on":
      return value === undefined || (value !== "" && value !== "0");
    case "ignored":
      return false;
    default:
      return null;
  }
}

const ALLOWED =
  /^(?:(?:CUDA|CUDART|VGPU|GGML|LD|OLLAMA)_\w+|(?:HIP|ROCR)_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|GOTRACEBACK|CUBLAS_DEBUG)$/;
const SECRET = /KEY|TOKEN|SECRET|PASS|AUTH|CREDENTIAL|PRIVATE/i;
const USER_IN_URL = /([a-z][a-z0-9+.-]*:\/\/)[^/@\s]*@/gi;
const CONTROL = /[\u0000-\u001f\u007f]/g;
const MAX_VALUE = 4096;
const MAX_VARIABLES = 256;

/** The allow-list: a variable of any other name is never collected, because it can hold a secret. */
export function isAllowedName(name: string): boolean {
  return ALLOWED.test(name) && !SECRET.test(name);
}

/** A value as it may be kept: no control characters, no user name or password of a URL, 4096 characters at most. */
export function keepableValue(value: string): string {
  return value.slice(0, MAX_VALUE).replace(USER_IN_URL, "$1").replace(CONTROL, "?");
}

/** The allowed variables of NAME=value words. Where a name is repeated the first counts, as in getenv(3). */
export function filterAssignments(words: Iterable<string>): Record<string, string> {
  const kept = new Map<string, string>();
  for (const word of words) {
    const equals = word.indexOf("=");
    if (equals <= 0) continue;
    const name = word.slice(0, equals);
    if (!isAllowedName(name) || kept.has(name)) continue;
    kept.set(name, keepableValue(word.slice(equals + 1)));
    if (kept.size === MAX_VARIABLES) break;
  }
  return Object.fromEntries(kept);
}

/** The allowed variables of the bytes of /proc/PID/environ. */
export function filterEnvironment(environ: Buffer): Record<string, string> {
  return filterAssignments(assignments(environ));
}

/** The kernel ends each assignment with NUL. A capture made for reading may have lines instead. */
function assignments(environ: Buffer): string[] {
  return environ.toString("utf8").split(environ.includes(0) ? "\0" : "\n");
}

/** One variable of /proc/PID/environ whatever its name, for a sensor's own use; null when it is not set. */
export function environmentValue(environ: Buffer, name: string): string | null {
  const prefix = `${name}=`;
  const found = assignments(environ).find((word) => word.startsWith(prefix));
  return found === undefined ? null : found.slice(prefix.length);
}
