import { setTimeout as sleep } from "node:timers/promises";
import type { MatchResult } from "../../host/match/result.ts";
import { matchResultSchema } from "../../host/match/result-schema.ts";
import type { VerdictAnswer } from "../../report/wire/answers.ts";
import type { HostClient } from "./host-client.ts";
import { BadHostAnswer, HostBusy } from "./host-errors.ts";

/** A joined result that is of the window asked for, and was made after the evidence came. */
export interface Joined {
  readonly result: MatchResult;
  /** On the host's clock. */
  readonly madeAt: number;
  readonly answer: VerdictAnswer;
}

/** There is no result, and why, in words. */
export interface NotJoined {
  readonly result: null;
  readonly why: string;
}

export interface ResultRequest {
  /** As it was sent. */
  readonly window: { readonly from: number; readonly to: number };
  /** When the host had the evidence on its disk, by its own clock: an older result is of other evidence. */
  readonly receivedAt: number;
  /** Of performance.now(): when waiting is given up. */
  readonly until: number;
  readonly signal?: AbortSignal;
}

/** A host that cannot join anything says so in its first answer: it is asked for that soon. */
const FIRST_WAIT_SECONDS = 3;
const WAIT_SECONDS = 10;
const PAUSE_MS = 500;

/**
 * Waits until the host has joined the evidence of this very window. Rejects as HostClient.verdict does, and with
 * BadHostAnswer for a result that is not of this window and VM.
 */
export async function awaitResult(client: HostClient, request: ResultRequest): Promise<Joined | NotJoined> {
  const { window, until, signal } = request;
  const given = signal === undefined ? {} : { signal };
  let last: VerdictAnswer | null = null;
  for (let most = FIRST_WAIT_SECONDS; ; most = WAIT_SECONDS) {
    const leftMs = until - performance.now();
    if (leftMs <= 0) return { result: null, why: whyNot(last) };
    const waitSeconds = Math.min(most, Math.ceil(leftMs / 1000));
    try {
      last = (await client.verdict({ window, waitSeconds, ...given })).answer;
    } catch (error) {
      if (!(error instanceof HostBusy)) throw error;
      await sleep(Math.min(error.retryAfterMs ?? PAUSE_MS, leftMs), undefined, given);
      continue;
    }
    const joined = joinedIn(last, client.vmId, request);
    if (joined !== null) return joined;
    const { state, health } = last;
    if (health !== null && health.log.state !== "followed") return { result: null, why: LOG_WORDS[health.log.state] };
    if (state === "none") return { result: null, why: "it could make nothing of this VM's evidence" };
    // A result of a wider window, or of an earlier run: it comes at once, and so would the next.
    if (state === "ready") await sleep(Math.min(PAUSE_MS, leftMs), undefined, given);
  }
}

function joinedIn(answer: VerdictAnswer, vmId: number, { window, receivedAt }: ResultRequest): Joined | null {
  const { state, made_at: madeAt, result } = answer;
  if (state !== "ready" || madeAt === null) return null;
  const parsed = matchResultSchema.safeParse(result);
  if (!parsed.success) throw new BadHostAnswer("its result is no vgpu-agent/match/1 document");
  if (parsed.data.vm_id !== vmId) throw new BadHostAnswer("its result is of another VM");
  const { from, to } = parsed.data.window;
  return madeAt >= receivedAt && from === window.from && to === window.to
    ? { result: parsed.data, madeAt, answer }
    : null;
}

const LOG_WORDS = {
  none: "it does not follow the mediator's log: `vgpu-agent host` there needs --mediator-log",
  unreadable: "it cannot read the mediator's log: its own log there says why",
} as const;

function whyNot(last: VerdictAnswer | null): string {
  if (last === null) return "it had no time to answer";
  if (last.state === "ready") return "its newest result is of another window";
  const behind = last.health?.log.behind_bytes ?? 0;
  if (behind > 0) return `it is still reading the mediator's log (${behind} bytes to go): ask again later`;
  return "it has not joined them yet: it may not follow the mediator's log (`vgpu-agent host --mediator-log`), or waits for the end of a long call";
}
