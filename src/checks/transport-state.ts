import type { Facts } from "../facts/facts.ts";
import type { Seen, ShimProcessLog } from "../facts/log.ts";
import { valueIn } from "../facts/reading.ts";
import type { ProcessFacts } from "../facts/workload.ts";
import { isDriverResult } from "../protocol/status.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { info, type Judgement, logEvidence, pass, seenEvidence, unknown } from "./finding.ts";
import {
  barMappedBy,
  coverageGap,
  currentLife,
  describe,
  gpuProcessesOf,
  idleDoubt,
  isYoungerThan,
  judgedByLog,
  judgedLogs,
  lastOrdinal,
  logOf,
  nameOfLog,
  processEvidence,
} from "./view.ts";

const ROLE_NEEDS_TRANSPORT_MS = 60_000;
/** VM_ID as it reads when the device does not decode memory. */
const ALL_ONES = 0xffffffff;

/**
 * Has the process that computes set its transport up? "Connected" says that BAR0 is mapped and nothing of the host:
 * it is printed with a dead mediator too.
 */
export const transportState: Check = {
  name: "transport-state",
  title: "Has the process that computes mapped the device?",
  hop: "transport",
  after: ["pci-device", "lockdown", "bar-access"],
  causes: ["VG-P01", "VG-P14", "VG-B01", "VG-B02", "VG-B03", "VG-B06", "VG-T02", "VG-T06", "VG-L09"],
  judge(facts) {
    const life = valueIn(currentLife(facts));
    const living = gpuProcessesOf(facts);
    if (living.length > 0) {
      return living.flatMap((process) => judgeLiving(facts, process, logOf(process, life)));
    }
    const { logs } = judgedLogs(facts);
    if (logs.length > 0)
      return logs.flatMap((log) => judgeLog(log, nameOfLog(log))).map((said) => ofThePast(facts, said));
    if (facts.workload.state !== "read" || judgedByLog(facts))
      return [unknown(`no process and no line of a transport: ${coverageGap(facts)}`)];
    const doubt = idleDoubt(facts);
    if (doubt !== null) return [unknown(`whether a process has mapped the device is not known: ${doubt}`)];
    return [info("no process uses the GPU now: the transport is idle")];
  },
};

/** A process of the log is only history where processes can be looked at: what was sound with it proves nothing now. */
function ofThePast(facts: Facts, said: Judgement): Judgement {
  if (said.outcome !== "pass" || judgedByLog(facts)) return said;
  const doubt = idleDoubt(facts);
  if (doubt !== null) return unknown(`${said.message}; whether it still runs is not known: ${doubt}`, said.evidence);
  return info(`${said.message}; no process uses the GPU now`, said.evidence);
}

function judgeLiving(facts: Facts, process: ProcessFacts, log: ShimProcessLog | undefined): Judgement[] {
  const mapped = barMappedBy(facts, process);
  const who = describe(process);
  const fromLog = log === undefined ? [] : judgeLog(log, who, mapped !== undefined);
  if (mapped !== undefined) {
    const mapping = pass(`${who} has BAR0 of ${mapped} mapped`, [
      processEvidence(process, "maps", `resource0 of ${mapped}`),
    ]);
    return [mapping, ...fromLog.filter(({ outcome }) => outcome !== "pass")];
  }
  if (fromLog.some(({ outcome }) => outcome === "fail")) return fromLog;
  if (process.maps.state !== "read")
    return [unknown(`the mappings of ${who} could not be read: ${process.maps.detail}`)];
  if (isYoungerThan(facts, process, ROLE_NEEDS_TRANSPORT_MS)) {
    return [unknown(`${who} has not mapped the device yet; it started less than a minute ago`)];
  }
  const shown = [processEvidence(process, "maps", `${process.maps.value.fileMappings} file mappings, none of a BAR`)];
  if (process.role !== "model-runner")
    return [info(`${who} has not mapped the device: it has asked for nothing yet`, shown)];
  return [problem("VG-L09", { who, why: ", and has not mapped the device though it holds a model" }, shown)];
}

/** The last word of a process on its transport. What came before it is history, also what a mapping disproves. */
function judgeLog(log: ShimProcessLog, who: string, mapped = false): Judgement[] {
  const beforeMapping: readonly (readonly [Seen | null, () => Judgement])[] = [
    [log.deviceMissing, () => missing(log, who)],
    [log.bar0OpenFailed, () => cannotOpen(log, who)],
    [log.bar0MapFailed, () => cannotMap(log, who)],
  ];
  const failures: typeof beforeMapping = [
    ...(mapped ? [] : beforeMapping),
    [log.initCallFailed, () => refused(log, who)],
  ];
  const worst = failures
    .filter(([seen]) => seen !== null)
    .sort(([a], [b]) => lastOrdinal([a]) - lastOrdinal([b]))
    .at(-1);
  // A refused first call follows its Connected line; an answer after it takes it back.
  const mended = [log.answered, worst?.[0] === log.initCallFailed ? null : log.connected];
  const found: Judgement[] = [];
  if (worst !== undefined && lastOrdinal([worst[0]]) > lastOrdinal(mended)) found.push(worst[1]());
  else if (log.connected !== null) found.push(connected(log, who));
  else if (log.answered !== null) found.push(pass(`calls of ${who} were answered`, seenEvidence(log.answered)));
  else
    found.push(
      info(
        `${who} has asked nothing of the device yet`,
        log.deviceFound === null ? [] : [logEvidence(log.deviceFound.last)],
      ),
    );
  if (log.bar1Unavailable !== null && !usesBar1Since(log, log.bar1Unavailable)) {
    found.push(problem("VG-B06", { what: `${who} could not map BAR1` }, seenEvidence(log.bar1Unavailable)));
  }
  if (log.shmemFallback !== null) {
    found.push(problem("VG-T06", { who, reason: log.shmemFallback.reason }, seenEvidence(log.shmemFallback)));
  }
  return found;
}

/** A connection made after BAR1 failed that names BAR1: the failure is history. */
function usesBar1Since({ connected: seen }: ShimProcessLog, failed: Seen): boolean {
  if (seen === null || lastOrdinal([seen]) <= lastOrdinal([failed])) return false;
  return seen.dataPath === "BAR1" || seen.statusFrom?.startsWith("BAR1") === true;
}

function connected(log: ShimProcessLog, who: string): Judgement {
  const { connected: seen } = log;
  if (seen === null) return unknown(`${who} wrote no Connected line`);
  if (seen.vmId === ALL_ONES && lastOrdinal([log.answered]) < lastOrdinal([seen])) {
    const what = `${who} read all ones for the VM's id when it mapped the device`;
    return problem("VG-P14", { bdf: log.deviceFound?.bdf ?? "the device", what }, seenEvidence(seen));
  }
  const how = `vm_id ${seen.vmId}, data path ${seen.dataPath}`;
  return pass(`${who} mapped the device (${how}); this says nothing of the host`, [logEvidence(seen.last)]);
}

function missing(log: ShimProcessLog, who: string): Judgement {
  const invented = log.deviceInvented === null ? "" : " and went on with an invented GPU";
  const shown = log.deviceMissing === null ? [] : seenEvidence(log.deviceMissing);
  return problem("VG-P01", { what: `the shim in ${who} found no vGPU on the PCI bus${invented}` }, shown);
}

function cannotOpen(log: ShimProcessLog, who: string): Judgement {
  const seen = log.bar0OpenFailed;
  if (seen === null) return unknown(`${who} wrote no reason`);
  const values = { who, path: "BAR0 (resource0)", why: ` (${seen.reason})` };
  const shown = seenEvidence(seen);
  if (/read-only file system/i.test(seen.reason)) return problem("VG-B03", values, shown);
  if (/no such file/i.test(seen.reason)) {
    return problem("VG-P01", { what: `BAR0 was gone when the shim in ${who} opened it (${seen.reason})` }, shown);
  }
  return problem("VG-B01", values, shown);
}

function cannotMap(log: ShimProcessLog, who: string): Judgement {
  const seen = log.bar0MapFailed;
  if (seen === null) return unknown(`${who} wrote no reason`);
  if (/not permitted/i.test(seen.reason)) {
    return problem("VG-B02", { what: `${who} opened BAR0 and may not map it (${seen.reason})` }, seenEvidence(seen));
  }
  const values = { who, path: "BAR0 (resource0)", why: ` (mapping it failed: ${seen.reason})` };
  return problem("VG-B01", values, seenEvidence(seen));
}

/** A refusal with the transport's own error is told better by transport-errors, and the driver's by host-errors. */
function refused(log: ShimProcessLog, who: string): Judgement {
  const seen = log.initCallFailed;
  if (seen === null) return unknown(`${who} wrote no reason`);
  const explained = [...log.transportErrors, ...log.timeouts, ...log.hostErrors];
  const message = `${who} mapped the device and its first call came back with ${seen.rc}`;
  if (explained.length > 0 || isDriverResult(seen.rc))
    return info(`${message}; the error is judged by itself`, seenEvidence(seen));
  return problem("VG-T02", { who, rc: String(seen.rc) }, seenEvidence(seen));
}
