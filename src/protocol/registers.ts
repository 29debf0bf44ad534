/**
 * BAR0 of the vGPU: one 32-bit register per entry. Source: docs/wire.md, "BAR0 registers". What may be read is enforced
 * by native-probe on its own; a test compares the two lists.
 */

/** Bytes of BAR0. A real GPU's BAR0 is 16 MiB: the size is what tells the two apart. */
export const BAR0_SIZE = 4096;
/** Bytes of BAR1. */
export const BAR1_SIZE = 16 * 1024 * 1024;
/** PROTOCOL_VER of every device whose registers are known. Its predecessors read 0 there, or lack CUDA. */
export const PROTOCOL_VERSION = 0x0001_0000;
/** What an aligned load gives when nothing answers: memory decode off, or the device gone. */
export const ALL_ONES = 0xffff_ffff;

/**
 * What a read of a register costs.
 * `safe`: nothing, at any time. `logs`: the host writes a line for every read that finds DONE or ERROR.
 * `private`: payload of the user's program, never read. `useless`: always 0.
 */
export type ReadCost = "safe" | "logs" | "private" | "useless";

export interface RegisterEntry {
  /** Byte offset in BAR0. */
  readonly offset: number;
  readonly name: string;
  /** Number of consecutive 32-bit registers that the entry stands for. */
  readonly words: number;
  readonly read: ReadCost;
  readonly meaning: string;
}

export const REGISTERS = [
  reg(0x000, "DOORBELL", "useless", "legacy doorbell; reads 0"),
  reg(0x004, "STATUS", "logs", "state of the last operation; never IDLE again after the first one"),
  reg(0x008, "POOL_ID", "safe", "scheduling pool: 0x41 'A' or 0x42 'B'"),
  reg(0x00c, "PRIORITY", "safe", "0 low, 1 medium, 2 high"),
  reg(0x010, "VM_ID", "safe", "number of this VM on the host, constant while the VM runs"),
  reg(0x014, "ERROR_CODE", "safe", "transport error of the last operation; cleared by the next doorbell"),
  reg(0x018, "REQUEST_LEN", "safe", "length of a legacy request"),
  reg(0x01c, "RESPONSE_LEN", "safe", "0 from the doorbell on, 1 after a CUDA result"),
  reg(0x020, "PROTOCOL_VER", "safe", "version of the register map"),
  reg(0x024, "CAPABILITIES", "safe", "capability bits"),
  reg(0x028, "IRQ_CTRL", "safe", "bit 0; without effect"),
  reg(0x02c, "IRQ_STATUS", "safe", "bit 0; never set"),
  reg(0x030, "REQUEST_ID", "safe", "legacy request number; the shim never writes it"),
  reg(0x034, "TIMESTAMP_LO", "safe", "microseconds of the device's clock at the last accepted reply, low half"),
  reg(0x038, "TIMESTAMP_HI", "safe", "the same, high half: read high, low, high"),
  reg(0x03c, "SCRATCH", "safe", "process id of the last caller, as it sees itself"),
  reg(0x040, "LEGACY_REQUEST", "private", "first bytes of a legacy request", 16),
  reg(0x080, "CUDA_OP", "safe", "call id; may already belong to the next call"),
  reg(0x084, "CUDA_SEQ", "safe", "sequence number of that call within its transport"),
  reg(0x088, "CUDA_NUM_ARGS", "safe", "number of arguments, 16 at most"),
  reg(0x08c, "CUDA_DATA_LEN", "safe", "bytes of payload"),
  reg(0x090, "RESERVED_090", "useless", "reads 0", 6),
  reg(0x0a8, "CUDA_DOORBELL", "useless", "reads 0"),
  reg(0x0ac, "RESERVED_0AC", "useless", "reads 0"),
  reg(0x0b0, "ARG", "safe", "arguments of the staged call", 16),
  reg(0x0f0, "RESULT_STATUS", "safe", "CUresult of the last accepted result, 0 from the doorbell on"),
  reg(0x0f4, "RESULT_NUM", "safe", "number of result words"),
  reg(0x0f8, "RESULT_DATA_LEN", "safe", "bytes of result payload"),
  reg(0x0fc, "RESERVED_0FC", "useless", "reads 0"),
  reg(0x100, "REQUEST_DATA", "private", "payload to the host", 256),
  reg(0x500, "RESPONSE_DATA", "private", "payload from the host", 256),
  reg(0x900, "RESULT", "safe", "eight 64-bit results, low word first", 16),
  reg(0x940, "SHMEM_GPA_LO", "safe", "shared memory staged by its last writer: guest-physical address, low half"),
  reg(0x944, "SHMEM_GPA_HI", "safe", "the same, high half"),
  reg(0x948, "SHMEM_SIZE", "safe", "its bytes"),
  reg(0x94c, "SHMEM_CTRL", "safe", "1 while a shared-memory mapping is active, of a live process or not"),
  reg(0x950, "RESERVED_950", "useless", "reads 0", 428),
] as const satisfies readonly RegisterEntry[];

function reg<const Name extends string>(offset: number, name: Name, read: ReadCost, meaning: string, words = 1) {
  return { offset, name, words, read, meaning };
}

export type RegisterName = (typeof REGISTERS)[number]["name"];

/** Read first: they do not change while the VM runs. */
export const IDENTITY_REGISTERS = [
  "PROTOCOL_VER",
  "CAPABILITIES",
  "VM_ID",
  "POOL_ID",
  "PRIORITY",
] as const satisfies readonly RegisterName[];

/** Read in every pass, after TIMESTAMP: two passes apart show whether calls are issued and answered. */
export const PROGRESS_REGISTERS = [
  "CUDA_SEQ",
  "CUDA_OP",
  "SCRATCH",
  "CUDA_DATA_LEN",
  "ERROR_CODE",
  "RESPONSE_LEN",
  "RESULT_STATUS",
  "RESULT_NUM",
  "RESULT_DATA_LEN",
  "SHMEM_CTRL",
  "SHMEM_GPA_LO",
  "SHMEM_GPA_HI",
  "SHMEM_SIZE",
] as const satisfies readonly RegisterName[];

/** Least time between two passes, in milliseconds. */
export const PASS_INTERVAL_MS = 50;

/** Values of STATUS. DONE also ends the set-up of shared memory: alone it proves no CUDA call. */
export const STATUS_VALUES = { IDLE: 0, BUSY: 1, DONE: 2, ERROR: 3 } as const;

/** Bits of CAPABILITIES. Today's devices read 0x71. */
export const CAPABILITY_BITS = { BASIC: 0x01, CUDA: 0x10, BAR1: 0x20, SHMEM: 0x40 } as const;

const byName = new Map<string, RegisterEntry>(REGISTERS.map((entry) => [entry.name, entry]));

/** Byte offset of a register. */
export function registerOffset(name: RegisterName): number {
  const entry = byName.get(name);
  if (entry === undefined) throw new RangeError(`no register ${name}`);
  return entry.offset;
}

/** The entry that covers a byte offset; undefined for one that is not 4-byte aligned or beyond BAR0. */
export function registerAt(offset: number): RegisterEntry | undefined {
  if (offset % 4 !== 0) return undefined;
  return REGISTERS.find((entry) => offset >= entry.offset && offset < entry.offset + entry.words * 4);
}

/** "DONE"; "0x00000007" for a value that is not known. */
export function statusName(value: number): string {
  const found = Object.entries(STATUS_VALUES).find(([, known]) => known === value);
  return found?.[0] ?? `0x${(value >>> 0).toString(16).padStart(8, "0")}`;
}

/** Names of the capability bits that are set, with unknown bits as one hex number. */
export function capabilityNames(value: number): string[] {
  const known = Object.entries(CAPABILITY_BITS).filter(([, bit]) => (value & bit) !== 0);
  const rest = known.reduce((left, [, bit]) => left & ~bit, value) >>> 0;
  const names = known.map(([name]) => name);
  return rest === 0 ? names : [...names, `0x${rest.toString(16)}`];
}
