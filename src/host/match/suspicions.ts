import { type OtherFault, otherFaultText } from "./fault-of-others.ts";
import type { GuestEvidence, GuestProcess } from "./guest-evidence.ts";
import type { HostState } from "./host-state.ts";
import type { Identified } from "./identity.ts";
import type { Suspicion } from "./result.ts";
import { comparePayloads } from "./rules/r5-payload.ts";
import type { StubState } from "./stub-log.ts";
import type { VmState } from "./vm-state.ts";

const strong = (rules: Suspicion["confidence"]["rules"], reason: string): Suspicion["confidence"] => ({
  level: "STRONG",
  candidates: null,
  rules,
  reason,
});

export interface SuspicionInput {
  readonly evidence: GuestEvidence;
  readonly found: readonly { readonly guest: GuestProcess; readonly identified: Identified }[];
  readonly vm: VmState | undefined;
  readonly host: HostState;
  readonly stub: StubState | null;
  readonly otherFault: OtherFault | null;
}

/** What may be wrong although every result is 0, and what else does not show as an error. */
export function suspicionsOf({ evidence, found, vm, host, stub, otherFault }: SuspicionInput): Suspicion[] {
  return [
    ...found.flatMap(({ guest, identified }) => payloadMismatch(guest, identified)),
    ...mixedPaths(evidence),
    ...wrongSource(evidence, stub),
    ...suppressedCopies(found),
    ...crash(vm, host),
    ...(otherFault === null ? [] : [faultOfOther(otherFault)]),
    ...(vm?.isShared === true ? [sharedId()] : []),
  ];
}

/** R5: other bytes arrived than were sent. */
function payloadMismatch(guest: GuestProcess, { process }: Identified): Suspicion[] {
  if (process === null) return [];
  const { different } = comparePayloads(guest.payloads, process.payloads.items);
  const [first] = different;
  if (first === undefined) return [];
  return [
    {
      what: "payload-mismatch",
      text: `${different.length} copies arrived on the host with other bytes than the guest sent, the first as request ${first.requestId}`,
      confidence: {
        level: "EXACT",
        candidates: null,
        rules: ["R5"],
        reason: "the hashes of the same sequence number and length differ",
      },
    },
  ];
}

/** With one process on shared memory and one on BAR1, the stub takes the bytes of the wrong one. */
function mixedPaths({ processes }: GuestEvidence): Suspicion[] {
  const copying = processes.filter(({ copies_in, calls }) => copies_in.length > 0 || calls.length > 0);
  const shared = copying.filter(({ data_path }) => data_path === "shmem");
  const others = copying.filter(({ data_path }) => data_path !== null && data_path !== "shmem");
  const together = others.find((one) => shared.some((other) => overlap(one, other)));
  if (together === undefined) return [];
  return [
    {
      what: "silent-corruption",
      text: `process ${together.pid ?? "?"} copies through ${together.data_path} while another one uses shared memory: its copies can carry the other's bytes, with result 0`,
      confidence: strong([], "two live processes of one VM with different data paths"),
    },
  ];
}

function overlap(a: GuestProcess, b: GuestProcess): boolean {
  // Without times they may have been there at once.
  if (a.first_at === null || a.last_at === null || b.first_at === null || b.last_at === null) return true;
  return a.first_at <= b.last_at && b.first_at <= a.last_at;
}

/** The stub's own trace of it: it took shared memory for a copy whose bytes in BAR1 were others. */
function wrongSource({ processes }: GuestEvidence, stub: StubState | null): Suspicion[] {
  const onBar = processes.filter(({ data_path }) => data_path === "BAR1");
  const wrong = stub?.picks.filter(({ differs, source }) => differs && source === "shmem") ?? [];
  const [first] = wrong;
  if (first === undefined || onBar.length === 0) return [];
  return [
    {
      what: "silent-corruption",
      text: `the device sent ${wrong.length} copies from shared memory while BAR1 held other bytes (the first: seq ${first.seq}, ${first.bytes} bytes), and a process of this VM copies through BAR1: results are not to be trusted`,
      confidence: strong(["R8"], "the device's own log names both sources, and their first bytes differ"),
    },
  ];
}

/** Payload that looks like a program image is not copied, and success is returned. */
function suppressedCopies(found: readonly { readonly identified: Identified }[]): Suspicion[] {
  const count = found.reduce((sum, { identified }) => sum + (identified.process?.suppressed ?? 0), 0);
  if (count === 0) return [];
  return [
    {
      what: "silent-corruption",
      text: `the host did not make ${count} copies in, and told the guest that it had`,
      confidence: { level: "EXACT", candidates: null, rules: ["R1"], reason: "the executor says so" },
    },
  ];
}

/** The last lines of a run of the mediator are a launch of this VM through a handle that it does not know. */
function crash(vm: VmState | undefined, host: HostState): Suspicion[] {
  const last = host.lastLines;
  const unknown = last?.lines.find((line) => line.kind === "launch" && line.name === "<unknown>");
  if (vm === undefined || last === null || unknown === undefined) {
    const lost = vm?.unframed.items.length ?? 0;
    return lost === 0
      ? []
      : [
          {
            what: "lost-call",
            text: `${lost} calls of this VM have no answer in the log`,
            confidence: strong(["R1"], "their lines end without a terminator"),
          },
        ];
  }
  if (!vm.unframed.items.includes(last)) return [];
  return [
    {
      what: "handles-of-before-restart",
      text: "this VM's launch through a handle of before a restart was the last thing that the mediator did: restart the workload before it launches anything",
      confidence: strong(["R1"], "the log's last lines are that launch, without a terminator"),
    },
  ];
}

function faultOfOther(fault: OtherFault): Suspicion {
  return {
    what: "fault-of-another-vm",
    text: otherFaultText(fault),
    confidence: strong(["R12"], "the executor's own lines, between this VM's calls"),
  };
}

function sharedId(): Suspicion {
  return {
    what: "duplicate-vm-id",
    text: "two VMs use this VM id: their calls cannot be told apart",
    confidence: strong(["R2"], "request ids of two devices alternate, or two domains connected under it"),
  };
}
