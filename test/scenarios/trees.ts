import {
  EARLIER_INVOCATION,
  type JournalLine,
  RUNNER,
  SERVER,
  SHIM_MAP,
  type TreeProcess,
  type TreeSpec,
  WORKING_ENV,
} from "../bench/tree.ts";
import { HEALTHY_CONNECTED, HEALTHY_IDLE, type Scenario } from "./scenario.ts";

/** Scenarios that need no machine: a captured root and a journal. Each failure stands beside its healthy twin. */
export interface TreeScenario extends Scenario {
  readonly tree: TreeSpec;
  readonly journal: readonly JournalLine[];
}

const say = (message: string): JournalLine => ({ message });
const slog = (text: string) => say(`time=2026-03-26T08:00:00.000Z level=INFO ${text}`);

const STARTED: readonly JournalLine[] = [
  { message: "Started ollama.service - Ollama Service.", manager: true, atS: 60 },
  slog('source=routes.go:1782 msg="Listening on 127.0.0.1:11434 (version 0.0.0)"'),
  slog('source=runner.go:67 msg="discovering available GPUs..."'),
];
const FOUND_GPU = slog(
  'source=types.go:42 msg="inference compute" id=GPU-0 filter_id="" library=CUDA compute=9.0 name=CUDA0 description="HEXACORE vH100 CAP" libdirs=cuda_v12,ollama driver=13.0 pci_id=0000:00:05.0 type=discrete total="80.0 GiB" available="78.0 GiB"',
);
const FOUND_CPU = slog(
  'source=types.go:60 msg="inference compute" id=cpu library=cpu compute="" name=cpu description=cpu libdirs=ollama driver="" pci_id="" type="" total="3.8 GiB" available="3.0 GiB"',
);
const HEALTHY_START = [...STARTED, FOUND_GPU];

const RUNNER_CONNECTS: readonly JournalLine[] = [
  { message: "[libvgpu-cuda] cuInit() CALLED (pid=1203, flags=0, already_init=0)", atS: 3601 },
  say("[libvgpu-cuda] cuInit() device found at 0000:00:05.0 — transport deferred (CC=9.0 VRAM=81920 MB, init_phase=1)"),
  say("[libvgpu-cuda] Skip flag SET to 0 (pid=1203)"),
  say("[cuda-transport] build-config shmem_default_mb=256 shmem_min_mb=1"),
  say("[cuda-transport] Connected (vm_id=11) data_path=shmem status_from=BAR1-status-mirror"),
];
const ANSWERED: readonly JournalLine[] = [
  say("[libvgpu-cuda] GPU info (live): HEXACORE vH100 CAP, mem=81079 MB, CC=9.0"),
  say("[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=0x7f86bbe00000, size=1048576 (pid=1203)"),
];
const DEBUG_LINES: readonly JournalLine[] = [
  say(
    "[cuda-transport] cuda_transport_call() INVOKED: call_id=0x0050 data_len=88 tp=0x5610163332a0 bar0=0x7f9591365000 (pid=1203)",
  ),
  say("[cuda-transport] SENDING to VGPU-STUB: call_id=0x0050 seq=14 args=0 data_len=88 (pid=1203)"),
  say("[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x0050 seq=14 status=DONE (pid=1203)"),
];
const WORKING = [...HEALTHY_START, ...RUNNER_CONNECTS, ...ANSWERED];
const LOADED: readonly TreeProcess[] = [SERVER, RUNNER];
const NOT_MAPPED: TreeProcess = { ...RUNNER, maps: [SHIM_MAP] };
const refused = (code: string, name: string): JournalLine[] => [
  say(`[cuda-transport] STATUS_ERROR: call=cuInit(0x0001) seq=1 err=${code}(${name}) vm_id=11`),
  say("[libvgpu-cuda] ensure_connected() CUDA_CALL_INIT non-fatal: rc=999 status=999 num_results=0 seq=1"),
  say("[libvgpu-cuda] GPU info fetch failed — using defaults"),
];
const cannotOpen = (reason: string): JournalLine[] => [
  ...RUNNER_CONNECTS.slice(0, 3),
  say(`[cuda-transport] Cannot open BAR0: /sys/bus/pci/devices/0000:00:05.0/resource0 (${reason})`),
  say("[libvgpu-cuda] ensure_connected() transport init failed — check resource0 permissions and mediator"),
];

export const TREE_SCENARIOS: readonly TreeScenario[] = [
  {
    name: "healthy and idle",
    story: "The server found the GPU, no model is loaded.",
    truth: HEALTHY_IDLE,
    tree: {},
    journal: HEALTHY_START,
  },
  {
    name: "healthy, a runner connected, debug off",
    story: "A model is loaded and its calls are answered.",
    truth: HEALTHY_CONNECTED,
    tree: { processes: LOADED },
    journal: WORKING,
  },
  {
    name: "healthy, a runner connected, debug on",
    story: "The same with VGPU_DEBUG=0, which switches debug on.",
    truth: { ...HEALTHY_CONNECTED, exitCode: 4, alsoNamed: ["VG-F03"] },
    tree: { processes: [SERVER, { ...RUNNER, env: { ...WORKING_ENV, VGPU_DEBUG: "0" } }] },
    journal: [...WORKING, ...DEBUG_LINES],
  },
  {
    name: "Connected and nothing more",
    story: "The runner mapped the device; no call has come back. Connected is printed before anything is asked.",
    truth: { rung: "discovered", hop: null, cause: null, exitCode: 0 },
    tree: { processes: LOADED },
    journal: [...HEALTHY_START, ...RUNNER_CONNECTS],
  },
  {
    name: "transport live with a dead mediator",
    story: 'The shim writes "transport live" after both first calls failed.',
    truth: { rung: "discovered", hop: "mediator", cause: "VG-C07", exitCode: 3 },
    tree: { processes: LOADED },
    journal: [
      ...HEALTHY_START,
      ...RUNNER_CONNECTS,
      ...refused("0x00000003", "MEDIATOR_UNAVAIL"),
      say("[libvgpu-cuda] ensure_connected() transport live (vm_id=11 bdf=0000:00:05.0)"),
    ],
  },
  {
    name: "the mediator dies while the runner works",
    story: "Calls were answered, and since then every call gets MEDIATOR_UNAVAIL.",
    truth: { rung: "discovered", hop: "mediator", cause: "VG-C07", exitCode: 3 },
    tree: { processes: LOADED },
    journal: [...WORKING, ...refused("0x00000003", "MEDIATOR_UNAVAIL")],
  },
  {
    name: "the mediator was away and is back",
    story: "Some calls got MEDIATOR_UNAVAIL, later ones were answered.",
    truth: { ...HEALTHY_CONNECTED, exitCode: 4, alsoNamed: ["VG-C07"] },
    tree: { processes: LOADED },
    journal: [
      ...HEALTHY_START,
      ...RUNNER_CONNECTS,
      ...refused("0x00000003", "MEDIATOR_UNAVAIL"),
      ...RUNNER_CONNECTS.slice(3),
      ...ANSWERED,
    ],
  },
  {
    name: "quarantined",
    story: "The host refuses this VM's calls.",
    truth: { rung: "discovered", hop: "mediator", cause: "VG-C08", exitCode: 3 },
    tree: { processes: LOADED },
    journal: [...HEALTHY_START, ...RUNNER_CONNECTS, ...refused("0x0000000b", "VM_QUARANTINED")],
  },
  {
    name: "a call timed out",
    story: "Nothing came back within the limit.",
    truth: { rung: "discovered", hop: "mediator", cause: "VG-C05", exitCode: 3 },
    tree: { processes: LOADED },
    journal: [...WORKING, say("[cuda-transport] Timeout on call 0x0030 (seq=7) after 120s")],
  },
  {
    name: "out of memory on the host",
    story: "The transport works; the GPU has no room for the model.",
    truth: { rung: "connected", hop: "gpu", cause: "VG-H05", exitCode: 3 },
    tree: { processes: LOADED },
    journal: [
      ...WORKING,
      say("[cuda-transport] STATUS_ERROR: call=cuMemAlloc_v2(0x0030) seq=4 err=0x00000005(CUDA_ERROR) vm_id=11"),
      say("[cuda-transport] STATUS_ERROR host-cuda: call=cuMemAlloc_v2(0x0030) seq=4 host_status=0x00000002"),
      say("[libvgpu-cuda] cuMemAlloc_v2() ERROR: rc=2 status=2 num_results=0 ptr=0x0 (pid=1203)"),
    ],
  },
  {
    name: "no device",
    story: "The toolstack dropped the device; the shim invents a GPU and Ollama believes it.",
    truth: { rung: "unconfigured", hop: "device", cause: "VG-P01", exitCode: 3 },
    tree: { devices: [{ bdf: "0000:00:02.0", identity: { vendor: 0x1234, device: 0x1111, class: 0x030000 } }] },
    journal: HEALTHY_START,
  },
  {
    name: "a passed-through GPU with the vGPU's ids, a driver bound",
    story: "A real PCIe H100 has the ids 10de:2331 too.",
    truth: { rung: "unconfigured", hop: "device", cause: "VG-P06", exitCode: 3 },
    tree: { devices: [{ mode: 0o600, driver: "nvidia", identity: { bars: [16 << 20, 0, 0, 0] } }] },
    journal: HEALTHY_START,
  },
  {
    name: "the right ids with a wrong BAR size",
    story: "No driver is bound, and BAR0 is 16 MiB: not the stub.",
    truth: { rung: "unconfigured", hop: "device", cause: "VG-P06", exitCode: 3 },
    tree: { devices: [{ mode: 0o666, identity: { bars: [16 << 20, 16 << 20] } }] },
    journal: HEALTHY_START,
  },
  {
    name: "memory decode off",
    story: "The function is there and switched off.",
    truth: { rung: "unconfigured", hop: "device", cause: "VG-P14", exitCode: 3 },
    tree: { devices: [{ mode: 0o666, memoryDecode: false }] },
    journal: HEALTHY_START,
  },
  {
    name: "resource0 closed to the service's user",
    story: "0600 root:root after a reboot without the udev rule; discovery still says CUDA.",
    truth: { rung: "unconfigured", hop: "transport", cause: "VG-B01", exitCode: 3 },
    tree: { devices: [{ mode: 0o600 }], processes: [SERVER, NOT_MAPPED] },
    journal: [...HEALTHY_START, ...cannotOpen("Permission denied")],
  },
  {
    name: "lockdown",
    story: "Secure Boot put the kernel into lockdown: opening works, mapping does not.",
    truth: { rung: "unconfigured", hop: "transport", cause: "VG-B02", exitCode: 3 },
    tree: { lockdown: "none [integrity] confidentiality\n", processes: [SERVER, NOT_MAPPED] },
    journal: [
      ...HEALTHY_START,
      ...RUNNER_CONNECTS.slice(0, 3),
      say("[cuda-transport] Cannot mmap BAR0: Operation not permitted"),
    ],
  },
  {
    name: "a read-only /sys in the unit",
    story: "ProtectKernelTunables=yes: the modes allow what the mount forbids.",
    truth: { rung: "unconfigured", hop: "transport", cause: "VG-B03", exitCode: 3 },
    tree: {
      unit: ["ProtectKernelTunables=yes"],
      processes: [SERVER, NOT_MAPPED].map((process) => ({
        ...process,
        mounts: ["90 23 0:20 / /sys ro,nosuid,nodev,noexec shared:90 - sysfs sysfs rw"],
      })),
    },
    journal: [...HEALTHY_START, ...cannotOpen("Read-only file system")],
  },
  {
    name: "LD_PRELOAD names a missing file",
    story: "The unit's template lists a library that was never built.",
    truth: { rung: "unconfigured", hop: "shim", cause: "VG-L03", exitCode: 3 },
    tree: {
      processes: [{ ...SERVER, env: { ...WORKING_ENV, LD_PRELOAD: "/usr/lib64/libvgpu-syscall.so" } }],
    },
    journal: HEALTHY_START,
  },
  {
    name: "a shim in /etc/ld.so.preload",
    story: "Every process of the VM loads it.",
    truth: { rung: "unconfigured", hop: "shim", cause: "VG-L01", exitCode: 3 },
    tree: { files: { "/etc/ld.so.preload": "/opt/vgpu/lib/libvgpu-cuda.so.1\n" } },
    journal: HEALTHY_START,
  },
  {
    name: "a password in /etc/ld.so.preload",
    story: "A script wrote one there; it must not be shown.",
    truth: { rung: "unconfigured", hop: "shim", cause: "VG-L02", exitCode: 3 },
    tree: { files: { "/etc/ld.so.preload": "correct-horse-battery\n" } },
    journal: HEALTHY_START,
  },
  {
    name: "library=cpu after an older library=CUDA",
    story: "The previous server found the GPU, the current one did not.",
    truth: { rung: "configured", hop: "workload", cause: "VG-O01", exitCode: 3 },
    tree: {},
    journal: [
      { ...FOUND_GPU, atS: 20, invocation: EARLIER_INVOCATION, pid: 900 },
      { message: "Stopped ollama.service - Ollama Service.", manager: true, atS: 40, invocation: EARLIER_INVOCATION },
      ...STARTED,
      FOUND_CPU,
    ],
  },
  {
    name: "library=CUDA of an older server only",
    story: "The current server has said nothing yet about GPUs; what an older one said does not count.",
    truth: { rung: "configured", hop: null, cause: null, exitCode: 0 },
    tree: {},
    journal: [{ ...FOUND_GPU, atS: 20, invocation: EARLIER_INVOCATION, pid: 900 }, ...STARTED.slice(0, 1)],
  },
  {
    name: "the runner has no shim",
    story: "The server's environment is right and its runner loads no libcuda at all.",
    truth: { rung: "configured", hop: "shim", cause: "VG-L09", exitCode: 3 },
    tree: { processes: [SERVER, { ...RUNNER, maps: [] }] },
    journal: HEALTHY_START,
  },
  {
    name: "a truncated shim file",
    story: "The copy to the VM was cut short.",
    truth: { rung: "unconfigured", hop: "shim", cause: "VG-L14", exitCode: 3 },
    tree: { files: { "/opt/vgpu/lib/libvgpu-cuda.so.1": Buffer.from("\x7fELF\x02\x01\x01 cut", "latin1") } },
    journal: HEALTHY_START,
  },
  {
    name: "the GPU is hidden from CUDA",
    story: "CUDA_VISIBLE_DEVICES=-1 in the unit.",
    truth: { rung: "unconfigured", hop: "workload", cause: "VG-O19", exitCode: 3 },
    tree: { processes: [{ ...SERVER, env: { ...WORKING_ENV, CUDA_VISIBLE_DEVICES: "-1" } }] },
    journal: HEALTHY_START,
  },
  {
    name: "stderr to a file",
    story: "StandardError=append: the journal has only the manager's lines.",
    truth: { ...HEALTHY_CONNECTED, alsoNamed: ["VG-Z02"] },
    tree: {
      unit: ["StandardError=append:/var/log/ollama-stderr.log"],
      processes: LOADED.map((process) => ({
        ...process,
        stderr: process.pid === SERVER.pid ? "/var/log/ollama-stderr.log" : "pipe:[99]",
      })),
      files: {
        "/var/log/ollama-stderr.log": `${WORKING.filter(({ manager }) => manager !== true)
          .map(({ message }) => message)
          .join("\n")}\n`,
      },
    },
    journal: [],
  },
  {
    name: "stderr to /dev/null",
    story: "No line is kept: nothing that rests on lines may pass.",
    truth: { rung: "configured", hop: null, cause: null, exitCode: 4, alsoNamed: ["VG-Z02"] },
    tree: { processes: [{ ...SERVER, stderr: "/dev/null" }] },
    journal: STARTED.slice(0, 1),
  },
  {
    name: "PrivateTmp",
    story: "Healthy; the shim's files are in the unit's own /tmp.",
    truth: { ...HEALTHY_CONNECTED, alsoNamed: ["VG-Z04"] },
    tree: {
      processes: LOADED.map((process) => ({
        ...process,
        mounts: [
          "91 22 8:1 /tmp/systemd-private-x-ollama.service-y/tmp /tmp rw,nosuid,nodev shared:91 - ext4 /dev/sda1 rw",
        ],
      })),
    },
    journal: WORKING,
  },
];
