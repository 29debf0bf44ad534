import type { PciFunction, ResourceNode } from "../facts/device.ts";
import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import type { Credentials, ProcessFacts } from "../facts/workload.ts";
import { CAP_DAC_OVERRIDE, hasCapability, mayAccess } from "../sensors/credentials.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type Evidence, evidence, type Judgement, pass, unknown } from "./finding.ts";
import { barMappedBy, describe, gpuProcessesOf, processEvidence, serverOf, vgpuOf } from "./view.ts";

const READ_WRITE = { read: true, write: true };

/**
 * May the workload open the device? Judged for the workload's own user, groups, capabilities and mounts: the agent is
 * usually root, and root sees everything as permitted.
 */
export const barAccess: Check = {
  name: "bar-access",
  title: "May the workload's user open the device's BARs?",
  hop: "transport",
  after: ["pci-device"],
  causes: ["VG-B01", "VG-B03", "VG-B05", "VG-B06"],
  judge(facts) {
    const device = vgpuOf(facts);
    if (device === undefined) return [unknown("no vGPU device is known whose BARs could be opened")];
    const bar0 = device.resources.find(({ index }) => index === 0);
    if (bar0 === undefined) return [unknown(`${device.bdf} has no resource0 that could be looked at`)];
    const found = [...judgeSubjects(facts, device, bar0)];
    if ((bar0.mode & 0o006) !== 0 && device.permissionsLost !== "modes") {
      const values = { path: path(device, 0), mode: octal(bar0.mode) };
      found.push(problem("VG-B05", values, [shown(device, bar0)]));
    }
    return found;
  },
};

function judgeSubjects(facts: Facts, device: PciFunction, bar0: ResourceNode): Judgement[] {
  const server = serverOf(facts);
  const subjects = [...new Set([...(server === undefined ? [] : [server]), ...gpuProcessesOf(facts)])];
  if (subjects.length > 0) return subjects.map((process) => judgeProcess(facts, process, device, bar0));
  const unit = valueIn(facts.unit);
  if (unit === undefined) return [unknown("neither a process of the workload nor its unit is known")];
  if (unit.userCredentials === null) return [unknown(`the user of ${unit.name} is not known here`)];
  const who = `user ${unit.user ?? "root"} of ${unit.name}`;
  const tunables = unit.sandbox["ProtectKernelTunables"];
  const writable = unit.sandbox["ReadWritePaths"] ?? "";
  // /sys/bus/pci/devices alone does not help: its entries are links into /sys/devices, which stays read-only.
  const lifted = writable.split(/\s+/).some((entry) => /^[-+]*\/sys(?:\/devices)?\/?$/.test(entry));
  if (tunables !== undefined && isYes(tunables) && !lifted) {
    const values = { who, path: path(device, 0), why: " (ProtectKernelTunables=yes)" };
    return [problem("VG-B03", values, [evidence("unit", unit.name, `ProtectKernelTunables=${tunables}`)])];
  }
  return [judgeModes(who, unit.userCredentials, device, bar0)];
}

function judgeProcess(facts: Facts, process: ProcessFacts, device: PciFunction, bar0: ResourceNode): Judgement {
  const who = describe(process);
  if (barMappedBy(facts, process) === device.bdf) {
    return pass(`${who} has BAR0 of ${device.bdf} mapped`, [processEvidence(process, "maps", path(device, 0))]);
  }
  if (process.credentials.state !== "read") {
    return unknown(`the credentials of ${who} could not be read: ${process.credentials.detail}`);
  }
  const modes = judgeModes(who, process.credentials.value, device, bar0);
  const mounts = process.mounts;
  if (mounts.state === "read" && (mounts.value.sysReadOnly === true || mounts.value.pciHidden)) {
    const why = mounts.value.pciHidden ? " (hidden by the unit)" : " (read-only)";
    const where = processEvidence(process, "mountinfo", `the mount over ${device.sysfsPath}:${why}`);
    return problem("VG-B03", { who, path: path(device, 0), why }, [where]);
  }
  if (modes.outcome === "fail") return modes;
  if (mounts.state !== "read") return unknown(`how ${who} sees /sys could not be read: ${mounts.detail}`);
  if (mounts.value.sysReadOnly === null)
    return unknown(`${who} may open BAR0 by its mode; its mounts say nothing of /sys`);
  return modes;
}

function judgeModes(who: string, credentials: Credentials, device: PciFunction, bar0: ResourceNode): Judgement {
  const uid = `uid ${credentials.uid}, groups ${[credentials.gid, ...credentials.groups].join(" ")}`;
  const shownAs = [shown(device, bar0), evidence("credentials", who, uid)];
  if (!saysAnything(device, bar0, credentials)) {
    const lost = `the capture did not keep the ${device.permissionsLost} of the files in ${device.sysfsPath}`;
    return unknown(`whether ${who} may open ${path(device, 0)} is not known: ${lost}`, shownAs);
  }
  if (!mayAccess(bar0, credentials, READ_WRITE)) {
    const why = ` (${octal(bar0.mode)} ${bar0.uid}:${bar0.gid}; ${uid})`;
    return problem("VG-B01", { who, path: path(device, 0), why }, shownAs);
  }
  const bar1 = device.resources.find(({ index }) => index === 1);
  if (bar1 !== undefined && !mayAccess(bar1, credentials, READ_WRITE)) {
    const what = `${who} may open resource0 and not resource1 (${octal(bar1.mode)} ${bar1.uid}:${bar1.gid})`;
    return problem("VG-B06", { what }, [shown(device, bar1)]);
  }
  return pass(`${who} may open ${path(device, 0)}`, shownAs);
}

/** Permissions that a capture lost tell nothing, but of one to whom they do not matter. */
function saysAnything(device: PciFunction, bar0: ResourceNode, credentials: Credentials): boolean {
  if (device.permissionsLost === null || hasCapability(credentials.capEff, CAP_DAC_OVERRIDE)) return true;
  return device.permissionsLost === "owners" && (bar0.mode & 0o006) === 0o006;
}

function isYes(value: string): boolean {
  return ["yes", "true", "on", "1"].includes(value.trim().toLowerCase());
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}

function path(device: PciFunction, bar: number): string {
  return `/sys/bus/pci/devices/${device.bdf}/resource${bar}`;
}

function shown(device: PciFunction, node: ResourceNode): Evidence {
  return evidence("sysfs", path(device, node.index), `${octal(node.mode)} ${node.uid}:${node.gid}, ${node.size} bytes`);
}
