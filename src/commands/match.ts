import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { emptyProcess, type GuestEvidence, noEvidence } from "../host/match/guest-evidence.ts";
import { LIMITS } from "../host/match/guest-limits.ts";
import type { HostState } from "../host/match/host-state.ts";
import type { MatchOutcome, MatchResult } from "../host/match/result.ts";
import { StubState } from "../host/match/stub-log.ts";
import { startBulk } from "../host/mediator-log/bulk-start.ts";
import { CannotMatch, unreadable } from "./cannot-match.ts";
import type { HostLog } from "./match-host.ts";
import type { Progress } from "./progress.ts";

export interface MatchCommandOptions {
  /** A path, or "-" for standard input. */
  readonly mediatorLog: string;
  /** Reads what the guest tells; null: it tells nothing. */
  readonly guest: (() => Promise<GuestEvidence | null>) | null;
  readonly stubLog: string | null;
  readonly vm: number | null;
  readonly json: boolean;
  readonly width: number;
  readonly ascii: boolean;
  readonly progress: Progress;
  /** Standard input, for "-". */
  readonly input: () => Readable;
  readonly now: () => number;
}

const LONGEST_STUB_LINE = 4096;

/**
 * Matches a guest's evidence with the mediator's log. Reads both to their ends; what is read of a pipe when Ctrl-C ends
 * it counts. Throws CannotMatch for what cannot be read.
 */
export async function matchCommand(
  options: MatchCommandOptions,
): Promise<{ readonly text: string; readonly exitCode: number }> {
  await using log = await openHostLog(options.mediatorLog);
  // What reads it and what comes then is loaded while another program goes over the log.
  const { readHost, match, renderMatch } = await import("./match-host.ts");
  const host = await readHost(log, options);
  const evidence = options.guest === null ? null : await options.guest();
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

/** Null: standard input. */
async function openHostLog(path: string): Promise<(HostLog & AsyncDisposable) | null> {
  if (path === "-") return null;
  try {
    const file = await open(path);
    const started = await startBulk(file);
    const dispose = async (): Promise<void> => {
      started?.scan.end();
      await file.close();
    };
    return { path, file, started, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    throw unreadable(path, error);
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
