import { causeOf, fill } from "../checks/catalogue.ts";
import type { Finding as CheckFinding } from "../checks/finding.ts";
import { currentLife, serverOf, vgpuOf } from "../checks/view.ts";
import type { Facts } from "../facts/facts.ts";
import type { HostFigures, HostSide } from "../facts/host-match.ts";
import { type Reading, valueIn } from "../facts/reading.ts";
import type { Verdict } from "../verdict/verdict.ts";
import { activityOf } from "./activity.ts";
import { checklistOf } from "./checklist.ts";
import type { Finding, Report } from "./report.ts";
import { isoTime } from "./text.ts";

export interface RunInfo {
  readonly runId: string;
  readonly toolVersion: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly durationMs: number;
}

/** The report of a run: everything that was found, in the published shape. */
export function buildReport(facts: Facts, findings: readonly CheckFinding[], verdict: Verdict, run: RunInfo): Report {
  return {
    schema: "vgpu-agent/report/1",
    run_id: run.runId,
    tool_version: run.toolVersion,
    started_at: new Date(run.startedAt).toISOString(),
    duration_ms: run.durationMs,
    subject: subjectOf(facts),
    verdict: {
      rung: verdict.rung,
      statement: verdict.statement,
      proven: verdict.proven,
      evidence: verdict.evidence,
      refuted: [...verdict.refuted],
      hops: verdict.hops.map((hop) => ({ ...hop })),
      first_broken_hop: verdict.firstBrokenHop,
      cause: verdict.cause,
      next: [...verdict.next],
    },
    findings: findings.map((finding) => findingOf(facts, finding)),
    checklist: checklistOf(findings),
    activity: activityOf(facts),
    host_match: hostMatchOf(facts),
    sources: sourcesOf(facts),
  };
}

function subjectOf(facts: Facts): Report["subject"] {
  const host = valueIn(facts.host);
  const server = serverOf(facts);
  const life = valueIn(currentLife(facts));
  const bars = valueIn(facts.bars);
  const register = bars?.outcome === "read" ? bars.passes.at(-1)?.registers["VM_ID"] : undefined;
  const said = life?.processes.flatMap(({ connected }) => connected?.vmId ?? []).at(-1);
  const found = life?.processes.flatMap(({ deviceFound }) => deviceFound?.bdf ?? []).at(-1);
  const device = vgpuOf(facts);
  const up = server?.startedAt == null ? null : Math.max(0, facts.collectedAt - server.startedAt);
  return {
    kind: facts.scope.subject,
    hostname: host?.hostname ?? null,
    machine_id: host?.machineId ?? null,
    boot_id: host?.bootId ?? null,
    vm_id: register ?? said ?? null,
    bdf: device?.bdf ?? (facts.pci.state === "read" ? null : (found ?? null)),
    // With --pid the unit that matters is the process's own.
    unit: facts.scope.pid === null ? facts.scope.unit : (server?.unit ?? facts.scope.unit),
    pid: server?.pid ?? null,
    up_ms: up,
  };
}

function findingOf(facts: Facts, finding: CheckFinding): Finding {
  return {
    check: finding.check,
    outcome: finding.outcome,
    cause: finding.cause,
    hop: finding.cause === null ? finding.hop : causeOf(finding.cause).hop,
    title: finding.cause === null ? finding.title : causeOf(finding.cause).title,
    message: finding.message,
    because: [...finding.because],
    evidence: finding.evidence.map(({ source, locator, text, at }) => ({ source, locator, text, at: isoTime(at) })),
    remedy: finding.cause === null ? null : remedyOf(facts, finding.cause),
    duration_ms: Math.round(finding.durationMs * 1000) / 1000,
  };
}

/** Commands are filled only with what was checked: a unit name and a BDF. One that cannot be filled is left out. */
function remedyOf(facts: Facts, id: NonNullable<CheckFinding["cause"]>): Finding["remedy"] {
  const { remedy, fixedBy } = causeOf(id);
  const { bdf, unit } = subjectOf(facts);
  const values = { unit, ...(bdf === null ? {} : { bdf }) };
  const commands = remedy.commands.flatMap((command) => {
    const needed = [...command.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "");
    return needed.every((name) => Object.hasOwn(values, name)) ? [fill(command, values)] : [];
  });
  return { text: remedy.text, commands, who: fixedBy, anchor: `docs/causes/${id}.md` };
}

/** The two sides of the four operations, and the operators' criteria; null where nothing was compared. */
function hostMatchOf(facts: Facts): Report["host_match"] {
  const match = valueIn(facts.hostMatch);
  if (match === undefined) return null;
  const figures = ({ count, bytes, failed }: HostFigures) => ({ count, bytes, failed });
  const side = (one: HostSide | null) =>
    one === null ? null : { ...figures(one), least: one.least === null ? null : figures(one.least) };
  return {
    window: { from: isoTime(match.window.from), to: isoTime(match.window.to) },
    coverage: match.host.coverage,
    source: { ...match.source },
    joined_at: isoTime(match.joined_at),
    operations: match.operations.map(({ operation, guest, host, confidence }) => ({
      operation,
      guest: side(guest),
      host: side(host),
      confidence: confidence.level,
      reason: confidence.reason,
    })),
    criteria: match.criteria.map(({ text, answer, reason }) => ({ text, answer, reason })),
  };
}

function sourcesOf(facts: Facts): Report["sources"] {
  const named: readonly (readonly [string, Reading<unknown>])[] = [
    ["host", facts.host],
    ["agent", facts.self],
    ["PCI devices", facts.pci],
    ["BAR registers", facts.bars],
    ["kernel lockdown", facts.lockdown],
    ["unit", facts.unit],
    ["processes", facts.workload],
    ["/etc/ld.so.preload", facts.preload],
    ["LD_PRELOAD", facts.preloadVariable],
    ["shim files", facts.shimFiles],
    ["log", facts.log],
    ["state files", facts.stateFiles],
    ["/proc/locks", facts.locks],
    ["kernel trace", facts.trace],
    ["host's record", facts.hostMatch],
  ];
  const gaps =
    valueIn(facts.log)?.sources.flatMap((source) => source.gaps.map((gap) => ({ path: source.path, gap }))) ?? [];
  const missed = valueIn(facts.trace)?.ledger;
  const uncounted = missed === undefined || missed.coverage === "full" ? [] : missed.gaps;
  return [
    ...named.map(([name, reading]) => ({ name, state: reading.state, detail: reading.detail ?? "" })),
    ...uncounted.map((detail) => ({ name: "kernel trace", state: "invalid" as const, detail })),
    ...gaps.map(({ path, gap }) => ({ name: path, state: "invalid" as const, detail: gap })),
  ];
}
