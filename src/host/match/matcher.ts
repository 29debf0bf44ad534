import { callName, formatCallId, isCall } from "../../protocol/call-ids.ts";
import { TOOL_VERSION } from "../../version.ts";
import { isCorroborated } from "./corroboration.ts";
import { coverageOf, hostWindow, processAbsence, vmAbsence } from "./coverage.ts";
import { criteriaOf } from "./criteria.ts";
import { Effort } from "./effort.ts";
import { culpritsIn, doorbellRequests, firstOf, matchFailures } from "./failures.ts";
import { faultOfOthers } from "./fault-of-others.ts";
import { emptyProcess, type GuestEvidence, type GuestProcess } from "./guest-evidence.ts";
import type { HostState } from "./host-state.ts";
import { type Identified, type IdentityOptions, identify } from "./identity.ts";
import { matchOperations, type Pair } from "./operations.ts";
import { overAll } from "./over-all.ts";
import type { ProcessState } from "./process-state.ts";
import { rejectionsOf } from "./rejections.ts";
import type { MatchOutcome, MatchResult, OperationResult, ProcessResult } from "./result.ts";
import { ceilingOf } from "./rules/r0-epoch.ts";
import type { StubState } from "./stub-log.ts";
import { suspicionsOf } from "./suspicions.ts";
import type { HostWindow } from "./time-buckets.ts";
import { type JudgedProcess, joinedVerdict } from "./verdict.ts";
import type { VmState } from "./vm-state.ts";
import { nobodys, type Unattributed } from "./waiting.ts";
import type { WindowCounts } from "./window-counts.ts";

export interface MatchOptions {
  /** The device model's log of this VM, where there is one. */
  readonly stub?: StubState | null;
  /** Called with every single match: for whoever needs more than counts. */
  readonly onPair?: (process: GuestProcess, pair: Pair) => void;
  /** How much may be compared; a bound that only evidence made to be expensive meets is set otherwise. */
  readonly effort?: Effort;
}

interface Found {
  readonly guest: GuestProcess;
  readonly identified: Identified;
  readonly result: ProcessResult;
  /** The process's counts are of a window of its life. */
  readonly inWindow: WindowCounts | null;
}

/**
 * What a guest's evidence and the host's log say together, of the one VM `vmId`. Nothing is changed: the same state can
 * be asked for every VM, again and again, while the log goes on. The guest's own word on its VM id counts for nothing:
 * who receives evidence over a network passes the id that the sender's token is bound to.
 */
export function match(
  evidence: GuestEvidence,
  vmId: number,
  host: HostState,
  options: MatchOptions = {},
): MatchOutcome {
  const stub = options.stub ?? null;
  const vm = host.vm(vmId);
  const window = hostWindow(evidence, host);
  const doorbells = doorbellRequests(stub, vm);
  const unattributed = vm?.unattributed ?? nobodys();
  const effort = options.effort ?? new Effort();
  const selections: IdentityOptions["selections"] = new Map();
  const found = evidence.processes.map((guest) =>
    matchProcess(guest, evidence, {
      vmId,
      vm,
      host,
      window,
      stub,
      doorbells,
      unattributed,
      effort,
      selections,
      options,
    }),
  );
  const results = found.map(({ result }) => result);
  const operations = overAll(results) ?? noProcess(evidence, vm, host);
  const absence = vmAbsence(evidence, vm, host, window);
  const processes = found.flatMap(({ identified }) => identified.process ?? []);
  const otherFault = faultOfOthers(vm, processes, host, window);
  const suspicions = suspicionsOf({ evidence, found, vm, host, stub, otherFault });
  const corroborated = overAll(results.filter(isCorroborated));
  const result: MatchResult = {
    schema: "vgpu-agent/match/1",
    tool_version: TOOL_VERSION,
    vm_id: vmId,
    boot_id: evidence.boot_id,
    window: evidence.window,
    host: coverageOf(evidence, vm, host, absence),
    processes: results,
    operations,
    rejections: rejectionsOf(evidence, vm, host, window),
    suspicions,
    other_host_processes: othersOf(vm, processes),
    verdict: joinedVerdict({
      processes: found.map(judged),
      answered: evidence.requests.filter((request) => isComputed(request, evidence)).length,
      absence: absence.proven ? { proven: true, why: absence.by } : { proven: false, why: absence.why },
      workOfVm: vm === undefined ? 0 : window === null ? vm.work : vm.workBetween(window),
      isShared: vm?.isShared ?? false,
      otherFault,
      isInLog: vm !== undefined,
    }),
    criteria: criteriaOf({
      evidence,
      operations: corroborated ?? operations,
      suspicions,
      isDoubtful: corroborated === null && results.length > 0,
    }),
  };
  return {
    result,
    forOperator: {
      culprits: culpritsIn(processes, otherFault),
      duplicateDomains: vm?.isShared === true ? vm.domains : [],
    },
  };
}

/** A request that only loads or unloads what is there is answered at once, and asks for no computation. */
const SHORTEST_MS = 200;

/** In the window from its beginning: work for it may have been done before the window otherwise. */
function isComputed(
  { at, status, duration_ms: duration }: GuestEvidence["requests"][number],
  { window: { from } }: GuestEvidence,
): boolean {
  if (status < 200 || status >= 300 || duration === null || duration < SHORTEST_MS) return false;
  return at === null || from === null || at - duration >= from;
}

function judged({ result, identified: { process }, inWindow }: Found): JudgedProcess {
  return {
    result,
    lastGoodLaunch: process?.lastGoodLaunch ?? -1,
    window: process === null || inWindow === null ? null : { startsInLog: startsInLog(process) },
  };
}

const startsInLog = ({ inits, firstRequest }: ProcessState): boolean => inits[0] === firstRequest;

interface Context {
  readonly vmId: number;
  readonly vm: VmState | undefined;
  readonly host: HostState;
  readonly window: HostWindow | null;
  readonly stub: StubState | null;
  readonly doorbells: ReadonlyMap<string, number | null>;
  readonly unattributed: Unattributed;
  readonly effort: Effort;
  readonly selections: IdentityOptions["selections"];
  readonly options: MatchOptions;
}

function matchProcess(guest: GuestProcess, evidence: GuestEvidence, context: Context): Found {
  const { vmId, vm, host, window, stub, unattributed, effort, selections, options } = context;
  const flags = host.flags(vm?.epochs ?? []);
  const ceiling = ceilingOf(flags);
  const identified = identify(guest, vm, {
    ceiling,
    hasOwner: flags.hasOwner,
    guestProcesses: evidence.processes,
    window,
    effort,
    selections,
  });
  const process = identified.process;
  const absence = processAbsence(guest, evidence, identified, vm, host, window);
  const inWindow = process === null || window === null ? null : countsIn(window, process, unattributed, guest);
  const { operations, pairs } = matchOperations({
    guest,
    identified,
    absence,
    whole: identified.confidence.level === "EXACT" && isWhole(guest, process, vm, host),
    // Nothing of it is exact while it may be another one.
    ceiling: process !== null && process.pid !== null && vm?.lost.has(process.pid, window) ? "STRONG" : ceiling,
    inWindow,
    unattributed: unattributed.totals,
  });
  for (const pair of pairs) options.onPair?.(guest, pair);
  const failures = matchFailures({
    vmId,
    guest,
    identified,
    stub,
    doorbells: context.doorbells,
    isAbsenceProven: absence.proven,
    window: inWindow === null ? null : window,
    wentOn: (from, to) => wentOn(host, evidence, from, to),
  });
  // By call id only the process's whole life is kept: nothing of a window.
  const rows = callRows(guest, inWindow === null ? process : null);
  const result: ProcessResult = {
    pid: guest.pid,
    counted_by: isUnknown(guest) ? "none" : guest.counted_by,
    identity: identified.confidence,
    requests:
      process === null || process.firstRequest < 0
        ? null
        : { first: process.firstRequest, last: process.lastRequest, records: process.records },
    data_path: guest.data_path,
    operations,
    calls: rows,
    failures,
    first_failure: firstOf(failures),
    unmatched_guest:
      absence.proven && inWindow === null
        ? rows.filter(({ guest: ours, host: theirs }) => (ours ?? 0) > (theirs ?? 0))
        : [],
    unmatched_host:
      guest.coverage === "full" && inWindow === null
        ? rows.filter(({ guest: ours, host: theirs }) => (theirs ?? 0) > (ours ?? 0) && !isCopyRow(ours))
        : [],
    latency: latencyOf(guest),
  };
  return { guest, identified, result, inWindow };
}

/** The guest's moments on the host's clock, as far as they were compared. */
function wentOn(host: HostState, { clock_offset_ms: offset }: GuestEvidence, from: number, to: number): boolean | null {
  return offset === null ? null : host.wentOn(from - offset, to - offset);
}

/** The guest told nothing of it: the host's log stands alone. */
const isUnknown = ({ first_at, coverage, calls, allocations, copies_in, failures, data_path }: GuestProcess): boolean =>
  first_at === null &&
  coverage === "none" &&
  data_path === null &&
  calls.length + allocations.length + copies_in.length + failures.length === 0;

/** Copies are counted once in the guest and by chunk on the host: their operations say what is missing. */
const isCopyRow = (ours: number | null): boolean => ours !== null && ours > 0;

/** R3's condition beside a sure process: both sides begin with it, and nothing of it is missing on either. */
function isWhole(guest: GuestProcess, process: ProcessState | null, vm: VmState | undefined, host: HostState): boolean {
  if (process === null || vm === undefined || guest.cut.allocations) return false;
  return (
    startsInLog(process) && host.flags(process.epochs).hasTerminator && process.sound && !vm.lacksAllocations(process)
  );
}

/** What was done in the window; null when it is all that the process did, or nobody knows what was when. */
function countsIn(
  window: HostWindow,
  process: ProcessState,
  { times }: Unattributed,
  { counted_by }: GuestProcess,
): WindowCounts | null {
  // Lines tell of the process's life, wherever the clocks put its ends; the kernel's counts end with the window.
  if (counted_by !== "kernel" && liesWithin(process, window)) return null;
  const bounds = process.buckets.between(window);
  const others = times.between(window);
  if (bounds === null || others === null) return null;
  return { bounds, before: process.buckets.before(window.innerTo), nobodys: others.most };
}

function liesWithin({ firstAt, lastAt }: ProcessState, { from, to }: HostWindow): boolean {
  return (
    firstAt !== null && lastAt !== null && (firstAt.notBefore ?? firstAt.notAfter) >= from && lastAt.notAfter <= to
  );
}

function callRows(guest: GuestProcess, process: ProcessState | null): ProcessResult["calls"] {
  const ids = new Set([...guest.calls.map(({ call_id }) => call_id), ...(process?.calls.keys() ?? [])]);
  return [...ids]
    .sort((a, b) => a - b)
    .map((id) => ({
      call_id: formatCallId(id),
      name: callName(id),
      guest: guest.counted_by === "lines" ? null : (guest.calls.find(({ call_id }) => call_id === id)?.count ?? 0),
      host: process === null ? null : (process.calls.get(id)?.count ?? 0),
    }));
}

/** Round trips whose two ends the guest's own lines time: the host's log has no times of single calls. */
function latencyOf({ sequence }: GuestProcess): ProcessResult["latency"] {
  const spans = sequence.flatMap(({ at, answered_at }) =>
    at === null || answered_at === null ? [] : [answered_at - at],
  );
  if (spans.length === 0) return null;
  return {
    calls: spans.length,
    least_ms: spans.reduce((least, span) => Math.min(least, span), Number.POSITIVE_INFINITY),
    most_ms: spans.reduce((most, span) => Math.max(most, span), 0),
    what: "between the guest's lines of sending and of receiving; other VMs' calls in between are in it",
  };
}

/** The guest names no process: what the host did for the VM stands alone. */
function noProcess(evidence: GuestEvidence, vm: VmState | undefined, host: HostState): OperationResult[] {
  const flags = host.flags(vm?.epochs ?? []);
  const alone = emptyProcess(null);
  const identified = identify(alone, vm, {
    ceiling: ceilingOf(flags),
    hasOwner: flags.hasOwner,
    guestProcesses: [alone],
    window: null,
    effort: new Effort(),
    selections: new Map(),
  });
  const absence = vmAbsence(evidence, vm, host, hostWindow(evidence, host));
  return matchOperations({
    guest: alone,
    identified,
    absence,
    whole: false,
    ceiling: "STRONG",
    inWindow: null,
    unattributed: vm?.unattributed.totals ?? new Map(),
  }).operations;
}

function othersOf(vm: VmState | undefined, matched: readonly ProcessState[]): MatchResult["other_host_processes"] {
  // All together were matched.
  if (matched.some(({ pid }) => pid === null)) return [];
  return (vm?.processes ?? [])
    .filter((process) => !matched.includes(process) && [...process.calls.keys()].some((id) => !isCall(id, "cleanup")))
    .map(({ pid, records, firstRequest, lastRequest }) => ({
      pid,
      records,
      first_request: firstRequest,
      last_request: lastRequest,
    }));
}
