/**
 * Codes that the device, the transport and CUDA report, by number and name.
 * Source: docs/wire.md, "Transport error codes" and "CUDA results".
 */

export interface CodeEntry {
  readonly code: number;
  readonly name: string;
  readonly meaning: string;
}

/** Values of the ERROR_CODE register, printed by the shim as err=0x…(NAME). */
export const TRANSPORT_ERRORS = [
  { code: 0x01, name: "INVALID_REQUEST", meaning: "the device could not take the request (guest memory not mappable)" },
  { code: 0x02, name: "REQUEST_TOO_LARGE", meaning: "the request is longer than the device takes" },
  {
    code: 0x03,
    name: "MEDIATOR_UNAVAIL",
    meaning: "the device could not reach the mediator, or lost it during the call",
  },
  { code: 0x04, name: "TIMEOUT", meaning: "no answer within the shim's limit; the shim says it, never the device" },
  { code: 0x05, name: "CUDA_ERROR", meaning: "the host executed the call and CUDA refused it: see the host status" },
  { code: 0x06, name: "INVALID_POOL", meaning: "the pool does not exist; no known device sets it" },
  { code: 0x07, name: "QUEUE_FULL", meaning: "the mediator's queue is full; no known mediator sends it" },
  { code: 0x08, name: "UNSUPPORTED_OP", meaning: "the operation is not known; no known device sets it" },
  {
    code: 0x09,
    name: "INVALID_LENGTH",
    meaning: "a length does not fit (shared memory too small, or an empty request)",
  },
  {
    code: 0x0a,
    name: "RATE_LIMITED",
    meaning: "the mediator rejected the call (rate or queue limit) and closed the link",
  },
  { code: 0x0b, name: "VM_QUARANTINED", meaning: "the host has put this VM in quarantine" },
] as const satisfies readonly CodeEntry[];

/** CUresult values that occur on this stack. The full list is NVIDIA's; a code that is not here is shown as a number. */
export const CUDA_RESULTS = [
  { code: 0, name: "CUDA_SUCCESS", meaning: "success" },
  { code: 1, name: "CUDA_ERROR_INVALID_VALUE", meaning: "an argument is not valid" },
  { code: 2, name: "CUDA_ERROR_OUT_OF_MEMORY", meaning: "the GPU, or a table of the host, is full" },
  { code: 3, name: "CUDA_ERROR_NOT_INITIALIZED", meaning: "CUDA is not initialised on the host" },
  { code: 4, name: "CUDA_ERROR_DEINITIALIZED", meaning: "CUDA is shutting down on the host" },
  { code: 100, name: "CUDA_ERROR_NO_DEVICE", meaning: "no GPU: in the guest, the shim could not use the device" },
  { code: 101, name: "CUDA_ERROR_INVALID_DEVICE", meaning: "no GPU of that number" },
  { code: 200, name: "CUDA_ERROR_INVALID_IMAGE", meaning: "the kernel image is damaged or for another architecture" },
  { code: 201, name: "CUDA_ERROR_INVALID_CONTEXT", meaning: "the context is not valid, often after an earlier fault" },
  { code: 209, name: "CUDA_ERROR_NO_BINARY_FOR_GPU", meaning: "the image has no code for this GPU" },
  { code: 218, name: "CUDA_ERROR_INVALID_PTX", meaning: "the PTX does not compile" },
  {
    code: 400,
    name: "CUDA_ERROR_INVALID_HANDLE",
    meaning: "a handle the host does not know, often of before a restart",
  },
  { code: 500, name: "CUDA_ERROR_NOT_FOUND", meaning: "a named symbol does not exist" },
  { code: 700, name: "CUDA_ERROR_ILLEGAL_ADDRESS", meaning: "a kernel touched memory that is not its own" },
  {
    code: 709,
    name: "CUDA_ERROR_CONTEXT_IS_DESTROYED",
    meaning: "the context is gone, a consequence of an earlier fault",
  },
  { code: 717, name: "CUDA_ERROR_INVALID_ADDRESS_SPACE", meaning: "a kernel used an address of the wrong space" },
  { code: 719, name: "CUDA_ERROR_LAUNCH_FAILED", meaning: "a kernel failed while it ran" },
  { code: 801, name: "CUDA_ERROR_NOT_SUPPORTED", meaning: "the host's driver or executor does not support the call" },
  { code: 999, name: "CUDA_ERROR_UNKNOWN", meaning: "from the shim: the transport failed; from the host: unknown" },
] as const satisfies readonly CodeEntry[];

/** What the shim returns to its caller when the transport, not CUDA, failed. Builds of early 2026 returned 2. */
export const TRANSPORT_FAILED_RESULT = 999;
const OLD_TRANSPORT_FAILED_RESULT = 2;

/**
 * Whether a result that the shim returned for its first call is the host driver's own. 2 is not taken for one: it is
 * also what older shims return for a failed transport.
 */
export function isDriverResult(rc: number): boolean {
  return rc > 0 && rc !== TRANSPORT_FAILED_RESULT && rc !== OLD_TRANSPORT_FAILED_RESULT;
}

const transportByCode = new Map<number, CodeEntry>(TRANSPORT_ERRORS.map((entry) => [entry.code, entry]));
const cudaByCode = new Map<number, CodeEntry>(CUDA_RESULTS.map((entry) => [entry.code, entry]));

/** Entry of an ERROR_CODE value; undefined for 0 (no error) and for a value that is not known. */
export function transportError(code: number): CodeEntry | undefined {
  return transportByCode.get(code);
}

/** "MEDIATOR_UNAVAIL"; "0x0000000c" for a value that is not known. */
export function transportErrorName(code: number): string {
  return transportByCode.get(code)?.name ?? hex(code, 8);
}

/** Entry of a CUresult; undefined for one that is not in the table. */
export function cudaResult(code: number): CodeEntry | undefined {
  return cudaByCode.get(code);
}

/** "CUDA_ERROR_OUT_OF_MEMORY"; "CUresult 3000" for a value that is not known. */
export function cudaResultName(code: number): string {
  return cudaByCode.get(code)?.name ?? `CUresult ${code}`;
}

/** "0x0050" with `digits` 4. */
function hex(value: number, digits: number): string {
  return `0x${(value >>> 0).toString(16).padStart(digits, "0")}`;
}
