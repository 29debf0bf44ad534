import assert from "node:assert/strict";
import { test } from "node:test";
import { reportSchema } from "../src/report/report.ts";
import { passiveReaderFaults } from "./bench/device/trace.ts";
import { builtPackage, NEXT_VERSION } from "./bench/package.ts";
import { ollamaUnit } from "./bench/payload.ts";
import { ensureVm } from "./bench/setup.ts";
import { bootVm, DEVICE_BDF, type Step, type VmRun } from "./bench/vm.ts";
import {
  awaitReport,
  DUMP_STORE,
  differences,
  enrolment,
  FILES,
  LIST,
  listed,
  type StoredEntry,
  stored,
} from "./support/installed-agent.ts";

const skip = (await ensureVm()) ?? false;
const VM_ID = 77;
const DEVICE_UNIT = `$(systemd-escape -p --suffix=device "$(realpath /sys/bus/pci/devices/${DEVICE_BDF})")`;
/** The workload's user may not open the device, so that every access to it is the agent's. */
const MODES = `stat -Lc %a /sys/bus/pci/devices/${DEVICE_BDF}/resource0`;
/** Far more than it takes on a machine that has something else to do. */
const STEP_LIMIT_S = 150;
const RUN_LIMIT_MS = 400_000;
/** Waits for as long as the step may: what is waited for is a state, not a time. */
const UNTIL = `until_true() { until eval "$1"; do sleep 1; done; }
until_reporting() { until_true "systemctl show -P StatusText vgpu-agent | grep -qE 'reports to the host'"; }`;
/**
 * Emulated, a look costs what an hour's looks cost elsewhere: the agent is told that it may. A look at the registers that was
 * given up on a busy machine is made again soon.
 */
const SETTINGS =
  "sed -i 's/^#light_seconds = .*/light_seconds = 1/; s/^#device_seconds = .*/device_seconds = 10/; s/^#cpu_percent = .*/cpu_percent = 100/' /etc/vgpu-agent/agent.toml";
const REGISTERS_READ = '"check":"bar-registers","outcome":"pass"';
const KEPT = "cat /var/lib/vgpu-agent/agent.json; md5sum </etc/vgpu-agent/enrolment";

const STEPS: readonly Step[] = [
  {
    name: "before",
    // The bench's own Node and program, which must not stand in for the package's.
    run: `umount /opt/vgpu-agent/node_modules && rm -rf /opt/vgpu-agent /usr/local/bin/{node,vgpu-agent} || exit 1
      systemctl start ollama; ${LIST}`,
  },
  { name: "install", run: "! command -v node && dpkg -i /media/agent.deb" },
  {
    name: "active",
    run: "systemctl is-active vgpu-agent; systemctl is-enabled vgpu-agent; systemctl show -P StatusText vgpu-agent",
  },
  {
    name: "host",
    run: `${UNTIL}; ${SETTINGS}; systemctl enable --now --quiet vgpu-agent-host
      until_true "journalctl -u vgpu-agent-host -o cat | grep -q listening"
      { ${enrolment(VM_ID)}; } >/dev/null && systemctl reload vgpu-agent`,
  },
  { name: "report", run: awaitReport(REGISTERS_READ) },
  { name: "modes", run: MODES },
  // Then nothing but the device starts it: that it is started where it is enabled is seen in the container.
  { name: "to restart", run: `systemctl disable --quiet vgpu-agent; ${KEPT}`, reboots: true },
  {
    name: "restarted",
    run: `${UNTIL}; until_true "systemctl is-active --quiet vgpu-agent"; systemctl is-enabled vgpu-agent
      systemctl show -P WantedBy vgpu-agent; systemctl show -P Wants "${DEVICE_UNIT}"; systemctl start ollama`,
  },
  { name: "report after restart", run: awaitReport(REGISTERS_READ) },
  { name: "kept over restart", run: KEPT },
  {
    name: "upgrade",
    run: `${UNTIL}; dpkg --force-confold -i /media/next.deb </dev/null >/dev/null 2>&1 || exit 1
      systemctl is-active vgpu-agent vgpu-agent-host; vgpu-agent --version; until_reporting; ${KEPT}`,
  },
  { name: "store after upgrade", run: DUMP_STORE },
  {
    name: "purge",
    run: `dpkg -P vgpu-agent >/dev/null 2>&1 && ! pgrep -u vgpu-agent,vgpu-host && ${LIST}`,
  },
];

function stdout(run: VmRun, step: string): string {
  const result = run.steps.get(step);
  assert.ok(result, `step ${step} did not end; console:\n${run.serial}`);
  assert.equal(result.exitCode, 0, `${step}: ${result.stdout}${result.stderr}`);
  return result.stdout;
}

/** There is a report of this device that has read its registers. */
function assertRegistersRead(entries: readonly StoredEntry[]): void {
  const found = entries.findLast(({ kind, document }) => kind === "report" && document.includes(REGISTERS_READ));
  const report = reportSchema.parse(JSON.parse(found?.document ?? ""));
  assert.deepEqual([report.subject.vm_id, report.subject.bdf], [VM_ID, DEVICE_BDF]);
  const registers = report.findings.find(({ check }) => check === "bar-registers");
  assert.equal(registers?.outcome, "pass", registers?.message);
}

/** By boot: each entry once, by one agent, numbered from 1 without a gap. */
function numberedByBoot(entries: readonly StoredEntry[]): Map<string, StoredEntry[]> {
  assert.equal(new Set(entries.map(({ agent_id }) => agent_id)).size, 1, "it is the same agent");
  const boots = Map.groupBy(entries, ({ boot_id }) => boot_id);
  for (const [boot, own] of boots) {
    const numbers = own.map(({ seq }) => seq).sort((a, b) => a - b);
    assert.deepEqual(
      numbers,
      own.map((_, index) => index + 1),
      `boot ${boot}`,
    );
  }
  return boots;
}

test("in a VM the .deb is installed, reports registers, is started by the device after a reboot, upgraded and purged", {
  skip,
}, async (context) => {
  const { deb, nextDeb } = await builtPackage();
  const run = await bootVm({
    image: "systemd",
    device: { vmId: VM_ID },
    files: { ...FILES, "/etc/systemd/system/ollama.service": ollamaUnit() },
    media: { "agent.deb": { from: deb }, "next.deb": { from: nextDeb } },
    timeoutMs: RUN_LIMIT_MS,
    steps: STEPS.map((step) => ({ timeoutS: STEP_LIMIT_S, ...step })),
  });
  const seconds = [...run.steps].map(([name, { durationMs }]) => `${name} ${Math.round(durationMs / 1000)}`);
  context.diagnostic(`seconds: boot ${Math.round(run.bootMs / 1000)}, ${seconds.join(", ")}`);
  stdout(run, "install");
  assert.match(stdout(run, "active"), /^active\nenabled\n\S/);
  stdout(run, "host");
  assert.equal(stdout(run, "modes"), "600\n", "no permission was changed");
  const first = stored(stdout(run, "report"));
  assertRegistersRead(first);
  assert.match(stdout(run, "restarted"), /^disabled\nsys-devices-pci\S+\.device\nvgpu-agent\.service\n$/);
  const second = stored(stdout(run, "report after restart"));
  assertRegistersRead(second);
  const third = stored(stdout(run, "store after upgrade"));
  assert.deepEqual(second.slice(0, first.length), first, "what it had said stays");
  assert.deepEqual(third.slice(0, second.length), second, "what it had said stays");
  assert.equal(numberedByBoot(third).size, 2);
  const kept = stdout(run, "to restart");
  assert.equal(stdout(run, "kept over restart"), kept);
  assert.equal(stdout(run, "upgrade"), `active\nactive\n${NEXT_VERSION}\n${kept}`);
  assert.deepEqual(differences(listed(stdout(run, "before")), listed(stdout(run, "purge"))), []);
  assert.deepEqual(passiveReaderFaults(run.trace.accesses), []);
});
