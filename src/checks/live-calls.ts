import type { Facts } from "../facts/facts.ts";
import type { CallCount, Ledger, TraceFacts } from "../facts/ledger.ts";
import { type CallGroup, callName, formatCallId, isCall } from "../protocol/call-ids.ts";
import { isDriverResult } from "../protocol/status.ts";
import { problem } from "./catalogue.ts";
import type { Check } from "./check.ts";
import { answeredRequests, whyNotRefuted } from "./cpu-fallback.ts";
import { type Evidence, evidence, info, type Judgement, logEvidence, pass, unknown } from "./finding.ts";
import { causeOfResult, mostTelling } from "./host-errors.ts";
import { barMappedBy, describe, processesOf } from "./view.ts";

/** What computes: kernel launches, and the matrix products that the shim hands to the host's cuBLAS. */
export const COMPUTE: readonly CallGroup[] = ["launch", "gemm"];
const COPIES = ["copy-in", "copy-out"] as const;

/**
 * Do launches and copies of the workload come back with 0, as the kernel's own probes see them? The one check whose
 * pass reaches the rung `executing`, and whose failure refutes it. Lines of a log have no part in the proof.
 */
export const liveCalls: Check = {
  name: "live-calls",
  title: "Do launches and copies come back with 0, as the kernel counts them?",
  hop: "mediator",
  after: [],
  causes: ["VG-H06", "VG-X01", "VG-X02", "VG-X03", "VG-X14", "VG-X16", "VG-X17", "VG-O12"],
  judge(facts) {
    const { trace } = facts;
    if (trace.state === "skipped") return [info(`not counted: ${trace.detail}`)];
    if (trace.state !== "read") return [unknown(`calls could not be counted as they happen: ${trace.detail}`)];
    const { ledger } = trace.value;
    if (!isKernels(ledger)) return [unknown("the calls were counted from a log, whose lines can be forged")];
    if (ledger.coverage === "none") {
      return [unknown(`no call could be counted: ${ledger.gaps[0] ?? "no library was probed"}`)];
    }
    const made = trace.value.workload.map((pid) => workOf(pid, ledger));
    const failed = made.flatMap((work) => failures(facts, ledger, work));
    if (failed.length > 0) return failed;
    const proven = made.filter((work) => isWhole(work) && computesOnDevice(facts, work.pid));
    if (proven.length > 0) return proven.map((work) => complete(facts, ledger, work));
    const computing = made.find(({ compute }) => compute.entered > 0);
    return [computing === undefined ? nothingLaunched(facts, trace.value) : notWhole(facts, ledger, computing)];
  },
};

/** Counted by the kernel, not read from lines that anybody may have written. */
export function isKernels({ source }: Ledger): boolean {
  return source === "ebpf" || source === "tracefs";
}

/** Calls of some groups: how many were entered, came back with 0, came back with something else. */
interface Came {
  readonly entered: number;
  readonly ok: number;
  readonly failed: ReadonlyMap<number, number>;
}

interface Work {
  readonly pid: number;
  readonly compute: Came;
  readonly in: Came;
  readonly out: Came;
}

function workOf(pid: number, { calls }: Ledger): Work {
  const own = calls.filter((call) => call.pid === pid);
  const came = (...groups: readonly CallGroup[]) => cameBack(own.filter(({ callId }) => isCall(callId, ...groups)));
  return { pid, compute: came(...COMPUTE), in: came("copy-in"), out: came("copy-out") };
}

function cameBack(calls: readonly CallCount[]): Came {
  const failed = new Map<number, number>();
  let ok = 0;
  for (const [code, count] of calls.flatMap(({ results }) => Object.entries(results ?? {}))) {
    if (Number(code) === 0) ok += count;
    else failed.set(Number(code), (failed.get(Number(code)) ?? 0) + count);
  }
  return { entered: calls.reduce((sum, { count }) => sum + count, 0), ok, failed };
}

/** All that inference is made of came back: data in, compute, data out. */
function isWhole(work: Work): boolean {
  return work.compute.ok > 0 && work.in.ok > 0 && work.out.ok > 0;
}

/** A library of the shim's name can be anything: the process has to have the vGPU itself mapped. */
function computesOnDevice(facts: Facts, pid: number): boolean {
  const process = processesOf(facts).find((one) => one.pid === pid);
  return process !== undefined && barMappedBy(facts, process) !== undefined;
}

function complete(facts: Facts, ledger: Ledger, work: Work): Judgement {
  const text = `${who(facts, work.pid)}: ${counts(work)} came back with 0 in ${secondsOf(ledger)} s`;
  return pass(text, callEvidence(ledger, work.pid));
}

function counts({ compute, in: to, out }: Work): string {
  return `${many(compute.ok, "launch", "launches")}, ${many(to.ok, "copy", "copies")} in and ${many(out.ok, "copy", "copies")} out`;
}

function notWhole(facts: Facts, ledger: Ledger, work: Work): Judgement {
  const shown = callEvidence(ledger, work.pid);
  const { compute, in: to, out } = work;
  const subject = who(facts, work.pid);
  if (compute.ok === 0) {
    return unknown(`${many(compute.entered, "launch", "launches")} of ${subject} began and none came back`, shown);
  }
  if (to.ok === 0 || out.ok === 0) {
    const missing = to.ok === 0 ? "in" : "out";
    return unknown(
      `launches of ${subject} came back with 0, but no copy ${missing} did in these ${secondsOf(ledger)} s: count longer`,
      shown,
    );
  }
  const alive = processesOf(facts).some(({ pid }) => pid === work.pid);
  const why = alive ? "does not have the vGPU's BAR0 mapped" : "had ended before it could be looked at";
  return unknown(`launches of ${subject} came back with 0, but it ${why}`, shown);
}

/** No process of the workload launched anything. Whether that refutes execution depends on whether it was asked to. */
function nothingLaunched(facts: Facts, trace: TraceFacts): Judgement {
  const { ledger } = trace;
  const foreign = [...new Set(ledger.calls.filter(isCompute).map(({ pid }) => pid))];
  const others =
    foreign.length === 0 ? "" : `; those of pid ${foreign.slice(0, 5).join(", ")} are not known to be its own`;
  const requests = answeredRequests(facts, ledger);
  if (requests.length === 0) {
    return info(
      `no launch of the workload in ${secondsOf(ledger)} s${others}, and no request that began and ended in them: send one while it counts`,
    );
  }
  const shown = [
    ...requests.slice(-2).map(({ sample }) => logEvidence(sample)),
    evidence(sourceName(ledger), "no launch", `no call that computes among ${total(ledger.calls)} calls`, ledger.to),
  ];
  const open = whyNotRefuted(facts, trace, requests);
  if (open !== null) {
    return unknown(
      `${many(requests.length, "request", "requests")} answered and no launch of the workload seen, but ${open}`,
      shown,
    );
  }
  const was = requests.length === 1 ? "1 request was" : `${requests.length} requests were`;
  return problem("VG-O12", { requests: was, seconds: secondsOf(ledger), others }, shown);
}

export function isCompute({ callId }: CallCount): boolean {
  return isCall(callId, ...COMPUTE);
}

/** Calls that compute or copy and came back with something else than 0. */
function failures(facts: Facts, ledger: Ledger, { pid, compute, in: to, out }: Work): Judgement[] {
  const failed = new Map<number, number>();
  for (const [code, count] of [compute, to, out].flatMap((came) => [...came.failed]))
    failed.set(code, (failed.get(code) ?? 0) + count);
  const code = mostTelling([...failed.keys()]);
  if (code === undefined) return [];
  const count = String(failed.get(code) ?? 0);
  const shown = callEvidence(ledger, pid);
  const rest = failed.size > 1 ? `; ${failed.size - 1} other results came with it` : "";
  if (isDriverResult(code)) {
    const call = `A launch or copy of ${who(facts, pid)}`;
    return [problem(causeOfResult(code), { call, status: String(code), count, later: rest }, shown)];
  }
  // 999, and 2 of older shims: the transport's own word, which names no cause. The log's lines do.
  const message = `launches or copies of ${who(facts, pid)} came back with ${code} (${count} times)${rest}: the transport failed, its lines in the log say how`;
  return [{ outcome: "fail", cause: null, message, evidence: shown }];
}

/** The calls that matter of one process, a line each. */
function callEvidence(ledger: Ledger, pid: number): Evidence[] {
  return ledger.calls
    .filter((call) => call.pid === pid && isCall(call.callId, ...COMPUTE, ...COPIES))
    .sort((a, b) => b.count - a.count)
    .slice(0, 6)
    .map(({ callId, count, results, lastAt }) => {
      const came = Object.entries(results ?? {}).map(([code, n]) => `${n} with ${code}`);
      const text = `${callName(callId)} ${formatCallId(callId)}: ${count} begun, came back ${came.join(", ") || "none"}`;
      return evidence(sourceName(ledger), `pid ${pid}`, text, lastAt);
    });
}

function sourceName({ source }: Ledger): string {
  return source === "tracefs" ? "kernel probes (tracefs)" : "kernel probes (eBPF)";
}

function who(facts: Facts, pid: number): string {
  const process = processesOf(facts).find((one) => one.pid === pid);
  return process === undefined ? `pid ${pid}` : describe(process);
}

/** Length of the window, for people: "10.0". */
export function secondsOf({ from, to }: Ledger): string {
  return from === null || to === null ? "?" : (Math.max(0, to - from) / 1000).toFixed(1);
}

function total(calls: readonly CallCount[]): number {
  return calls.reduce((sum, { count }) => sum + count, 0);
}

function many(count: number, one: string, more: string): string {
  return `${count} ${count === 1 ? one : more}`;
}
