import type { PciIdentity } from "./device/config-space.ts";
import { VGPU_IDENTITY } from "./device/vgpu.ts";
import type { GuestFiles } from "./payload.ts";

/** One PCI function of a container's device tree. Everything has the vGPU's value unless said otherwise. */
export interface TreeDevice {
  /** "0000:00:05.0" unless said otherwise. */
  readonly bdf?: string;
  readonly identity?: Partial<PciIdentity>;
  /** Permission bits of the resourceN files: 0o600 unless said otherwise, as the kernel makes them. */
  readonly mode?: number;
  readonly gid?: number;
  /** First content of BAR0: register values by offset. */
  readonly registers?: Readonly<Record<number, number>>;
  /** Name of a driver that claims to be bound. */
  readonly driver?: string;
  /** Memory decode, command register bit 1: on unless said otherwise. */
  readonly memoryDecode?: boolean;
}

const FIRST_BAR_ADDRESS = 0xfd000000;
const NO_BAR = "0x0000000000000000 0x0000000000000000 0x0000000000000000";
/** A 32-bit memory BAR, as the kernel prints it (docs/wire.md, "PCI identity"). */
const MEMORY_FLAGS = 0x40200;
/** The resource file lists 6 BARs, the ROM and the bridge windows. */
const RESOURCE_LINES = 13;

const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, "0")}`;

/** Files and links below /sys that show PCI functions as a VM's kernel does; resourceN are plain files. */
export function deviceTreeFiles(devices: readonly TreeDevice[]): GuestFiles {
  return Object.assign({}, ...devices.map(deviceFiles));
}

function deviceFiles(device: TreeDevice): GuestFiles {
  const bdf = device.bdf ?? "0000:00:05.0";
  const identity = { ...VGPU_IDENTITY, ...device.identity };
  const directory = `/devices/pci0000:00/${bdf}`;
  const bars = placeBars(identity.bars);
  const ids: GuestFiles = {
    vendor: `${hex(identity.vendor, 4)}\n`,
    device: `${hex(identity.device, 4)}\n`,
    class: `${hex(identity.class, 6)}\n`,
    revision: `${hex(identity.revision, 2)}\n`,
    subsystem_vendor: `${hex(identity.subsystemVendor, 4)}\n`,
    subsystem_device: `${hex(identity.subsystemDevice, 4)}\n`,
    enable: "0\n",
    driver_override: "(null)\n",
    config: configHeader(identity, bars, device.memoryDecode ?? true),
    resource: `${Array.from({ length: RESOURCE_LINES }, (_, index) => bars[index]?.line ?? NO_BAR).join("\n")}\n`,
  };
  const owner = { mode: device.mode ?? 0o600, uid: 0, gid: device.gid ?? 0 };
  const resources = bars
    .filter(({ size }) => size > 0)
    .map(({ index, size }) => [`resource${index}`, { ...owner, ...barContent(index, size, device.registers) }]);
  const driver: GuestFiles = device.driver ? { driver: { link: `../../../bus/pci/drivers/${device.driver}` } } : {};
  const entries = Object.entries<GuestFiles[string]>({ ...ids, ...Object.fromEntries(resources), ...driver });
  return {
    ...Object.fromEntries(entries.map(([name, file]) => [`${directory}/${name}`, file])),
    ...(device.driver ? { [`/bus/pci/drivers/${device.driver}/module_name`]: `${device.driver}\n` } : {}),
    [`/bus/pci/devices/${bdf}`]: { link: `../../../devices/pci0000:00/${bdf}` },
  };
}

/** BARs beyond the first keep to sparse files: 16 MiB of zeros per container would cost more than its boot. */
function barContent(index: number, size: number, registers: Readonly<Record<number, number>> = {}) {
  if (index > 0) return { sparse: size };
  const content = Buffer.alloc(size);
  for (const [offset, value] of Object.entries(registers)) content.writeUInt32LE(value, Number(offset));
  return { content };
}

interface PlacedBar {
  readonly index: number;
  readonly size: number;
  readonly address: number;
  readonly line: string;
}

function placeBars(sizes: readonly number[]): PlacedBar[] {
  let next = FIRST_BAR_ADDRESS;
  return sizes.map((size, index) => {
    const address = Math.ceil(next / (size || 1)) * (size || 1);
    if (size > 0) next = address + size;
    const words = [address, address + size - 1, MEMORY_FLAGS].map((word) => hex(word, 16)).join(" ");
    return { index, size, address, line: size === 0 ? NO_BAR : words };
  });
}

function configHeader(identity: PciIdentity, bars: readonly PlacedBar[], memoryDecode: boolean): Buffer {
  const header = Buffer.alloc(256);
  header.writeUInt16LE(identity.vendor, 0x00);
  header.writeUInt16LE(identity.device, 0x02);
  header.writeUInt16LE(memoryDecode ? 0x0003 : 0x0001, 0x04);
  header[0x08] = identity.revision;
  header.writeUIntLE(identity.class, 0x09, 3);
  for (const { index, address, size } of bars) header.writeUInt32LE(size === 0 ? 0 : address, 0x10 + 4 * index);
  header.writeUInt16LE(identity.subsystemVendor, 0x2c);
  header.writeUInt16LE(identity.subsystemDevice, 0x2e);
  header[0x3d] = 1;
  return header;
}
