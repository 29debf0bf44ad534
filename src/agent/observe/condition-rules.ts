import { causeOf } from "../../checks/catalogue.ts";
import type { CauseId, Finding } from "../../checks/finding.ts";
import type { Hop } from "../../protocol/vocabulary.ts";

/**
 * What a condition is about, and so what ends it whatever the checks say:
 * - `process`: a process of the workload; it ends with that process (pid and start time).
 * - `boot`: the running kernel, or what a service manager remembers of this boot; it ends with the boot.
 * - `machine`: files that outlive a boot; only its recovery ends it.
 * - `agent`: the agent's own process; it ends when the agent starts anew.
 */
export type BoundTo = "process" | "boot" | "machine" | "agent";

/**
 * What counts as recovered, each for the time-to-clear without a break:
 * - `passes`: the check runs, does not name the cause, and says why with evidence.
 * - `answered-since`: as `passes`; or it names the cause as overcome or softened, because later work succeeded. For
 *   what is read from a log, whose old lines stay as long as the process lives.
 * - `no-new-sighting`: as `passes`; or nothing new is seen of it: what it says has not changed. For what happens, is
 *   over at once, and leaves nothing that could pass again.
 */
export type Recovery = "passes" | "answered-since" | "no-new-sighting";

interface CheckRule {
  readonly boundTo: BoundTo;
  readonly recovery: Recovery;
  /** That it cannot be judged is worth a condition; false where somebody has to ask for it first. */
  readonly tellsWhenBlind: boolean;
}

const rule = (boundTo: BoundTo, recovery: Recovery = "passes", tellsWhenBlind = true): CheckRule => ({
  boundTo,
  recovery,
  tellsWhenBlind,
});

/** The name under which the agent says that it does not look as it should: no check, but judged like one. */
export const OBSERVATION = "observation";

/** By check. One that is not here is bound to the boot: the narrowest that is never wrong for longer than a boot. */
const RULES: Readonly<Record<string, CheckRule>> = {
  // The loader variables and libraries of the agent's own process.
  "self-integrity": rule("agent"),
  [OBSERVATION]: rule("agent"),
  // Files in /etc and in library directories: a reboot changes nothing of them.
  "preload-file": rule("machine"),
  "shim-files": rule("machine"),
  // What this kernel enumerated, decodes and forbids.
  "pci-device": rule("boot"),
  lockdown: rule("boot"),
  "bar-registers": rule("boot"),
  // ActiveState, Result and NeedDaemonReload are the service manager's memory, which begins with the boot.
  "service-identity": rule("boot"),
  // The process that it tells of has ended already: bound to it, it would end as it begins.
  "workload-end": rule("boot", "answered-since"),
  // Remains of an error, in directories that are emptied at boot.
  "state-files": rule("boot"),
  // Descriptors, mounts, credentials, environment and link map of one process.
  "log-sink": rule("process"),
  "bar-access": rule("process"),
  "live-environment": rule("process"),
  "loaded-libraries": rule("process"),
  // Lines of one life of the server.
  discovery: rule("process"),
  "transport-state": rule("process"),
  "transport-errors": rule("process", "answered-since"),
  "host-errors": rule("process", "answered-since"),
  "call-in-flight": rule("process"),
  // Need probes or the host's record, which nobody may have asked for.
  "live-calls": rule("process", "passes", false),
  "host-correlation": rule("process", "passes", false),
};

/** Where a cause differs from the check that names it. */
const OVERRIDES: Readonly<Record<string, Partial<CheckRule>>> = {
  // The nodes in sysfs are made at boot, and udev gives them their permissions; the process may be any.
  "bar-access/VG-B01": { boundTo: "boot" },
  "bar-access/VG-B05": { boundTo: "boot" },
  "bar-access/VG-B06": { boundTo: "boot" },
  // journald drops lines in bursts; a burst never passes again, it is over.
  "log-sink/VG-Z17": { recovery: "no-new-sighting" },
  // A missing symbol is said once; calls that are answered later show that it was mended.
  "loaded-libraries/VG-L10": { recovery: "answered-since" },
  // A call that the host does not have: programs try it once and go on, and nothing later takes it back.
  "host-errors/VG-X14": { recovery: "no-new-sighting" },
};

const DEFAULT_RULE = rule("boot");

export function ruleOf(check: string, cause: string | null): CheckRule {
  const base = RULES[check] ?? DEFAULT_RULE;
  const override = cause === null ? undefined : OVERRIDES[`${check}/${cause}`];
  return override === undefined ? base : { ...base, ...override };
}

/** Hops behind the device: a new mediator has none of what the old one held, neither contexts nor queues nor faults. */
const BEYOND_DEVICE: ReadonlySet<Hop> = new Set(["mediator", "executor", "gpu"]);

/** Whether a new epoch of the mediator ends it. */
export function endsWithMediator(cause: CauseId | null): boolean {
  return cause !== null && BEYOND_DEVICE.has(causeOf(cause).hop);
}

/** Whether a finding says that its cause holds now. What was overcome, or is only worth knowing, does not. */
export function isBad({ check, cause, outcome, overcome }: Finding): boolean {
  if (outcome !== "warn" && outcome !== "fail") return false;
  if (cause === null || ruleOf(check, cause).recovery !== "answered-since") return true;
  const softened = outcome === "warn" && causeOf(cause).severity === "fail";
  return overcome !== true && !softened;
}

/** How a check that ran looks from outside: what it says of causes that it does not name. */
export type CheckState = "speaks" | "blind" | "silent";

/**
 * `blind`: something of it is unknown, or the check itself failed. `silent`: it did not run, or says nothing that rests
 * on evidence ("nothing to look at"). Neither opens nor clears what the check does not name.
 */
export function stateOfCheck(findings: readonly Finding[]): CheckState {
  if (findings.some(({ outcome }) => outcome === "unknown" || outcome === "crashed")) return "blind";
  if (findings.some(({ outcome }) => outcome === "not-run")) return "silent";
  const speaks = findings.some(({ outcome, evidence }) => outcome === "pass" || evidence.length > 0);
  return speaks ? "speaks" : "silent";
}
