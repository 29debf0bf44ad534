import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import type { ProcessFacts, UnitFacts } from "../facts/workload.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { type Evidence, evidence, info, type Judgement, pass, unknown } from "./finding.ts";
import { describe, judgedByLog, processEvidence, processesOf, serverOf } from "./view.ts";

/** systemd's names of an end by a signal; the rest of a failed unit is an exit status. */
const CRASHED = ["core-dump", "signal"];
/** 126 and 127: the shell's; 203: systemd's own EXEC. */
const NOT_EXECUTED = [126, 127, 203];

/** Which process is judged, and is its unit well? How it ended, when it did, is the check workload-end's. */
export const serviceIdentity: Check = {
  name: "service-identity",
  title: "Is the workload running, and is it the one that the unit describes?",
  hop: "workload",
  after: [],
  causes: ["VG-W10", "VG-L04", "VG-L06", "VG-R01", "VG-L18"],
  judge(facts) {
    if (facts.scope.subject === "evidence") {
      return [unknown(`only a log was given: nothing is known of ${facts.scope.unit} but what it wrote`)];
    }
    const unit = valueIn(facts.unit);
    const server = serverOf(facts);
    if (server !== undefined) return [running(server, unit), ...staleness(server, unit)];
    if (facts.workload.state !== "read") return [unknown(`the processes were not looked at: ${facts.workload.detail}`)];
    if (judgedByLog(facts)) return [info(`this capture has no process of ${facts.scope.unit}: the log stands for it`)];
    if (unit === undefined) {
      const detail = facts.unit.state === "read" ? "" : facts.unit.detail;
      const what = `no process of the workload runs, and there is no unit ${facts.scope.unit}`;
      return [problem("VG-W10", { what }, [evidence("unit", facts.scope.unit, detail)])];
    }
    return [stopped(facts, unit)];
  },
};

function running(server: ProcessFacts, unit: UnitFacts | undefined): Judgement {
  const state = unit?.activeState == null ? "" : `, ${unit.name} is ${unit.activeState}/${unit.subState}`;
  const message = `${describe(server)} runs${state}`;
  const where = [
    processEvidence(server, "cgroup", server.unit ?? "no unit"),
    ...(unit === undefined ? [] : [shown(unit)]),
  ];
  if (unit !== undefined && server.unit !== unit.name)
    return info(`${message}; it is not a process of that unit`, where);
  const steady = unit?.activeState == null || unit.activeState === "active";
  return steady ? pass(message, where) : info(message, where);
}

function staleness(server: ProcessFacts, unit: UnitFacts | undefined): Judgement[] {
  const found: Judgement[] = [];
  if (unit?.needDaemonReload === true) {
    const what = `the files of ${unit.name} changed and systemd has not read them again`;
    found.push(problem("VG-L18", { what }, [shown(unit)]));
  }
  if (server.exe.state === "read" && server.exe.value.deleted) {
    const what = `${describe(server)} runs ${server.exe.value.path}, which was replaced or deleted since`;
    found.push(problem("VG-L18", { what }, [processEvidence(server, "exe", `${server.exe.value.path} (deleted)`)]));
  }
  return found;
}

function stopped(facts: Facts, unit: UnitFacts): Judgement {
  const others = processesOf(facts).length;
  if (unit.activeState === null) {
    return info(`${unit.name} is installed; whether it runs is not in this tree (${others} processes of it)`, [
      shown(unit),
    ]);
  }
  const startsOver = unit.activeState === "activating" && unit.result !== null && unit.result !== "success";
  if (startsOver) return failed(unit);
  if (unit.activeState === "activating" || unit.activeState === "deactivating") {
    return problem("VG-W10", { what: `${unit.name} is ${unit.activeState}${restarts(unit)}` }, [shown(unit)]);
  }
  if (unit.activeState !== "failed" && (unit.result === null || unit.result === "success")) {
    return problem("VG-W10", { what: `${unit.name} is ${unit.activeState}` }, [shown(unit)]);
  }
  return failed(unit);
}

function failed(unit: UnitFacts): Judgement {
  const what = `${unit.name} failed with ${unit.result ?? "no result"}${restarts(unit)}`;
  if (unit.result !== null && CRASHED.includes(unit.result)) return problem("VG-L06", { what }, [shown(unit)]);
  if (unit.execMainStatus !== null && NOT_EXECUTED.includes(unit.execMainStatus)) {
    const values = { unit: unit.name, status: `status ${unit.execMainStatus}`, restarts: restarts(unit) };
    return problem("VG-L04", values, [shown(unit)]);
  }
  return problem("VG-R01", { what }, [shown(unit)]);
}

function restarts(unit: UnitFacts): string {
  return unit.nRestarts !== null && unit.nRestarts > 0 ? `, restarted ${unit.nRestarts} times` : "";
}

function shown(unit: UnitFacts): Evidence {
  const parts = [unit.activeState, unit.subState, unit.result].filter((part) => part !== null);
  return evidence(unit.source, unit.name, parts.join(", ") || (unit.loadState ?? "unit files"), unit.activeEnterAt);
}
