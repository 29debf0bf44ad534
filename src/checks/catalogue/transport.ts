import type { Cause } from "./types.ts";

/** Layers T, C and D: the transport and its calls. */
export const TRANSPORT_CAUSES: readonly Cause[] = [
  {
    id: "VG-T02",
    cap: "discovered",
    title: "Connected, and the first call was refused",
    hop: "mediator",
    severity: "fail",
    fixedBy: "host operator",
    message:
      '{who} mapped the device and its first call came back with {rc}. "Connected" is printed before anything is asked of the host.',
    remedy: {
      text: "Look at the mediator: is it running, does it listen on this VM's socket, does it serve other VMs?",
      commands: [],
    },
  },
  {
    id: "VG-T06",
    cap: "correct",
    title: "Shared memory is not used for bulk copies",
    hop: "transport",
    severity: "info",
    fixedBy: "guest operator",
    message: "{who} fell back to BAR1: {reason}. Loading a model takes many times longer; results are the same.",
    remedy: {
      text: 'For the model runner: LimitMEMLOCK=infinity, AmbientCapabilities with CAP_SYS_ADMIN and CAP_IPC_LOCK, NoNewPrivileges=no in the unit. The lock file of another user in /var/tmp says "held by another process" too.',
      commands: [
        "ls -l /var/tmp/vgpu_shmem_owner.lock",
        "systemctl show {unit} -p LimitMEMLOCK -p AmbientCapabilities",
      ],
    },
  },
  {
    id: "VG-C01",
    cap: "correct",
    title: "A call is in flight and does not come back",
    hop: "mediator",
    severity: "info",
    fixedBy: "host operator",
    message: "{who} holds the transport lock: {what}.",
    remedy: {
      text: "Do not restart the workload: a long kernel or another VM's call looks the same from here. Ask on the host whether the mediator has answered this VM since.",
      commands: ["cat /proc/locks"],
    },
  },
  {
    id: "VG-C05",
    cap: "discovered",
    title: "A call timed out",
    hop: "mediator",
    severity: "fail",
    fixedBy: "host operator",
    message: "{call} got no answer within its limit ({count} times), and no call was answered since.",
    remedy: {
      text: "Look on the host whether the mediator serves anybody: one long kernel blocks all VMs. With a limit of 14,400 s a dead mediator is silent for four hours.",
      commands: [],
    },
  },
  {
    id: "VG-C07",
    cap: "discovered",
    title: "The mediator cannot be reached",
    hop: "mediator",
    severity: "fail",
    fixedBy: "host operator",
    message: "The device answers MEDIATOR_UNAVAIL to every call ({count} times, the last for {call}){earlier}.",
    remedy: {
      text: "On the host: is the mediator running, and does it listen on this VM's socket (a VM started after it needs rediscovery)? After the mediator was restarted, restart the workload before it launches anything (that ends no load: its handles are gone): an old handle crashes the mediator.",
      commands: [],
    },
  },
  {
    id: "VG-C08",
    cap: "discovered",
    title: "The host refuses this VM's calls",
    hop: "mediator",
    severity: "fail",
    fixedBy: "host operator",
    message: "The device answers {name} ({count} times, the last for {call}){earlier}.",
    remedy: {
      text: "An operator or the host's database limits or quarantines this VM. Ask before retrying in a loop; every refusal closes the VM's connection.",
      commands: [],
    },
  },
  {
    id: "VG-C12",
    cap: "discovered",
    title: "The device refuses a call",
    hop: "transport",
    severity: "fail",
    fixedBy: "guest operator",
    message:
      "The device answers {name} ({count} times, the last for {call}){earlier}: the request itself is not acceptable to it.",
    remedy: {
      text: "The shim and the device model do not agree on the request. Compare their builds.",
      commands: [],
    },
  },
  {
    id: "VG-C06",
    cap: "correct",
    title: "A known harmless error",
    hop: "executor",
    severity: "info",
    fixedBy: "workload owner",
    message: "cuFuncGetParamInfo (0x00bc) was not supported {count} times: older drivers answer so on healthy runs.",
    remedy: { text: "Nothing to do.", commands: [] },
  },
];
