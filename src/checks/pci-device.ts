import type { PciFunction } from "../facts/device.ts";
import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import { isShim } from "../protocol/libraries.ts";
import { classifyPciFunction } from "../protocol/pci-identity.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type Evidence, evidence, info, type Judgement, pass, unknown } from "./finding.ts";

const DIRECTORY = "/sys/bus/pci/devices";

/** Is there a vGPU in this VM? A real H100 has the same ids: BAR sizes and the bound driver tell them apart. */
export const pciDevice: Check = {
  name: "pci-device",
  title: "Is there one vGPU device, and does it answer?",
  hop: "device",
  after: [],
  causes: ["VG-P01", "VG-P04", "VG-P06", "VG-P07", "VG-P14"],
  judge(facts) {
    const { pci } = facts;
    if (pci.state !== "read") return [unknown(`the PCI devices were not read: ${pci.detail}`)];
    const { candidates, scanned, unreadable } = pci.value;
    const kinds = candidates.map((device) => ({ device, ...classifyPciFunction(device) }));
    const ours = kinds.filter(({ kind }) => kind === "vgpu").map(({ device }) => device);
    const [first, ...others] = ours;
    if (first !== undefined) {
      const found = [judgeDecode(first)];
      if (others.length > 0) {
        const values = { count: String(ours.length), bdfs: ours.map(({ bdf }) => bdf).join(", ") };
        found.push(problem("VG-P07", values, ours.map(shown)));
      }
      return found;
    }
    const passedThrough = kinds.find(({ kind }) => kind === "not-vgpu-bars" || kind === "passthrough-gpu");
    if (passedThrough !== undefined) return [passthrough(facts, passedThrough.device, passedThrough.reason)];
    const old = kinds.find(({ kind }) => kind === "wrong-class" || kind === "legacy");
    if (old !== undefined) {
      const values = { bdf: old.device.bdf, ids: ids(old.device), reason: old.reason };
      return [problem("VG-P04", values, [shown(old.device)], old.kind === "legacy" ? "warn" : "fail")];
    }
    if (unreadable.length > 0) {
      return [unknown(`no vGPU among ${scanned} PCI functions, but ${unreadable.join(", ")} could not be read`)];
    }
    const what = `${scanned} PCI functions looked at, none is 10de:2331 of class 0x0302xx`;
    return [problem("VG-P01", { what }, [evidence("sysfs", DIRECTORY, what)])];
  },
};

function judgeDecode(device: PciFunction): Judgement {
  const config = device.config;
  const { confirmed, reason } = classifyPciFunction(device);
  if (!confirmed) return info(`${device.bdf}: ${reason}`, [shown(device)]);
  if (config.state !== "read") {
    // Present is all that this proves: an unplugged device and one that decodes nothing look the same from here.
    return info(`${device.bdf} is the vGPU; whether it decodes memory is not known: ${config.detail}`, [shown(device)]);
  }
  const { allOnes, memoryDecode, command } = config.value;
  const where = evidence("sysfs", `${device.sysfsPath}/config`, `command register 0x${command.toString(16)}`);
  if (allOnes) {
    const what = "its configuration space reads all ones, as of a device that is gone";
    return problem("VG-P14", { bdf: device.bdf, what }, [shown(device), where]);
  }
  if (!memoryDecode) {
    const what = `memory decoding is off (command register 0x${command.toString(16)})`;
    return problem("VG-P14", { bdf: device.bdf, what }, [shown(device), where]);
  }
  return pass(`${device.bdf} is the vGPU and decodes memory`, [shown(device), where]);
}

function passthrough(facts: Facts, device: PciFunction, reason: string): Judgement {
  const shims = (valueIn(facts.shimFiles)?.files ?? []).filter((file) => {
    const kind = valueIn(file.kind);
    return kind !== undefined && isShim(kind);
  });
  const mixed = shims.length > 0 ? `${reason}; shim libraries are installed beside it` : reason;
  const found = shims.slice(0, 2).map((file) => evidence("file", file.path, `${file.resolved ?? "dangling"}: a shim`));
  return problem("VG-P06", { bdf: device.bdf, ids: ids(device), reason: mixed }, [shown(device), ...found]);
}

function ids(device: PciFunction): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
  return `${hex(device.vendor, 4)}:${hex(device.device, 4)} class 0x${hex(device.class, 6)}`;
}

function shown(device: PciFunction): Evidence {
  const bars = device.bars.filter(({ size }) => size > 0).map(({ index, size }) => `BAR${index} ${size} bytes`);
  return evidence(
    "sysfs",
    `${DIRECTORY}/${device.bdf}`,
    [ids(device), ...bars, `driver ${device.driver ?? "none"}`].join(", "),
  );
}
