import { setImmediate as turnOfOthers } from "node:timers/promises";
import type { HostStore, StoredReport } from "../store/store.ts";
import type { HostLogSource, Joined, LogPoll } from "./log-source.ts";

/** Name of the log reader's state in the store. */
export const LOG_STATE = "mediator-log";
/** Evidence that is joined before the log is looked at again. */
const JOINS_A_TURN = 16;
/** After so much joining, milliseconds, guests are answered. */
const OTHERS_AFTER_MS = 10;

export interface LogLoopOptions {
  readonly store: HostStore;
  readonly source: HostLogSource;
  /** After it is on the disk what came of a VM's evidence; null: nothing ever will. */
  readonly onResult: (vmId: number, joined: Joined | null) => void;
  readonly onPoll: (poll: LogPoll) => void;
  readonly onError: (error: unknown) => void;
  readonly now: () => number;
  /** Milliseconds between two looks at a log that did not grow. */
  readonly pollMs: number;
  /** Milliseconds between two savings of the state. */
  readonly saveMs: number;
}

/** Reads the log and joins what guests sent with it, until it is stopped. */
export class LogLoop {
  readonly #options: LogLoopOptions;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;
  #turn: Promise<void> = Promise.resolve();
  #savedAt = 0;

  constructor(options: LogLoopOptions) {
    this.#options = options;
  }

  start(): void {
    this.#schedule(0);
  }

  /** Saves the state; nothing is read any more when this resolves. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#turn;
    try {
      await this.#save();
    } catch (error) {
      this.#options.onError(error);
    }
    this.#options.source.close();
  }

  /** One look at the log, and what follows from it. True: there is more to do now. */
  async turn(): Promise<boolean> {
    const { source, store, now, saveMs, onPoll } = this.#options;
    const poll = source.poll();
    onPoll(poll);
    const receivedBy = source.settledUntil();
    const pending = receivedBy === null ? [] : await store.pendingEvidence({ receivedBy, limit: JOINS_A_TURN });
    await this.#joinAll(pending);
    if (now() - this.#savedAt >= saveMs) await this.#save();
    return poll.more || pending.length >= JOINS_A_TURN;
  }

  /** Results that come without a pause are kept in one go. Throws the store's error after all were tried. */
  async #joinAll(pending: readonly StoredReport[]): Promise<void> {
    const kept: Promise<unknown>[] = [];
    let since = performance.now();
    for (const evidence of pending) {
      kept.push(this.#join(evidence).catch((error: unknown) => error));
      if (performance.now() - since < OTHERS_AFTER_MS) continue;
      await turnOfOthers();
      since = performance.now();
    }
    for (const error of await Promise.all(kept)) if (error !== undefined) throw error;
  }

  async #join({ id, vmId, receivedAt, document: text }: StoredReport): Promise<void> {
    const { source, store, now, onResult, onError } = this.#options;
    let joined: Joined | null = null;
    try {
      joined = source.join({ vmId, receivedAt, document: JSON.parse(text) });
    } catch (error) {
      // A piece of evidence that breaks the matcher must not be met again at each turn.
      onError(error);
    }
    const document = joined === null ? null : JSON.stringify(joined.result);
    const operations = joined?.operations.filter((row) => row.vmId === vmId) ?? [];
    const window = joined?.window ?? null;
    await store.putResult({ vmId, window, madeAt: now(), document, evidenceId: id, operations });
    onResult(vmId, joined);
  }

  async #save(): Promise<void> {
    this.#savedAt = this.#options.now();
    await this.#options.store.saveState(LOG_STATE, this.#options.source.state());
  }

  #schedule(milliseconds: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#turn = this.turn()
        .catch((error) => {
          this.#options.onError(error);
          return false;
        })
        .then((more) => this.#schedule(more ? 0 : this.#options.pollMs));
    }, milliseconds);
  }
}
