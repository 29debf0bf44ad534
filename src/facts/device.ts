import type { Reading } from "./reading.ts";

/** One BAR as the kernel lists it in the sysfs `resource` file. Addresses are hex strings: they exceed 2^53. */
export interface BarWindow {
  readonly index: number;
  readonly start: string;
  readonly end: string;
  /** Bytes; 0 for a BAR that the device does not have. */
  readonly size: number;
  readonly flags: string;
}

/** The `resourceN` file of a BAR: what decides who may map it. */
export interface ResourceNode {
  readonly index: number;
  /** Bytes, from stat(2). */
  readonly size: number;
  /** Permission bits, for example 0o600. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Configuration space, offset 4 (command register) of the PCI Local Bus specification. */
export interface PciConfig {
  readonly command: number;
  /** Command register bit 1: the device answers memory accesses. */
  readonly memoryDecode: boolean;
  /** The whole header reads 0xff: the device is gone or does not answer. */
  readonly allOnes: boolean;
}

export interface PciFunction {
  /** Domain, bus, device, function: "0000:00:05.0". */
  readonly bdf: string;
  readonly vendor: number;
  readonly device: number;
  /** 24 bits: base class, subclass, programming interface. */
  readonly class: number;
  readonly subsystemVendor: number | null;
  readonly subsystemDevice: number | null;
  readonly revision: number | null;
  /** Name of the bound kernel driver, null when none is bound. */
  readonly driver: string | null;
  /** The sysfs directory with its links resolved, as it appears in /proc/PID/maps. */
  readonly sysfsPath: string;
  readonly bars: readonly BarWindow[];
  readonly resources: readonly ResourceNode[];
  /** What of the resource files' permissions is not the machine's but was lost on the way into a capture. */
  readonly permissionsLost: "modes" | "owners" | null;
  readonly config: Reading<PciConfig>;
}

export interface PciFacts {
  /** Functions looked at, whatever their ids. */
  readonly scanned: number;
  /** Functions whose ids could not be read, by BDF: they may hide the device. */
  readonly unreadable: readonly string[];
  /** Functions that are, could be or could be mistaken for the vGPU: NVIDIA's vendor id, or the legacy ids. */
  readonly candidates: readonly PciFunction[];
  /** The `nvidia` kernel module is loaded (/proc/modules); null when that could not be read. */
  readonly nvidiaModule: boolean | null;
}

/** One pass over the registers that are safe to read. Keys are register names of protocol/registers.ts. */
export interface BarPass {
  /** Milliseconds since the first load of the run. */
  readonly atMs: number;
  readonly registers: Readonly<Record<string, number>>;
  /** TIMESTAMP read hi, lo, hi: microseconds of the host's virtual clock at the last accepted reply; null if torn. */
  readonly timestampUs: number | null;
}

export type BarFacts =
  | {
      readonly outcome: "read";
      readonly bdf: string;
      readonly passes: readonly BarPass[];
      /** STATUS, read once at the end of the run; null when it was not read. */
      readonly status: number | null;
    }
  /** The probe would not touch the device: it may be somebody's real GPU. */
  | {
      readonly outcome: "refused";
      readonly bdf: string;
      readonly reason: string;
      /** Name of the refusal ("driver-bound", "memory-decode-off"), when native-probe refused. */
      readonly code?: string;
    }
  | {
      readonly outcome: "failed";
      readonly bdf: string;
      readonly step: "open" | "mmap";
      /** errno name, "EACCES". */
      readonly errno: string;
      readonly meaning: string;
    }
  /** Every register read 0xffffffff: memory decode is off or the device is gone. */
  | { readonly outcome: "all-ones"; readonly bdf: string }
  | { readonly outcome: "stalled"; readonly bdf: string; readonly afterMs: number }
  | { readonly outcome: "crashed"; readonly bdf: string; readonly signal: string };

export interface LockdownFacts {
  /** The bracketed word of /sys/kernel/security/lockdown; "absent" when the kernel has no such file. */
  readonly mode: "none" | "integrity" | "confidentiality" | "absent";
  /** EFI SecureBoot variable; null when the machine has none or it could not be read. */
  readonly secureBoot: boolean | null;
}
