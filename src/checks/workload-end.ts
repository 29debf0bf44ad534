import type { Facts } from "../facts/facts.ts";
import type { ServerLog } from "../facts/log.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { info, type Judgement, logEvidence, pass, seenEvidence, unknown } from "./finding.ts";
import { coverageEvidence, coverageGap, currentLife, earlierLives, isAfter, logCovers, serverOf } from "./view.ts";

const CRASH_SIGNALS = /\b(?:SEGV|ABRT|BUS|FPE|ILL|TRAP|SYS)\b/;
const NOT_EXECUTED = /^(?:126|127|203)\b/;
/** As many crashes in a row are a loop, not an accident. */
const CRASH_LOOP = 3;
/** systemd stops a unit with these; they are no failure. */
const STOP_SIGNALS = /\b(?:TERM|INT|HUP)\b/;

/** How processes of this life of the workload ended, by the service manager's and Ollama's own lines. */
export const workloadEnd: Check = {
  name: "workload-end",
  title: "Did a process of the workload crash or fail?",
  hop: "workload",
  after: [],
  causes: ["VG-L06", "VG-L04", "VG-R01"],
  judge(facts) {
    const life = currentLife(facts);
    if (life.state !== "read") return [unknown(`how the workload's processes ended is not known: ${life.detail}`)];
    const found = [...mainProcess(facts, life.value), ...runners(life.value)];
    if (found.length > 0) return found;
    const before = earlierCrashes(facts, life.value);
    if (before !== null) return [before];
    if (life.value.deactivated !== null) {
      return [
        info("the workload ended in good order; it is judged as it was", [logEvidence(life.value.deactivated.last)]),
      ];
    }
    if (!logCovers(facts)) return [unknown(`no crash was seen, but ${coverageGap(facts)}`)];
    return [pass("no crash and no failed runner in this life of the workload", coverageEvidence(facts))];
  },
};

function mainProcess(facts: Facts, life: ServerLog): Judgement[] {
  const exited = life.mainExited;
  if (exited === null) return [];
  const shown = [...seenEvidence(exited), ...(life.unitFailed === null ? [] : [logEvidence(life.unitFailed.last)])];
  const what = `the main process ended: code=${exited.code}, status=${exited.status}`;
  const bySignal = exited.code === "dumped" || exited.code === "killed";
  if (bySignal && STOP_SIGNALS.test(exited.status)) return [];
  if (serverOf(facts) !== undefined && facts.scope.subject !== "evidence") {
    return [info(`${what}; it runs again`, shown)];
  }
  if (crashOf(life) !== null) return [problem("VG-L06", { what }, shown)];
  if (!bySignal && NOT_EXECUTED.test(exited.status)) {
    return [problem("VG-L04", { unit: facts.scope.unit, status: `status ${exited.status}`, restarts: "" }, shown)];
  }
  if (exited.code === "exited" && /^0\b/.test(exited.status)) return [];
  return [problem("VG-R01", { what }, shown)];
}

/** Crashes of the lives right before this one: the service manager started the workload again. */
function earlierCrashes(facts: Facts, life: ServerLog): Judgement | null {
  const lives = earlierLives(facts).filter((other) => !isLater(other, life));
  const sound = lives.findLastIndex((other) => crashOf(other) === null);
  const [first, ...more] = lives.slice(sound + 1).flatMap((other) => crashOf(other) ?? []);
  if (first === undefined) return null;
  const last = more.at(-1) ?? first;
  const times = `${more.length + 1} earlier ${more.length === 0 ? "life" : "lives"} of the workload`;
  const works = life.processes.some(({ answered }) => answered !== null) || life.requestsOk !== null;
  if (more.length + 1 < CRASH_LOOP || works)
    return info(`${times} ended by a crash; it runs again`, [logEvidence(last.last)]);
  const what = `${times}, one after the other, ended by a crash (status ${last.status}), and this one has not worked yet`;
  return problem("VG-L06", { what }, seenEvidence(last), "warn");
}

function isLater(a: ServerLog, b: ServerLog): boolean {
  return a.firstAt !== null && b.firstAt !== null && a.firstAt > b.firstAt;
}

/** The end of a life in which the shim spoke, where a signal made it that means a crash. */
function crashOf({ mainExited, processes }: ServerLog): ServerLog["mainExited"] {
  const bySignal = mainExited?.code === "dumped" || mainExited?.code === "killed";
  return bySignal && CRASH_SIGNALS.test(mainExited.status) && processes.length > 0 ? mainExited : null;
}

function runners(life: ServerLog): Judgement[] {
  const crash = life.runnerCrash;
  if (crash === null) return [];
  const over = [life.requestsOk, ...life.processes.map(({ answered }) => answered)];
  const recovered = over.some((seen) => seen !== null && isAfter(seen.last, crash.last));
  const since = recovered ? "; later work was answered" : "";
  // A runner's pid is not in these lines: the shim is known to have been in it by what it wrote before.
  if (life.runnerFault !== null && life.processes.length > 0) {
    const what = `a runner was ended by a signal (${life.runnerFault.count} lines)${since}`;
    return [problem("VG-L06", { what }, seenEvidence(life.runnerFault), recovered ? "warn" : "fail")];
  }
  const what = `a runner ended by itself (${crash.count} lines)${since}`;
  return [problem("VG-R01", { what }, seenEvidence(crash), recovered ? "warn" : "fail")];
}
