import { REG } from "../bench/device/registers.ts";
import type { TreeDevice } from "../bench/device-tree.ts";
import type { GuestFiles } from "../bench/payload.ts";
import { HEALTHY_CONNECTED, HEALTHY_IDLE, type Scenario } from "./scenario.ts";

/**
 * Scenarios in a container with its own systemd and journald: units, sandboxes, preloads, sinks and processes are real;
 * the device is a tree of plain files, and the shim's stand-in answers for it.
 */
export interface ContainerScenario extends Scenario {
  /** Lines of the unit's [Service] beside the reference's. */
  readonly unit: readonly string[];
  readonly devices: readonly TreeDevice[];
  /** /sys/kernel/security/lockdown; none unless said otherwise. */
  readonly lockdown?: string;
  readonly files?: GuestFiles;
  /** Shell, as root, before the unit is started. */
  readonly before?: string;
  /** Shell that succeeds once the situation is reached. */
  readonly until: string;
  /** User that runs the doctor; root unless said otherwise. */
  readonly user?: string;
}

const REGISTERS = { [REG.vmId]: 11, [REG.protocolVersion]: 0x10000, [REG.capabilities]: 0x71 };
const DEVICE: TreeDevice = { mode: 0o666, registers: REGISTERS };
const AUTOLOAD = "Environment=STANDIN_AUTOLOAD=1";
const ANSWERS = "Environment=VGPU_STANDIN_ANSWER=ok";
const LOADED = "journalctl -u ollama | grep -q 'llama runner started'";
const DISCOVERED = "journalctl -u ollama | grep -q 'inference compute'";
const LOAD_FAILED = "journalctl -u ollama | grep -q 'error loading llama server'";
const STDERR_FILE = "/var/log/ollama-stderr.log";

export const CONTAINER_SCENARIOS: readonly ContainerScenario[] = [
  {
    name: "idle",
    story: "The server found the GPU; no model is loaded.",
    truth: HEALTHY_IDLE,
    devices: [DEVICE],
    unit: [ANSWERS],
    until: DISCOVERED,
  },
  {
    name: "connected, debug off",
    story: "A runner holds a model; its calls are answered.",
    truth: HEALTHY_CONNECTED,
    devices: [DEVICE],
    unit: [ANSWERS, AUTOLOAD],
    until: LOADED,
  },
  {
    name: "connected, debug on",
    story: "The same with VGPU_DEBUG set to 0, which switches it on.",
    truth: { ...HEALTHY_CONNECTED, exitCode: 4, alsoNamed: ["VG-F03"] },
    devices: [DEVICE],
    unit: [ANSWERS, AUTOLOAD, "Environment=VGPU_DEBUG=0"],
    until: LOADED,
  },
  {
    name: "stderr to a file",
    story: "The reference's own drop-in: the journal has only stdout and systemd's lines.",
    truth: { ...HEALTHY_CONNECTED, alsoNamed: ["VG-Z02"] },
    devices: [DEVICE],
    unit: [ANSWERS, AUTOLOAD, `StandardError=append:${STDERR_FILE}`],
    until: `grep -q 'llama runner started' ${STDERR_FILE}`,
  },
  {
    name: "stderr to /dev/null",
    story: "No line is kept; the runner works and nothing shows it.",
    truth: { rung: "discovered", hop: null, cause: null, exitCode: 4, alsoNamed: ["VG-Z02"] },
    devices: [DEVICE],
    unit: [ANSWERS, AUTOLOAD, "StandardError=null"],
    until: "cat /proc/[0-9]*/maps | grep -q resource0",
  },
  {
    name: "PrivateTmp",
    story: "Healthy; the shim's files are in the unit's own /tmp.",
    truth: { ...HEALTHY_CONNECTED, alsoNamed: ["VG-Z04"] },
    devices: [DEVICE],
    unit: [ANSWERS, AUTOLOAD, "PrivateTmp=yes"],
    until: LOADED,
  },
  {
    name: "ProtectKernelTunables",
    story: "/sys is read-only for the unit and writable for everybody else.",
    truth: { rung: "unconfigured", hop: "transport", cause: "VG-B03", exitCode: 3 },
    devices: [DEVICE],
    unit: [ANSWERS, AUTOLOAD, "ProtectKernelTunables=yes"],
    until: LOAD_FAILED,
  },
  {
    name: "ProtectKernelTunables with a hole for /sys/bus/pci/devices",
    story: "The entries there are links: the device's own directory stays read-only.",
    truth: { rung: "unconfigured", hop: "transport", cause: "VG-B03", exitCode: 3 },
    devices: [DEVICE],
    unit: [ANSWERS, AUTOLOAD, "ProtectKernelTunables=yes", "ReadWritePaths=/sys/bus/pci/devices/"],
    until: `${LOAD_FAILED} && journalctl -u ollama | grep -q 'Cannot open BAR0.*Read-only file system'`,
  },
  {
    name: "resource0 closed to the service's user",
    story: "0600 root:root, and the service runs as ollama.",
    truth: { rung: "unconfigured", hop: "transport", cause: "VG-B01", exitCode: 3 },
    devices: [{ ...DEVICE, mode: 0o600 }],
    unit: [ANSWERS, AUTOLOAD],
    until: LOAD_FAILED,
  },
  {
    name: "LD_PRELOAD names a missing file",
    story: "glibc says one line and goes on; everything else is healthy.",
    truth: { rung: "unconfigured", hop: "shim", cause: "VG-L03", exitCode: 3 },
    devices: [DEVICE],
    unit: [ANSWERS, "Environment=LD_PRELOAD=/usr/lib64/libvgpu-syscall.so"],
    until: DISCOVERED,
  },
  {
    name: "library=cpu after an older library=CUDA",
    story: "The unit was restarted and the new server found no GPU; the old server's line is still in the journal.",
    truth: { rung: "configured", hop: "workload", cause: "VG-O01", exitCode: 3 },
    devices: [DEVICE],
    unit: [ANSWERS, "EnvironmentFile=-/etc/ollama.env"],
    before: `systemctl start ollama; until ${DISCOVERED}; do sleep 0.1; done; systemctl stop ollama; echo STANDIN_RESULT=cpu >/etc/ollama.env`,
    until: "journalctl -u ollama | grep -q library=cpu",
  },
  {
    name: "MEDIATOR_UNAVAIL",
    story: "The device is fine and nobody serves it.",
    truth: { rung: "configured", hop: "mediator", cause: "VG-C07", exitCode: 3 },
    devices: [DEVICE],
    unit: ["Environment=VGPU_STANDIN_ANSWER=unavail", AUTOLOAD],
    until: LOAD_FAILED,
  },
  {
    name: "out of memory on the host",
    story: "The GPU has no room; the runner gives up.",
    truth: { rung: "configured", hop: "gpu", cause: "VG-H05", exitCode: 3 },
    devices: [DEVICE],
    unit: ["Environment=VGPU_STANDIN_ANSWER=oom", AUTOLOAD],
    until: LOAD_FAILED,
  },
  {
    name: "no device",
    story: "The shim invents a GPU, Ollama believes it.",
    truth: { rung: "unconfigured", hop: "device", cause: "VG-P01", exitCode: 3 },
    devices: [{ bdf: "0000:00:02.0", identity: { vendor: 0x1234, device: 0x1111, class: 0x030000 } }],
    unit: [ANSWERS, "Environment=STANDIN_RESULT=CUDA"],
    until: DISCOVERED,
  },
  {
    name: "the workload crashes",
    story: "The main process ends by SIGSEGV; no transport error came before it.",
    truth: { rung: "unconfigured", hop: "shim", cause: "VG-L06", exitCode: 3 },
    devices: [DEVICE],
    unit: [ANSWERS],
    until: `${DISCOVERED} && kill -SEGV $(systemctl show -P MainPID ollama) && until systemctl is-failed ollama; do sleep 0.1; done`,
  },
  {
    name: "the unit is stopped",
    story: "Nobody started it.",
    truth: { rung: "configured", hop: null, cause: null, exitCode: 4, alsoNamed: ["VG-W10"] },
    devices: [DEVICE],
    unit: [ANSWERS],
    until: `${DISCOVERED} && systemctl stop ollama`,
  },
];
