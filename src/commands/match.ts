import { createReadStream } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { addAbortSignal, type Readable } from "node:stream";
import { evidenceOfLogs, evidenceOfReport, noEvidence } from "../host/match/evidence.ts";
import { emptyProcess, type GuestEvidence } from "../host/match/guest-evidence.ts";
import { LIMITS } from "../host/match/guest-evidence-schema.ts";
import { HostState } from "../host/match/host-state.ts";
import { match } from "../host/match/matcher.ts";
import type { MatchOutcome, MatchResult } from "../host/match/result.ts";
import { StubState } from "../host/match/stub-log.ts";
import { renderMatch } from "../host/match/table.ts";
import { readMediatorLog, readMediatorStream } from "../host/mediator-log/read.ts";
import type { MediatorEvent } from "../protocol/mediator-events.ts";
import { reportSchema } from "../report/report.ts";
import { givenSources } from "../sensors/logs.ts";
import type { Progress } from "./progress.ts";

export interface MatchCommandOptions {
  /** A path, or "-" for standard input. */
  readonly mediatorLog: string;
  readonly guestLog: string | null;
  readonly journal: string | null;
  readonly report: string | null;
  readonly stubLog: string | null;
  readonly unit: string;
  readonly vm: number | null;
  readonly json: boolean;
  readonly width: number;
  readonly ascii: boolean;
  readonly progress: Progress;
  /** Standard input, for "-". */
  readonly input: Readable;
  readonly now: () => number;
}

/** What was given cannot be matched: the text says what to give instead. */
export class CannotMatch extends Error {}

/** A report is at most a few megabytes; more is not one. */
const LONGEST_REPORT = 64 * 1024 * 1024;
const LONGEST_STUB_LINE = 4096;
/** Events between two looks at the progress line. */
const EVENTS_A_LOOK = 50_000;

/**
 * Matches a guest's evidence with the mediator's log. Reads both to their ends; what is read of a pipe when Ctrl-C ends
 * it counts. Throws CannotMatch for what cannot be read.
 */
export async function matchCommand(
  options: MatchCommandOptions,
): Promise<{ readonly text: string; readonly exitCode: number }> {
  const host = await readHost(options);
  const evidence = await guestEvidence(options);
  const vmIds = vmsToMatch(options, host, evidence);
  const outcomes: MatchOutcome[] = [];
  for (const vmId of vmIds) {
    const stub = options.stubLog === null ? null : await readStub(options.stubLog, vmId);
    outcomes.push(match(evidence ?? hostAlone(vmId, host), vmId, host, { stub }));
  }
  const text = options.json
    ? outcomes.map(({ result }) => `${JSON.stringify(result)}\n`).join("")
    : outcomes.map((outcome) => renderMatch(outcome, options)).join("\n");
  return { text, exitCode: worstOf(outcomes.map(({ result }) => exitCodeOf(result))) };
}

async function readHost({ mediatorLog, progress, input, now }: MatchCommandOptions): Promise<HostState> {
  const host = new HostState();
  const total = mediatorLog === "-" ? null : ((await stat(mediatorLog).catch(() => null))?.size ?? null);
  let since = 0;
  const onEvent = (event: MediatorEvent): void => {
    host.add(event);
    since += 1;
    if (since < EVENTS_A_LOOK) return;
    since = 0;
    progress.show(
      total === null || total === 0
        ? `${event.end} bytes`
        : `${Math.floor((event.end / total) * 100)} % of the mediator's log`,
    );
  };
  if (mediatorLog === "-") {
    await progress.interruptible(async (signal) => {
      await readMediatorStream(addAbortSignal(signal, input), onEvent, { now, signal }).catch((error: unknown) => {
        if (!signal.aborted) throw unreadable("standard input", error);
      });
    });
  } else {
    await readMediatorLog(mediatorLog, onEvent).catch((error: unknown) => {
      throw unreadable(mediatorLog, error);
    });
  }
  if (host.events === 0)
    throw new CannotMatch(
      `${mediatorLog === "-" ? "standard input" : mediatorLog} is no mediator's log: it has no line of one`,
    );
  return host;
}

async function guestEvidence({ guestLog, journal, report, unit }: MatchCommandOptions): Promise<GuestEvidence | null> {
  if (report !== null) return evidenceOfReport(await readReport(report));
  const given = { journal, log: guestLog, unit, since: null, until: null };
  const sources = await givenSources(given, new AbortController().signal);
  if (sources === null) return null;
  const evidence = await evidenceOfLogs(sources);
  if (evidence.window.from === null && evidence.processes.length === 0 && evidence.gaps.length > 0) {
    throw new CannotMatch(`nothing of the guest could be read: ${evidence.gaps[0]}`);
  }
  return evidence;
}

async function readReport(path: string) {
  const file = await open(path, "r").catch((error: unknown) => {
    throw unreadable(path, error);
  });
  const { size } = await file.stat();
  await file.close();
  if (size > LONGEST_REPORT) throw new CannotMatch(`${path} is too large for a report`);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw unreadable(path, error);
  });
  const parsed = reportSchema.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new CannotMatch(
    `${path} is no report of vgpu-agent doctor --json: ${issue?.path.join(".") || "document"}: ${issue?.message ?? ""}`,
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readStub(path: string, vmId: number): Promise<StubState> {
  const stub = new StubState(vmId);
  let start = "";
  try {
    for await (const piece of createReadStream(path, "latin1")) {
      const lines = `${start}${String(piece)}`.split("\n");
      // What does not end yet is kept as far as any line is read: a file without newlines takes no memory.
      start = (lines.pop() ?? "").slice(0, LONGEST_STUB_LINE);
      for (const line of lines) stub.add(line);
    }
    stub.add(start);
  } catch (error) {
    throw unreadable(path, error);
  }
  return stub;
}

function vmsToMatch({ vm, json }: MatchCommandOptions, host: HostState, evidence: GuestEvidence | null): number[] {
  const known = host.vms.map(({ vmId }) => vmId).sort((a, b) => a - b);
  const chosen = vm ?? evidence?.vm_id ?? null;
  if (chosen !== null) return [chosen];
  if (known.length === 1 || (evidence === null && !json && known.length > 0)) return known;
  const which =
    known.length === 0 ? "the mediator's log has no call of any VM" : `it has the VMs ${known.slice(0, 20).join(", ")}`;
  throw new CannotMatch(`which VM is meant is not known (${which}): say --vm N`);
}

/** Without a guest's evidence: the processes that the host names, of which nothing else is known. */
function hostAlone(vmId: number, host: HostState): GuestEvidence {
  const pids = new Set((host.vm(vmId)?.processes ?? []).flatMap(({ pid }) => pid ?? []));
  return { ...noEvidence(vmId), processes: [...pids].slice(-LIMITS.processes).map((pid) => emptyProcess(pid)) };
}

/** 0 executing, 4 executing with failures or doubts, 3 refuted or broken, 1 nothing can be said. */
export function exitCodeOf({ verdict, suspicions, processes }: MatchResult): 0 | 1 | 3 | 4 {
  if (verdict.state === "refuted" || verdict.cause !== null) return 3;
  if (verdict.state === "not known") return 1;
  return suspicions.length > 0 || processes.some(({ first_failure }) => first_failure !== null) ? 4 : 0;
}

/** Worst first. */
const CODES = [3, 1, 4, 0] as const;

function worstOf(codes: readonly number[]): number {
  return CODES.find((code) => codes.includes(code)) ?? 1;
}

function unreadable(path: string, error: unknown): CannotMatch {
  return new CannotMatch(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
}
