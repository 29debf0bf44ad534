import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { passiveReaderFaults } from "../bench/device/trace.ts";
import { ensureVm } from "../bench/setup.ts";
import { bootVm, type Step } from "../bench/vm.ts";
import { expectTruth } from "./expect.ts";
import { MACHINES, type MachineScenario } from "./machines.ts";

const skip = (await ensureVm()) ?? false;
/** Seconds. Under emulation the doctor's Node alone needs several to start. */
const DOCTOR_LIMIT_S = 90;

function stepsOf(scenario: MachineScenario, index: number): Step[] {
  const host = scenario.host === undefined ? {} : { host: scenario.host };
  const setUp = { name: `set up ${index}`, run: scenario.setUp ?? "true", ...(setsUpUnderHost(scenario) ? host : {}) };
  const run = `vgpu-agent doctor --json ${scenario.args ?? ""}`;
  return [setUp, { name: `doctor ${index}`, run, timeoutS: DOCTOR_LIMIT_S, host: scenario.host ?? { kind: "ok" } }];
}

/** A mediator that is gone shapes what the workload does; a device that stalls would only slow its start. */
function setsUpUnderHost({ host }: MachineScenario): boolean {
  return host?.kind === "unavailable";
}

describe("the doctor in a VM with a real PCI device", { skip }, () => {
  for (const machine of MACHINES) {
    it(machine.name, async (context) => {
      const run = await bootVm({ ...machine.boot, steps: machine.scenarios.flatMap(stepsOf), timeoutMs: 400_000 });
      for (const [index, scenario] of machine.scenarios.entries()) {
        await context.test(`${scenario.name}: ${scenario.story}`, () => {
          const step = run.steps.get(`doctor ${index}`);
          assert.ok(step !== undefined, `the step did not end; the console said:\n${run.serial.slice(-2000)}`);
          expectTruth(scenario.name, scenario.truth, step.stdout, step.exitCode);
          // In the whole VM the workload uses the device too, and the trace does not say whose an access is.
          if (machine.boot.device === null || machine.boot.image === "systemd") return;
          const accesses = run.trace.during(`doctor ${index}`);
          assert.deepEqual(passiveReaderFaults(accesses), [], "the doctor kept its hands off the device");
          if (scenario.untouched === true) assert.equal(accesses.length, 0, "no access at all");
        });
      }
    });
  }
});
