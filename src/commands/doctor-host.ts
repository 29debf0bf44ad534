import type { Facts } from "../facts/facts.ts";
import type { HostMatch } from "../facts/host-match.ts";
import { notRead, notReadFromError, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import { evidenceOfLogs } from "../host/match/evidence.ts";
import { readHostLog } from "../host/match/host-log.ts";
import type { HostState } from "../host/match/host-state.ts";
import { match } from "../host/match/matcher.ts";
import { defaultSources, givenSources, type LogSources } from "../sensors/logs.ts";
import { RootFs } from "../sensors/root-fs.ts";

export interface HostComparison {
  readonly mediatorLog: string;
  readonly root: string | null;
  readonly journal: string | null;
  readonly log: string | null;
  readonly signal: AbortSignal;
}

/**
 * Compares the log of the calls that the doctor judges with the mediator's log, read on this machine. Never rejects for
 * what is wrong with either: the reading then says why.
 */
export async function compareWithHost(facts: Facts, comparison: HostComparison): Promise<Reading<HostMatch>> {
  const { mediatorLog } = comparison;
  let host: HostState;
  try {
    // Never waits for a pipe: what is read here has an end.
    const file = await new RootFs("/").open(mediatorLog);
    try {
      host = await readHostLog(file, { signal: comparison.signal });
    } finally {
      await file.close();
    }
  } catch (error) {
    return notReadFromError(error, mediatorLog);
  }
  if (host.events === 0) return notRead("invalid", `${mediatorLog} is no mediator's log: it has no line of one`);
  const evidence = await evidenceOfLogs(await sourcesOf(facts, comparison));
  const vmId = registerOf(facts) ?? evidence.vm_id;
  if (vmId === null) {
    return notRead(
      "absent",
      "the VM's id is in no register and no line that was read: whose records are meant is not known",
    );
  }
  const { result } = match(evidence, vmId, host);
  if (result.verdict.state === "executing" && result.processes.every(({ counted_by }) => counted_by === "none")) {
    return notRead("absent", "the log that was read tells nothing of the guest's calls that could be compared");
  }
  const now = Date.now();
  const source = { kind: "log", name: mediatorLog } as const;
  return wasRead(
    { ...result, source, joined_at: now, answered_at: now, health: null },
    `${mediatorLog}: ${host.events} records and lines`,
  );
}

/** The same logs that the doctor reads. */
export async function sourcesOf(
  facts: Facts,
  { root, journal, log, signal }: Omit<HostComparison, "mediatorLog">,
): Promise<LogSources> {
  const { unit, pid, since, until } = facts.scope;
  const given = await givenSources({ journal, log, unit, since, until }, signal);
  if (given !== null) return given;
  const fs = new RootFs(root ?? "/");
  const scope = { ...facts.scope, subject: fs.live ? ("live" as const) : ("tree" as const), pid };
  return await defaultSources({ fs, scope, signal, now: Date.now }, facts.unit, facts.workload);
}

/** The id that the device itself names. */
export function registerOf(facts: Facts): number | null {
  const bars = valueIn(facts.bars);
  return bars?.outcome === "read" ? (bars.passes.at(-1)?.registers["VM_ID"] ?? null) : null;
}
