/**
 * Ids of the calls that the shim sends to the host. Source: docs/wire.md, "Call ids". Match ids, never the names that
 * logs print beside them: the guest's and the host's name tables cover different ids.
 */

/** What a call does for the question "did inference run on the GPU". */
export const CALL_GROUPS = [
  /** Connecting: sent before any work, proves no execution. */
  "connect",
  "device",
  "context",
  "alloc",
  "free",
  "copy-in",
  "copy-out",
  "copy-device",
  "memset",
  "module",
  "launch",
  "gemm",
  "blas",
  "stream",
  "event",
  "query",
  "cleanup",
] as const;

export type CallGroup = (typeof CALL_GROUPS)[number];

export interface CallId {
  readonly id: number;
  readonly name: string;
  readonly group: CallGroup;
}

/** Calls with a name of their own. */
export const CALLS = [
  { id: 0x0001, name: "cuInit", group: "connect" },
  { id: 0x0020, name: "cuCtxCreate", group: "context" },
  { id: 0x0022, name: "cuCtxSetCurrent", group: "context" },
  { id: 0x0026, name: "cuCtxSynchronize", group: "context" },
  { id: 0x0030, name: "cuMemAlloc", group: "alloc" },
  { id: 0x0031, name: "cuMemFree", group: "free" },
  { id: 0x0032, name: "cuMemcpyHtoD", group: "copy-in" },
  { id: 0x0033, name: "cuMemcpyDtoH", group: "copy-out" },
  { id: 0x0034, name: "cuMemcpyDtoD", group: "copy-device" },
  { id: 0x003b, name: "cuMemGetInfo", group: "query" },
  { id: 0x003c, name: "cuMemcpyHtoDAsync", group: "copy-in" },
  { id: 0x003d, name: "cuMemcpyDtoHAsync", group: "copy-out" },
  { id: 0x0040, name: "cuModuleLoadData", group: "module" },
  { id: 0x0042, name: "cuModuleLoadFatBinary", group: "module" },
  { id: 0x0044, name: "cuModuleGetFunction", group: "module" },
  { id: 0x0050, name: "cuLaunchKernel", group: "launch" },
  { id: 0x0064, name: "cuStreamSynchronize", group: "stream" },
  { id: 0x0090, name: "cuDevicePrimaryCtxRetain", group: "context" },
  { id: 0x00a8, name: "cuLibraryLoadData", group: "module" },
  { id: 0x00aa, name: "cuLibraryGetModule", group: "module" },
  { id: 0x00b4, name: "cublasSgemm", group: "gemm" },
  { id: 0x00b5, name: "cublasGemmEx", group: "gemm" },
  { id: 0x00b6, name: "cublasGemmStridedBatchedEx", group: "gemm" },
  { id: 0x00ba, name: "cublasGemmBatchedEx", group: "gemm" },
  { id: 0x00bc, name: "cuFuncGetParamInfo", group: "query" },
  { id: 0x00f0, name: "cuGetGpuInfo", group: "connect" },
  { id: 0x00fe, name: "process cleanup", group: "cleanup" },
] as const satisfies readonly CallId[];

/** Ranges of ids, inclusive, whose single members need no name of their own. */
const RANGES: readonly {
  readonly first: number;
  readonly last: number;
  readonly name: string;
  readonly group: CallGroup;
}[] = [
  { first: 0x0010, last: 0x0018, name: "device query", group: "device" },
  { first: 0x0020, last: 0x0028, name: "context call", group: "context" },
  { first: 0x0035, last: 0x0037, name: "cuMemset", group: "memset" },
  { first: 0x0040, last: 0x0045, name: "module call", group: "module" },
  { first: 0x0050, last: 0x0051, name: "kernel launch", group: "launch" },
  { first: 0x0060, last: 0x0066, name: "stream call", group: "stream" },
  { first: 0x0070, last: 0x0076, name: "event call", group: "event" },
  { first: 0x0090, last: 0x0094, name: "primary context call", group: "context" },
  { first: 0x00ac, last: 0x00af, name: "cublas handle call", group: "blas" },
  { first: 0x00b7, last: 0x00b9, name: "cublasLt call", group: "gemm" },
];

const byId = new Map<number, CallId>(CALLS.map((call) => [call.id, call]));

/** Name and group of a call id; undefined for an id that no known shim sends. */
export function callOf(id: number): CallId | undefined {
  const exact = byId.get(id);
  if (exact !== undefined) return exact;
  const range = RANGES.find(({ first, last }) => id >= first && id <= last);
  return range === undefined ? undefined : { id, name: range.name, group: range.group };
}

/** "cuLaunchKernel", "stream call"; "call 0x0123" for an id that is not known. */
export function callName(id: number): string {
  return callOf(id)?.name ?? `call ${formatCallId(id)}`;
}

/** The id as logs and reports print it: "0x0050". */
export function formatCallId(id: number): string {
  return `0x${(id >>> 0).toString(16).padStart(4, "0")}`;
}

/** Whether a call is of one of the groups: `isCall(id, "launch", "gemm")`. False for an id that is not known. */
export function isCall(id: number, ...groups: readonly CallGroup[]): boolean {
  const group = callOf(id)?.group;
  return group !== undefined && groups.includes(group);
}
