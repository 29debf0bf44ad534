import { basename, resolve } from "node:path";
import type { BarWindow, PciConfig, PciFacts, PciFunction, ResourceNode } from "../facts/device.ts";
import { errnoOf, notRead, notReadFromError, type Reading, wasRead } from "../facts/reading.ts";
import { isCandidate } from "../protocol/pci-identity.ts";
import type { SensorContext } from "./context.ts";
import type { RootFs } from "./root-fs.ts";

/** Where the kernel lists every PCI function. */
export const PCI_DEVICES = "/sys/bus/pci/devices";

/** Domain (four digits, more behind some bridges), bus, device, function. */
const BDF = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;
const HEX_ATTRIBUTE = /^0x[0-9a-f]{1,8}$/;
const RESOURCE_LINE = /^(0x[0-9a-f]{1,16}) (0x[0-9a-f]{1,16}) (0x[0-9a-f]{1,16})$/;
const RESOURCE_NODE = /^resource([0-5])$/;

/** A machine has dozens of functions; a captured tree may have anything. */
const MAX_FUNCTIONS = 4096;
const BAR_COUNT = 6;
/** The standardised header of configuration space; more of it is for root alone. */
const CONFIG_HEADER = 64;
const COMMAND_OFFSET = 4;
const MEMORY_DECODE = 0x2;
const ALL_ONES_BYTE = 0xff;

/**
 * The PCI functions below the root (docs/wire.md, "PCI identity"): sysfs attributes and configuration space, never a
 * BAR. A root without the directory is a reading that failed, not a machine without the device.
 */
export async function readPci(context: SensorContext): Promise<Reading<PciFacts>> {
  const { fs, scope, signal } = context;
  if (scope.subject === "evidence") return notRead("skipped", "a log is judged, not this machine");
  let names: string[];
  try {
    names = (await fs.list(PCI_DEVICES)).filter((name) => BDF.test(name)).sort();
  } catch (error) {
    return notReadFromError(error, PCI_DEVICES);
  }
  if (names.length > MAX_FUNCTIONS)
    return notRead("invalid", `${PCI_DEVICES}: ${names.length} functions is no machine's`);
  const unreadable: string[] = [];
  const candidates: PciFunction[] = [];
  for (const bdf of names) {
    if (signal.aborted) return notRead("timed-out", `${PCI_DEVICES}: not done within the limit, stopped before ${bdf}`);
    try {
      const found = await readFunction(fs, bdf);
      if (found !== null) candidates.push(found);
    } catch {
      unreadable.push(bdf);
    }
  }
  const scanned = names.length;
  const nvidiaModule = await hasNvidiaModule(fs);
  return wasRead({ scanned, unreadable, candidates, nvidiaModule }, `${scanned} functions in ${PCI_DEVICES}`);
}

/** A function that is a candidate, null for any other. Throws when its ids or its driver cannot be read. */
async function readFunction(fs: RootFs, bdf: string): Promise<PciFunction | null> {
  const directory = `${PCI_DEVICES}/${bdf}`;
  const vendor = await readHex(fs, `${directory}/vendor`);
  const device = await readHex(fs, `${directory}/device`);
  const classCode = await readHex(fs, `${directory}/class`);
  if (!isCandidate({ vendor, device, class: classCode })) return null;
  const resources = await readResourceNodes(fs, directory);
  return {
    bdf,
    vendor,
    device,
    class: classCode,
    subsystemVendor: await readHexOrNull(fs, `${directory}/subsystem_vendor`),
    subsystemDevice: await readHexOrNull(fs, `${directory}/subsystem_device`),
    revision: await readHexOrNull(fs, `${directory}/revision`),
    driver: await readDriver(fs, `${directory}/driver`),
    sysfsPath: await readSysfsPath(fs, directory),
    bars: await readBarWindows(fs, `${directory}/resource`),
    resources,
    permissionsLost: fs.live ? null : await findLostPermissions(fs, `${directory}/vendor`, resources),
    config: await readConfig(fs, `${directory}/config`, vendor),
  };
}

/** A sysfs attribute in the kernel's "0x10de" form. */
async function readHex(fs: RootFs, path: string): Promise<number> {
  const text = (await fs.text(path, 64)).trim();
  if (!HEX_ATTRIBUTE.test(text)) throw new Error(`${path} is not a number`);
  return Number.parseInt(text, 16);
}

async function readHexOrNull(fs: RootFs, path: string): Promise<number | null> {
  return await readHex(fs, path).catch(() => null);
}

/**
 * Name of the bound driver: the last part of the `driver` link. Captures that keep no links have a file or a directory
 * in its place; that something is there is what counts. Throws when that cannot be found out.
 */
async function readDriver(fs: RootFs, path: string): Promise<string | null> {
  try {
    const found = await fs.lstat(path);
    if (found.isSymbolicLink) return basename(await fs.readlink(path));
    const text = found.isFile ? (await fs.text(path, 256)).trim() : "";
    return basename(text) || "(name not recorded)";
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return null;
    throw error;
  }
}

/** The device directory as /proc/PID/maps names it: the entry in PCI_DEVICES is a link to it, except in some captures. */
async function readSysfsPath(fs: RootFs, directory: string): Promise<string> {
  return await fs.readlink(directory).then(
    (target) => resolve(PCI_DEVICES, target),
    () => directory,
  );
}

/** The BARs of the `resource` file; none when it is missing or not in the kernel's form. */
async function readBarWindows(fs: RootFs, path: string): Promise<BarWindow[]> {
  const text = await fs.text(path, 8192).catch(() => "");
  const windows: BarWindow[] = [];
  for (const [index, line] of text.split("\n").slice(0, BAR_COUNT).entries()) {
    const [, start, end, flags] = RESOURCE_LINE.exec(line) ?? [];
    if (start === undefined || end === undefined || flags === undefined) return windows;
    const size = BigInt(flags) === 0n ? 0 : Number(BigInt(end) - BigInt(start) + 1n);
    windows.push({ index, start, end, size: Math.max(size, 0), flags });
  }
  return windows;
}

/** The resourceN files, by stat alone: what decides who may map a BAR. */
async function readResourceNodes(fs: RootFs, directory: string): Promise<ResourceNode[]> {
  const names = await fs.list(directory).catch(() => []);
  const nodes: ResourceNode[] = [];
  for (const name of names) {
    const index = RESOURCE_NODE.exec(name)?.[1];
    if (index === undefined) continue;
    const meta = await fs.lstat(`${directory}/${name}`).catch(() => null);
    if (meta === null || !meta.isFile) continue;
    nodes.push({ index: Number(index), size: meta.size, mode: meta.mode & 0o777, uid: meta.uid, gid: meta.gid });
  }
  return nodes.sort((a, b) => a.index - b.index);
}

/**
 * Whether a capture kept modes and owners. The kernel gives all files of a function to root, and never gives resourceN
 * the mode of `vendor`: where that one's owner or mode is theirs, a copy made both. Nobody changes `vendor` on purpose.
 */
async function findLostPermissions(
  fs: RootFs,
  vendorPath: string,
  resources: readonly ResourceNode[],
): Promise<PciFunction["permissionsLost"]> {
  const bar0 = resources.find(({ index }) => index === 0);
  const vendor = await fs.lstat(vendorPath).catch(() => null);
  if (bar0 === undefined || vendor === null) return null;
  if (vendor.mode === bar0.mode) return "modes";
  return vendor.uid !== 0 && vendor.uid === bar0.uid ? "owners" : null;
}

/** The command register, from the header of configuration space. */
async function readConfig(fs: RootFs, path: string, vendor: number): Promise<Reading<PciConfig>> {
  let bytes: Buffer;
  try {
    bytes = (await fs.read(path, CONFIG_HEADER)).bytes;
  } catch (error) {
    return notReadFromError(error, path);
  }
  if (bytes.length < CONFIG_HEADER) return notRead("invalid", `${path}: ${bytes.length} bytes, a header has 64`);
  const allOnes = bytes.every((byte) => byte === ALL_ONES_BYTE);
  if (!allOnes && bytes.readUInt16LE(0) !== vendor) {
    return notRead("invalid", `${path}: does not begin with the vendor id of its function`);
  }
  const command = bytes.readUInt16LE(COMMAND_OFFSET);
  return wasRead({ command, memoryDecode: !allOnes && (command & MEMORY_DECODE) !== 0, allOnes });
}

/** Whether the vendor's kernel module is loaded; null when /proc/modules cannot be read to its end. */
async function hasNvidiaModule(fs: RootFs): Promise<boolean | null> {
  try {
    const { bytes, truncated } = await fs.read("/proc/modules", 1 << 20);
    const found = bytes
      .toString("latin1")
      .split("\n")
      .some((line) => line.startsWith("nvidia "));
    return found || !truncated ? found : null;
  } catch {
    return null;
  }
}
