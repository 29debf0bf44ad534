import assert from "node:assert/strict";
import { test } from "node:test";
import { BDF, healthy, idle, process, runner, unit, vgpu } from "../../test/fixtures/facts.ts";
import { type Case, said, testCases } from "../../test/fixtures/said.ts";
import type { PciFunction } from "../facts/device.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import type { ProcessFacts, UnitFacts } from "../facts/workload.ts";
import { barAccess } from "./bar-access.ts";

const modes = (bar0: number, bar1 = bar0): PciFunction =>
  vgpu({
    resources: [
      { index: 0, size: 4096, mode: bar0, uid: 0, gid: 993 },
      { index: 1, size: 16 << 20, mode: bar1, uid: 0, gid: 993 },
    ],
  });
const lost = (what: "modes" | "owners", mode: number): PciFunction => ({ ...modes(mode), permissionsLost: what });
const pci = (device: PciFunction) => wasRead({ scanned: 6, unreadable: [], candidates: [device], nvidiaModule: false });
const processes = (...all: ProcessFacts[]) => wasRead({ foundBy: "unit" as const, processes: all, incomplete: [] });
const server = (changes: Partial<ProcessFacts>, device = vgpu()) =>
  idle({ pci: pci(device), workload: processes(process(changes)) });
const stopped = (changes: Partial<UnitFacts>, device = vgpu()) =>
  idle({ pci: pci(device), workload: processes(), unit: wasRead(unit(changes)) });
const mounts = (sysReadOnly: boolean | null, pciHidden = false) =>
  wasRead({ sysReadOnly, privateTmp: false, pciHidden });

const CASES: readonly Case[] = [
  ["the service's group may open both BARs", idle(), "pass"],
  ["a process that has BAR0 mapped could open it", healthy(), "pass"],
  ["resource0 closed to the service's user", server({}, modes(0o600)), "fail VG-B01"],
  ["readable alone is not enough", server({}, modes(0o640)), "fail VG-B01"],
  [
    "CAP_DAC_OVERRIDE opens it all the same",
    server({ credentials: wasRead({ uid: 998, gid: 998, groups: [], capEff: "2" }) }, modes(0o600)),
    "pass",
  ],
  ["only resource1 closed", server({}, modes(0o660, 0o600)), "warn VG-B06"],
  ["/sys read-only in the process's mounts", server({ mounts: mounts(true) }), "fail VG-B03"],
  ["the PCI directory hidden from the process", server({ mounts: mounts(false, true) }), "fail VG-B03"],
  ["every user may write", server({}, modes(0o666)), "info VG-B05"],
  ["mounts that could not be read", server({ mounts: notRead("denied", "x") }), "unknown"],
  ["mounts that say nothing of /sys", server({ mounts: mounts(null) }), "unknown"],
  ["credentials that could not be read", server({ credentials: notRead("denied", "x") }), "unknown"],
  ["a capture that lost the modes, closed", server({}, lost("modes", 0o644)), "unknown"],
  ["a capture that lost the modes, open", server({}, lost("modes", 0o666)), "unknown"],
  ["a capture that lost the owners, closed", server({}, lost("owners", 0o660)), "unknown"],
  ["a capture that lost the owners, open to all", server({}, lost("owners", 0o666)), "info VG-B05"],
  [
    "modes do not matter to CAP_DAC_OVERRIDE, lost or not",
    server({ credentials: wasRead({ uid: 0, gid: 0, groups: [], capEff: "2" }) }, lost("modes", 0o644)),
    "pass",
  ],
  ["lost modes, and mounts that say enough", server({ mounts: mounts(true) }, lost("modes", 0o644)), "fail VG-B03"],
  ["without a process, a capture that lost the modes", stopped({}, lost("modes", 0o644)), "unknown"],
  ["without a process, the unit's user may", stopped({}), "pass"],
  ["without a process, the unit's user may not", stopped({}, modes(0o600)), "fail VG-B01"],
  [
    "without a process, the unit protects kernel tunables",
    stopped({ sandbox: { ProtectKernelTunables: "yes" } }),
    "fail VG-B03",
  ],
  [
    "the protection is lifted for /sys",
    stopped({ sandbox: { ProtectKernelTunables: "yes", ReadWritePaths: "-/sys /var/lib/ollama" } }),
    "pass",
  ],
  [
    "the protection is lifted for the links to the devices only",
    stopped({ sandbox: { ProtectKernelTunables: "yes", ReadWritePaths: "/sys/bus/pci/devices/" } }),
    "fail VG-B03",
  ],
  ["a user that is not known here", stopped({ userCredentials: null }), "unknown"],
  ["neither process nor unit", idle({ workload: notRead("denied", "x"), unit: notRead("absent", "x") }), "unknown"],
  ["no resource0 in sight", idle({ pci: pci(vgpu({ resources: [] })) }), "unknown"],
  ["no device is known", healthy({ pci: notRead("denied", "x") }), "unknown"],
];

testCases(barAccess, CASES);

test("the server and each process that uses the GPU are judged apart", () => {
  const closed = runner({ maps: notRead("denied", "x"), mounts: mounts(true) });
  assert.deepEqual(said(barAccess, healthy({ workload: processes(process(), closed) })), ["fail VG-B03", "pass"]);
});

test("another device's BAR0 in the maps is no proof that the vGPU may be opened", () => {
  const other = wasRead({ libraries: [], bars: [{ bdf: "0000:00:09.0", bar: 0, perms: "rw-s" }], fileMappings: 9 });
  const facts = healthy({ pci: pci(modes(0o600)), workload: processes(process(), runner({ maps: other })) });
  assert.deepEqual(said(barAccess, facts), ["fail VG-B01", "fail VG-B01"]);
  assert.notEqual(BDF, "0000:00:09.0");
});
