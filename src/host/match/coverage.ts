import type { GuestEvidence, GuestProcess } from "./guest-evidence.ts";
import type { HostState } from "./host-state.ts";
import type { Identified } from "./identity.ts";
import type { ProcessState } from "./process-state.ts";
import type { HostCoverage } from "./result.ts";
import { showsRejections } from "./rules/r0-epoch.ts";
import { type Absence, absenceOf } from "./rules/r9-absence.ts";
import type { HostWindow } from "./time-buckets.ts";
import type { VmState } from "./vm-state.ts";

/** A call is back in the guest a moment before its line can be read on the host: 4 ms on a real H100, and then some. */
const LINE_DELAY_MS = 50;

const NO_TIMES = "a log without times need not cover the window";
const WHOLE_LIFE = "the process is in the log from its first connection to its clean-up";
const CLEANUP = 0xfe;

/** The guest's window on the host's clock, wider and narrower by what the clocks may differ; null where nobody knows. */
export function hostWindow(
  { window, clock_offset_ms: offset, clock_error_ms: error }: GuestEvidence,
  host: HostState,
): HostWindow | null {
  if (!host.hasTimes || window.from === null || window.to === null || offset === null || error === null) return null;
  const [from, to] = [window.from - offset, window.to - offset];
  // Lines come late, never early.
  return {
    from: from - error,
    to: to + error + LINE_DELAY_MS,
    innerFrom: from + error + LINE_DELAY_MS,
    innerTo: to - error,
  };
}

/** R9 for one process: whether a call of it that has no record did not reach the host. */
export function processAbsence(
  guest: GuestProcess,
  evidence: GuestEvidence,
  { process, confidence }: Identified,
  vm: VmState | undefined,
  host: HostState,
  window: HostWindow | null,
): Absence {
  const isExact = confidence.level === "EXACT";
  if (process === null) {
    const why = whyNotNamed(guest, evidence, vm, host, window);
    if (why !== null) return { proven: false, why };
  }
  // A pid alone may be that of two processes, of which the log has lost one.
  const life = isExact && lifeIsWhole(process) ? process : null;
  const from = life?.firstRequest ?? vm?.firstRequest ?? 0;
  const to = life?.lastRequest ?? vm?.lastRequest ?? 0;
  return absenceOf({
    hasTerminator: host.flags(process?.epochs ?? vm?.epochs ?? []).hasTerminator,
    missing: missingBetween(vm, host, from, to),
    unframed: vm?.unframed.items.length ?? 0,
    watched: isWatched(host, window),
    bracketedBy:
      vm === undefined || vm.isShared
        ? null
        : bracketOf(window === null || isExact ? process : null, guest, evidence, vm),
    whyNot: whyNotWatched(host, window),
  });
}

/** No record names the process: why that need not mean that it has none. */
function whyNotNamed(
  { pid }: GuestProcess,
  { processes }: GuestEvidence,
  vm: VmState | undefined,
  host: HostState,
  window: HostWindow | null,
): string | null {
  if (vm === undefined) return host.vmsDropped > 0 ? `${host.vmsDropped} VMs of the log are no longer held` : null;
  if (vm.processesDropped > 0) return `${vm.processesDropped} old processes of the log are no longer held`;
  const isNear = window === null ? () => true : isIn(window);
  if (pid !== null && vm.processesOf(pid).some(isNear)) return "another process of this VM had its pid";
  const told = new Set(processes.map(({ pid }) => pid));
  const strangers = vm.processes.filter((other) => !told.has(other.pid) && isNear(other));
  return strangers.length === 0
    ? null
    : `the host served ${strangers.length} processes of this VM that the guest does not tell of, and a process in a container has another pid there`;
}

/** A process with records that may lie in a span, on the host's clock. */
export const isIn =
  (span: { readonly from: number; readonly to: number }) =>
  ({ firstAt, lastAt }: ProcessState): boolean => {
    if (firstAt === null || lastAt === null) return true;
    return (firstAt.notBefore ?? Number.NEGATIVE_INFINITY) <= span.to && lastAt.notAfter >= span.from;
  };

/** R9 for the whole VM and window. */
export function vmAbsence(
  evidence: GuestEvidence,
  vm: VmState | undefined,
  host: HostState,
  window: HostWindow | null,
): Absence {
  const wholeLives =
    vm !== undefined &&
    evidence.processes.length > 0 &&
    evidence.processes.every(
      ({ pid }) => pid !== null && vm.processesOf(pid).length === 1 && lifeIsWhole(vm.processesOf(pid)[0] ?? null),
    );
  return absenceOf({
    hasTerminator: host.flags(vm?.epochs ?? []).hasTerminator,
    missing: vm === undefined ? 0 : missingBetween(vm, host, vm.firstRequest, vm.lastRequest),
    unframed: vm?.unframed.items.length ?? 0,
    watched: isWatched(host, window),
    bracketedBy: window === null && wholeLives && evidence.requests.length === 0 ? WHOLE_LIFE : null,
    whyNot: whyNotWatched(host, window),
  });
}

/** What the result says of the log. */
export function coverageOf(
  evidence: GuestEvidence,
  vm: VmState | undefined,
  host: HostState,
  absence: Absence,
): HostCoverage {
  const flags = host.flags(vm?.epochs ?? []);
  const reasons = [
    ...(absence.proven ? [] : [absence.why]),
    ...(host.unreadLines > 0 ? [`${host.unreadLines} stretches of the log say nothing that is known`] : []),
    ...(vm !== undefined && vm.processesDropped > 0 ? [`${vm.processesDropped} old processes are no longer held`] : []),
    ...(vm !== undefined && !flags.hasOwner ? ["this log does not tell processes apart"] : []),
    ...(flags.hasStdout ? [] : ["this log has no line of standard output: refusals and heartbeats would not be seen"]),
    ...evidence.gaps.map((gap) => `guest: ${gap}`),
  ];
  return {
    coverage: absence.proven ? "full" : vm === undefined ? "none" : "partial",
    reasons,
    proof: absence.proven ? absence.by : "",
    calls: vm?.calls ?? 0,
    missing_requests: vm?.missing ?? 0,
    has_terminators: flags.hasTerminator,
    has_owners: flags.hasOwner,
    has_stdout: flags.hasStdout,
    restarts: Math.max(0, host.restarts - 1),
  };
}

/** Request ids without a record in a range, less those that a refusal explains (R10). */
function missingBetween(vm: VmState | undefined, host: HostState, from: number, to: number): number {
  if (vm === undefined) return 0;
  const inRange = (after: number) => after + 1 >= from && after < to;
  const missing = vm.gaps.items.filter(({ after }) => inRange(after)).reduce((sum, gap) => sum + gap.missing, 0);
  if (!vm.gaps.isWhole) return Math.max(1, missing);
  const refused = showsRejections(host.flags(vm.epochs))
    ? vm.rejections.items.filter(({ after }) => inRange(after)).length
    : 0;
  return Math.max(0, missing - refused);
}

function bracketOf(
  process: ProcessState | null,
  guest: GuestProcess,
  evidence: GuestEvidence,
  vm: VmState,
): string | null {
  if (lifeIsWhole(process)) return WHOLE_LIFE;
  return liesBetweenOthers(guest, evidence, vm)
    ? "processes of this VM that ran before and after are in the log"
    : null;
}

/** Its first record is a connection's first call, and its last one its own clean-up: nothing of it lies outside the log. */
function lifeIsWhole(process: ProcessState | null): boolean {
  if (process === null || process.pid === null) return false;
  return process.lastCallId === CLEANUP && process.inits[0] === process.firstRequest;
}

/** Processes of the guest that are in the log ran before and after this one, or all the while. */
function liesBetweenOthers(
  { pid, first_at, last_at }: GuestProcess,
  { processes }: GuestEvidence,
  vm: VmState,
): boolean {
  if (first_at === null || last_at === null) return false;
  const seen = processes.filter(
    (other) => other.pid !== null && other.pid !== pid && vm.processesOf(other.pid).length > 0,
  );
  const before = seen.some((other) => other.first_at !== null && other.first_at < first_at);
  const after = seen.some((other) => other.last_at !== null && other.last_at > last_at);
  return before && after;
}

const isWatched = (host: HostState, window: HostWindow | null): boolean =>
  window !== null && host.isWatched(window.from, window.to);

function whyNotWatched(host: HostState, window: HostWindow | null): string {
  if (!host.hasTimes) return NO_TIMES;
  if (window === null) return "the clocks of guest and host were not compared, or the window is open";
  return "the log was not watched without a break from before the window until after it";
}
