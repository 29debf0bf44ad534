/**
 * Offsets of the stand-in device, from docs/wire.md, "Registers". The product has its own table on purpose: a model that
 * borrowed it would agree with any mistake in it.
 */
export const BAR0_SIZE = 4096;
export const BAR1_SIZE = 16 << 20;

export const REG = {
  doorbell: 0x000,
  status: 0x004,
  poolId: 0x008,
  priority: 0x00c,
  vmId: 0x010,
  errorCode: 0x014,
  requestLen: 0x018,
  responseLen: 0x01c,
  protocolVersion: 0x020,
  capabilities: 0x024,
  irqControl: 0x028,
  irqStatus: 0x02c,
  requestId: 0x030,
  timestampLo: 0x034,
  timestampHi: 0x038,
  scratch: 0x03c,
  cudaOp: 0x080,
  cudaSeq: 0x084,
  cudaNumArgs: 0x088,
  cudaDataLen: 0x08c,
  cudaDoorbell: 0x0a8,
  cudaArgs: 0x0b0,
  resultStatus: 0x0f0,
  resultNum: 0x0f4,
  resultDataLen: 0x0f8,
  requestData: 0x100,
  responseData: 0x500,
  results: 0x900,
  shmemGpaLo: 0x940,
  shmemGpaHi: 0x944,
  shmemSize: 0x948,
  shmemControl: 0x94c,
} as const;

/** Byte length of the register windows. */
export const WINDOW = { cudaArgs: 0x40, requestData: 0x400, responseData: 0x400, results: 0x40 } as const;

/** Offset in BAR1 of the copy of STATUS that the shim polls. */
export const BAR1_STATUS_MIRROR = BAR1_SIZE - 4;

export const STATUS = { idle: 0, busy: 1, done: 2, error: 3 } as const;

export const ERROR_CODE = {
  none: 0,
  mediatorUnavailable: 0x03,
  cudaError: 0x05,
  quarantined: 0x0b,
} as const;

/** Call ids the stand-in mediator knows; every other id is answered like a call without a result. */
export const CALL = { alloc: 0x0030, launch: 0x0050, gpuInfo: 0x00f0 } as const;

/** CUDA_ERROR_OUT_OF_MEMORY. */
export const OUT_OF_MEMORY = 2;

export const PROTOCOL_VERSION = 0x00010000;
/** BASIC, CUDA, BAR1, SHMEM. */
export const CAPABILITIES = 0x71;
