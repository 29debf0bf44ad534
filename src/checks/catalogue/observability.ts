import type { Cause } from "./types.ts";

/** Layers Z, F and D05: what spoils the evidence, and settings that cost. */
export const OBSERVABILITY_CAUSES: readonly Cause[] = [
  {
    id: "VG-Z01",
    cap: "unconfigured",
    title: "The agent itself runs under the shim",
    hop: "shim",
    severity: "fail",
    fixedBy: "guest operator",
    message: "{what}: what the agent reads may be what the shim makes up.",
    remedy: {
      text: "Start the agent from a shell without LD_PRELOAD; if /etc/ld.so.preload names a shim, mend that first.",
      commands: ["env -u LD_PRELOAD -u LD_AUDIT vgpu-agent doctor"],
    },
  },
  {
    id: "VG-Z02",
    cap: "correct",
    title: "The workload's lines do not go to the journal",
    hop: "workload",
    severity: "warn",
    fixedBy: "guest operator",
    message: "{what}.",
    remedy: {
      text: "Let stderr go to the journal or to a file that stays (StandardError=append:/var/log/ollama-stderr.log) and restart when idle.",
      commands: ["systemctl show {unit} -p StandardError -p StandardOutput"],
    },
  },
  {
    id: "VG-Z04",
    cap: "correct",
    title: "The unit has a private /tmp",
    hop: "workload",
    severity: "info",
    fixedBy: "guest operator",
    message:
      "{who} has its own /tmp and /var/tmp: the shim's files are below {path}, and its lock excludes nobody outside the unit.",
    remedy: {
      text: "Nothing to mend if only this unit uses the GPU. Otherwise set PrivateTmp=no so that all share one lock.",
      commands: ["systemctl show {unit} -p PrivateTmp"],
    },
  },
  {
    id: "VG-Z17",
    cap: "correct",
    title: "journald dropped lines",
    hop: "workload",
    severity: "warn",
    fixedBy: "guest operator",
    message: "journald suppressed {count} lines of {unit} in the window: a missing line proves nothing.",
    remedy: {
      text: "Set LogRateLimitIntervalSec=1us in the unit (0 there means the default limit), or send stderr to a file; the per-call lines come from VGPU_DEBUG, which is not needed.",
      commands: ["systemctl show {unit} -p LogRateLimitIntervalUSec"],
    },
  },
  {
    id: "VG-F03",
    cap: "correct",
    title: "Tracing is left on",
    hop: "workload",
    severity: "warn",
    fixedBy: "guest operator",
    message:
      "{variables} in the environment of {who}: every call writes several lines. Any value switches it on, 0 and empty too.",
    remedy: {
      text: "Unset it in the unit (UnsetEnvironment= or by removing the line), daemon-reload, restart when idle.",
      commands: ["systemctl cat {unit}"],
    },
  },
  {
    id: "VG-D05",
    cap: "correct",
    title: "A slow data path is forced",
    hop: "transport",
    severity: "warn",
    fixedBy: "guest operator",
    message: "{variables} in the environment of {who}: bulk copies take the slow way on purpose.",
    remedy: { text: "Unset it in the unit and restart when idle.", commands: ["systemctl cat {unit}"] },
  },
  {
    id: "VG-O19",
    cap: "unconfigured",
    title: "The GPU is hidden from CUDA",
    hop: "workload",
    severity: "fail",
    fixedBy: "guest operator",
    message: "CUDA_VISIBLE_DEVICES of {who} is {value}: no GPU is visible to it.",
    remedy: {
      text: "Unset CUDA_VISIBLE_DEVICES in the unit and restart when idle.",
      commands: ["systemctl cat {unit}"],
    },
  },
  {
    id: "VG-L07",
    cap: "correct",
    title: "The environment differs from the working installation",
    hop: "workload",
    severity: "info",
    fixedBy: "guest operator",
    message: "{who}: {what}.",
    remedy: {
      text: "Compare with the working unit: OLLAMA_LLM_LIBRARY=cuda_v12, library paths with /opt/vgpu/lib first, CUDA_TRANSPORT_TIMEOUT_SEC and OLLAMA_LOAD_TIMEOUT long enough for a slow load.",
      commands: ["systemctl show {unit} -p Environment"],
    },
  },
];
