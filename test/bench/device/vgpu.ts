import { ConfigSpace, type PciIdentity } from "./config-space.ts";
import { type HostAnswer, type HostBehaviour, StandinMediator } from "./mediator.ts";
import {
  BAR0_SIZE,
  BAR1_SIZE,
  BAR1_STATUS_MIRROR,
  CAPABILITIES,
  ERROR_CODE,
  PROTOCOL_VERSION,
  REG,
  STATUS,
  WINDOW,
} from "./registers.ts";
import { DeviceTrace } from "./trace.ts";

/** What to plug into the bench's PCI slot. Everything has the vGPU's value unless said otherwise. */
export interface DeviceSpec {
  readonly identity?: Partial<PciIdentity>;
  readonly vmId?: number;
  /** 0x41 is pool A, 0x42 pool B. */
  readonly poolId?: number;
  readonly priority?: number;
  readonly protocolVersion?: number;
  readonly capabilities?: number;
  readonly host?: HostBehaviour;
}

export const VGPU_IDENTITY: PciIdentity = {
  vendor: 0x10de,
  device: 0x2331,
  class: 0x030200,
  revision: 0xa1,
  subsystemVendor: 0x10de,
  subsystemDevice: 0x16c1,
  bars: [BAR0_SIZE, BAR1_SIZE],
};

/** A PCIe H100 handed through: the same ids, another BAR layout. It must never be touched. */
export const PASSTHROUGH_LOOKALIKE: DeviceSpec = { identity: { bars: [16 << 20, 64 << 20] } };

const MAX_ARGS = 16;
const READ_ONLY = new Set<number>([
  REG.status,
  REG.poolId,
  REG.priority,
  REG.vmId,
  REG.errorCode,
  REG.responseLen,
  REG.protocolVersion,
  REG.capabilities,
  REG.timestampLo,
  REG.timestampHi,
  REG.resultStatus,
  REG.resultNum,
  REG.resultDataLen,
]);
const STORED = new Set<number>([
  REG.requestLen,
  REG.requestId,
  REG.scratch,
  REG.cudaOp,
  REG.cudaSeq,
  REG.cudaDataLen,
  REG.shmemGpaLo,
  REG.shmemGpaHi,
  REG.shmemSize,
]);

/** STAND-IN for the vGPU-stub: its registers and what they do, with a host behind it that executes nothing. */
export class VgpuDevice {
  readonly config: ConfigSpace;
  readonly trace = new DeviceTrace();
  /** May be changed at any time: it holds for the next access and the next call. */
  host: HostBehaviour;
  readonly #bar0 = new Uint32Array(BAR0_SIZE / 4);
  readonly #bar1 = Buffer.alloc(BAR1_SIZE);
  readonly #mediator = new StandinMediator();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #startedAt = performance.now();

  constructor(spec: DeviceSpec = {}) {
    this.config = new ConfigSpace({ ...VGPU_IDENTITY, ...spec.identity });
    this.host = spec.host ?? { kind: "ok" };
    this.#set(REG.poolId, spec.poolId ?? 0x41);
    this.#set(REG.priority, spec.priority ?? 1);
    this.#set(REG.vmId, spec.vmId ?? 11);
    this.#set(REG.protocolVersion, spec.protocolVersion ?? PROTOCOL_VERSION);
    this.#set(REG.capabilities, spec.capabilities ?? CAPABILITIES);
  }

  /** Milliseconds by which the peer holds back its answer to an access. */
  get accessDelayMs(): number {
    return this.host.kind === "stalled" ? this.host.delayMs : 0;
  }

  read(bar: number, offset: number, width: number): bigint {
    const value = this.host.kind === "gone" ? ones(width) : this.#load(bar, offset, width);
    this.trace.add({ bar, offset, width, kind: "read", value });
    return value;
  }

  write(bar: number, offset: number, width: number, value: bigint): void {
    this.trace.add({ bar, offset, width, kind: "write", value });
    if (this.host.kind === "gone") return;
    if (bar === 0 && offset < BAR0_SIZE) this.#store(offset & ~3, Number(value & 0xffff_ffffn));
    if (bar === 1 && offset + width <= BAR1_STATUS_MIRROR) this.#storeMemory(offset, width, value);
  }

  /** Ends delayed answers, so that the process can end. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #get(offset: number): number {
    return this.#bar0[offset >> 2] ?? 0;
  }

  #set(offset: number, value: number): void {
    this.#bar0[offset >> 2] = value;
  }

  #load(bar: number, offset: number, width: number): bigint {
    if (bar === 0 && offset < BAR0_SIZE) return this.#loadRegister(offset, width);
    if (bar !== 1 || offset + width > BAR1_SIZE) return 0n;
    if (offset === BAR1_STATUS_MIRROR) return BigInt(this.#get(REG.status));
    return width === 8 ? this.#bar1.readBigUInt64LE(offset) : BigInt(this.#bar1.readUIntLE(offset, Math.min(width, 4)));
  }

  /** A register is 4 bytes wide: a narrower read at an odd offset gives 0, a wider one is two reads. */
  #loadRegister(offset: number, width: number): bigint {
    const low = offset % 4 === 0 ? this.#get(offset) : 0;
    if (width === 8) return BigInt(low) | (BigInt(this.#get(offset + 4)) << 32n);
    return BigInt(low) & ones(width);
  }

  #storeMemory(offset: number, width: number, value: bigint): void {
    if (width === 8) this.#bar1.writeBigUInt64LE(value, offset);
    else this.#bar1.writeUIntLE(Number(value & ones(width)), offset, width);
  }

  #store(offset: number, value: number): void {
    if (READ_ONLY.has(offset)) return;
    if (offset === REG.doorbell && value === 1) this.#refuseLegacyRequest();
    else if (offset === REG.cudaDoorbell && value === 1) this.#ring();
    else if (offset === REG.cudaNumArgs) this.#set(offset, Math.min(value, MAX_ARGS));
    else if (offset === REG.irqControl) this.#set(offset, value & 1);
    else if (offset === REG.shmemControl) this.#mapShmem(value);
    else if (STORED.has(offset) || inWindow(offset, REG.cudaArgs, WINDOW.cudaArgs)) this.#set(offset, value);
    else if (inWindow(offset, REG.requestData, WINDOW.requestData)) this.#set(offset, value);
  }

  /** The legacy doorbell with nothing to send: ERROR 0x09, INVALID_LENGTH. */
  #refuseLegacyRequest(): void {
    this.#set(REG.errorCode, 0x09);
    this.#set(REG.status, STATUS.error);
  }

  #mapShmem(value: number): void {
    if (value !== 0 && value !== 1) return;
    this.#set(REG.shmemControl, value);
    this.#set(REG.status, STATUS.done);
  }

  #ring(): void {
    const callId = this.#get(REG.cudaOp);
    const behaviour = this.host;
    this.#set(REG.status, STATUS.busy);
    this.#set(REG.errorCode, ERROR_CODE.none);
    this.#set(REG.responseLen, 0);
    for (const cleared of [REG.resultStatus, REG.resultNum, REG.resultDataLen]) this.#set(cleared, 0);
    this.#bar0.fill(0, REG.responseData >> 2, (REG.responseData + WINDOW.responseData) >> 2);
    const answer = this.#mediator.answer(callId, behaviour);
    if (answer === null) return;
    if (behaviour.kind !== "slow") {
      this.#accept(answer);
      return;
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#accept(answer);
    }, behaviour.delayMs);
    this.#timers.add(timer);
  }

  /** TIMESTAMP moves on accepted replies alone, not on a host that is away or refuses. */
  #accept(answer: HostAnswer): void {
    const refused = answer.errorCode !== ERROR_CODE.none && answer.errorCode !== ERROR_CODE.cudaError;
    this.#set(REG.errorCode, answer.errorCode);
    this.#set(REG.resultStatus, answer.status);
    this.#set(REG.resultNum, answer.results.length);
    for (const [index, result] of answer.results.entries()) {
      this.#set(REG.results + 8 * index, Number(result & 0xffff_ffffn));
      this.#set(REG.results + 8 * index + 4, Number(result >> 32n));
    }
    if (!refused) {
      const micros = Math.round((performance.now() - this.#startedAt) * 1000);
      this.#set(REG.responseLen, 1);
      this.#set(REG.timestampLo, micros % 2 ** 32);
      this.#set(REG.timestampHi, Math.floor(micros / 2 ** 32));
    }
    this.#set(REG.status, answer.errorCode === ERROR_CODE.none ? STATUS.done : STATUS.error);
  }
}

function inWindow(offset: number, from: number, length: number): boolean {
  return offset >= from && offset < from + length;
}

function ones(width: number): bigint {
  return (1n << BigInt(8 * width)) - 1n;
}
