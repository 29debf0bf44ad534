import { decimal, decimalOrNull, hexadecimal, textOf } from "./grammar.ts";
import {
  between,
  described,
  domIdOf,
  type MediatorGrammar,
  type MediatorReading,
  NOTHING,
  other,
} from "./mediator-grammar.ts";

const nothing = (): MediatorReading => NOTHING;

const BANNERS = described("Mediator log: epochs", "stdout", [
  {
    id: "banner",
    generation: "any",
    markers: ["  MEDIATOR DAEMON v", "MEDIATOR DAEMON v"],
    pattern: / {0,8}MEDIATOR DAEMON v(\d{1,3}(?:\.\d{1,3}){0,2})/y,
    examples: [
      "  MEDIATOR DAEMON v3.1 \xe2\x80\x94 Phase 3+: CUDA API Remoting",
      "MEDIATOR DAEMON v2 - MMIO/Socket Communication",
    ],
    read: (m) => ({ role: "banner", version: textOf(m, 1) }),
  },
  {
    id: "banner-frame",
    generation: "any",
    markers: ["====", "  Communication: "],
    pattern: /={20,100}| {2}Communication: /y,
    examples: [
      "===========================================================",
      "  Communication: MMIO PCI BAR0/BAR1 + Unix domain socket",
    ],
    read: nothing,
  },
]);

const HEARTBEATS = described("Mediator log: heartbeats and statistics", "stdout", [
  {
    id: "heartbeat",
    markers: ["[HEARTBEAT] alive "],
    pattern: /\[HEARTBEAT\] alive [^\n]{1,4} ?(\d{1,10}) server socket/y,
    examples: ["[HEARTBEAT] alive \xe2\x80\x94 3 server socket(s), admin_fd=46"],
    read: (m) => between({ kind: "heartbeat", sockets: decimal(m, 1) }),
  },
  {
    id: "heartbeat-socket",
    markers: ["[HEARTBEAT]   ["],
    pattern: /\[HEARTBEAT\] {3}\[\d{1,10}\] fd=\d{1,10} /y,
    examples: ["[HEARTBEAT]   [0] fd=43  /var/xen/qemu/root-2/tmp/vgpu-mediator.sock"],
    read: nothing,
  },
  {
    id: "stats-head",
    markers: ["[MEDIATOR STATS]"],
    pattern: /\[MEDIATOR STATS\]/y,
    examples: ["[MEDIATOR STATS]"],
    read: nothing,
  },
  {
    id: "stat",
    markers: ["  Total processed:", "  Pool ", "  WFQ queue depth:", "  Context switches:", "  CUDA busy:", "  GPU "],
    pattern:
      / {2}(Total processed|Pool [AB] processed|WFQ queue depth|Context switches|CUDA busy|GPU temp|GPU util): {1,12}(\w{1,20})/y,
    examples: ["  Total processed:  303", "  CUDA busy:        no", "  GPU util:         12%"],
    read: (m) => between({ kind: "stat", name: textOf(m, 1).toLowerCase().replaceAll(" ", "-"), value: textOf(m, 2) }),
  },
]);

const CONNECTIONS = described("Mediator log: connections", "stdout", [
  {
    id: "connection",
    markers: ["[SOCKET] New connection on "],
    pattern: /\[SOCKET\] New connection on (\S{1,200}) \(fd=(\d{1,10}), server_idx=\d{1,10}\)/y,
    examples: ["[SOCKET] New connection on /var/xen/qemu/root-2/tmp/vgpu-mediator.sock (fd=47, server_idx=0)"],
    read: (m) => between({ kind: "connection", path: textOf(m, 1), domId: domIdOf(textOf(m, 1)), fd: decimal(m, 2) }),
  },
  {
    id: "connection-peer",
    markers: ["[CONNECTION] New connection"],
    pattern: /\[CONNECTION\] New connection (?:from |\(fd=)/y,
    examples: [
      "[CONNECTION] New connection from \x05\x15\x10\x7f (fd=47)",
      "[CONNECTION] New connection (fd=47, peer info unavailable: Bad file descriptor)",
    ],
    read: nothing,
  },
  {
    id: "connection-kept",
    markers: ["[PERSIST] fd="],
    pattern: /\[PERSIST\] fd=(\d{1,10}) registered for persistent polling \(slot=(\d{1,10})\)/y,
    examples: ["[PERSIST] fd=47 registered for persistent polling (slot=0)"],
    read: (m) => between({ kind: "connection-kept", fd: decimal(m, 1), slot: decimal(m, 2) }),
  },
  {
    id: "connection-removed",
    markers: ["[PERSIST] fd="],
    pattern: /\[PERSIST\] fd=\d{1,10} removed from persistent set/y,
    examples: ["[PERSIST] fd=49 removed from persistent set"],
    read: nothing,
  },
]);

const CLOSED = described("Mediator log: connections", "stderr", [
  {
    id: "connection-closed",
    markers: ["[PERSIST] fd="],
    pattern:
      /\[PERSIST\] fd=(\d{1,10}) closed for vm=(\d{1,10})(?: owner=(\d{1,10}))?; [^\n]{0,200}?\(([^,)\n]{1,120})/y,
    examples: [
      "[PERSIST] fd=49 closed for vm=11 owner=720945; cleaning executor connection state (persistent fd closed, remaining_vm_cuda=0)",
      "[PERSIST] fd=49 closed for vm=11; 2 persistent CUDA connection(s) remain (persistent fd closed)",
    ],
    read: (m) =>
      between({
        kind: "connection-closed",
        fd: decimal(m, 1),
        vmId: decimal(m, 2),
        owner: decimalOrNull(m, 3),
        reason: (m[4] ?? "").startsWith("s) remain") ? "" : textOf(m, 4),
      }),
  },
  {
    id: "connection-broken",
    markers: ["[PERSIST] fd=", "[PERSIST] too many persistent clients"],
    pattern:
      /\[PERSIST\] (?:too many persistent clients, closing fd=(\d{1,10})|fd=(\d{1,10}): (connection closed by peer|read error: [^\n]{0,120}|incomplete (?:header|payload) [^\n]{0,80}|bad magic 0x[0-9a-f]{8}|unexpected msg_type=0x[0-9a-f]{1,8}|malloc\(\d{1,10}\) failed))/y,
    examples: [
      "[PERSIST] fd=49: connection closed by peer",
      "[PERSIST] fd=49: unexpected msg_type=0x1 \xe2\x80\x94 closing",
      "[PERSIST] too many persistent clients, closing fd=112",
    ],
    read: (m) =>
      between({
        kind: "connection-closed",
        fd: decimalOrNull(m, 1) ?? decimal(m, 2),
        vmId: null,
        owner: null,
        reason: m[3] ?? "too many persistent clients",
      }),
  },
]);

const REJECTIONS = described("Mediator log: refused calls", "stdout", [
  {
    id: "reject-quarantined",
    markers: ["[REJECT] vm="],
    pattern: /\[REJECT\] vm=(\d{1,10}) quarantined( \(CUDA call\))?/y,
    examples: ["[REJECT] vm=6 quarantined (CUDA call)", "[REJECT] vm=6 quarantined"],
    read: (m) => ({
      role: "refusal",
      event: { kind: "reject", vmId: decimal(m, 1), reason: "quarantined", code: null, cuda: m[2] !== undefined },
    }),
  },
  {
    id: "reject-rate-limited",
    markers: ["[REJECT] vm="],
    pattern: /\[REJECT\] vm=(\d{1,10}) rate-limited \((CUDA call, )?code=(-?\d{1,10})\)/y,
    examples: ["[REJECT] vm=6 rate-limited (CUDA call, code=1)", "[REJECT] vm=6 rate-limited (code=2)"],
    read: (m) => ({
      role: "refusal",
      event: {
        kind: "reject",
        vmId: decimal(m, 1),
        reason: "rate-limited",
        code: decimal(m, 3),
        cuda: m[2] !== undefined,
      },
    }),
  },
  {
    id: "rate-limited",
    markers: ["[RATE-LIMIT] vm="],
    pattern: /\[RATE-LIMIT\] vm=(\d{1,10}): REJECTED \((queue depth|rate limit)/y,
    examples: [
      "[RATE-LIMIT] vm=6: REJECTED (rate limit, tokens=0.25)",
      "[RATE-LIMIT] vm=6: REJECTED (queue depth 4 >= 4)",
    ],
    read: (m) =>
      other({ kind: "rate-limited", vmId: decimal(m, 1), reason: m[2] === "queue depth" ? "queue" : "tokens" }),
  },
  {
    id: "rate-config",
    markers: ["[RATE-LIMIT] vm="],
    pattern: /\[RATE-LIMIT\] vm=(\d{1,10}): rate=(-?\d{1,10}) jobs\/sec, max_queue=(-?\d{1,10})/y,
    examples: ["[RATE-LIMIT] vm=10: rate=0 jobs/sec, max_queue=0"],
    read: (m) =>
      other({ kind: "rate-config", vmId: decimal(m, 1), jobsPerSecond: decimal(m, 2), maxQueue: decimal(m, 3) }),
  },
]);

const REFUSED = described("Mediator log: refused calls", "stderr", [
  {
    id: "malformed-call",
    markers: [
      "[ERROR] Invalid CUDA payload magic ",
      "[ERROR] CUDA num_args out of range ",
      "[ERROR] CUDA payload length mismatch ",
    ],
    pattern:
      /\[ERROR\] (Invalid CUDA payload magic|CUDA num_args out of range|CUDA payload length mismatch) from vm(\d{1,10}) fd=(\d{1,10})(?: call=0x([0-9a-f]{4}) seq=(\d{1,10}))?/y,
    examples: [
      "[ERROR] Invalid CUDA payload magic from vm10 fd=47: 0x00000000",
      "[ERROR] CUDA num_args out of range from vm10 fd=47: 99 > 16",
      "[ERROR] CUDA payload length mismatch from vm10 fd=47 call=0x0032 seq=7 header=65536 actual=1024",
    ],
    read: (m) => ({
      role: "refusal",
      event: {
        kind: "malformed",
        what: textOf(m, 1),
        vmId: decimal(m, 2),
        fd: decimal(m, 3),
        callId: m[4] === undefined ? null : hexadecimal(m, 4),
        seq: decimalOrNull(m, 5),
      },
    }),
  },
  {
    id: "malformed-message",
    markers: ["[ERROR] "],
    pattern:
      /\[ERROR\] (Incomplete header|Connection closed by peer|Read error|Invalid magic|Oversized payload|malloc failed|Incomplete payload|CUDA call payload too short|CUDA executor not initialized)(?:[^\n]{0,40}? from vm(\d{1,10}))?(?:[^\n]{0,40}?fd=(\d{1,10}))?/y,
    examples: [
      "[ERROR] Oversized payload from vm10 fd=47 msg_type=0x10 len=9000000 max=8388608",
      "[ERROR] Invalid magic: 0x00000000 from fd=47",
      "[ERROR] Connection closed by peer (fd=47) before header",
      "[ERROR] CUDA call payload too short (12 < 88)",
      "[ERROR] CUDA executor not initialized",
    ],
    read: (m) => ({
      role: "refusal",
      event: {
        kind: "malformed",
        what: textOf(m, 1),
        vmId: decimalOrNull(m, 2),
        fd: decimalOrNull(m, 3),
        callId: null,
        seq: null,
      },
    }),
  },
  {
    id: "send-failed",
    markers: ["[ERROR] Failed to send CUDA result: "],
    pattern: /\[ERROR\] Failed to send CUDA result: ([^\n]{0,120})/y,
    examples: ["[ERROR] Failed to send CUDA result: Broken pipe"],
    read: (m) => ({ role: "refusal", event: { kind: "send-failed", reason: textOf(m, 1) } }),
  },
]);

/** Lines of the mediator's main loop about connections and calls it did not serve. */
export const SERVICE_LINES: readonly MediatorGrammar[] = [
  ...BANNERS,
  ...HEARTBEATS,
  ...CONNECTIONS,
  ...CLOSED,
  ...REJECTIONS,
  ...REFUSED,
];
