import type { Cause } from "./types.ts";

/** Layer O and R: what Ollama decided, and how its runner ended. */
export const DISCOVERY_CAUSES: readonly Cause[] = [
  {
    id: "VG-O01",
    cap: "configured",
    title: "Ollama decided for the CPU",
    hop: "workload",
    severity: "fail",
    fixedBy: "guest operator",
    symptom: true,
    message: "The last discovery of this server says library={library}{earlier}: its models run on the CPU.",
    remedy: {
      text: "Mend the first broken hop, then restart the server when idle: it looks for a GPU only when it starts.",
      commands: ["systemctl show {unit} -p Environment"],
    },
  },
  {
    id: "VG-O02",
    cap: "configured",
    title: "Discovery ran into its time limit",
    hop: "workload",
    severity: "fail",
    fixedBy: "guest operator",
    symptom: true,
    message: "A discovery runner did not answer within 30 s, and no later line of this server says library=CUDA.",
    remedy: {
      text: "A call of the shim blocked the runner: see the transport's findings. Restart the server when idle after mending them.",
      commands: [],
    },
  },
  {
    id: "VG-O04",
    cap: "configured",
    title: "The GPU was found and dropped",
    hop: "workload",
    severity: "fail",
    fixedBy: "guest operator",
    symptom: true,
    message: "Ollama filtered the device out because it did not initialise, and no later line says library=CUDA.",
    remedy: {
      text: "The second discovery step failed. Set OLLAMA_DEBUG=2 for one start, when idle, to see the runner's own lines.",
      commands: [],
    },
  },
  {
    id: "VG-O05",
    cap: "configured",
    title: "The GPU has compute capability 0.0",
    hop: "workload",
    severity: "fail",
    fixedBy: "guest operator",
    message:
      "Ollama reads compute={compute}: the CUDA runtime and the shim disagree on the layout of the device properties.",
    remedy: {
      text: "Use the CUDA runtime and ggml build that belong to the shim.",
      commands: [],
    },
  },
  {
    id: "VG-O06",
    cap: "correct",
    title: "The GPU has another compute capability than an H100",
    hop: "workload",
    severity: "warn",
    fixedBy: "guest operator",
    message: "Ollama reads compute={compute}; an H100 is 9.0. It may choose kernels that the GPU cannot run.",
    remedy: {
      text: "Use the CUDA runtime and ggml build that belong to the shim.",
      commands: [],
    },
  },
  {
    id: "VG-O08",
    cap: "configured",
    title: "The CUDA back end did not start",
    hop: "shim",
    severity: "fail",
    fixedBy: "guest operator",
    message: "ggml's CUDA back end failed to initialise, and no later line says library=CUDA.",
    remedy: {
      text: "The line says which: a driver version too low is the shim's age; anything else is a symbol that the shim does not have. Deploy a matching set.",
      commands: ["journalctl -u {unit} -n 200 --no-pager"],
    },
  },
  {
    id: "VG-O12",
    cap: "connected",
    title: "Requests are answered without the GPU",
    hop: "workload",
    severity: "fail",
    fixedBy: "guest operator",
    symptom: true,
    message:
      "{requests} answered within the {seconds} s in which every call was counted, and the workload launched no kernel{others}: the answers came from the CPU, or from somewhere else.",
    remedy: {
      text: "Look at what the server decided for this model: the runner's lines about offloaded layers and model buffers, and num_gpu in the request. A model that the server only passes on to another machine looks the same. Restart the server when idle after mending it.",
      commands: ["journalctl -u {unit} -n 200 --no-pager"],
    },
  },
  {
    id: "VG-R01",
    cap: "connected",
    title: "The workload's process failed",
    hop: "workload",
    severity: "fail",
    fixedBy: "workload owner",
    symptom: true,
    message: "{what}. An exit code says nothing of the cause: look at the first error before it.",
    remedy: {
      text: "Read the 200 lines before the end of that process in the log; the first error of the chain is the cause.",
      commands: ["journalctl -u {unit} -n 200 --no-pager"],
    },
  },
];
