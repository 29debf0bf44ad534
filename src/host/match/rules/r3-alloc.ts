import type { Address } from "../../../protocol/mediator-events.ts";
import type { GuestAllocation } from "../guest-evidence.ts";

/** An allocation as the host's log has it. */
export interface HostAllocation {
  /** Null: a build without terminators. */
  readonly requestId: number | null;
  readonly bytes: number | null;
  /** Null: it failed. */
  readonly ptr: Address | null;
  readonly failed: boolean;
  /** Which of the process's transports, counted from 0. */
  readonly transport: number;
}

export interface AllocationMatch {
  /** Index in the guest's list. */
  readonly guest: number;
  readonly host: HostAllocation;
  readonly level: "EXACT" | "STRONG" | "AMBIGUOUS";
  /** Host records that fit. */
  readonly candidates: number;
}

/** Size and pointer as one text, the pointer as the guest writes it. */
export function allocationKey(bytes: number | null, ptr: Address | string | null): string {
  return `${bytes}/${typeof ptr === "string" || ptr === null ? ptr : `0x${ptr.toString(16)}`}`;
}

/**
 * R3: an allocation by size and pointer. Pointers are given again after a free, and frees are not printed: where the
 * same size and pointer occur several times, they are told apart by their order, and only when both sides have equally
 * many. Without a pointer, a size that occurs once on both sides is strong. `whole`: both lists begin with the process, and
 * lack nothing up to where they end.
 */
export function matchAllocations(
  guest: readonly GuestAllocation[],
  host: readonly HostAllocation[],
  whole: boolean,
): AllocationMatch[] {
  const good = host.filter(({ failed, ptr }) => !failed && ptr !== null);
  const byPointer = Map.groupBy(good, (allocation) => allocationKey(allocation.bytes, allocation.ptr));
  const bySize = Map.groupBy(good, ({ bytes }) => bytes);
  const wanted = guest.map((allocation, index) => ({ ...allocation, index }));
  const pointed = Map.groupBy(
    wanted.filter(({ ptr }) => ptr !== null),
    ({ bytes, ptr }) => allocationKey(bytes, ptr),
  );
  const matches: AllocationMatch[] = [];
  for (const [key, asked] of pointed) {
    const found = byPointer.get(key) ?? [];
    matches.push(...inOrder(asked, found, whole ? "EXACT" : "STRONG"));
  }
  const unpointed = Map.groupBy(
    wanted.filter(({ ptr, failed }) => ptr === null && !failed),
    ({ bytes }) => bytes,
  );
  for (const [bytes, asked] of unpointed) {
    const found = bySize.get(bytes) ?? [];
    if (asked.length === 1 && found.length <= 1) matches.push(...inOrder(asked, found, "STRONG"));
    else matches.push(...asked.flatMap(({ index }) => ambiguous(index, found)));
  }
  return matches.sort((a, b) => a.guest - b.guest);
}

function inOrder(
  asked: readonly { readonly index: number }[],
  found: readonly HostAllocation[],
  level: "EXACT" | "STRONG",
): AllocationMatch[] {
  if (asked.length !== found.length) return asked.flatMap(({ index }) => ambiguous(index, found));
  return asked.flatMap(({ index }, nth) => {
    const host = found[nth];
    return host === undefined ? [] : [{ guest: index, host, level, candidates: 1 }];
  });
}

function ambiguous(guest: number, found: readonly HostAllocation[]): AllocationMatch[] {
  const [host] = found;
  return host === undefined ? [] : [{ guest, host, level: "AMBIGUOUS", candidates: found.length }];
}
