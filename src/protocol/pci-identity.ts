import { BAR0_SIZE, BAR1_SIZE } from "./registers.ts";

/**
 * Which PCI function is the vGPU. Source: docs/wire.md, "PCI identity". A PCIe H100 handed through to the VM has the
 * same ids; the sizes of BAR0 and BAR1 and the absence of a driver tell the two apart.
 */

export const VENDOR_NVIDIA = 0x10de;
export const DEVICE_VGPU = 0x2331;
export const SUBSYSTEM_VGPU = { vendor: 0x10de, device: 0x16c1 } as const;
/** 3D controller. The low byte, the programming interface, may vary. */
export const CLASS_3D = 0x03_02_00;
export const CLASS_MASK = 0xff_ff_00;
/** Base class of display controllers of any kind. */
export const BASE_CLASS_DISPLAY = 0x03;

/** Vendors of emulated devices that the shim accepts too, if their class is right: QEMU and virtio. */
export const LEGACY_VENDORS = [0x1234, 0x1af4] as const;
/** The stub of before the ids were NVIDIA's. Its class is 0x1200: no shim accepts it. */
export const EARLY_STUB = { vendor: 0x1af4, device: 0x1111 } as const;

/** Bit of a BAR's flags in the sysfs `resource` file: a memory window (IORESOURCE_MEM). */
const RESOURCE_MEMORY = 0x200;

export type PciClassification =
  /** Ids, class and BARs are the vGPU's and no driver is bound. */
  | "vgpu"
  /** The vGPU's ids with other BARs or with a driver: a real GPU, perhaps. It must not be touched. */
  | "not-vgpu-bars"
  /** The vGPU's ids, or an early stub's, with a class that the shim does not accept. */
  | "wrong-class"
  /** QEMU's or virtio's vendor id with the right class: the shim accepts it, this agent does not read it. */
  | "legacy"
  /** Another display device of NVIDIA. */
  | "passthrough-gpu"
  | "other";

export interface Classified {
  readonly kind: PciClassification;
  /** In words, for an operator. */
  readonly reason: string;
  /**
   * Every part of the identity was there to be checked. False for a `vgpu` of a capture that recorded no BAR sizes: a
   * passthrough GPU is then not excluded.
   */
  readonly confirmed: boolean;
}

/** The ids and the class that decide whether a function is worth a closer look. */
export interface PciIds {
  readonly vendor: number;
  readonly device: number;
  /** 24 bits: base class, subclass, programming interface. */
  readonly class: number;
}

/** What of a PCI function (facts/device.ts, PciFunction) says what it is. */
export interface PciIdentity extends PciIds {
  readonly subsystemVendor: number | null;
  readonly subsystemDevice: number | null;
  readonly driver: string | null;
  /** Windows of the `resource` file: bytes, and flags in hex. */
  readonly bars: readonly { readonly index: number; readonly size: number; readonly flags: string }[];
  /** The resourceN files: bytes. */
  readonly resources: readonly { readonly index: number; readonly size: number }[];
}

/** Whether a function is, could be or could be mistaken for the vGPU. */
export function isCandidate(ids: PciIds): boolean {
  return ids.vendor === VENDOR_NVIDIA || isEarlyStub(ids) || (isLegacyVendor(ids.vendor) && isClass3d(ids.class));
}

/** What a PCI function is to this stack. Touches nothing: native-probe checks again before it opens a BAR. */
export function classifyPciFunction(fn: PciIdentity): Classified {
  if (fn.vendor === VENDOR_NVIDIA && fn.device === DEVICE_VGPU) return classifyVgpuIds(fn);
  if (isLegacyVendor(fn.vendor) && isClass3d(fn.class)) {
    return decided("legacy", "it has the ids of an emulated device of before 10de:2331");
  }
  if (isEarlyStub(fn)) {
    return decided("wrong-class", `it is an early vgpu-stub of class ${className(fn)}, which no shim accepts`);
  }
  if (fn.vendor === VENDOR_NVIDIA && fn.class >>> 16 === BASE_CLASS_DISPLAY) {
    return decided("passthrough-gpu", "it is a display device of NVIDIA that is not the vGPU");
  }
  return decided("other", "its ids are not a vGPU's");
}

function classifyVgpuIds(fn: PciIdentity): Classified {
  if (!isClass3d(fn.class)) return decided("wrong-class", `its class is ${className(fn)}, the shim wants 0x0302xx`);
  if (fn.driver !== null) {
    return decided("not-vgpu-bars", `the driver ${fn.driver} is bound: a vGPU has none, a real GPU may have`);
  }
  const wanted = [BAR0_SIZE, BAR1_SIZE] as const;
  const sizes = [sizeOf(fn, 0, BAR0_SIZE), sizeOf(fn, 1, BAR1_SIZE)] as const;
  for (const [index, size] of sizes.entries()) {
    if (size !== null && size !== wanted[index]) {
      return decided("not-vgpu-bars", `BAR${index} has ${size} bytes, a vGPU's has ${wanted[index]}`);
    }
  }
  if (sizes.includes(null)) {
    const reason = "its ids are the vGPU's; the sizes of its BARs are not known, so a passthrough GPU is not excluded";
    return { kind: "vgpu", reason, confirmed: false };
  }
  return decided("vgpu", `ids, class and BARs are the vGPU's${subsystemNote(fn)}; no driver is bound`);
}

/**
 * Bytes of a BAR: by the `resource` file, which the kernel writes, and by the resourceN file. Where the two differ the
 * size that is not the vGPU's counts. An empty resourceN file is a capture's placeholder. Null when neither is known.
 */
function sizeOf(fn: PciIdentity, index: number, wanted: number): number | null {
  const window = fn.bars.find((bar) => bar.index === index);
  const node = fn.resources.find((resource) => resource.index === index && resource.size > 0);
  const sizes: number[] = [];
  if (window !== undefined) sizes.push(isMemory(window.flags) ? window.size : 0);
  if (node !== undefined) sizes.push(node.size);
  return sizes.find((size) => size !== wanted) ?? sizes[0] ?? null;
}

function isMemory(flags: string): boolean {
  return (Number.parseInt(flags, 16) & RESOURCE_MEMORY) !== 0;
}

function subsystemNote(fn: PciIdentity): string {
  if (fn.subsystemVendor === null || fn.subsystemDevice === null) return "";
  const usual = fn.subsystemVendor === SUBSYSTEM_VGPU.vendor && fn.subsystemDevice === SUBSYSTEM_VGPU.device;
  return usual ? "" : ` (subsystem ${hex(fn.subsystemVendor, 4)}:${hex(fn.subsystemDevice, 4)}, not 10de:16c1)`;
}

function isClass3d(value: number): boolean {
  return (value & CLASS_MASK) === CLASS_3D;
}

function isLegacyVendor(vendor: number): boolean {
  return LEGACY_VENDORS.some((legacy) => legacy === vendor);
}

function isEarlyStub(ids: PciIds): boolean {
  return ids.vendor === EARLY_STUB.vendor && ids.device === EARLY_STUB.device;
}

function decided(kind: PciClassification, reason: string): Classified {
  return { kind, reason, confirmed: true };
}

function className(fn: PciIds): string {
  return `0x${hex(fn.class, 6)}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
