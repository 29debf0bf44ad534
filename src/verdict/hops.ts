import { causeOf } from "../checks/catalogue.ts";
import type { CauseId, Finding } from "../checks/finding.ts";
import {
  answerOf,
  barMappedBy,
  currentLife,
  describe,
  driverShimsOf,
  gpuProcessesOf,
  idleDoubt,
  judgedByLog,
  judgedLogs,
  serverOf,
  shimSpokeIn,
} from "../checks/view.ts";
import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import { HOPS, type Hop, type HopState } from "../protocol/vocabulary.ts";

export interface HopVerdict {
  readonly hop: Hop;
  readonly state: HopState;
  readonly why: string;
}

type Seen = Omit<HopVerdict, "hop">;

/**
 * The state of each hop. A hop is `ok` on evidence of its own, never because a neighbour is; `broken` where a failure
 * lies; `idle` where nothing asks anything of it; else `unknown`. The guest cannot see past the device: the three
 * hops of the host are `unknown` unless an answer of the host names them.
 */
export function hopsOf(
  facts: Facts,
  findings: readonly Finding[],
  broken: Hop | null,
  cause: CauseId | null,
): HopVerdict[] {
  const failed = failedHops(findings);
  return HOPS.map((hop) => {
    if (hop === broken && cause !== null) return { hop, state: "broken", why: causeOf(cause).title };
    const other = failed.get(hop);
    if (other !== undefined) return { hop, state: "broken", why: `${causeOf(other).title} (${other})` };
    const told = toldByHost(facts, hop);
    return told === undefined ? { hop, ...LOOK[hop](facts, findings) } : { hop, ...told };
  });
}

/** Hops with a failure that is no symptom of another. */
function failedHops(findings: readonly Finding[]): Map<Hop, CauseId> {
  const failed = new Map<Hop, CauseId>();
  for (const { outcome, cause } of findings) {
    if (outcome !== "fail" || cause === null || causeOf(cause).symptom === true) continue;
    const { hop } = causeOf(cause);
    if (!failed.has(hop)) failed.set(hop, cause);
  }
  return failed;
}

const LOOK: Readonly<Record<Hop, (facts: Facts, findings: readonly Finding[]) => Seen>> = {
  workload(facts) {
    const server = serverOf(facts);
    if (server !== undefined) return { state: "ok", why: `${describe(server)} runs` };
    if (!judgedByLog(facts)) {
      return facts.workload.state === "read"
        ? { state: "idle", why: "no process of the workload runs" }
        : { state: "unknown", why: `the processes were not read: ${facts.workload.detail}` };
    }
    const life = valueIn(currentLife(facts));
    if (life === undefined) return { state: "unknown", why: "no process and no line of the workload was read" };
    if (life.deactivated !== null || life.mainExited !== null)
      return { state: "idle", why: "the workload of the log has ended" };
    return { state: "ok", why: `the log has ${life.lines} lines of it` };
  },
  shim(facts) {
    const processes = gpuProcessesOf(facts);
    const loaded = processes.find((process) => driverShimsOf(process).length > 0);
    if (loaded !== undefined) return { state: "ok", why: `mapped in ${describe(loaded)}` };
    const life = valueIn(currentLife(facts));
    const spoke = processes.find((process) => shimSpokeIn(process, life));
    if (spoke !== undefined)
      return { state: "ok", why: `${describe(spoke)} wrote lines that only a loaded shim writes` };
    if (!judgedByLog(facts) && processes.length === 0 && idleDoubt(facts) === null)
      return { state: "idle", why: "no process has it loaded now" };
    if (judgedByLog(facts) && judgedLogs(facts).logs.length > 0)
      return { state: "ok", why: "it wrote lines into the log" };
    return { state: "unknown", why: "whether it is loaded could not be told" };
  },
  transport(facts) {
    const mapped = gpuProcessesOf(facts).find((process) => barMappedBy(facts, process) !== undefined);
    if (mapped !== undefined) return { state: "ok", why: `${describe(mapped)} has BAR0 mapped` };
    const { logs } = judgedLogs(facts);
    if (!judgedByLog(facts)) {
      return gpuProcessesOf(facts).length === 0 && idleDoubt(facts) === null
        ? { state: "idle", why: "no process asks anything of it" }
        : { state: "unknown", why: "no process is seen to have the device mapped" };
    }
    if (logs.some(({ connected, answered }) => connected !== null || answered !== null)) {
      return { state: "ok", why: "the log has its Connected line or an answer" };
    }
    return { state: "unknown", why: "nothing tells of it" };
  },
  device(facts, findings) {
    const registers = findings.find(({ check, outcome }) => check === "bar-registers" && outcome === "pass");
    if (registers !== undefined) return { state: "ok", why: registers.message };
    const present = findings.find(({ check, outcome }) => check === "pci-device" && outcome === "pass");
    if (present !== undefined) return { state: "ok", why: present.message };
    const seen = judgedLogs(facts).logs.find(
      ({ connected, deviceFound }) => connected !== null || deviceFound !== null,
    );
    if (seen !== undefined) return { state: "ok", why: "the shim found it, by the log" };
    const looked = findings.find(({ check }) => check === "pci-device");
    return { state: "unknown", why: looked?.message ?? "the PCI devices were not read" };
  },
  mediator(facts, findings) {
    if (hostAnswered(facts)) return { state: "ok", why: "it brought back an answer of the host's CUDA driver" };
    return launchesAnswered(findings)
      ? { state: "ok", why: "it answers: the device passes on what comes back from it, and launches came back with 0" }
      : { state: "unknown", why: "not seen from the guest" };
  },
  executor: (_, findings) => ({ state: "unknown", why: beyond(findings) }),
  gpu: (_, findings) => ({ state: "unknown", why: beyond(findings) }),
};

/** What the host's record shows of its own hops. */
function toldByHost(facts: Facts, hop: Hop): Seen | undefined {
  const told = valueIn(facts.hostMatch)?.verdict.hops.find((one) => one.hop === hop);
  const isHosts = hop === "mediator" || hop === "executor" || hop === "gpu";
  return told === undefined || !isHosts || told.state === "unknown" ? undefined : { state: told.state, why: told.why };
}

function launchesAnswered(findings: readonly Finding[]): boolean {
  return findings.find(({ check }) => check === "live-calls")?.outcome === "pass";
}

function beyond(findings: readonly Finding[]): string {
  return launchesAnswered(findings)
    ? "not seen from the guest, which was told that its launches ran"
    : "not seen from the guest";
}

/** An error code of the CUDA driver came back: only the host's executor can have given it. */
function hostAnswered(facts: Facts): boolean {
  return judgedLogs(facts).logs.some((log) => log.hostErrors.length > 0 || answerOf(log) !== log.answered);
}
