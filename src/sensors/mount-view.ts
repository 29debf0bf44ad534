import type { MountView } from "../facts/workload.ts";
import type { SensorContext } from "./context.ts";
import { coveringMount, isBelow, type Mount, parseMountinfo } from "./proc.ts";

/** What the mounts of a process are compared with. */
export interface MountBaseline {
  /** Directories of the devices that may be the vGPU, links resolved; "/sys/devices" when none was found. */
  readonly devicePaths: readonly string[];
  /** The mount that the first process has on /tmp; null when its mounts could not be read. */
  readonly tmp: Mount | null;
}

const PCI = "/sys/bus/pci/devices";
const MAX_DEVICES = 512;
const MAX_MOUNTINFO = 4 << 20;
/** NVIDIA's vendor id, and the two that old stubs had (docs/wire.md, "PCI ids"). */
const VENDORS: ReadonlySet<string> = new Set(["0x10de", "0x1234", "0x1af4"]);
/** What systemd mounts for InaccessiblePaths=. */
const INACCESSIBLE = /\/systemd\/inaccessible\//;
const ALL_DEVICES = "/sys/devices";
const PRIVATE = /(?:^|\/)systemd-private-/;

/** Reads the mounts of a process. */
export async function readMounts(context: SensorContext, pid: number | "self"): Promise<Mount[]> {
  return parseMountinfo((await context.fs.read(`/proc/${pid}/mountinfo`, MAX_MOUNTINFO)).bytes);
}

/** Reads the baseline once for all processes. */
export async function readMountBaseline(context: SensorContext): Promise<MountBaseline> {
  const devicePaths: string[] = [];
  const devices = await context.fs.list(PCI).catch(() => []);
  for (const bdf of devices.slice(0, MAX_DEVICES)) {
    const vendor = await context.fs.text(`${PCI}/${bdf}/vendor`, 64).catch(() => "");
    if (!VENDORS.has(vendor.trim())) continue;
    const link = await context.fs.readlink(`${PCI}/${bdf}`).catch(() => null);
    if (link !== null) devicePaths.push(link.replace(/^(?:\.\.\/)+/, "/sys/"));
  }
  const ofFirst = await readMounts(context, 1).catch(() => null);
  const own = ofFirst === null && context.fs.live ? await readMounts(context, "self").catch(() => null) : null;
  return {
    devicePaths: devicePaths.length > 0 ? devicePaths : [ALL_DEVICES],
    tmp: coveringMount(ofFirst ?? own ?? [], "/tmp"),
  };
}

/**
 * How a process with these mounts sees the device and /tmp. The device's node is reached through a link from /sys/bus to
 * /sys/devices, so that the mount over the latter decides: ReadWritePaths=/sys/bus/pci/devices does not open it.
 */
export function mountView(mounts: readonly Mount[], baseline: MountBaseline): MountView {
  const covering = baseline.devicePaths.map((path) => coveringMount(mounts, path)).filter((mount) => mount !== null);
  const tmp = coveringMount(mounts, "/tmp");
  const otherTmp =
    tmp !== null && baseline.tmp !== null && (tmp.device !== baseline.tmp.device || tmp.root !== baseline.tmp.root);
  return {
    sysReadOnly: covering.length === 0 ? null : covering.some((mount) => mount.readOnly),
    privateTmp: otherTmp || (tmp !== null && PRIVATE.test(tmp.root)),
    pciHidden: hidesPci(mounts, baseline.devicePaths),
  };
}

/** An inaccessible or empty file system lies over the list of devices, over a device, or over a part of either. */
function hidesPci(mounts: readonly Mount[], devicePaths: readonly string[]): boolean {
  const places = [PCI, ...devicePaths];
  const hides = (mount: Mount | null) =>
    mount !== null && isBelow(mount.point, "/sys") && (mount.fsType === "tmpfs" || INACCESSIBLE.test(mount.root));
  return (
    places.some((place) => hides(coveringMount(mounts, place))) ||
    mounts.some((mount) => hides(mount) && places.some((place) => place !== ALL_DEVICES && isBelow(mount.point, place)))
  );
}
