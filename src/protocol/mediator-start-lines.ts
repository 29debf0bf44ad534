import { decimal, decimalOrNull, textOf } from "./grammar.ts";
import { described, domIdOf, type MediatorGrammar, type MediatorReading, NOTHING, other } from "./mediator-grammar.ts";

const nothing = (): MediatorReading => NOTHING;

const STARTING = described("Mediator log: starting and stopping", "stdout", [
  {
    id: "vm-config",
    markers: ["[CONFIG]   vm_id="],
    pattern:
      /\[CONFIG\] {3}vm_id=(\d{1,10}) uuid=(\S{0,64}) weight=-?\d{1,10} rate=-?\d{1,10}\/s queue=-?\d{1,10}([^\n]{0,40})/y,
    examples: [
      "[CONFIG]   vm_id=10 uuid=2e3042c0-5fa0-7a11-5fdf-ea5089912c93 weight=50 rate=0/s queue=0 ",
      "[CONFIG]   vm_id=6 uuid=1d11c550-01bb-d9f0-b33b-e9cdc1d7e8e1 weight=50 rate=0/s queue=0 QUARANTINED",
    ],
    read: (m) =>
      other({
        kind: "vm-config",
        vmId: decimal(m, 1),
        uuid: textOf(m, 2),
        quarantined: /quarantined/i.test(textOf(m, 3)),
      }),
  },
  {
    id: "socket-listening",
    markers: ["[SOCKET] Successfully listening on ", "[REDISCOVERY] New VM socket: "],
    pattern: /\[(?:SOCKET\] Successfully listening on|REDISCOVERY\] New VM socket:) (\S{1,200}) \(fd=(\d{1,10})/y,
    examples: [
      "[SOCKET] Successfully listening on /var/xen/qemu/root-2/tmp/vgpu-mediator.sock (fd=43, permissions=0666)",
      "[REDISCOVERY] New VM socket: /var/xen/qemu/root-8/tmp/vgpu-mediator.sock (fd=51)",
    ],
    read: (m) =>
      other({ kind: "socket-listening", path: textOf(m, 1), domId: domIdOf(textOf(m, 1)), fd: decimal(m, 2) }),
  },
  {
    id: "discovery",
    markers: ["[DISCOVERY] Scanned "],
    pattern:
      /\[DISCOVERY\] Scanned \d{1,10} processes, (?:found (\d{1,10}) vgpu-cuda process\(es\), discovered (\d{1,10})|no vgpu-cuda QEMU process)/y,
    examples: [
      "[DISCOVERY] Scanned 368 processes, found 3 vgpu-cuda process(es), discovered 3 unique chroot(s)",
      "[DISCOVERY] Scanned 183 processes, no vgpu-cuda QEMU process found yet",
    ],
    read: (m) =>
      other({ kind: "discovery", gpuProcesses: decimalOrNull(m, 1) ?? 0, chroots: decimalOrNull(m, 2) ?? 0 }),
  },
  {
    id: "main-loop-starting",
    markers: ["[MEDIATOR] Starting ", "[MEDIATOR] Listening ", "[MEDIATOR] Admin socket ", "[MEDIATOR] Server socket["],
    pattern: /\[MEDIATOR\] (?:Starting main loop|Listening on|Admin socket active|Server socket\[)/y,
    examples: [
      "[MEDIATOR] Starting main loop...",
      "[MEDIATOR] Listening on 1 socket(s) for VM connections",
      "[MEDIATOR] Admin socket active on /var/vgpu/admin.sock",
      "[MEDIATOR] Server socket[0]: /var/xen/qemu/root-2/tmp/vgpu-mediator.sock  fd=43",
    ],
    read: nothing,
  },
  {
    id: "ready",
    markers: [
      "[INIT] ",
      "[CONFIG] Loaded ",
      "[CONFIG] Found ",
      "[CONFIG] Using ",
      "[CONFIG] No QEMU ",
      "[ADMIN] ",
      "[NVML] ",
      "[CUDA] ",
      "  [",
    ],
    pattern:
      /\[INIT\] |\[CONFIG\] (?:Loaded|Found|Using|No QEMU) |\[ADMIN\] Admin socket listening|\[NVML\] |\[CUDA\] (?:Initialized|Cleaned up)| {2}\[\d{1,10}\] \S{1,200} -> /y,
    examples: [
      "[INIT] WFQ scheduler ready",
      "[CONFIG] Loaded 8 VM(s) from database",
      "[CONFIG] Found 3 QEMU VM(s) with vgpu-cuda device:",
      "[ADMIN] Admin socket listening on /var/vgpu/admin.sock",
      "[NVML] GPU health monitoring enabled",
      "[CUDA] Initialized successfully (device count: 1)",
      "  [1] /var/xen/qemu/root-2 -> /var/xen/qemu/root-2/tmp/vgpu-mediator.sock (socket created successfully)",
    ],
    read: nothing,
  },
  {
    id: "shutdown",
    markers: ["[SHUTDOWN] ", "[MEDIATOR] Shutting down", "[MEDIATOR] Waiting for CUDA", "[MEDIATOR] Exited cleanly"],
    pattern:
      /\[(SHUTDOWN\] Received signal|MEDIATOR\] Shutting down|MEDIATOR\] Waiting for CUDA|MEDIATOR\] Exited cleanly)/y,
    examples: [
      "[SHUTDOWN] Received signal 15, shutting down gracefully...",
      "[MEDIATOR] Shutting down...",
      "[MEDIATOR] Exited cleanly",
    ],
    read: (m) => {
      const text = textOf(m, 1);
      const stage = text.startsWith("SHUTDOWN") ? "signal" : text.endsWith("cleanly") ? "done" : "begun";
      return other({ kind: "shutdown", stage });
    },
  },
]);

const TROUBLE = described("Mediator log: starting and stopping", "stderr", [
  {
    id: "gpu",
    markers: ["[cuda-executor] Initialized: "],
    pattern: /\[cuda-executor\] Initialized: ([^\n]{1,120}), (\d{1,12}) MB/y,
    examples: ["[cuda-executor] Initialized: NVIDIA H100 PCIe, 81004 MB"],
    read: (m) => other({ kind: "gpu", name: textOf(m, 1), memoryMb: decimal(m, 2) }),
  },
  {
    id: "second-instance",
    markers: ["[LOCK] Another mediator_phase3 instance "],
    pattern: /\[LOCK\] Another mediator_phase3 instance is already active(?: \(pid=(\d{1,10}))?/y,
    examples: [
      "[LOCK] Another mediator_phase3 instance is already active (pid=4711)",
      "[LOCK] Another mediator_phase3 instance is already active",
    ],
    read: (m) => other({ kind: "second-instance", pid: decimalOrNull(m, 1) }),
  },
  {
    id: "second-instance-refused",
    markers: ["[LOCK] Refusing "],
    pattern: /\[LOCK\] Refusing to start/y,
    examples: ["[LOCK] Refusing to start a duplicate process"],
    read: nothing,
  },
  {
    id: "socket-failed",
    markers: ["[SOCKET] ERROR: ", "[SOCKET] WARNING: ", "[REDISCOVERY] Failed "],
    pattern: /\[(?:SOCKET|REDISCOVERY)\] ((?:ERROR: |WARNING: |Failed )[^\n]{0,240})/y,
    examples: [
      "[SOCKET] ERROR: bind() failed for /var/xen/qemu/root-2/tmp/vgpu-mediator.sock: No such file or directory (errno=2)",
      "[REDISCOVERY] Failed to setup socket /var/xen/qemu/root-8/tmp/vgpu-mediator.sock: Address already in use",
    ],
    read: (m) =>
      other({ kind: "socket-failed", path: /(\/[^\s:]{1,200})/.exec(textOf(m, 1))?.[1] ?? null, text: textOf(m, 1) }),
  },
  {
    id: "startup-trouble",
    markers: [
      "[LOCK] ERROR: ",
      "[LOCK] WARN: ",
      "[DISCOVERY] ERROR: ",
      "[DISCOVERY] WARNING: ",
      "[CONFIG] WARNING: ",
      "[WARN] ",
      "[ERROR] Failed to start watchdog",
      "[ERROR] Failed to initialize CUDA",
      "[ERROR] Failed to setup socket",
      "[ERROR] No server sockets",
      "[RATE-LIMIT] No free bucket slots",
      "[cuda-executor] cuInit failed: ",
      "[cuda-executor] No CUDA devices found",
      "[cuda-executor] cuDeviceGet failed: ",
      "[cuda-executor] cuDevicePrimaryCtxRetain failed: ",
      "ERROR: ",
      "Unknown argument: ",
    ],
    pattern: /(?:\[[\w-]{1,20}\] |ERROR: |Unknown argument: )[^\n]{1,240}/y,
    examples: [
      "[ERROR] Failed to initialize CUDA",
      "[WARN] CUDA executor init failed \xe2\x80\x94 CUDA remoting disabled, legacy mode only",
      "[cuda-executor] cuInit failed: 999",
      "[LOCK] ERROR: open(/var/run/mediator_phase3.lock) failed: Permission denied",
      "ERROR: No CUDA-capable devices found",
    ],
    read: (m) => other({ kind: "startup-trouble", text: m[0].trim() }),
  },
  {
    id: "discovery-skipped",
    markers: ["[DISCOVERY] INFO: ", "[PING] Failed "],
    pattern: /\[(?:DISCOVERY\] INFO: |PING\] Failed )/y,
    examples: ["[DISCOVERY] INFO: vgpu-cuda process pid=812 is not chrooted (root=/), skipping"],
    read: nothing,
  },
  {
    id: "select-failed",
    generation: "any",
    markers: ["select: "],
    pattern: /select: [^\n]{1,80}/y,
    examples: ["select: Bad file descriptor"],
    read: nothing,
  },
]);

const WATCHDOG = described("Mediator log: the watchdog", "stdout", [
  {
    id: "quarantine",
    markers: ["[WATCHDOG] Quarantine ", "[WATCHDOG] Auto-quarantine: "],
    pattern: /\[WATCHDOG\] (?:Quarantine (set|cleared)|Auto-quarantine): vm=(\d{1,10})/y,
    examples: [
      "[WATCHDOG] Quarantine set: vm=6",
      "[WATCHDOG] Quarantine cleared: vm=6",
      "[WATCHDOG] Auto-quarantine: vm=6 (errors=5)",
    ],
    read: (m) =>
      other({
        kind: "quarantine",
        vmId: decimal(m, 2),
        action: m[1] === "set" ? "set" : m[1] === "cleared" ? "cleared" : "auto",
      }),
  },
  {
    id: "job-timeout",
    markers: ["[WATCHDOG] Job timeout: "],
    pattern: /\[WATCHDOG\] Job timeout: vm=(\d{1,10}) req=(\d{1,10})/y,
    examples: ["[WATCHDOG] Job timeout: vm=6 req=12 (31.0s > 30s)"],
    read: (m) => other({ kind: "job-timeout", vmId: decimal(m, 1), requestId: decimal(m, 2) }),
  },
  {
    id: "gpu-needs-reset",
    markers: ["[WATCHDOG] GPU needs reset! "],
    pattern: /\[WATCHDOG\] GPU needs reset! \(temp=(\d{1,10})/y,
    examples: ["[WATCHDOG] GPU needs reset! (temp=91\xc2\xb0C, ecc=3)"],
    read: (m) => other({ kind: "gpu-needs-reset", temperatureC: decimal(m, 1) }),
  },
  {
    id: "watchdog-state",
    markers: ["[WATCHDOG] Started ", "[WATCHDOG] Stopped"],
    pattern: /\[WATCHDOG\] (?:Started|Stopped)/y,
    examples: ["[WATCHDOG] Started (job_timeout=30s, fault_threshold=5)", "[WATCHDOG] Stopped"],
    read: nothing,
  },
]);

const legacy = (m: RegExpExecArray): MediatorReading =>
  other({
    kind: "legacy",
    step: textOf(m, 1).toLowerCase(),
    vmId: decimalOrNull(m, 2) ?? decimalOrNull(m, 4),
    requestId: decimalOrNull(m, 3) ?? decimalOrNull(m, 5),
  });

const LEGACY = described("Mediator log: the legacy path", "stdout", [
  {
    id: "legacy-step",
    generation: "any",
    markers: ["[ENQUEUE]", "[PROCESS]", "[RESULT]", "[RESPONSE]", "[WFQ]", "[CUDA] Started async "],
    pattern:
      /\[(ENQUEUE|PROCESS|RESULT|RESPONSE|WFQ|CUDA)\](?:[^\n]{0,80}?(?:vm(?:_id)?=|vm)(\d{1,10})[^\n]{0,40}?req(?:_id)?=(\d{1,10})|[^\n]{0,80}?vm(?:_id)?=(\d{1,10})|[^\n]{0,80}?req(?:_id)?=(\d{1,10})|)/y,
    examples: [
      "[RESULT] Pool A: vm=3, req=17, result=7, time=412 us",
      "[RESPONSE] Sent to vm3 (req=17): 7",
      "[PROCESS] Pool A: vm=3, req=17, prio=2, w=50, 3+4",
      "[WFQ] Dequeue: vm=3 req=17 urgency=1.00 (queue=0)",
      "[CUDA] Started async vector addition: 3 + 4",
    ],
    read: legacy,
  },
]);

const LEGACY_ERRORS = described("Mediator log: the legacy path", "stderr", [
  {
    id: "legacy-error",
    generation: "any",
    markers: ["[ERROR] ", "[WARNING] CUDA busy", "CUDA error"],
    pattern: /(?:\[ERROR\] |\[WARNING\] |CUDA error)(?:[^\n]{0,120}?\bvm(\d{1,10})\b)?/y,
    examples: [
      "[ERROR] Unsupported opcode: 0x0099",
      "[ERROR] Failed to send response to vm3",
      "[WARNING] CUDA busy, cannot execute job",
      "CUDA error: cudaMalloc d_a: out of memory",
    ],
    read: (m) =>
      other({
        kind: "legacy",
        step: "error",
        vmId: decimalOrNull(m, 1),
        requestId: null,
      }),
  },
]);

/** Lines of the start, the end, the watchdog's thread and the path of vector additions. */
export const START_LINES: readonly MediatorGrammar[] = [
  ...STARTING,
  ...TROUBLE,
  ...WATCHDOG,
  ...LEGACY,
  ...LEGACY_ERRORS,
];
