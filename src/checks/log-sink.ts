import type { Facts } from "../facts/facts.ts";
import { valueIn } from "../facts/reading.ts";
import type { ProcessFacts, SinkTarget } from "../facts/workload.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { info, type Judgement, pass, unknown } from "./finding.ts";
import { coverageEvidence, coverageGap, describe, logCovers, processEvidence, serverOf } from "./view.ts";

/** Where the workload's lines really go, and whether all of them arrive: every later "no errors" rests on it. */
export const logSink: Check = {
  name: "log-sink",
  title: "Where do the workload's lines go, and are they all there?",
  hop: null,
  after: [],
  causes: ["VG-Z02", "VG-Z17", "VG-Z04"],
  judge(facts) {
    const found: Judgement[] = [];
    const server = serverOf(facts);
    if (server !== undefined) found.push(judgeTarget(facts, server));
    const suppressed = suppressedLines(facts);
    if (suppressed > 0) {
      const values = { count: String(suppressed), unit: facts.scope.unit };
      found.push(problem("VG-Z17", values, coverageEvidence(facts)));
    }
    if (server !== undefined && valueIn(server.mounts)?.privateTmp === true) {
      const values = { who: describe(server), path: `/proc/${server.pid}/root/tmp` };
      found.push(problem("VG-Z04", values, [processEvidence(server, "mountinfo", "private mount on /tmp")]));
    }
    if (facts.log.state !== "read") found.push(unknown(`no log was read: ${facts.log.detail}`));
    else if (facts.log.value.coverage === "none" || facts.log.value.servers.length === 0)
      found.push(unknown(emptyLog(facts)));
    else if (!logCovers(facts) && suppressed === 0)
      found.push(unknown(`not all lines were read: ${coverageGap(facts)}`));
    else if (server === undefined) found.push(pass(`the log was read`, coverageEvidence(facts)));
    return found;
  },
};

function judgeTarget(facts: Facts, server: ProcessFacts): Judgement {
  if (server.stderr.state !== "read") {
    return unknown(`where stderr of ${describe(server)} goes could not be read: ${server.stderr.detail}`);
  }
  const target = server.stderr.value;
  const shown = [processEvidence(server, "fd/2", describeTarget(target))];
  switch (target.to) {
    case "null":
      return problem("VG-Z02", { what: `stderr of ${describe(server)} goes to /dev/null: no line is kept` }, shown);
    case "journal":
      return pass("stderr goes to the journal", [...shown, ...coverageEvidence(facts)]);
    case "file":
      return judgeFile(facts, server, target, shown);
    default:
      return info(
        `stderr of ${describe(server)} goes to a ${target.to}: its lines are not kept where they can be read`,
        shown,
      );
  }
}

function judgeFile(
  facts: Facts,
  server: ProcessFacts,
  target: SinkTarget & { to: "file" },
  shown: Judgement["evidence"],
): Judgement {
  const where = `stderr of ${describe(server)} goes to ${target.path}`;
  if (target.deleted) return problem("VG-Z02", { what: `${where}, which was deleted: its lines are lost` }, shown);
  if (target.readable === false) return unknown(`${where}, which may not be read: run as root`, shown);
  const read = (valueIn(facts.log)?.sources ?? []).find((source) => source.kind === "file");
  if (read === undefined) return unknown(`${where}, which was not read`, shown);
  const lines = `${read.entries} lines read, ${read.gaps.length === 0 ? "none missing" : read.gaps.join("; ")}`;
  const what = `${where}, not to the journal; that file was read instead: ${lines}`;
  return problem("VG-Z02", { what }, [...shown, ...coverageEvidence(facts)], "info");
}

function describeTarget(target: SinkTarget): string {
  if (target.to === "file") return target.deleted ? `${target.path} (deleted)` : target.path;
  return "detail" in target ? `${target.to}: ${target.detail}` : target.to;
}

function suppressedLines(facts: Facts): number {
  return (valueIn(facts.log)?.sources ?? []).reduce((sum, source) => sum + source.suppressed, 0);
}

function emptyLog(facts: Facts): string {
  const gaps = (valueIn(facts.log)?.sources ?? []).flatMap((source) => source.gaps);
  return `the log has no line of ${facts.scope.unit}${gaps.length > 0 ? `: ${gaps.join("; ")}` : ""}`;
}
