import type { Acknowledgement } from "../../report/wire/answers.ts";
import { entrySchema, type ReportBatch } from "../../report/wire/batch.ts";
import { WIRE_LIMITS } from "../../report/wire/limits.ts";
import { PinMismatch } from "../../report/wire/pinned-agent.ts";
import type { Spool } from "../store/spool.ts";
import type { HeldBatch, HeldEntry, SpoolState } from "../store/spool-types.ts";
import { StorageError } from "../store/storage-error.ts";
import { Backoff } from "./backoff.ts";
import { BatchTooLarge, HostBusy, HostRefused, isHostError } from "./host-errors.ts";

/** Who takes batches: `HostClient` does. Rejects with a HostError, or with the signal's reason. */
export interface ReportSink {
  postReports(batch: ReportBatch, signal?: AbortSignal): Promise<{ readonly answer: Acknowledgement }>;
}

/** Time and chance, injected. */
export interface SenderClock {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** At least 0 and below 1. */
  readonly random: () => number;
  /** Calls back once after so many milliseconds; what it returns takes that back. */
  readonly after: (ms: number, callback: () => void) => () => void;
}

export interface SenderOptions {
  readonly spool: Spool;
  readonly sink: ReportSink;
  /** The VM of the enrolment. */
  readonly vmId: number | null;
  /**
   * Names the host and the VM that it takes this one for, as the certificate's pin and the VM's number do: under another
   * name is somebody who holds no number of ours. Left out: the VM alone.
   */
  readonly receiver?: string;
  readonly clock: SenderClock;
  /**
   * Another one uses this agent id and boot id too (a machine that was copied while it ran, or put back): makes a new agent
   * id, keeps it, and gives it.
   */
  readonly renewAgent: () => Promise<string>;
  /** How long an entry waits for others, milliseconds. */
  readonly lingerMs?: number;
  /** Bounds of the waits after failures that pass, milliseconds. */
  readonly retryMs?: { readonly first: number; readonly most: number };
}

/** How the sending is, for status lines. Times are milliseconds since 1970. */
export interface SenderState {
  /**
   * `idle`: everything is sent; `away`: the host cannot be reached or cannot take it, which passes; `refused`: it will not
   * take anything until a person has done something (enrol again), though it is still asked now and then.
   */
  readonly link: "idle" | "sending" | "away" | "refused";
  readonly lastSuccessAt: number | null;
  readonly lastError: { readonly at: number; readonly text: string } | null;
  /** In a row. */
  readonly failures: number;
  readonly retryAt: number | null;
  /** Entries since the start. */
  readonly accepted: number;
  readonly duplicates: number;
  /** Entries that the host will never take, by its reason, and the last one in its words. */
  readonly refused: ReadonlyMap<string, number>;
  readonly lastRefusal: string | null;
  /** How often another one was found under this agent id. */
  readonly collisions: number;
  /** Entries of another machine, whose disk this one's is a copy of, which were not sent to the host of this one. */
  readonly discarded: number;
  readonly backlog: SpoolState;
}

/** Below the limit of a body even if nothing of it can be compressed. */
const BATCH_BYTES = WIRE_LIMITS.bodyBytes - 64 * 1024;
/** A batch that is smaller than this is not too large, whatever the other end says: nothing is given up for it. */
const NEVER_TOO_LARGE_BYTES = 64 * 1024;
const LINGER_MS = 1000;
/** How often an empty spool is looked at when nobody calls. */
const IDLE_MS = 5000;
const FIRST_RETRY_MS = 1000;
const MOST_RETRY_MS = 5 * 60_000;
/** For what only a person can mend. */
const FIRST_SLOW_MS = 60_000;
const MOST_SLOW_MS = 15 * 60_000;
/** Answers in a row that settle nothing, after which what has too many gaps before it is given up. */
const MOST_GAP_ROUNDS = 3;

/**
 * Sends what is in the spool, oldest first, until the host has it.
 *
 * INVARIANTS
 * - An entry leaves the spool only when the host said that it is on its disk, or that it will never take it; the latter is
 *   counted, and the host gets an account of its number.
 * - One batch at a time. Whatever fails, the same entries are sent again under the same numbers.
 * - It never gives up, and never asks more often than the backoff or the host's Retry-After allow.
 */
export class Sender {
  readonly #options: SenderOptions;
  readonly #backoff: Backoff;
  readonly #slow: Backoff;
  /** Entries that were sent and had no answer, by ordinal: the host may have them. */
  readonly #attempted = new Set<number>();
  readonly #refused = new Map<string, number>();
  #link: SenderState["link"] = "idle";
  #lastSuccessAt: number | null = null;
  #lastError: SenderState["lastError"] = null;
  #retryAt: number | null = null;
  #lastRefusal: string | null = null;
  #accepted = 0;
  #duplicates = 0;
  #collisions = 0;
  #discarded = 0;
  #batchBytes = BATCH_BYTES;
  #gapRounds = 0;
  #wake: (() => void) | null = null;
  #isCalled = false;

  constructor(options: SenderOptions) {
    this.#options = options;
    const { random } = options.clock;
    const { first, most } = options.retryMs ?? { first: FIRST_RETRY_MS, most: MOST_RETRY_MS };
    this.#backoff = new Backoff({ firstMs: first, mostMs: most, random });
    this.#slow = new Backoff({ firstMs: FIRST_SLOW_MS, mostMs: MOST_SLOW_MS, random });
  }

  /** Something was appended. */
  wake(): void {
    this.#isCalled = true;
    this.#wake?.();
  }

  /** Sends until the signal is aborted. Rejects only for what is a bug. */
  async run(signal: AbortSignal): Promise<void> {
    const { spool, receiver, vmId, renewAgent } = this.#options;
    this.#discarded = await spool.sendTo(receiver ?? `vm ${vmId ?? "unknown"}`, renewAgent);
    while (!signal.aborted) {
      const waitMs = await this.#step(signal);
      if (signal.aborted) return;
      if (waitMs === "idle") {
        await this.#pause(IDLE_MS, signal, true);
        // Others may follow: they go in one batch.
        if (!signal.aborted) await this.#pause(this.#options.lingerMs ?? LINGER_MS, signal, false);
      } else if (waitMs > 0) {
        this.#retryAt = this.#options.clock.now() + waitMs;
        await this.#pause(waitMs, signal, false);
        this.#retryAt = null;
      }
    }
  }

  state(): SenderState {
    return {
      link: this.#link,
      lastSuccessAt: this.#lastSuccessAt,
      lastError: this.#lastError,
      failures: this.#backoff.failures + this.#slow.failures,
      retryAt: this.#retryAt,
      accepted: this.#accepted,
      duplicates: this.#duplicates,
      refused: new Map(this.#refused),
      lastRefusal: this.#lastRefusal,
      collisions: this.#collisions,
      discarded: this.#discarded,
      backlog: this.#options.spool.state(),
    };
  }

  /** One batch. Gives how long to wait before the next. */
  async #step(signal: AbortSignal): Promise<number | "idle"> {
    this.#isCalled = false;
    let held: HeldBatch | null;
    try {
      held = await this.#options.spool.peek(WIRE_LIMITS.entries, this.#batchBytes);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      return this.#failed(error, this.#backoff.next());
    }
    if (held === null) {
      if (this.#link === "sending") this.#link = "idle";
      return "idle";
    }
    const { batch, sent, unfit } = this.#batchOf(held);
    if (batch === null) {
      await this.#options.spool.settle(held, { taken: new Set(), refused: unfit });
      return 0;
    }
    if (this.#link === "idle") this.#link = "sending";
    try {
      const { answer } = await this.#options.sink.postReports(batch, signal);
      return await this.#acknowledged(held, sent, unfit, answer);
    } catch (error) {
      for (const { entry } of sent) this.#attempted.add(entry.ordinal);
      if (signal.aborted) return 0;
      if (!isHostError(error)) throw error;
      return await this.#notTaken(held, sent, error);
    }
  }

  /** As the wire has it. What the wire does not know is `unfit`: no host would take it. */
  #batchOf(held: HeldBatch): {
    readonly batch: ReportBatch | null;
    readonly sent: readonly HeldEntry[];
    readonly unfit: ReadonlySet<number>;
  } {
    const entries: ReportBatch["entries"] = [];
    const sent: HeldEntry[] = [];
    const unfit = new Set<number>();
    for (const one of held.held) {
      const { kind, seq, at, document } = one.entry;
      const parsed = entrySchema.safeParse({ kind, seq, at, document });
      if (parsed.success) {
        entries.push(parsed.data);
        sent.push(one);
      } else {
        unfit.add(seq);
        const [issue] = parsed.error.issues;
        this.#noteRefusal("unfit", `${kind} ${seq}: ${issue?.path.join(".") ?? ""} ${issue?.code ?? ""}`);
      }
    }
    if (entries.length === 0) return { batch: null, sent, unfit };
    const head = { agent_id: held.agentId, boot_id: held.bootId, vm_id: this.#options.vmId };
    const batch: ReportBatch = {
      schema: "vgpu-agent/report-batch/1",
      ...head,
      sent_at: this.#options.clock.now(),
      entries,
    };
    return { batch, sent, unfit };
  }

  async #acknowledged(
    held: HeldBatch,
    sent: readonly HeldEntry[],
    unfit: ReadonlySet<number>,
    answer: Acknowledgement,
  ): Promise<number> {
    const { spool, clock } = this.#options;
    // Of an earlier boot all was written before: what the host has of it, or beyond, came from a copy of this disk.
    const isCurrent = spool.isCurrent(held);
    const strangers = isCurrent ? this.#strangersIn(sent, answer) : new Set<number>();
    const highestGiven = held.stream.next - 1 - held.stream.offset;
    const isForeign = isCurrent && (strangers.size > 0 || answer.highest > highestGiven);
    const taken = new Set([...answer.accepted, ...answer.duplicates].filter((seq) => !strangers.has(seq)));
    const refused = new Set(unfit);
    let hasGaps = false;
    for (const { index, reason, text } of answer.refused) {
      const seq = sent[index]?.entry.seq;
      if (seq === undefined) continue;
      if (reason === "gaps" && this.#gapRounds < MOST_GAP_ROUNDS) {
        hasGaps = true;
        continue;
      }
      refused.add(seq);
      this.#noteRefusal(reason, `${reason}: ${text}`);
    }
    const isProgress = sent.some(({ entry }) => taken.has(entry.seq) || refused.has(entry.seq));
    this.#accepted += answer.accepted.length;
    this.#duplicates += answer.duplicates.length;
    await spool.settle(held, { taken, refused });
    for (const { entry } of sent) {
      if (taken.has(entry.seq) || refused.has(entry.seq)) this.#attempted.delete(entry.ordinal);
      else if (!strangers.has(entry.seq)) this.#attempted.add(entry.ordinal);
    }
    if (isForeign) {
      this.#collisions += 1;
      await spool.sendAs(held, await this.#options.renewAgent());
      // Under the new name nothing was sent.
      this.#attempted.clear();
    }
    this.#gapRounds = hasGaps ? this.#gapRounds + 1 : 0;
    if (!isProgress && !isForeign) {
      return this.#failed(new Error("the host's answer settles no entry of the batch"), this.#backoff.next());
    }
    this.#link = "sending";
    this.#lastSuccessAt = clock.now();
    this.#batchBytes = Math.min(BATCH_BYTES, this.#batchBytes * 2);
    this.#backoff.reset();
    this.#slow.reset();
    return 0;
  }

  /**
   * Numbers that the host holds although they were never sent from here: somebody else gave them, to other content. After a
   * restart that is not known, and then a duplicate is taken for our own.
   */
  #strangersIn(sent: readonly HeldEntry[], { duplicates }: Acknowledgement): ReadonlySet<number> {
    const held = new Set(duplicates);
    const strange = sent.filter(
      ({ entry }) => held.has(entry.seq) && !entry.restored && !this.#attempted.has(entry.ordinal),
    );
    return new Set(strange.map(({ entry }) => entry.seq));
  }

  async #notTaken(held: HeldBatch, sent: readonly HeldEntry[], error: Error): Promise<number> {
    const bytes = sent.reduce((sum, one) => sum + one.bytes, 0);
    const isSaidTooLarge = error instanceof BatchTooLarge || (error instanceof HostRefused && error.status === 413);
    const isTooLarge = isSaidTooLarge && bytes > NEVER_TOO_LARGE_BYTES;
    if (isTooLarge && sent.length > 1) {
      this.#batchBytes = Math.floor(Math.min(bytes, this.#batchBytes) / 2);
      return this.#failed(error, 0);
    }
    if (isTooLarge) {
      const seqs = sent.map(({ entry }) => entry.seq);
      this.#noteRefusal("too-large", error.message);
      await this.#options.spool.settle(held, { taken: new Set(), refused: new Set(seqs) });
      return this.#failed(error, 0);
    }
    if (error instanceof HostRefused || error instanceof PinMismatch || error instanceof BatchTooLarge) {
      this.#link = "refused";
      return this.#failed(error, this.#slow.next());
    }
    this.#link = "away";
    return this.#failed(error, this.#backoff.next(error instanceof HostBusy ? error.retryAfterMs : null));
  }

  #failed(error: Error, waitMs: number): number {
    this.#lastError = { at: this.#options.clock.now(), text: error.message };
    return waitMs;
  }

  #noteRefusal(reason: string, text: string): void {
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1);
    this.#lastRefusal = text.slice(0, 300);
  }

  #pause(ms: number, signal: AbortSignal, untilCalled: boolean): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        this.#wake = null;
        signal.removeEventListener("abort", done);
        resolve();
      };
      const cancel = this.#options.clock.after(ms, done);
      signal.addEventListener("abort", done);
      if (!untilCalled) return;
      this.#wake = done;
      if (this.#isCalled) done();
    });
  }
}
