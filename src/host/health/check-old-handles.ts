import { problem } from "../../checks/catalogue.ts";
import { evidence, type Judgement, pass, unknown } from "../../checks/finding.ts";
import { isoTime } from "../../report/text.ts";
import type { GuestProcess, LogHealth, MediatorHealthFacts } from "./facts.ts";
import type { HealthCheck } from "./health-check.ts";
import { logTrouble, placeEvidence, startOf } from "./health-view.ts";

/** Guests and this host have clocks of their own, and a process's start is known to the clock tick. */
const CLOCK_MS = 2000;
/** Processes named one by one. */
const MOST_NAMED = 16;

/**
 * A guest process that outlives a restart of the mediator crashes it with its next launch, and every VM with it. So this
 * has to be said before it launches.
 */
export const oldHandles: HealthCheck = {
  name: "old-handles",
  title: "Does a guest process still hold handles of an earlier mediator?",
  causes: ["VG-H04"],
  judge(facts) {
    const holders = [...fromLog(facts), ...fromGuests(facts)];
    const named = holders.slice(0, MOST_NAMED);
    const open = openQuestions(facts);
    if (holders.length > 0) return open === null ? named : [...named, open];
    return [open ?? pass("No guest process is older than the mediator that runs.", [])];
  },
};

function fromLog(facts: MediatorHealthFacts): Judgement[] {
  const log = logOf(facts);
  return (log?.oldOwners ?? []).flatMap(({ vmId, pid, epoch, goesOn }) =>
    goesOn === null
      ? []
      : [
          problem("VG-H04", { who: `Process ${pid} of VM ${vmId}` }, [
            placeEvidence(facts, goesOn, `used run ${epoch}, and goes on`),
          ]),
        ],
  );
}

function fromGuests(facts: MediatorHealthFacts): Judgement[] {
  const start = startOf(facts);
  if (start === null || facts.guests.state !== "read") return [];
  return facts.guests.value
    .filter((one) => isOlder(one, start))
    .map(({ vmId, pid, startedAt, aliveAt }) => {
      const text = `started ${isoTime(startedAt) ?? "?"}, seen alive ${isoTime(aliveAt) ?? "?"}; the mediator runs since ${isoTime(start) ?? "?"}`;
      return problem("VG-H04", { who: `Process ${pid} of VM ${vmId}` }, [
        evidence("guest report", `VM ${vmId}`, text, aliveAt),
      ]);
    });
}

function isOlder({ startedAt, aliveAt }: GuestProcess, start: number): boolean {
  return startedAt !== null && startedAt < start - CLOCK_MS && aliveAt > start + CLOCK_MS;
}

/** What keeps "none" from being known; null when nothing does. */
function openQuestions(facts: MediatorHealthFacts): Judgement | null {
  const log = logOf(facts);
  if (log === null)
    return unknown(`Whether a guest process is older than the mediator is not known: ${logTrouble(facts)}.`);
  const silent = log.oldOwners.filter(({ vmId, pid, goesOn }) => goesOn === null && !isSettled(facts, vmId, pid));
  const [first] = silent;
  if (first !== undefined) {
    const which = `process ${first.pid} of VM ${first.vmId}${silent.length > 1 ? ` and ${silent.length - 1} more` : ""}`;
    return unknown(`The mediator was restarted, and whether ${which} still runs is not known.`);
  }
  if (log.isCrowded) return unknown("More guest processes used the mediator than are remembered.");
  const whole = log.epochs.at(-1)?.hasBanner === true && (log.epochs.length > 1 || log.epochsSeen === 1);
  if (!whole && facts.guests.state !== "read") return unknown("The log does not reach back to the start of this run.");
  if (log.epochsSeen === 1 && facts.guests.state !== "read") {
    return unknown("The log has one run: who used the mediator before it is not known, and no guest reports.");
  }
  return null;
}

/** The guest's own report tells about this process: it was judged there. */
function isSettled({ guests }: MediatorHealthFacts, vmId: number, pid: number): boolean {
  return (
    guests.state === "read" &&
    guests.value.some((one) => one.vmId === vmId && one.pid === pid && one.startedAt !== null)
  );
}

function logOf(facts: MediatorHealthFacts): LogHealth | null {
  return facts.log.state === "read" && logTrouble(facts) === null ? facts.log.value : null;
}
