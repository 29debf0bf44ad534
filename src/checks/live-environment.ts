import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import type { PreloadEntry, ProcessFacts } from "../facts/workload.ts";
import { isSwitchedOn, KNOWN_VARIABLES } from "../protocol/environment.ts";
import { isShim } from "../protocol/libraries.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type CauseId, evidence, info, type Judgement, pass, seenEvidence, unknown } from "./finding.ts";
import { currentLife, describe, gpuProcessesOf, processEvidence, processesOf, serverOf } from "./view.ts";

/** Switches whose only effect is lines and files, and switches that force the slow data path. */
const TRACING = ["VGPU_DEBUG", "VGPU_TRACE_BULK_IO", "VGPU_CUDART_DIAG", "CUBLAS_DEBUG"];
const SLOW_PATH = ["VGPU_DISABLE_SHMEM", "VGPU_BULK_BAR1", "VGPU_HTOD_BAR1", "VGPU_MODULE_BAR1"];
/** Where the shim's driver library is installed (docs/wire.md, "Environment"). */
const SHIM_DIRECTORY = "/opt/vgpu/lib";
/** Empty or negative hides every GPU; other values choose among GPUs that the shim does not have. */
const HIDING = new Set(["", "-1"]);

/** What the processes really have in their environment; the unit's text is only what somebody meant. */
export const liveEnvironment: Check = {
  name: "live-environment",
  title: "Is the environment of the running processes sound?",
  hop: "workload",
  after: ["preload-file"],
  causes: ["VG-L03", "VG-L08", "VG-F03", "VG-D05", "VG-O19", "VG-L07", "VG-L18"],
  judge(facts) {
    const found = [...judgePreload(facts)];
    const server = serverOf(facts);
    const subjects = [...new Set([...(server === undefined ? [] : [server]), ...gpuProcessesOf(facts)])];
    if (subjects.length > 0 && facts.preloadVariable.state !== "read") {
      found.push(unknown(`what LD_PRELOAD names could not be looked at: ${facts.preloadVariable.detail}`));
    }
    found.push(...judgeSwitches("VG-F03", TRACING, subjects), ...judgeSwitches("VG-D05", SLOW_PATH, subjects));
    for (const process of subjects) found.push(...judgeProcess(facts, process));
    if (subjects.length === 0) found.push(withoutProcess(facts));
    return found;
  },
};

function judgePreload(facts: Facts): Judgement[] {
  const entries = valueIn(facts.preloadVariable) ?? [];
  const missing = entries.filter(({ exists }) => exists === false);
  const shims = entries.filter(({ kind }) => {
    const value = valueIn(kind);
    return value !== undefined && isShim(value);
  });
  const found = [
    ...once(missing).map((entry) => missingEntry(facts, entry)),
    ...once(shims).map((entry) => shimEntry(facts, entry)),
  ];
  const unclear = entries.filter(({ exists, kind }) => exists === null || (exists && kind.state !== "read"));
  found.push(...once(unclear).map((entry) => unclearEntry(facts, entry)));
  const ignored = valueIn(currentLife(facts))?.preloadIgnored;
  if (missing.length === 0 && ignored != null) {
    const values = {
      who: "the workload",
      library: "a library that the loader cannot preload",
      why: " (the loader's own line)",
    };
    found.push(problem("VG-L03", values, seenEvidence(ignored)));
  }
  return found;
}

function once(entries: readonly PreloadEntry[]): PreloadEntry[] {
  return entries.filter((entry, index) => entries.findIndex(({ library }) => library === entry.library) === index);
}

function owner(facts: Facts, entry: PreloadEntry): string {
  const process = processesOf(facts).find(({ pid }) => pid === entry.pid);
  return process === undefined ? facts.scope.unit : describe(process);
}

function shownEntry(facts: Facts, { pid, library }: PreloadEntry) {
  return [evidence("LD_PRELOAD", pid === null ? facts.scope.unit : `/proc/${pid}/environ`, library)];
}

function missingEntry(facts: Facts, entry: PreloadEntry): Judgement {
  const values = { who: owner(facts, entry), library: entry.library, why: "" };
  return problem("VG-L03", values, shownEntry(facts, entry));
}

function shimEntry(facts: Facts, entry: PreloadEntry): Judgement {
  return problem("VG-L08", { who: owner(facts, entry), library: entry.library }, shownEntry(facts, entry));
}

function unclearEntry(facts: Facts, entry: PreloadEntry): Judgement {
  const why = entry.kind.state === "read" ? "it has no path" : entry.kind.detail;
  const message = `whether ${entry.library}, in LD_PRELOAD of ${owner(facts, entry)}, can be loaded is not known: ${why}`;
  return unknown(message, shownEntry(facts, entry));
}

/** One word for all processes that have the same switches on: a runner inherits its server's. */
function judgeSwitches(cause: CauseId, names: readonly string[], subjects: readonly ProcessFacts[]): Judgement[] {
  const together = new Map<string, ProcessFacts[]>();
  for (const process of subjects) {
    const on = switchedOn(names, valueIn(process.env) ?? {}).join(", ");
    if (on !== "") together.set(on, [...(together.get(on) ?? []), process]);
  }
  return [...together].map(([variables, processes]) => {
    const shown = processes.map((process) => processEvidence(process, "environ", `${variables} set`));
    return problem(cause, { variables, who: processes.map(describe).join(" and ") }, shown);
  });
}

function switchedOn(names: readonly string[], env: Readonly<Record<string, string>>): string[] {
  return names.filter((name) => isSwitchedOn(name, env) === true);
}

function judgeProcess(facts: Facts, process: ProcessFacts): Judgement[] {
  const who = describe(process);
  if (process.env.state !== "read")
    return [unknown(`the environment of ${who} could not be read: ${process.env.detail}`)];
  const env = process.env.value;
  const shown = (names: readonly string[]) =>
    names.map((name) => processEvidence(process, "environ", `${name}=${env[name] ?? ""}`));
  const found: Judgement[] = [];
  const visible = env["CUDA_VISIBLE_DEVICES"];
  if (visible !== undefined && HIDING.has(visible.trim())) {
    found.push(problem("VG-O19", { who, value: visible === "" ? "empty" : visible }, shown(["CUDA_VISIBLE_DEVICES"])));
  }
  found.push(...judgeAgainstUnit(facts, process, env), ...judgeAgainstWorking(process, env));
  if (found.length === 0 && switchedOn([...TRACING, ...SLOW_PATH], env).length === 0) {
    const count = Object.keys(env).length;
    found.push(
      pass(`${who}: no tracing, no forced slow path, no hidden GPU`, [
        processEvidence(process, "environ", `${count} variables of the allow-list`),
      ]),
    );
  }
  return found;
}

/** What the working installation has and an Ollama process lacks: worth a word; what it maps decides. */
function judgeAgainstWorking(process: ProcessFacts, env: Readonly<Record<string, string>>): Judgement[] {
  if (process.role !== "server" && process.role !== "model-runner") return [];
  const lacking: string[] = [];
  if (!env["OLLAMA_LLM_LIBRARY"]?.startsWith("cuda")) lacking.push("OLLAMA_LLM_LIBRARY is not a CUDA back end");
  if (!env["LD_LIBRARY_PATH"]?.split(":").includes(SHIM_DIRECTORY)) {
    lacking.push(`LD_LIBRARY_PATH does not name ${SHIM_DIRECTORY}`);
  }
  if (lacking.length === 0) return [];
  const shown = ["OLLAMA_LLM_LIBRARY", "LD_LIBRARY_PATH"].map((name) =>
    processEvidence(process, "environ", `${name}=${env[name] ?? "(unset)"}`),
  );
  return [problem("VG-L07", { who: describe(process), what: lacking.join(", ") }, shown)];
}

/** The unit's value and the process's differ: somebody changed the unit and did not restart. */
function judgeAgainstUnit(facts: Facts, process: ProcessFacts, env: Readonly<Record<string, string>>): Judgement[] {
  const unit = valueIn(facts.unit);
  if (unit === undefined || process.role !== "server" || process.unit !== unit.name) return [];
  const known = KNOWN_VARIABLES.map(({ name }) => name);
  const changed = known.filter((name) => unit.environment[name] !== undefined && unit.environment[name] !== env[name]);
  if (changed.length === 0) return [];
  const what = `${changed.join(", ")} of ${unit.name} differ from what ${describe(process)} has`;
  const shown = changed.map((name) =>
    processEvidence(
      process,
      "environ",
      `${name}=${env[name] ?? "(unset)"}; the unit says ${unit.environment[name] ?? ""}`,
    ),
  );
  return [problem("VG-L18", { what }, shown)];
}

function withoutProcess(facts: Facts): Judgement {
  const unit = valueIn(facts.unit);
  if (unit === undefined) return unknown("no process of the workload and no unit whose environment could be read");
  const names = Object.keys(unit.environment);
  return info(`nothing runs; the unit sets ${names.length} variables of the allow-list`, [
    evidence("unit", unit.name, names.join(", ")),
  ]);
}
