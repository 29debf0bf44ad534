import type { Facts } from "../../facts/facts.ts";
import type { TraceFacts } from "../../facts/ledger.ts";
import type { GuestEvidence, GuestProcess } from "../../host/match/guest-evidence.ts";
import { LIMITS } from "../../host/match/guest-limits.ts";
import type { ClockOffset } from "../uplink/clock.ts";
import { countedEvidence, fitting } from "./evidence-of-facts.ts";

export interface CountedWindow {
  readonly facts: Facts;
  readonly trace: TraceFacts;
  /** What the log tells of the same time; null: nothing. */
  readonly log: GuestEvidence | null;
  readonly vmId: number | null;
  readonly clock: ClockOffset | null;
}

/**
 * Evidence of a window that the kernel counted, joined with what the log tells of it one by one. Processes that the log
 * alone knows (a pid namespace of their own) stay as it tells of them. Null: the count has no window.
 */
export function countedWindow({ facts, trace, log, vmId, clock }: CountedWindow): GuestEvidence | null {
  const { from } = trace.ledger;
  if (from === null) return null;
  const lines = log === null ? null : since(log, from);
  const counted = countedEvidence(facts, trace, vmId, lines, clock);
  if (counted === null) return null;
  const { document } = counted;
  const known = new Set(document.processes.map(({ pid }) => pid));
  const others = (lines?.processes ?? []).filter(({ pid }) => !known.has(pid));
  return fitting({ ...document, processes: [...document.processes, ...others].slice(0, LIMITS.processes) });
}

/** Without what surely was before the window: the line of a call is read a little after the call. */
function since(log: GuestEvidence, from: number): GuestEvidence {
  const isIn = ({ at }: { readonly at: number | null }): boolean => at === null || at >= from;
  return { ...log, processes: log.processes.map((one) => sinceOf(one, isIn)) };
}

function sinceOf(process: GuestProcess, isIn: (one: { readonly at: number | null }) => boolean): GuestProcess {
  const { cut } = process;
  const sequence = process.sequence.filter(isIn);
  const allocations = process.allocations.filter(isIn);
  const copies = process.copies_in.filter(isIn);
  return {
    ...process,
    sequence,
    allocations,
    copies_in: copies,
    cut: {
      ...cut,
      copies: cut.copies || copies.length < process.copies_in.length,
      sequence: cut.sequence || sequence.length < process.sequence.length,
      allocations: cut.allocations || allocations.length < process.allocations.length,
    },
  };
}
