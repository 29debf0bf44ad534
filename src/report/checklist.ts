import { CATALOGUE } from "../checks/catalogue.ts";
import type { Finding } from "../checks/finding.ts";
import { HOPS, type Hop } from "../protocol/vocabulary.ts";
import type { Report } from "./report.ts";

type Entry = Report["checklist"][number];

interface Question {
  readonly question: string;
  /** Checks whose outcome answers it. */
  readonly checks: readonly string[];
  readonly hop: Hop;
  /** How to find out by hand, where the agent could not. */
  readonly byHand: string;
}

/** The troubleshooting checklist, along the chain. */
const QUESTIONS: readonly Question[] = [
  {
    question: "Does the VM have the vGPU device?",
    checks: ["pci-device"],
    hop: "device",
    byHand: "ls /sys/bus/pci/devices; look for vendor 0x10de, device 0x2331",
  },
  {
    question: "May the workload's user open and map it?",
    checks: ["bar-access", "lockdown"],
    hop: "transport",
    byHand: "compare the mode of resource0 with the unit's User=",
  },
  {
    question: "Is the workload running?",
    checks: ["service-identity", "workload-end"],
    hop: "workload",
    byHand: "systemctl status of the unit",
  },
  {
    question: "Do its lines arrive where we read them, all of them?",
    checks: ["log-sink"],
    hop: "workload",
    byHand: "readlink /proc/PID/fd/2",
  },
  {
    question: "Is the environment of the running process sound?",
    checks: ["live-environment", "preload-file"],
    hop: "workload",
    byHand: "tr '\\0' '\\n' < /proc/PID/environ",
  },
  {
    question: "Does the process that computes have the shim loaded?",
    checks: ["loaded-libraries", "shim-files"],
    hop: "shim",
    byHand: "grep libcuda /proc/PID/maps of the runner, while a model is loaded",
  },
  {
    question: "Did the current server find the GPU?",
    checks: ["discovery"],
    hop: "workload",
    byHand: 'the last "inference compute" line since the server\'s start',
  },
  {
    question: "Has the runner mapped the device?",
    checks: ["transport-state"],
    hop: "transport",
    byHand: "grep resource0 /proc/PID/maps of the runner",
  },
  {
    question: "Do calls come back from the host?",
    checks: ["transport-errors", "call-in-flight"],
    hop: "mediator",
    byHand: "STATUS_ERROR and Timeout lines of the runner",
  },
  {
    question: "Does the host's driver accept them?",
    checks: ["host-errors"],
    hop: "executor",
    byHand: '"host-cuda" lines of the runner',
  },
  {
    question: "Do the workload's launches and copies come back with 0?",
    checks: ["live-calls"],
    hop: "mediator",
    byHand: "vgpu-agent doctor --live 10 as root, while a request runs",
  },
  {
    question: "Did kernels run on the physical GPU for this request?",
    checks: ["host-correlation"],
    hop: "gpu",
    byHand: "cuLaunchKernel SUCCESS lines of this vm_id in the mediator's log, for the same time",
  },
];

/**
 * The questions with their answers: first what is answered no, then what is open, ordered so that the next answer
 * splits the causes that remain most evenly; last what is answered yes.
 */
export function checklistOf(findings: readonly Finding[]): Entry[] {
  const answered = QUESTIONS.map((question) => ({ question, ...answer(question, findings) }));
  const open = answered.filter((entry) => entry.answer === "unknown");
  const hops = HOPS.filter((hop) => open.some(({ question }) => question.hop === hop));
  const split = [...open].sort((a, b) => evenness(b.question.hop, hops) - evenness(a.question.hop, hops));
  const known = answered.filter((entry) => entry.answer === "yes");
  const no = answered.filter((entry) => entry.answer === "no");
  return [...no, ...split, ...known].map(({ question, answer: given, detail }) => ({
    question: question.question,
    answer: given,
    detail,
  }));
}

function answer(question: Question, findings: readonly Finding[]): Pick<Entry, "answer" | "detail"> {
  const mine = findings.filter(({ check }) => question.checks.includes(check));
  const failed = mine.find(refuses);
  if (failed !== undefined) return { answer: "no", detail: failed.cause ?? failed.check };
  const checked = question.checks.map((name) => mine.filter(({ check }) => check === name));
  const proven = checked.length > 0 && checked[0]?.some(({ outcome }) => outcome === "pass") === true;
  const open = mine.some(({ outcome }) => outcome === "unknown" || outcome === "not-run" || outcome === "crashed");
  const because = mine.find(({ outcome }) => outcome === "pass")?.message ?? "";
  if (proven && !open) return { answer: "yes", detail: because };
  const notRun = mine.find(({ because }) => because.length > 0);
  if (notRun !== undefined) return { answer: "unknown", detail: `not asked because of ${notRun.because.join(", ")}` };
  return { answer: "unknown", detail: `by hand: ${question.byHand}` };
}

/** A failure, or a warning with a cause; what calls have outlived is history. */
function refuses({ outcome, cause, overcome }: Finding): boolean {
  return overcome !== true && (outcome === "fail" || (outcome === "warn" && cause !== null));
}

/** How evenly the causes of the hops still open fall on both sides of a hop: the smaller side's share. */
function evenness(hop: Hop, open: readonly Hop[]): number {
  const causes = CATALOGUE.filter((cause) => open.includes(cause.hop));
  const before = causes.filter((cause) => HOPS.indexOf(cause.hop) <= HOPS.indexOf(hop)).length;
  return Math.min(before, causes.length - before);
}
