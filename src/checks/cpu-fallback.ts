import type { Facts } from "../facts/facts.ts";
import type { CallCount, Ledger, TraceFacts } from "../facts/ledger.ts";
import type { RequestSeen } from "../facts/log.ts";
import { valueIn } from "../facts/reading.ts";
import { callOf, formatCallId, isCall } from "../protocol/call-ids.ts";
import { barMappedBy, currentLife, describe, driverShimsOf, processesOf } from "./view.ts";

/*
 * When "a request was answered and nothing was launched" refutes that the GPU was used. Every way in which a launch
 * could have been missed, or in which no launch was needed, stands against it.
 */

/** journald may be late with a line by this much, milliseconds. */
const JOURNAL_LATE_MS = 250;
/** A plain file has the server's own time, in whole seconds. */
const WHOLE_SECOND_MS = 1000;
/** Gin cuts durations beyond a minute to whole seconds. */
const CUT_FROM_MS = 60_000;
/** A request that only loads or unloads what is there is answered at once: it asks for no computation. */
const SHORTEST_MS = 200;

/** Requests that were answered well, and both began and ended while every call was counted. */
export function answeredRequests(facts: Facts, { from, to }: Ledger): RequestSeen[] {
  const life = valueIn(currentLife(facts));
  if (life === undefined || from === null || to === null) return [];
  return life.requests.filter(({ status, durationMs, sample }) => {
    if (status < 200 || status >= 300 || durationMs === null || sample.at === null) return false;
    const vague = sample.locator.startsWith("/") ? WHOLE_SECOND_MS : JOURNAL_LATE_MS;
    const longest = durationMs + (durationMs >= CUT_FROM_MS ? WHOLE_SECOND_MS : 0);
    return sample.at - longest - vague >= from && sample.at + vague <= to;
  });
}

/** What stands against the refutation, in words; null when nothing does. */
export function whyNotRefuted(facts: Facts, trace: TraceFacts, requests: readonly RequestSeen[]): string | null {
  const { ledger, workload, others } = trace;
  if (ledger.coverage !== "full") return `the count is not whole: ${ledger.gaps[0] ?? "calls may be missing"}`;
  if (facts.workload.state !== "read") return `the workload's processes are not known: ${facts.workload.detail}`;
  if (workload.length === 0) return "no process is known to be the workload's";
  const uncovered = uncoveredProcess(facts, trace);
  if (uncovered !== null) return uncovered;
  // The probes see every process of the machine: one that no list has is told by the calls that it makes.
  const possible = ledger.calls.filter(({ pid, count }) => count > 0 && !others.includes(pid));
  const launched = possible.find(({ callId }) => isCall(callId, "launch", "gemm"));
  if (launched !== undefined) return `pid ${launched.pid}, which had ended, launched kernels and may have been its own`;
  return whyNoLaunchNeeded(possible, requests);
}

/** A process of the workload that could make calls where nothing counts them. */
function uncoveredProcess(facts: Facts, { ledger, workload }: TraceFacts): string | null {
  const probed = new Set(ledger.processes.filter(({ libraries }) => libraries.length > 0).map(({ pid }) => pid));
  for (const process of processesOf(facts).filter(({ pid }) => workload.includes(pid))) {
    if (process.maps.state !== "read") return `the mappings of ${describe(process)} could not be read`;
    const uses = barMappedBy(facts, process) !== undefined || driverShimsOf(process).length > 0;
    if (uses && !probed.has(process.pid))
      return `${describe(process)} uses the device through a library without a probe`;
  }
  return null;
}

function whyNoLaunchNeeded(calls: readonly CallCount[], requests: readonly RequestSeen[]): string | null {
  const strange = calls.find(({ callId }) => callOf(callId) === undefined);
  if (strange !== undefined)
    return `calls of the unknown id ${formatCallId(strange.callId)} were made, which may compute`;
  if (calls.some(({ callId }) => isCall(callId, "copy-in", "alloc"))) {
    return "data was copied to the device: the request may only have loaded a model";
  }
  if (requests.every(({ durationMs }) => (durationMs ?? 0) < SHORTEST_MS)) {
    return "they took less than 0.2 s: they may only have loaded or unloaded a model";
  }
  return null;
}
