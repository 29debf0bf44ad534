import { guestEvidenceSchema } from "../match/guest-evidence-schema.ts";
import { HostState } from "../match/host-state.ts";
import { match } from "../match/matcher.ts";
import type { MatchResult } from "../match/result.ts";
import { LogFollower } from "../mediator-log/follow.ts";
import type { OperationCount, Span } from "../store/store.ts";
import type { HostLogSource, Joined, LogPoll, PendingEvidence } from "./log-source.ts";

/** How long after evidence came the log may still bring its last lines, milliseconds: the mediator writes buffered. */
const SETTLE_MS = 2000;

/**
 * The mediator's log under one name, and the matcher. What was read is held in memory alone, so after a restart the log
 * is read from its start again: there is no saved place.
 */
export class MediatorSource implements HostLogSource {
  readonly #host = new HostState();
  readonly #follower: LogFollower;
  readonly #now: () => number;
  #isCaughtUp = false;

  /** `now`: milliseconds since 1970. */
  constructor(path: string, now: () => number) {
    this.#now = now;
    this.#follower = new LogFollower(path, this.#host.add, { now });
  }

  poll(): LogPoll {
    const poll = this.#follower.poll();
    this.#isCaughtUp = !poll.more;
    return poll;
  }

  state(): unknown {
    return null;
  }

  join({ vmId, document, receivedAt }: PendingEvidence): Joined | "later" | null {
    if (!this.#isCaughtUp || this.#now() < receivedAt + SETTLE_MS) return "later";
    const parsed = guestEvidenceSchema.safeParse(document);
    if (!parsed.success) return null;
    const { result } = match(parsed.data, vmId, this.#host);
    const window = spanOf(result.window);
    return { window, result, operations: countsOf(result, window?.to ?? receivedAt) };
  }

  close(): void {
    this.#follower.close();
  }
}

/** As the store has the window of the evidence. */
function spanOf({ from, to }: MatchResult["window"]): Span | null {
  return from === null || to === null ? null : { from: Math.floor(from), to: Math.ceil(to) };
}

function countsOf(result: MatchResult, at: number): readonly OperationCount[] {
  return result.operations.map(({ operation, guest, host, matched, confidence }) => ({
    vmId: result.vm_id,
    at,
    operation,
    confidence: confidence.level,
    guest: guest?.count ?? null,
    host: host?.count ?? null,
    matched,
    failed: host?.failed ?? guest?.failed ?? null,
    bytes: host?.bytes ?? guest?.bytes ?? null,
  }));
}
