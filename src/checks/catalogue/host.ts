import type { Cause } from "./types.ts";

/** Layers H and X: what the host's answers say about the host. */
const ANSWER_CAUSES: readonly Cause[] = [
  {
    id: "VG-H05",
    cap: "connected",
    title: "The GPU is out of memory",
    hop: "gpu",
    severity: "fail",
    fixedBy: "host operator",
    message:
      "{call} came back with CUDA error 2, out of memory ({count} times){later}. Every VM is told that it has 80 GiB; they share one GPU.",
    remedy: {
      text: "On the host: look for memory of processes that are gone, and at what other VMs hold. In the VM: a smaller context (OLLAMA_CONTEXT_LENGTH) needs less.",
      commands: ["systemctl show {unit} -p Environment"],
    },
  },
  {
    id: "VG-H06",
    cap: "connected",
    title: "The GPU context on the host is broken by an earlier fault",
    hop: "executor",
    severity: "fail",
    fixedBy: "host operator",
    message:
      "{call} came back with CUDA error {status} as the first error of this process{later}. It faulted nothing itself: another process or VM broke the shared context, or the mediator was restarted under it.",
    remedy: {
      text: "Restart the mediator on the host (it does not recover from a fault by itself), and after it this VM's workload, when nobody else's load runs.",
      commands: [],
    },
  },
  {
    id: "VG-X01",
    cap: "connected",
    title: "The GPU refuses the program image",
    hop: "executor",
    severity: "fail",
    fixedBy: "guest operator",
    message: "{call} came back with CUDA error {status}: the module has no code for this GPU{later}.",
    remedy: {
      text: "Use CUDA back ends built for sm_90, and check that Ollama reads compute=9.0.",
      commands: [],
    },
  },
  {
    id: "VG-X02",
    cap: "connected",
    title: "A kernel accessed an illegal address",
    hop: "gpu",
    severity: "fail",
    fixedBy: "workload owner",
    message:
      "{call} came back with CUDA error 700, illegal address{later}. The mediator does not recover from it: all VMs fail until it is restarted.",
    remedy: {
      text: "Tell the host operator at once: the mediator has to be restarted, and after it every VM's workload (this ends no load that still works: after the fault every call of every VM fails). Then look for the kernel: the host's log names it.",
      commands: [],
    },
  },
  {
    id: "VG-X03",
    cap: "connected",
    title: "A kernel used an address of the wrong space",
    hop: "gpu",
    severity: "fail",
    fixedBy: "workload owner",
    message: "{call} came back with CUDA error {status}{later}.",
    remedy: {
      text: "As for an illegal address: the mediator has to be restarted (which ends no load that still works); the host's log names the kernel.",
      commands: [],
    },
  },
  {
    id: "VG-X14",
    cap: "connected",
    title: "The host does not support a call",
    hop: "executor",
    severity: "warn",
    fixedBy: "workload owner",
    message: "{call} came back with CUDA error 801, not supported ({count} times).",
    remedy: {
      text: "Harmless while the program goes on; otherwise it needs a call that the executor does not have.",
      commands: [],
    },
  },
  {
    id: "VG-X16",
    cap: "connected",
    title: "The host's driver cannot compile the program",
    hop: "executor",
    severity: "fail",
    fixedBy: "workload owner",
    message: "{call} came back with CUDA error 218, invalid PTX{later}.",
    remedy: {
      text: "The program brings PTX that the host's driver does not accept. The host's log has the compiler's message.",
      commands: [],
    },
  },
  {
    id: "VG-X17",
    cap: "connected",
    title: "The host's driver answers with an error",
    hop: "executor",
    severity: "fail",
    fixedBy: "workload owner",
    message: "{call} came back with CUDA error {status} ({count} times){later}.",
    remedy: {
      text: "Look in the mediator's log for the same call of this VM: it has the driver's words.",
      commands: [],
    },
  },
];

/**
 * Layer H, seen on the host itself: what the look at the mediator's process, files and log finds. No check of a VM names
 * them; the host's own do (src/host/health).
 */
export const MEDIATOR_CAUSES: readonly Cause[] = [
  {
    id: "VG-H01",
    cap: "discovered",
    title: "No mediator runs on the host",
    hop: "mediator",
    severity: "fail",
    fixedBy: "host operator",
    message: "No process of the mediator runs on this host{how}. Every call of every VM fails.",
    remedy: {
      text: "Look at the end of its log for why it ended, then start one instance (this ends no load: none works without it). Workloads that ran before have to be restarted before they launch anything.",
      commands: ["cat /var/run/mediator_phase3.lock"],
    },
  },
  {
    id: "VG-H02",
    cap: "discovered",
    title: "The mediator that runs is not the one that was installed",
    hop: "mediator",
    severity: "warn",
    fixedBy: "host operator",
    message: "There is doubt about which mediator serves: {what}.",
    remedy: {
      text: "When it is idle, end the old process by its pid, start one instance, and look at /proc/PID/exe. Restart the workloads of all VMs after it.",
      commands: ["cat /var/run/mediator_phase3.lock", "cat /proc/locks"],
    },
  },
  {
    id: "VG-H03",
    cap: "discovered",
    title: "The mediator does not listen for a VM",
    hop: "mediator",
    severity: "fail",
    fixedBy: "host operator",
    message:
      "{who} looks for the mediator at {path}, and {how}. Its calls fail with MEDIATOR_UNAVAIL while other VMs work.",
    remedy: {
      text: "The mediator looks for new VMs every 10 s: see its log for a socket that could not be made, and the rights of the directory. Do not restart it for one VM while others work: their workloads would lose their handles.",
      commands: ["ls -l /var/xen/qemu"],
    },
  },
  {
    id: "VG-H04",
    cap: "connected",
    title: "A guest process holds handles of an earlier mediator",
    hop: "mediator",
    severity: "fail",
    fixedBy: "workload owner",
    message:
      "{who} is older than the mediator that runs. Its handles mean nothing now, and its next launch crashes the mediator and ends the work of every VM.",
    remedy: {
      text: "Restart this workload before it launches anything; it ends no load that still works, because its handles are void already.",
      commands: [],
    },
  },
  {
    id: "VG-H07",
    cap: "discovered",
    title: "The mediator crashed",
    hop: "mediator",
    severity: "fail",
    fixedBy: "host operator",
    message: "{what}.",
    remedy: {
      text: "Look for a core dump and at the last lines of its log. Then restart the workloads of all VMs, when it is idle or when they fail anyway: one that launches through an old handle crashes it again.",
      commands: ["coredumpctl info mediator_phase3"],
    },
  },
  {
    id: "VG-H10",
    cap: "correct",
    title: "The disk of the mediator's log is nearly full",
    hop: "mediator",
    severity: "warn",
    fixedBy: "host operator",
    message: "The disk of {path} ({size}) has {free} left. The log grows without end, and nobody rotates it.",
    remedy: {
      text: "Make room elsewhere on that disk, or when it is idle copy the log away and truncate it. A log that is moved away is still written to.",
      commands: ["df -h /tmp /var", "ls -l /tmp/mediator.log"],
    },
  },
  {
    id: "VG-H11",
    cap: "correct",
    title: "The mediator's output is not in one file that is read",
    hop: "mediator",
    severity: "warn",
    fixedBy: "host operator",
    message: "Not all that the mediator says can be known: {what}.",
    remedy: {
      text: "Read the file that /proc/PID/fd/1 and 2 lead to. At its next start, when it is idle, send both streams to one file, appending.",
      commands: [],
    },
  },
  {
    id: "VG-H13",
    cap: "correct",
    title: "The mediator's main loop does not turn",
    hop: "mediator",
    severity: "warn",
    fixedBy: "host operator",
    message:
      "The mediator runs, and has written nothing for {age}: a call takes that long, or it hangs. Every VM waits meanwhile; its own watchdog does not see it.",
    remedy: {
      text: "A kernel may take minutes: look whether the GPU works before anything else, and do not restart while it does. Never ask its admin socket now.",
      commands: [],
    },
  },
  {
    id: "VG-H14",
    cap: "connected",
    title: "The mediator did not recover from a fault",
    hop: "executor",
    severity: "fail",
    fixedBy: "host operator",
    message:
      "After a fault the mediator could not make the shared GPU context again. Every call of every VM fails until it is restarted, while its own health page says that no reset is needed.",
    remedy: {
      text: "Restart the mediator (this ends no load that still works: all calls fail since), and after it the workloads of all VMs before they launch anything.",
      commands: [],
    },
  },
];

export const HOST_CAUSES: readonly Cause[] = [...ANSWER_CAUSES, ...MEDIATOR_CAUSES];
