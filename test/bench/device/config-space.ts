/** Identity of a PCI function; the defaults are the vGPU's (docs/wire.md, "PCI identity"). */
export interface PciIdentity {
  readonly vendor: number;
  readonly device: number;
  /** 24 bits: base class, subclass, programming interface. */
  readonly class: number;
  readonly revision: number;
  readonly subsystemVendor: number;
  readonly subsystemDevice: number;
  /** Size of each BAR in bytes, a power of two; 0 for one that is not there. */
  readonly bars: readonly number[];
}

const HEADER_SIZE = 256;
const OFFSET = { command: 0x04, revision: 0x08, class: 0x09, bar0: 0x10, subsystem: 0x2c, irqLine: 0x3c, irqPin: 0x3d };
const BAR_COUNT = 6;
/** Memory decode, bus mastering and the like: the bits a driver may set. */
const COMMAND_WRITABLE = 0x0547;

/** A type 0 configuration header with memory BARs that can be sized (PCI Local Bus specification 3.0, 6.2.5.1). */
export class ConfigSpace {
  readonly #bytes = Buffer.alloc(HEADER_SIZE);
  readonly #sizes: readonly number[];

  constructor(identity: PciIdentity) {
    this.#sizes = identity.bars;
    this.#bytes.writeUInt16LE(identity.vendor, 0);
    this.#bytes.writeUInt16LE(identity.device, 2);
    this.#bytes[OFFSET.revision] = identity.revision;
    this.#bytes.writeUIntLE(identity.class, OFFSET.class, 3);
    this.#bytes.writeUInt16LE(identity.subsystemVendor, OFFSET.subsystem);
    this.#bytes.writeUInt16LE(identity.subsystemDevice, OFFSET.subsystem + 2);
    this.#bytes[OFFSET.irqPin] = 1;
  }

  /** What a reset of the bus does: nothing is decoded until the firmware gives addresses again. */
  reset(): void {
    this.#bytes.writeUInt16LE(0, OFFSET.command);
    this.#bytes.fill(0, OFFSET.bar0, OFFSET.bar0 + 4 * BAR_COUNT);
  }

  read(offset: number, length: number): number {
    if (length < 1 || length > 4 || offset < 0 || offset + length > HEADER_SIZE) return 0;
    return this.#bytes.readUIntLE(offset, length);
  }

  write(offset: number, length: number, value: number): void {
    const bar = (offset - OFFSET.bar0) >> 2;
    if (offset >= OFFSET.bar0 && bar < BAR_COUNT) {
      const size = this.#sizes[bar] ?? 0;
      const base = size === 0 ? 0 : (value & ~(size - 1)) >>> 0;
      this.#bytes.writeUInt32LE(base, OFFSET.bar0 + 4 * bar);
    } else if (offset === OFFSET.command) {
      this.#bytes.writeUInt16LE(value & COMMAND_WRITABLE, offset);
    } else if (offset === OFFSET.irqLine && length >= 1) {
      this.#bytes[offset] = value & 0xff;
    }
  }

  /** Finds the BAR that holds a bus address; null when none does. */
  locate(address: bigint): { readonly bar: number; readonly offset: number } | null {
    for (const [bar, size] of this.#sizes.entries()) {
      const base = BigInt(this.#bytes.readUInt32LE(OFFSET.bar0 + 4 * bar));
      if (size > 0 && base > 0n && address >= base && address < base + BigInt(size))
        return { bar, offset: Number(address - base) };
    }
    return null;
  }
}
