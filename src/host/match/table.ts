import { bytesOf, grouped, RANGE_NOTE, rangeOf, spanOf } from "../../report/quantities.ts";
import { visible, visibleAscii, wrap } from "../../report/text.ts";
import type { Culprit, MatchOutcome, MatchResult, OperationResult, ProcessResult, Side } from "./result.ts";
import { originText } from "./verdict.ts";

export interface MatchTableOptions {
  readonly width: number;
  readonly ascii: boolean;
}

const NAMES: Readonly<Record<string, string>> = {
  alloc: "alloc",
  "copy-in": "copy in",
  launch: "launch, GEMM",
  "copy-out": "copy out",
};
const LAYERS: Readonly<Record<string, string>> = { gpu: "GPU", unknown: "unknown layer" };
const HEADLINES = { executing: "EXECUTING", refuted: "REFUTED", "not known": "NOT KNOWN" } as const;
const NAME_COLUMNS = 14;
const SIDE_COLUMNS = 22;
const LEVEL_COLUMNS = 16;
const MOST_PROCESSES = 16;
const MOST_OTHERS = 8;

/** Guest and host side by side, the six criteria, and the joined verdict: for people. */
export function renderMatch({ result, forOperator }: MatchOutcome, { width, ascii }: MatchTableOptions): string {
  const shown = result.processes.slice(0, MOST_PROCESSES);
  const left = result.processes.length - shown.length;
  const lines = [
    ...folded(headOf(result), "  ", width, ""),
    ...shown.flatMap((process) => ["", ...processLines(process, width)]),
    ...(left > 0 ? ["", `  … and ${left} more processes: --json has them`] : []),
    ...(result.processes.length === 0 ? ["", ...operationTable(result.operations, width)] : []),
    ...(hasRange(result) ? ["", ...folded(RANGE_NOTE, "    ", width, "  ")] : []),
    ...otherLines(result, width),
    "",
    ...verdictLines(result, width),
    ...culpritLines(forOperator.culprits, result.vm_id, width),
    ...domainLines(forOperator.duplicateDomains, result.vm_id, width),
    ...result.suspicions.flatMap(({ what, text }) => folded(`! ${what}: ${text}`, "    ", width)),
    "",
    "  The six criteria",
    ...result.criteria.flatMap(({ answer, text, reason }) =>
      folded(`${text}: ${reason}`, " ".repeat(15), width, `    ${answer.padEnd(11)}`),
    ),
  ];
  const safe = ascii ? visibleAscii : visible;
  return `${lines.map(safe).join("\n")}\n`;
}

function headOf({ vm_id, host }: MatchResult): string {
  const missing = host.missing_requests > 0 ? `, ${grouped(host.missing_requests)} request ids without a record` : "";
  const restarts = host.restarts > 0 ? `, the mediator restarted ${host.restarts} times` : "";
  const why = host.coverage === "full" ? host.proof : host.reasons.join("; ");
  return `vm ${vm_id} · ${grouped(host.calls)} calls in the mediator's log${missing}${restarts} · coverage ${host.coverage}${why === "" ? "" : `: ${why}`}`;
}

function processLines(process: ProcessResult, width: number): string[] {
  const { pid, requests, identity, data_path, latency, first_failure: failure, failures } = process;
  const where =
    requests === null ? "no records" : `requests ${requests.first}–${requests.last} (${grouped(requests.records)})`;
  const path = data_path === null ? "" : ` · ${data_path}`;
  const time =
    latency === null
      ? ""
      : ` · round trips ${spanOf((latency.least_ms ?? 0) * 1000)} to ${spanOf((latency.most_ms ?? 0) * 1000)}`;
  const head = `process ${pid ?? "(all together)"} · ${where}${path}${time} · ${levelText(identity)}: ${identity.reason}`;
  const first =
    failure === null
      ? []
      : folded(
          `first failure: ${failure.name}${failure.request_id === null ? "" : ` (request ${failure.request_id})`} ${failure.error}, made in the ${LAYERS[failure.layer] ?? failure.layer}, seen by ${failure.seen_by}${originText(failure)}${failures.length > 1 ? `; ${failures.length - 1} other kinds after it` : ""}`,
          "      ",
          width,
          "    ",
        );
  return [...folded(head, "    ", width, "  "), ...operationTable(process.operations, width), ...first];
}

function operationTable(operations: readonly OperationResult[], width: number): string[] {
  const head = `    ${"".padEnd(NAME_COLUMNS)}${"guest".padEnd(SIDE_COLUMNS)}${"host".padEnd(SIDE_COLUMNS)}`;
  const indent = " ".repeat(4 + NAME_COLUMNS + 2 * SIDE_COLUMNS + LEVEL_COLUMNS);
  return [
    head.trimEnd(),
    ...operations.flatMap(({ operation, guest, host, confidence }) => {
      const start = `    ${(NAMES[operation] ?? operation).padEnd(NAME_COLUMNS)}${sideText(guest).padEnd(SIDE_COLUMNS - 2)}  ${sideText(host).padEnd(SIDE_COLUMNS - 2)}  ${levelText(confidence).padEnd(LEVEL_COLUMNS)}`;
      const room = width - start.length;
      if (room < 24) return [start.trimEnd(), ...folded(confidence.reason, "        ", width, "        ")];
      const [first = "", ...rest] = wrap(confidence.reason, room);
      return [`${start}${first}`.trimEnd(), ...rest.map((line) => `${indent}${line}`)];
    }),
  ];
}

/** "3 48KiB, 1 failed", "2–3 32–48KiB, 0–1 failed" where the host's are a range; "?" for a side that cannot tell. */
function sideText(side: Side | null): string {
  if (side === null) return "?";
  const least = side.least ?? side;
  const bytes = side.bytes === null || side.bytes === 0 ? "" : ` ${rangeOf(least.bytes ?? 0, side.bytes, bytesOf)}`;
  const failed = side.failed === null || side.failed === 0 ? "" : `, ${rangeOf(least.failed ?? 0, side.failed)} failed`;
  return `${rangeOf(least.count, side.count)}${bytes}${failed}`;
}

const hasRange = ({ operations }: MatchResult): boolean =>
  operations.some(({ host }) => (host?.least ?? null) !== null);

function levelText({ level, candidates }: OperationResult["confidence"]): string {
  return level === "AMBIGUOUS" && candidates !== null ? `${level}(${candidates})` : level;
}

function otherLines({ other_host_processes: others }: MatchResult, width: number): string[] {
  if (others.length === 0) return [];
  const shown = others.slice(0, MOST_OTHERS).map(({ pid, records }) => `${pid ?? "?"} (${grouped(records)} records)`);
  const left = others.length - shown.length;
  const more = left > 0 ? `, and ${left} more` : "";
  return [
    "",
    ...folded(`Also on the host, and not in the guest's evidence: ${shown.join(", ")}${more}`, "    ", width, "  "),
  ];
}

function verdictLines({ verdict, rejections }: MatchResult, width: number): string[] {
  const { state, statement, first_broken_hop: hop, cause, next } = verdict;
  const broken = hop === null ? [] : [`  First broken hop: ${hop}${cause === null ? "" : ` (${cause})`}`];
  return [
    ...folded(`${HEADLINES[state]} — ${statement}`, "    ", width, "  "),
    ...broken,
    ...refusedLines(rejections),
    ...next.flatMap((text) => folded(`Next: ${text}`, "    ", width, "  ")),
  ];
}

function refusedLines({ scope, host, host_least: least, reason }: MatchResult["rejections"]): string[] {
  if (host === null || host === 0) return [];
  const where = scope === "window" ? "in the window" : "over the whole log";
  return [`  Refused calls ${where}: ${rangeOf(least ?? host, host)} (${reason ?? "?"})`];
}

/** For the host's operator alone: whose fault it was. */
function culpritLines(culprits: readonly Culprit[], vmId: number, width: number): string[] {
  const others = culprits.filter((culprit) => culprit.vmId !== vmId);
  return others.flatMap(({ vmId: of, pid, requestId, fault, place }) =>
    folded(
      `Host only: vm ${of}${pid === null ? "" : `, process ${pid}`}, request ${requestId ?? "?"}: ${fault} (byte ${place.at} of the log)`,
      "    ",
      width,
      "  ",
    ),
  );
}

/** For the host's operator alone: which domains speak with one VM id. */
function domainLines(domains: readonly number[], vmId: number, width: number): string[] {
  if (domains.length < 2) return [];
  return folded(`Host only: the domains ${domains.join(", ")} connected as vm ${vmId}`, "    ", width, "  ");
}

function folded(text: string, indent: string, width: number, firstIndent = indent): string[] {
  const [first = "", ...rest] = wrap(text, Math.max(30, width - indent.length));
  return [`${firstIndent}${first}`, ...rest.map((line) => `${indent}${line}`)];
}
