import { causeOf } from "../checks/catalogue.ts";
import type { CauseId, Finding } from "../checks/finding.ts";
import { gpuProcessesOf, idleDoubt } from "../checks/view.ts";
import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import type { Rung } from "../protocol/vocabulary.ts";
import { openQuestions, type RungProof } from "./rungs.ts";

/** The words that stand below `executing`, always the same, so that people can search for them. */
export const NOT_PROVEN = "GPU execution not proven";

interface Said {
  readonly facts: Facts;
  readonly findings: readonly Finding[];
  readonly rung: Rung | null;
  readonly proof: RungProof | null;
  readonly primary: Finding | undefined;
}

/** One or two sentences: what is proven, on what, and why no more. */
export function statementOf({ facts, findings, rung, proof, primary }: Said): string {
  if (rung === null || proof === null) {
    return findings.some(({ outcome, check }) => outcome === "pass" && check !== "self-integrity")
      ? `No verdict: nothing failed, and too little could be read to call it sound. ${sentence(whyNothing(facts))}`
      : `No verdict: nothing of the subject could be read. ${sentence(whyNothing(facts))}`;
  }
  if (primary?.cause != null) return `${sentence(causeOf(primary.cause).title)} ${reached(facts, rung, proof)}`.trim();
  switch (rung) {
    case "unconfigured":
      return sentence(proof.short);
    case "configured":
      if (proof.basis === "log")
        return facts.scope.subject === "evidence"
          ? "By the log, the shim could open the device; no look at the VM itself stands behind it."
          : "By the log, the shim could open the device; what the capture lacks could not be looked at.";
      return `${configuredBasis(facts, proof)}${notKnown(openQuestions(facts, findings))}`;
    case "discovered":
      return sentence(`the workload found the GPU, which is answered from constants; ${proof.short}`);
    case "executing":
      return `${sentence(proof.basis === "host" ? hostSaid(findings) : launched(findings))} ${sentence(proof.short)}`;
    default:
      return `${sentence(connectedBasis(facts, proof))} ${sentence(proof.short)}`;
  }
}

/** The most telling of the sources that were not read. */
function whyNothing(facts: Facts): string {
  const gaps = valueIn(facts.log)?.sources.flatMap((source) => source.gaps) ?? [];
  const unread = [facts.log, facts.pci, facts.workload].find(({ state }) => state !== "read" && state !== "skipped");
  return gaps[0] ?? unread?.detail ?? "the sources say why";
}

function configuredBasis(facts: Facts, proof: RungProof): string {
  return gpuProcessesOf(facts).length === 0 && idleDoubt(facts) === null
    ? "Device, access, shim and unit are sound. Nothing uses the GPU now."
    : sentence(`device, access, shim and unit are sound; ${proof.short}`);
}

function notKnown(checks: readonly string[]): string {
  return checks.length === 0 ? "" : ` Not known: what ${checks.join(", ")} would tell.`;
}

/** What the kernel counted, in the words of the check. */
function launched(findings: readonly Finding[]): string {
  const said = findings.find(({ check, outcome }) => check === "live-calls" && outcome === "pass");
  return `kernels are launched and answered, counted by this kernel's own probes: ${said?.message ?? ""}`;
}

function hostSaid(findings: readonly Finding[]): string {
  const said = findings.find(({ check, outcome }) => check === "host-correlation" && outcome === "pass");
  return said?.message ?? "the host's record shows the workload's operations";
}

function connectedBasis(facts: Facts, proof: RungProof): string {
  const when = ago(facts, proof.answeredAt);
  switch (proof.basis) {
    case "registers":
      return "the device's registers show that the last call of the workload's process came back without an error";
    case "log":
      return `calls of the log's last process were answered${when}`;
    case "trace":
      return "the kernel's probes saw calls of the workload's process come back with 0";
    case "host":
      return "the host's record shows calls of the workload";
    case "processes":
      return `calls of the process that has the device mapped were answered${when}`;
  }
}

function ago(facts: Facts, at: number | null): string {
  if (at === null || facts.scope.subject !== "live") return "";
  const seconds = Math.max(0, (facts.collectedAt - at) / 1000);
  if (seconds < 10) return ` (the last ${seconds.toFixed(1)} s ago)`;
  if (seconds < 600) return ` (the last ${Math.round(seconds)} s ago)`;
  return ` (the last ${Math.round(seconds / 60)} min ago)`;
}

/** What held before or beside the failure. */
function reached(facts: Facts, rung: Rung, proof: RungProof): string {
  if (rung !== "connected") return "";
  return sentence(connectedBasis(facts, proof));
}

function sentence(text: string): string {
  // A name (cuInit, resource0) is not a word to capitalise.
  const capital = /^[a-z]+[ ,']/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

/** How to see launches; where they were counted already, what that count lacks. */
function countStep(facts: Facts, findings: readonly Finding[]): string {
  const said = findings.find(({ check }) => check === "live-calls");
  return facts.trace.state === "read" && said !== undefined
    ? sentence(`Count again with --live while a request runs: ${said.message}`)
    : "Run `vgpu-agent doctor --live 10` as root while a request runs: it counts the launches and how they come back.";
}

/** The window in which calls were counted, in the words of a log. */
function windowOf(facts: Facts): string {
  const { from = null, to = null } = valueIn(facts.trace)?.ledger ?? {};
  const time = (at: number | null) => (at === null ? "?" : new Date(at).toISOString());
  return `${time(from)} to ${time(to)}`;
}

/** How to get the host's own record of a window: the only thing that proves where calls ran. */
function hostStep({ hostMatch }: Facts, window: string): string {
  switch (hostMatch.state) {
    case "skipped":
      return `Compare with the mediator's log on the host for ${window}: launches of this vm_id there prove where these ran. \`vgpu-agent doctor --host URL --live 10\` does it from here, once the VM is enrolled (vgpu-agent enroll).`;
    case "read":
      return "Ask the host again for a window with a whole request in it: `vgpu-agent doctor --live 30` while a model is loaded and asked.";
    default:
      return sentence(`ask the host again when it answers (${hostMatch.detail}): its record proves where these ran`);
  }
}

/** What to do next, most telling first. */
export function nextSteps(
  facts: Facts,
  findings: readonly Finding[],
  rung: Rung | null,
  cause: CauseId | null,
): string[] {
  if (cause !== null) {
    return [
      `Mend ${cause} first (${causeOf(cause).fixedBy}), then run the doctor again: what lies behind it shows only then.`,
    ];
  }
  switch (rung) {
    case null:
      return [
        "Run the doctor on the VM as root, or give it a root with --root, a journal with --journal, a log with --log.",
      ];
    case "unconfigured":
      return ["Mend what could not be judged below, as root, and run the doctor again."];
    case "configured":
      return ["Load a model or start the CUDA program, and run the doctor again while it runs."];
    case "discovered":
      return ["Send one request, and run the doctor again while the runner lives."];
    case "connected":
      return facts.scope.subject === "live"
        ? [countStep(facts, findings), hostStep(facts, "the same time")]
        : ["Compare with the mediator's log of the same time: launches of this vm_id prove where the calls ran."];
    case "executing":
      if (findings.some(({ check, outcome }) => check === "host-correlation" && outcome === "pass"))
        return ["Ask the model something whose answer is known: a right answer is all that is left to prove."];
      return [hostStep(facts, windowOf(facts))];
    default:
      return [];
  }
}
