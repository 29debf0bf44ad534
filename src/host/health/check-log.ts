import { problem } from "../../checks/catalogue.ts";
import { evidence, info, type Judgement, pass, unknown } from "../../checks/finding.ts";
import { bytesOf } from "../../report/quantities.ts";
import { duration, isoTime } from "../../report/text.ts";
import type { EpochHealth, LogHealth, MediatorHealthFacts } from "./facts.ts";
import type { HealthCheck } from "./health-check.ts";
import { isLogOfMediator, livingMediators, logTrouble, placeEvidence, processEvidence } from "./health-view.ts";

/**
 * A heartbeat comes every 10 s when the loop is free; 15.3 s were seen around a kernel of 10 s (docs/wire.md, "Mediator
 * log: heartbeats and statistics").
 */
const HEARTBEAT_LIMIT_MS = 30_000;
const FULL_SHARE = 0.01;
const LOW_SHARE = 0.05;
const LOW_BYTES = 2 * 2 ** 30;

export const mediatorHeartbeat: HealthCheck = {
  name: "mediator-heartbeat",
  title: "Does its main loop turn?",
  causes: ["VG-H13"],
  judge(facts) {
    const trouble = logTrouble(facts);
    if (facts.log.state !== "read" || trouble !== null)
      return [unknown(`The last heartbeat is not known: ${trouble}.`)];
    if (livingMediators(facts)?.length !== 1)
      return [unknown("No heartbeat can be expected: not exactly one mediator was seen.")];
    // Of a capture nobody knows how long ago it was made.
    if (isLogOfMediator(facts) !== true) return [unknown("The log of a capture does not tell what is silent now.")];
    return [judgeHeartbeat(facts, facts.log.value)];
  },
};

function judgeHeartbeat(facts: MediatorHealthFacts, log: LogHealth): Judgement {
  const current = log.epochs.at(-1);
  const written = facts.logFile.state === "read" ? facts.logFile.value.writtenAt : null;
  const silence = written === null ? null : facts.collectedAt - written;
  const beat = log.lastHeartbeat;
  const shown = [
    ...(beat === null ? [] : [placeEvidence(facts, beat, "[HEARTBEAT] alive")]),
    ...(facts.logFile.state === "read" ? [evidence("file", facts.logFile.value.path, "last written", written)] : []),
  ];
  if (silence !== null && silence <= HEARTBEAT_LIMIT_MS) {
    return pass(`Its log was written ${duration(Math.max(0, silence))} ago.`, shown);
  }
  if (current?.hasStdout === false) {
    return unknown("This log lacks standard output, where heartbeats are: silence proves nothing.", shown);
  }
  // What is not in the file yet cannot be older than its last write.
  if (silence !== null) return problem("VG-H13", { age: duration(silence) }, shown);
  if (beat === null || beat.when.to === null) return unknown("When the last heartbeat came is not known.", shown);
  const least = facts.collectedAt - beat.when.to;
  if (least > HEARTBEAT_LIMIT_MS) return problem("VG-H13", { age: duration(least) }, shown);
  const most = beat.when.from === null ? null : facts.collectedAt - beat.when.from;
  if (most !== null && most <= HEARTBEAT_LIMIT_MS) return pass(`A heartbeat came within ${duration(most)}.`, shown);
  return unknown("When the last heartbeat came is only known roughly.", shown);
}

const END_WORDS: Readonly<Record<EpochHealth["end"], string>> = {
  open: "",
  shutdown: "",
  silent: "",
  "in-a-call": "in the middle of a call: it crashed or was killed there",
  "old-handle": "in a launch through a handle from before a restart, which crashes it",
};

export const mediatorEnd: HealthCheck = {
  name: "mediator-end",
  title: "Has it crashed, or been restarted?",
  causes: ["VG-H07"],
  judge(facts) {
    const ended = facts.processes.state === "read" ? facts.processes.value.filter((one) => one.hasEnded) : [];
    const judged: Judgement[] = ended.map((one) =>
      problem("VG-H07", { what: `Process ${one.pid} has ended and was not waited for` }, [processEvidence(one)]),
    );
    if (facts.log.state !== "read") return [...judged, unknown(`Earlier ends are not known: ${facts.log.detail}`)];
    const isRunning = (livingMediators(facts)?.length ?? 0) > 0;
    judged.push(...crashes(facts, facts.log.value, isRunning));
    const abort = facts.logFile.state === "read" ? facts.logFile.value.abortText : null;
    if (abort !== null && !isRunning && facts.logFile.state === "read") {
      const what = `The C library ended it ("${abort}")`;
      judged.push(problem("VG-H07", { what }, [evidence("file", facts.logFile.value.path, abort)]));
    }
    const trouble = logTrouble(facts);
    if (judged.length === 0) {
      judged.push(trouble === null ? restarts(facts, facts.log.value) : unknown(`Restarts are not known: ${trouble}.`));
    }
    return judged;
  },
};

/** The last run's end is only an end when nothing runs: otherwise a call is in flight. */
function crashes(facts: MediatorHealthFacts, { epochs }: LogHealth, isRunning: boolean): Judgement[] {
  const judged: Judgement[] = [];
  epochs.forEach((epoch, index) => {
    const isLast = index === epochs.length - 1;
    const words = END_WORDS[epoch.end];
    if (words === "" || (isLast && isRunning)) return;
    const began = isoTime(epoch.began.to);
    // A log may have been copied while its mediator ran.
    const copied = isLast && epoch.end === "in-a-call" ? ", or its log is not whole" : "";
    const what = `${isLast ? "The last run" : "An earlier run"}${began === null ? "" : ` (begun by ${began})`} ended ${words}${copied}`;
    const shown = [placeEvidence(facts, epoch.endPlace ?? epoch.place, `end of run ${epoch.epoch}`)];
    judged.push(problem("VG-H07", { what }, shown, isLast && epoch.end === "old-handle" ? "fail" : "warn"));
  });
  return judged;
}

function restarts(facts: MediatorHealthFacts, { epochs, epochsSeen }: LogHealth): Judgement {
  const first = epochs[0];
  if (first === undefined) return unknown("The log has no run of a mediator.");
  const shown = [placeEvidence(facts, first.place, first.hasBanner ? "MEDIATOR DAEMON" : "the log begins in a run")];
  if (epochsSeen > 1)
    return info(`It was restarted ${epochsSeen - 1} times in this log, and no run ended in a call.`, shown);
  if (!first.hasBanner)
    return info("The log begins in the middle of a run: restarts before that are not known.", shown);
  return pass("One run, from its start; no restart in this log.", shown);
}

export const mediatorContext: HealthCheck = {
  name: "mediator-context",
  title: "Is the GPU context that all VMs share sound?",
  causes: ["VG-H14"],
  judge(facts) {
    const trouble = logTrouble(facts);
    if (facts.log.state !== "read" || trouble !== null)
      return [unknown(`The state of the context is not known: ${trouble}.`)];
    const current = facts.log.value.epochs.at(-1);
    if (current === undefined) return [unknown("The log has no run of a mediator.")];
    if (current.recoveryFailed !== null && livingMediators(facts)?.length === 0) {
      const shown = [placeEvidence(facts, current.recoveryFailed, "failed to re-retain primary context")];
      return [info("The last run, which is over, did not recover from a fault.", shown)];
    }
    if (current.recoveryFailed !== null) {
      return [
        problem("VG-H14", {}, [placeEvidence(facts, current.recoveryFailed, "failed to re-retain primary context")]),
      ];
    }
    const shown = [placeEvidence(facts, current.place, `run ${current.epoch}, ${current.calls} calls`)];
    if (!current.hasBanner) return [unknown("The log does not reach back to the start of this run.", shown)];
    return [pass("No failed recovery since the start of this run.", shown)];
  },
};

export const logSpace: HealthCheck = {
  name: "log-space",
  title: "Has the log room to grow?",
  causes: ["VG-H10"],
  judge({ logFile }) {
    if (logFile.state !== "read") return [unknown(`The log's file could not be looked at: ${logFile.detail}`)];
    const { path, size, free, capacity } = logFile.value;
    if (free === null || capacity === null || capacity <= 0)
      return [unknown(`How full the disk of ${path} is is not known.`)];
    const words = { path, size: bytesOf(size), free: bytesOf(free) };
    const shown = [evidence("file", path, `${words.size}; ${words.free} free of ${bytesOf(capacity)}`)];
    if (free < capacity * FULL_SHARE) return [problem("VG-H10", words, shown, "fail")];
    if (free < capacity * LOW_SHARE || free < LOW_BYTES) return [problem("VG-H10", words, shown)];
    return [pass(`${path} has ${words.size}; ${words.free} are free.`, shown)];
  },
};
