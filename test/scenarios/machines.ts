import type { HostBehaviour } from "../bench/device/mediator.ts";
import { type DeviceSpec, PASSTHROUGH_LOOKALIKE } from "../bench/device/vgpu.ts";
import { ollamaUnit } from "../bench/payload.ts";
import type { VmSpec } from "../bench/vm.ts";
import { EXECUTING, HEALTHY_CONNECTED, HEALTHY_IDLE, type Scenario } from "./scenario.ts";

/** One situation of a booted VM: what is done to reach it, and the truth then. */
export interface MachineScenario extends Scenario {
  /** Bash, as root, before the doctor runs; what it leaves stays for the scenarios after it. */
  readonly setUp?: string;
  /** How the device behaves while the doctor runs. */
  readonly host?: HostBehaviour;
  /** Arguments of `vgpu-agent doctor`. */
  readonly args?: string;
  /** The device is not the vGPU, or not to be touched: the doctor makes no access at all. */
  readonly untouched?: boolean;
}

/** Scenarios that share a boot. Devices, BARs, permissions and lockdown are the kernel's own. */
export interface Machine {
  readonly name: string;
  readonly boot: Pick<VmSpec, "image" | "device" | "kernelArgs" | "cpus" | "files">;
  readonly scenarios: readonly MachineScenario[];
}

const SYSFS = "/sys/bus/pci/devices/0000:00:05.0";
const OK: DeviceSpec = { vmId: 11 };

/** The workload as a plain process of user ollama; $SERVER is its pid in every later step. */
const START_PLAIN = `setpriv --reuid ollama --regid ollama --clear-groups env LD_LIBRARY_PATH=/opt/vgpu/lib \\
    /usr/local/bin/ollama serve >/tmp/out.log 2>/tmp/err.log &
  echo $! >/tmp/server.pid; until grep -q 'inference compute' /tmp/err.log; do sleep 0.2; done`;
const JUDGE_PLAIN = "--pid $(cat /tmp/server.pid)";

export const MACHINES: readonly Machine[] = [
  {
    name: "a VM with the device, and a plain process as its workload",
    boot: { image: "bare", device: OK },
    scenarios: [
      {
        name: "resource0 closed to the workload's user",
        story: "The kernel's own mode, 0600 root:root; the doctor is root and may read it all the same.",
        truth: { rung: "unconfigured", hop: "transport", cause: "VG-B01", exitCode: 3 },
        setUp: `mount -t securityfs none /sys/kernel/security; ${START_PLAIN}`,
        args: JUDGE_PLAIN,
      },
      {
        name: "resource0 open, idle",
        story: "The twin of the one before: the mode is all that differs.",
        truth: HEALTHY_IDLE,
        setUp: `chmod 666 ${SYSFS}/resource0 ${SYSFS}/resource1`,
        args: JUDGE_PLAIN,
      },
      {
        name: "every register reads all ones",
        story: "The device is gone from the bus and its BAR answers nothing.",
        truth: { rung: "unconfigured", hop: "device", cause: "VG-P14", exitCode: 3 },
        host: { kind: "gone" },
        args: JUDGE_PLAIN,
      },
      {
        name: "memory decode off",
        story: "Bit 1 of the command register is clear.",
        truth: { rung: "unconfigured", hop: "device", cause: "VG-P14", exitCode: 3 },
        setUp: `printf '\\001\\000' | dd of=${SYSFS}/config bs=1 seek=4 count=2 conv=notrunc 2>/dev/null`,
        args: JUDGE_PLAIN,
        untouched: true,
      },
      {
        name: "claimed by a driver",
        story: "Something bound the function: it is not the stub's to use.",
        truth: { rung: "unconfigured", hop: "device", cause: "VG-P06", exitCode: 3 },
        setUp: `printf '\\003\\000' | dd of=${SYSFS}/config bs=1 seek=4 count=2 conv=notrunc 2>/dev/null
          insmod /bench/modules/uio.ko; insmod /bench/modules/uio_cif.ko
          echo hilscher >${SYSFS}/driver_override; echo 0000:00:05.0 >/sys/bus/pci/drivers_probe`,
        args: JUDGE_PLAIN,
        untouched: true,
      },
      {
        name: "the device is removed while the VM runs",
        story: "The kernel took the function off the bus.",
        truth: { rung: "unconfigured", hop: "device", cause: "VG-P01", exitCode: 3 },
        setUp: `echo 1 >${SYSFS}/remove`,
        args: JUDGE_PLAIN,
        untouched: true,
      },
    ],
  },
  {
    name: "a VM whose device does not answer",
    boot: { image: "bare", device: OK, cpus: 2 },
    scenarios: [
      {
        name: "a register access is answered after five seconds",
        story: "The host's thread is blocked; the doctor gives up on that one source and goes on.",
        truth: { rung: "unconfigured", hop: "device", cause: "VG-P13", exitCode: 3 },
        setUp: `mount -t securityfs none /sys/kernel/security; chmod 666 ${SYSFS}/resource0 ${SYSFS}/resource1; ${START_PLAIN}`,
        host: { kind: "stalled", delayMs: 5000 },
        args: JUDGE_PLAIN,
      },
    ],
  },
  {
    name: "a VM in kernel lockdown",
    boot: { image: "bare", device: OK, kernelArgs: ["lockdown=integrity"] },
    scenarios: [
      {
        name: "lockdown",
        story: "Modes allow everything, the kernel maps nothing.",
        truth: { rung: "unconfigured", hop: "transport", cause: "VG-B02", exitCode: 3 },
        setUp: `mount -t securityfs none /sys/kernel/security; chmod 666 ${SYSFS}/resource0; ${START_PLAIN}`,
        args: JUDGE_PLAIN,
        untouched: true,
      },
    ],
  },
  {
    name: "a VM with a real GPU's BARs under the vGPU's ids",
    boot: { image: "bare", device: PASSTHROUGH_LOOKALIKE },
    scenarios: [
      {
        name: "passthrough",
        story: "10de:2331 with a BAR0 of 16 MiB: somebody's GPU. Not one access.",
        truth: { rung: "unconfigured", hop: "device", cause: "VG-P06", exitCode: 3 },
        untouched: true,
      },
    ],
  },
  {
    name: "a VM without the device",
    boot: { image: "bare", device: null },
    scenarios: [
      {
        name: "no device",
        story: "Nothing on the bus has the ids.",
        truth: { rung: "unconfigured", hop: "device", cause: "VG-P01", exitCode: 3 },
        untouched: true,
      },
    ],
  },
  {
    name: "a whole VM: systemd, journald, unit, device",
    boot: {
      image: "systemd",
      device: OK,
      files: { "/etc/systemd/system/ollama.service": ollamaUnit(["EnvironmentFile=-/etc/ollama.env"]) },
    },
    scenarios: [
      {
        name: "idle",
        story: "The server found the GPU; nothing is loaded.",
        truth: HEALTHY_IDLE,
        setUp: `chmod 666 ${SYSFS}/resource0 ${SYSFS}/resource1; systemctl start ollama
          grep -qm1 'inference compute' < <(journalctl -f -n all -u ollama)`,
      },
      {
        name: "a runner connected, debug off",
        story: "A model is loaded through the device; its calls are answered.",
        truth: HEALTHY_CONNECTED,
        setUp: `echo load >/run/ollama/control; grep -qm1 'llama runner started' < <(journalctl -f -n all -u ollama)`,
      },
      {
        name: "nothing is asked and nothing is launched",
        story: "The same runner, and the kernel counts its calls: idle is no fault.",
        truth: HEALTHY_CONNECTED,
        args: "--live 2",
      },
      {
        name: "requests are answered and nothing is launched",
        story: "The runner holds a model and idles, with the shim mapped; the server answers without it.",
        truth: { rung: "connected", hop: "workload", cause: "VG-O12", exitCode: 3, refutesExecution: true },
        setUp: "systemd-run -q --unit=asker bash -c 'while :; do echo generate >/run/ollama/control; sleep 0.3; done'",
        args: "--live 6",
      },
      {
        name: "a runner that works, counted by the kernel",
        story: "Copies in, launches and copies out come back with 0. No line of the log tells of them.",
        truth: EXECUTING,
        setUp: `systemctl stop asker; echo STANDIN_AUTOLOAD=1 STANDIN_ACTIVITY_MS=20 | tr ' ' '\\n' >/etc/ollama.env
          systemctl restart ollama
          grep -qm1 'llama runner started' < <(journalctl -f -n all -u ollama _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID ollama))`,
        args: "--live 4",
      },
      {
        name: "no log at all, the runner connected",
        story: "stderr goes nowhere: the device's registers and the runner's maps are what is left.",
        truth: { ...HEALTHY_CONNECTED, exitCode: 4, alsoNamed: ["VG-Z02"] },
        setUp: `mkdir -p /run/systemd/system/ollama.service.d
          printf '[Service]\\nStandardError=null\\n' >/run/systemd/system/ollama.service.d/sink.conf
          echo STANDIN_AUTOLOAD=1 >/etc/ollama.env; systemctl daemon-reload
          # A runner that is told to end in the middle of a call waits for that call.
          systemctl kill -s KILL ollama; systemctl restart ollama
          until cat /proc/[0-9]*/maps | grep -q resource0; do sleep 0.2; done; sleep 1`,
      },
      {
        name: "the mediator is gone",
        story: "Every call is refused by the device with MEDIATOR_UNAVAIL.",
        truth: { rung: "configured", hop: "mediator", cause: "VG-C07", exitCode: 3 },
        host: { kind: "unavailable" },
        setUp: `rm /run/systemd/system/ollama.service.d/sink.conf; systemctl daemon-reload; systemctl restart ollama
          grep -qm1 'error loading llama server' < <(journalctl -f -n all -u ollama)`,
      },
    ],
  },
];
