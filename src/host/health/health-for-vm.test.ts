import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DENIED,
  EPOCH,
  MODEL,
  NOW,
  PROCESS,
  SOCKET,
  STARTED,
  withLog,
} from "../../../test/fixtures/mediator-health.ts";
import { wasRead } from "../../facts/reading.ts";
import type { MediatorHealthFacts } from "./facts.ts";
import { healthForVm } from "./health-for-vm.ts";

test("a VM is told what concerns all and itself, and nothing that names another", () => {
  const other = { vmId: 987_654, pid: 876_543 };
  const path = "/var/xen/qemu/root-765432/tmp/vgpu-mediator.sock";
  const goesOn = { log: 0, at: 654_321 };
  const facts: MediatorHealthFacts = withLog(
    {
      epochs: [EPOCH, { ...EPOCH, epoch: 1, recoveryFailed: { log: 0, at: 1, owner: 543_210 } }],
      epochsSeen: 2,
      oldOwners: [
        { ...other, epoch: 0, goesOn },
        { ...other, pid: 876_544, epoch: 0, goesOn: null },
        { vmId: 11, pid: 77, epoch: 0, goesOn },
      ],
    },
    {
      processes: wasRead([{ ...PROCESS, listening: wasRead([path, SOCKET]) }]),
      deviceModels: wasRead([
        MODEL,
        { ...MODEL, ...other, domId: 765_432, chroot: "/var/xen/qemu/root-765432", socketPath: path, socket: DENIED },
      ]),
      guests: wasRead([{ ...other, startedAt: STARTED - 60_000, aliveAt: NOW - 1000 }]),
    },
  );
  const told = healthForVm(facts, 11);
  assert.doesNotMatch(JSON.stringify(told), /98765|87654|76543|65432|54321/);
  const causes = told.map(({ cause }) => cause);
  assert.ok(causes.includes("VG-H14") && causes.includes("VG-H04"));
  assert.ok(!healthForVm(facts, 12).some(({ cause }) => cause === "VG-H04"));
});
