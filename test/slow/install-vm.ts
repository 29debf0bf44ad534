import assert from "node:assert/strict";
import { test } from "node:test";
import { reportSchema } from "../../src/report/report.ts";
import { passiveReaderFaults } from "../bench/device/trace.ts";
import { builtPackage } from "../bench/package.ts";
import { ollamaUnit } from "../bench/payload.ts";
import { ensureVm } from "../bench/setup.ts";
import { bootVm, DEVICE_BDF, type VmRun } from "../bench/vm.ts";
import { DUMP_STORE, enrolment, stored } from "../support/installed-agent.ts";

const skip = (await ensureVm()) ?? false;
const VM_ID = 77;
const DEVICE_UNIT = `$(systemd-escape -p --suffix=device "$(realpath /sys/bus/pci/devices/${DEVICE_BDF})")`;
/** Without hardware virtualisation a start of the program takes seconds. */
const UNTIL = `until_true() { for _ in $(seq 40); do if eval "$1"; then return 0; fi; sleep 0.5; done; return 1; }`;

function stdout(run: VmRun, step: string): string {
  const result = run.steps.get(step);
  assert.ok(result, `step ${step} did not end; console:\n${run.serial}`);
  assert.equal(result.exitCode, 0, `${step}: ${result.stdout}${result.stderr}`);
  return result.stdout;
}

test("in a VM the .deb's agent is started by the device, and reads its registers in its sandbox", {
  skip,
}, async () => {
  const { deb } = await builtPackage();
  const run = await bootVm({
    image: "systemd",
    device: { vmId: VM_ID },
    files: { "/opt/agent.deb": { from: deb }, "/etc/systemd/system/ollama.service": ollamaUnit() },
    timeoutMs: 240_000,
    steps: [
      {
        name: "install",
        timeoutS: 120,
        // The bench's own Node and program, which must not stand in for the package's.
        run: `umount /opt/vgpu-agent/node_modules && rm -rf /opt/vgpu-agent /usr/local/bin/{node,vgpu-agent}
          ! command -v node && dpkg -i /opt/agent.deb`,
      },
      { name: "active", run: "systemctl is-active vgpu-agent; systemctl show -P StatusText vgpu-agent" },
      {
        name: "plugged",
        run: `systemctl stop vgpu-agent; udevadm trigger --action=add --settle /sys/bus/pci/devices/${DEVICE_BDF}
          systemctl show -P Wants "${DEVICE_UNIT}"; ${UNTIL}; until_true "systemctl is-active --quiet vgpu-agent"`,
      },
      { name: "modes", run: `stat -Lc %a /sys/bus/pci/devices/${DEVICE_BDF}/resource0` },
      {
        name: "report",
        timeoutS: 150,
        run: `${UNTIL}; systemctl start vgpu-agent-host
          until_true "journalctl -u vgpu-agent-host -o cat | grep -q listening" && { ${enrolment(VM_ID)}; } >/dev/null || exit 1
          systemctl reload vgpu-agent
          dump() { ${DUMP_STORE} >/run/rows; grep -qE 'bar-registers.{5,25}pass' /run/rows; }; until_true dump; cat /run/rows`,
      },
    ],
  });
  stdout(run, "install");
  assert.match(stdout(run, "active"), /^active\n\S/);
  assert.match(stdout(run, "plugged"), /^vgpu-agent\.service$/m);
  assert.equal(stdout(run, "modes"), "600\n", "no permission was changed");
  const last = stored(stdout(run, "report")).findLast(({ kind }) => kind === "report");
  const report = reportSchema.parse(JSON.parse(last?.document ?? ""));
  assert.deepEqual([report.subject.vm_id, report.subject.bdf], [VM_ID, DEVICE_BDF]);
  const registers = report.findings.find(({ check }) => check === "bar-registers");
  assert.equal(registers?.outcome, "pass", registers?.message);
  assert.deepEqual(passiveReaderFaults(run.trace.accesses), []);
});
