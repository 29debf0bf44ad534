import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import type { StateFile } from "../facts/workload.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type CauseId, type Evidence, evidence, info, type Judgement, unknown } from "./finding.ts";
import { barMappedBy, coverageGap, currentLife, gpuProcessesOf, judgedLogs, logCovers, serverOf } from "./view.ts";

/** What the shim writes in vgpu_last_error, and the cause that it names. */
const CAUSE_OF_CODE: Readonly<Record<string, CauseId>> = {
  DEVICE_NOT_FOUND: "VG-P01",
  BAR0_OPEN_FAILED: "VG-B01",
  MEDIATOR_UNAVAIL: "VG-C07",
  TIMEOUT: "VG-C05",
  TRANSPORT_TIMEOUT: "VG-C05",
  RATE_LIMITED: "VG-C08",
  QUEUE_FULL: "VG-C08",
  VM_QUARANTINED: "VG-C08",
};
/** What a mapping of the device disproves. */
const BEFORE_MAPPING = ["DEVICE_NOT_FOUND", "BAR0_OPEN_FAILED"];
/** The file's own time and the process's start are of different clocks, and the file has whole seconds. */
const TOLERANCE_MS = 2000;

/**
 * The shim's files: a help where the log is silent, and never proof of health. They are removed at every reconnect,
 * overwritten by harmless errors, and outlive their process.
 */
export const stateFiles: Check = {
  name: "state-files",
  title: "Did the shim leave word of an error that the log does not have?",
  hop: "transport",
  after: ["transport-state"],
  causes: ["VG-C05", "VG-C07", "VG-C08", "VG-P01", "VG-B01"],
  judge(facts) {
    const { stateFiles: reading } = facts;
    if (reading.state !== "read") return [unknown(`the shim's files were not read: ${reading.detail}`)];
    const error = reading.value.files.find(({ name }) => name === "vgpu_last_error");
    if (error === undefined)
      return [info(`${reading.value.files.length} files of the shim; no word of an error, which proves nothing`)];
    return [judgeError(facts, error)];
  },
};

function judgeError(facts: Facts, file: StateFile): Judgement {
  const shown = [fileEvidence(file)];
  if (file.fields === null) return info(`${file.path} is not what the shim writes`, shown);
  const code = String(file.fields["code"] ?? "");
  if (!isCurrent(facts, file)) {
    return info(`${file.path} says ${code}, and is of an earlier process or of another user: it does not count`, shown);
  }
  const { logs } = judgedLogs(facts);
  const told = logs.some((log) => log.transportErrors.length + log.hostErrors.length + log.timeouts.length > 0);
  if (told || logCovers(facts)) return info(`${file.path} says ${code}; the log tells of it or has better word`, shown);
  const cause = CAUSE_OF_CODE[code];
  if (cause === undefined) return info(`${file.path} says ${code}`, shown);
  const mapped = gpuProcessesOf(facts).some((process) => barMappedBy(facts, process) !== undefined);
  if (mapped && BEFORE_MAPPING.includes(code))
    return info(`${file.path} says ${code}; the device is mapped now`, shown);
  const values = {
    name: code,
    count: "at least 1",
    call: `call ${String(file.fields["callId"] ?? "?")}`,
    earlier: ` (${coverageGap(facts)})`,
    what: `the shim wrote ${code} to ${file.path}`,
    who: `a process of uid ${file.uid}`,
    path: "BAR0 (resource0)",
    why: ` (${code} in ${file.path})`,
  };
  return problem(cause, values, shown);
}

/** Written since the workload's process started, by its user. */
function isCurrent(facts: Facts, file: StateFile): boolean {
  const server = serverOf(facts);
  const at = Number(file.fields?.["at"] ?? Number.NaN);
  if (server !== undefined) {
    const users = [server, ...gpuProcessesOf(facts)].flatMap((process) => valueIn(process.credentials)?.uid ?? []);
    // A copy's time can be the copy's own: the time in the file's text is the shim's.
    const written = facts.scope.subject === "live" || Number.isNaN(at) ? file.mtime : at;
    return server.startedAt !== null && written >= server.startedAt - TOLERANCE_MS && users.includes(file.uid);
  }
  const life = valueIn(currentLife(facts));
  if (life?.firstAt == null || life.lastAt === null) return false;
  return at >= life.firstAt - TOLERANCE_MS && at <= life.lastAt + TOLERANCE_MS;
}

function fileEvidence(file: StateFile): Evidence {
  const fields = Object.entries(file.fields ?? {}).map(([name, value]) => `${name}=${value}`);
  return evidence("state file", file.path, fields.join(" ") || `${file.size} bytes`, file.mtime);
}
