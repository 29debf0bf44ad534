import type { Cause } from "./types.ts";

/** Layers H and X: what the host's answers say about the host. */
export const HOST_CAUSES: readonly Cause[] = [
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
