import type { GuestEvidence, GuestProcess } from "../match/guest-evidence.ts";
import type { ProcessState } from "../match/process-state.ts";
import type { VmState } from "../match/vm-state.ts";

/**
 * What one join may cost, so that guests are answered meanwhile. The matcher lays each process that a guest tells of
 * against each of the host's that it may be, and its sequence there at each place where it may begin: products of
 * numbers that a guest chooses, in its evidence and by its calls. A step is a record looked at, some 30 ns.
 */
const MOST_STEPS = 2_500_000;
/** Request ids of a life up to which its records are laid beside the guest's list from the beginning (R7). */
const MOST_RANGE = 262_144;
/** R7: a call that the transport failed moves what follows by at most so many numbers. */
const MOST_LOST = 16;
const FAILED_TRANSPORT = 999;
const INIT = 0x01;
const MOST_GAPS = 64;

/** Steps for one of these, as measured (decision 20). */
const STEPS = { candidate: 64, allocation: 16, run: 2, together: 2, offset: 10, stretch: 500 } as const;
/** Request ids that are passed over in a step. */
const RANGE_A_STEP = 8;

const LESS = "the host compared less than the guest told: there were too many ways to lay it beside its record";

/**
 * Evidence that a join can afford: the newest part of sequences that could lie in too many places, and processes up to
 * where it is enough. What was left out is said, as the guest says what it left out itself: it can only make a result
 * less certain. The very same object where nothing had to be left out.
 */
export function affordable(evidence: GuestEvidence, vm: VmState | undefined): GuestEvidence {
  if (vm === undefined) return evidence;
  let left = MOST_STEPS;
  let isLess = false;
  const kept: GuestProcess[] = [];
  for (const process of evidence.processes) {
    const lives = livesOf(process, evidence, vm);
    const base = stepsOf(process, lives);
    if (base > left && kept.length > 0) {
      isLess = true;
      continue;
    }
    left -= base;
    const cheaper = withSequence(process, lives, left);
    left -= sequenceSteps(cheaper, lives);
    if (cheaper !== process) isLess = true;
    kept.push(cheaper);
  }
  if (!isLess) return evidence;
  const isAll = kept.length === evidence.processes.length;
  const processes = isAll ? kept : kept.map((process) => ({ ...process, cut: ALL_CUT }));
  return { ...evidence, processes, gaps: [...evidence.gaps.slice(0, MOST_GAPS - 1), LESS] };
}

/** Without some of its processes, nothing that is counted over all of them is whole. */
const ALL_CUT = { allocations: true, copies: true, sequence: true, failures: true } as const;

interface Lives {
  /** The host's processes that it may be. */
  readonly all: readonly ProcessState[];
  /** Where several fit, all together are taken as one. */
  readonly isTogether: boolean;
}

function livesOf({ pid, counted_by }: GuestProcess, { window }: GuestEvidence, vm: VmState): Lives {
  const all = [...(pid === null ? vm.processes : vm.processesOf(pid)), vm.whole];
  return { all, isTogether: pid === null || (counted_by === "kernel" && window.from !== null) };
}

function stepsOf({ allocations, sequence, failures }: GuestProcess, { all, isTogether }: Lives): number {
  const perAllocation = isTogether ? STEPS.together : STEPS.allocation;
  const lives = all.map(
    (life) =>
      (isTogether ? STEPS.together : 1) * STEPS.candidate +
      perAllocation * (life.allocations.items.length + allocations.length) +
      STEPS.run * runsOf(life),
  );
  return sumOf(lives) + 2 * failures.length * sequence.length;
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0);

const runsOf = ({ copiesIn, copiesOut }: ProcessState): number => copiesIn.runs.length + copiesOut.runs.length;

/** The newest of its round trips, as many as there are steps for. */
function withSequence(process: GuestProcess, lives: Lives, left: number): GuestProcess {
  let cheaper = process;
  const { sequence, cut } = process;
  // So long a life has no records of its beginning any more.
  if (sequence.length > 0 && !cut.sequence && lives.all.some((life) => rangeOf(life) > MOST_RANGE)) {
    cheaper = { ...process, cut: { ...cut, sequence: true } };
  }
  while (cheaper.sequence.length > 0 && sequenceSteps(cheaper, lives) > left) {
    const sequence = cheaper.sequence.slice(Math.ceil(cheaper.sequence.length / 2));
    cheaper = { ...cheaper, sequence, cut: { ...cheaper.cut, sequence: true } };
  }
  return cheaper;
}

function sequenceSteps({ sequence, cut }: GuestProcess, { all, isTogether }: Lives): number {
  if (sequence.length === 0) return 0;
  const lost = sequence.filter(({ status }) => status === FAILED_TRANSPORT).length;
  const starts = new Set(sequence.flatMap(({ call_id, seq }) => (call_id === INIT ? [seq] : []))).size;
  const stretches = lost + new Set(sequence.map(({ transport }) => transport)).size;
  const lives = all.map((life) => {
    const places = (life.anchors.items.length + life.inits.length * starts) * (1 + Math.min(lost, MOST_LOST));
    const fromStart = cut.sequence ? 0 : rangeOf(life) / RANGE_A_STEP + stretches * STEPS.stretch;
    return places * (sequence.length + STEPS.offset * stretches) + fromStart;
  });
  // Where they are taken as one it is laid against none of them, or against the only one that fits.
  return isTogether ? Math.max(0, ...lives) : sumOf(lives);
}

const rangeOf = ({ firstRequest, lastRequest }: ProcessState): number => lastRequest - firstRequest + 1;
