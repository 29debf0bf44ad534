import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { doctorOn } from "./fixtures/doctor-json.ts";
import { operationLines, startLines } from "./fixtures/guest-lines.ts";
import { temporaryDirectory } from "./fixtures/journal-files.ts";
import type { TrueOperation } from "./fixtures/mediator-log.ts";
import { mediatorScenario } from "./fixtures/mediator-scenario.ts";

const NEEDED: readonly TrueOperation["kind"][] = ["init", "alloc", "copy-in", "copy-out", "launch"];

/** The lines that the shim of one process writes with VGPU_DEBUG for what really happened. */
const guestLog = (vmId: number, pid: number, operations: readonly TrueOperation[]): string =>
  `${[...startLines(vmId, pid), ...operationLines(pid, operations)].join("\n")}\n`;

describe("the doctor with the mediator's log", () => {
  const directory = temporaryDirectory(after);
  const { bytes, operations } = mediatorScenario({ seed: 5, operations: 400, vms: 2 });
  const processes = [...Map.groupBy(operations, ({ vmId, pid }) => `${vmId}/${pid}`).values()];
  const whole = processes.find((mine) => NEEDED.every((kind) => mine.some((one) => one.kind === kind))) ?? [];
  const [first] = whole;
  const mediator = join(directory, "mediator.log");
  const guest = join(directory, "stderr.log");
  writeFileSync(mediator, bytes);
  writeFileSync(guest, Buffer.from(guestLog(first?.vmId ?? 0, first?.pid ?? 0, whole), "latin1"));

  it("proves execution where the host's record has the guest's operations", async () => {
    assert.ok(first !== undefined, "the scenario has a process that does everything");
    const { verdict, host_match: match } = await doctorOn(guest, mediator);
    assert.deepEqual([verdict.rung, verdict.proven, verdict.evidence], ["executing", true, "host"], verdict.statement);
    const allocated = match?.operations.find(({ operation }) => operation === "alloc");
    const truth = whole.filter(({ kind }) => kind === "alloc").length;
    assert.deepEqual([allocated?.guest?.count, allocated?.host?.count], [truth, truth]);
    assert.deepEqual(
      match?.criteria.slice(0, 4).map(({ answer }) => answer),
      ["proven", "proven", "proven", "proven"],
    );
  });

  it("proves nothing by another VM's operations", async () => {
    const others = operations.filter(({ vmId }) => vmId !== first?.vmId);
    assert.ok(others.length > 0);
    const strange = join(directory, "other-vm.log");
    writeFileSync(strange, Buffer.from(guestLog(99, first?.pid ?? 0, whole), "latin1"));
    const { verdict } = await doctorOn(strange, mediator);
    assert.deepEqual([verdict.proven, verdict.evidence], [false, null]);
  });

  it("proves nothing by a pid alone: an earlier process may have had it", async () => {
    const silent = join(directory, "silent.log");
    writeFileSync(silent, Buffer.from(guestLog(first?.vmId ?? 0, first?.pid ?? 0, []), "latin1"));
    const { verdict } = await doctorOn(silent, mediator);
    assert.deepEqual([verdict.proven, verdict.evidence], [false, null], verdict.statement);
  });

  it("says why where the log cannot be read, and is none", async () => {
    const none = join(directory, "none.log");
    writeFileSync(none, "");
    for (const path of [join(directory, "absent"), directory, none]) {
      const { verdict, findings, sources } = await doctorOn(guest, path);
      assert.equal(verdict.proven, false);
      assert.equal(findings.find(({ check }) => check === "host-correlation")?.outcome, "unknown");
      assert.notEqual(sources.find(({ name }) => name === "host's record")?.state, "read");
    }
  });
});
