import type { GuestEvidence, GuestFailure } from "./guest-evidence.ts";
import type { HostState } from "./host-state.ts";
import type { MatchResult } from "./result.ts";
import { showsRejections } from "./rules/r0-epoch.ts";
import { matchRejections, type Rejected } from "./rules/r10-rejections.ts";
import type { HostWindow } from "./time-buckets.ts";
import type { VmState } from "./vm-state.ts";

/** Transport errors of refused calls (docs/wire.md, "Transport error codes"). */
const RATE_LIMITED: readonly number[] = [0x07, 0x0a, 0x0b];

/**
 * Refused calls of a VM on both sides: of the window where both sides say when theirs were, over the whole log (and all of
 * the guest's evidence) otherwise.
 */
export function rejectionsOf(
  evidence: GuestEvidence,
  vm: VmState | undefined,
  host: HostState,
  window: HostWindow | null,
): MatchResult["rejections"] {
  const shown = showsRejections(host.flags(vm?.epochs ?? []));
  const all = vm?.rejections.items ?? [];
  const dropped = vm?.rejections.dropped ?? 0;
  const scope = window !== null && all.every(({ when }) => when !== null) ? window : null;
  const mine = scope === null ? all : all.filter((one) => canBeIn(one, scope));
  // Those that were let go were written before the oldest that was not.
  const gone = scope === null || all.slice(0, 1).every((oldest) => canBeIn(oldest, scope)) ? dropped : 0;
  const most = mine.length + gone;
  const least = scope === null ? most : all.filter((one) => isSurelyIn(one, scope)).length;
  const guest = guestsOf(evidence, scope !== null);
  const reasons = new Set(mine.map(reasonOf));
  const [reason] = reasons;
  return {
    scope: scope === null ? "whole-log" : "window",
    guest,
    host: shown ? most : null,
    host_least: shown ? least : null,
    reason: reasons.size > 1 ? "several" : (reason ?? null),
    confidence: matchRejections({ guest, host: { least, most }, missing: vm?.missing ?? 0, shown }),
  };
}

function reasonOf({ reason, code }: Rejected): "rate" | "queue" | "quarantined" {
  if (reason === "quarantined") return "quarantined";
  return code === 2 ? "queue" : "rate";
}

const canBeIn = ({ when }: Rejected, { from, to }: HostWindow): boolean =>
  when === null || (when.notAfter >= from && (when.notBefore ?? Number.NEGATIVE_INFINITY) <= to);

const isSurelyIn = ({ when }: Rejected, { innerFrom, innerTo }: HostWindow): boolean =>
  when !== null && when.notBefore !== null && when.notBefore >= innerFrom && when.notAfter <= innerTo;

/** Refusals that the guest was given; null: it does not count them, or not those of the window alone. */
function guestsOf({ processes, window }: GuestEvidence, isOfWindow: boolean): number | null {
  if (processes.length === 0 || processes.some(({ cut }) => cut.failures)) return null;
  let sum = 0;
  for (const failure of processes.flatMap(({ failures }) => failures).filter(isRefusal)) {
    const count = isOfWindow ? countIn(failure, window) : failure.count;
    if (count === null) return null;
    sum += count;
  }
  return sum;
}

const isRefusal = ({ transport_error: error }: GuestFailure): boolean => error !== null && RATE_LIMITED.includes(error);

/** Only the first of equal failures has a time. */
function countIn({ at, count }: GuestFailure, { from, to }: GuestEvidence["window"]): number | null {
  if (at === null || from === null || to === null) return null;
  if (at > to) return 0;
  if (at >= from) return count;
  return count === 1 ? 0 : null;
}
