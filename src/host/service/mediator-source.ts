import type { LogHealth } from "../health/facts.ts";
import { LogHealthBuilder } from "../health/log-health.ts";
import { guestEvidenceSchema } from "../match/guest-evidence-schema.ts";
import { HostState } from "../match/host-state.ts";
import { match } from "../match/matcher.ts";
import type { MatchResult } from "../match/result.ts";
import { LogFollower } from "../mediator-log/follow.ts";
import { parseFollowerState } from "../mediator-log/state.ts";
import type { Span } from "../store/store.ts";
import { affordable } from "./affordable.ts";
import type { HostLogSource, Joined, JoinedOperation, LogFollowing, LogPoll, PendingEvidence } from "./log-source.ts";
import { type MediatorRun, MediatorRuns } from "./mediator-runs.ts";

/** How long after evidence came the log may still bring its last lines, milliseconds: the mediator writes buffered. */
const SETTLE_MS = 2000;

/** Bytes of the log that are read before guests are answered again: some 12 ms. */
const MOST_A_POLL = 2 * 1024 * 1024;

export interface MediatorSourceOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** What `state()` gave before a restart; anything else counts as nothing. */
  readonly saved?: unknown;
}

/**
 * The mediator's log under one name, and the matcher. What was made of the log is not kept across a restart: the log is
 * read again, with the times that its parts were read at then (`state()`), and until that is done nothing is joined.
 */
export class MediatorSource implements HostLogSource {
  readonly #host = new HostState();
  readonly #health = new LogHealthBuilder();
  readonly #runs: MediatorRuns;
  readonly #follower: LogFollower;
  readonly #now: () => number;
  #isCaughtUp = false;
  #readAt: number | null = null;
  #problem: string | null = null;
  #unread = 0;

  constructor(path: string, { now, saved }: MediatorSourceOptions) {
    this.#now = now;
    const state = parseFollowerState(saved);
    this.#runs = new MediatorRuns(saved);
    this.#follower = new LogFollower(
      path,
      (event) => {
        this.#host.add(event);
        this.#health.take(event);
        this.#runs.take(event, this.#follower.isReplaying);
        if (event.kind === "unread") this.#unread += event.end - event.at;
      },
      { now, mostBytesAPoll: MOST_A_POLL, ...(state === null ? {} : { state, again: true }) },
    );
  }

  poll(): LogPoll {
    const before = this.#now();
    this.#unread = 0;
    const { bytes, more, problem } = this.#follower.poll();
    this.#isCaughtUp = !more && !this.#follower.isReplaying;
    this.#problem = problem;
    if (this.#isCaughtUp && problem === null && this.#follower.behind() !== null) {
      this.#readAt = before;
      this.#runs.looked(before);
    }
    return { bytes, notUnderstood: this.#unread, more, problem };
  }

  state(): unknown {
    return { ...this.#follower.state(), runs: this.#runs.state() };
  }

  following(): LogFollowing {
    return {
      problem: this.#problem,
      readAt: this.#readAt,
      behindBytes: this.#follower.behind(),
      watchedSince: this.#isCaughtUp ? this.#host.watchedSince : null,
    };
  }

  health(): LogHealth | null {
    return this.#isCaughtUp ? this.#health.facts() : null;
  }

  /** Null: the log was not read to its end yet. */
  mediatorRun(): MediatorRun | null {
    return this.#readAt === null ? null : this.#runs.current;
  }

  settledUntil(): number | null {
    return this.#isCaughtUp ? this.#now() - SETTLE_MS : null;
  }

  join({ vmId, document, receivedAt }: PendingEvidence): Joined | null {
    const parsed = guestEvidenceSchema.safeParse(document);
    if (!parsed.success) return null;
    const { result } = match(affordable(parsed.data, this.#host.vm(vmId)), vmId, this.#host);
    const window = spanOf(result.window);
    const { state, cause } = result.verdict;
    return { window, result, verdict: { state, cause }, operations: countsOf(result, window?.to ?? receivedAt) };
  }

  close(): void {
    this.#follower.close();
  }
}

/** As the store has the window of the evidence. */
function spanOf({ from, to }: MatchResult["window"]): Span | null {
  return from === null || to === null ? null : { from: Math.floor(from), to: Math.ceil(to) };
}

function countsOf(result: MatchResult, at: number): readonly JoinedOperation[] {
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
