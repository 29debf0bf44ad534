import type { HostStore, StoredReport } from "../store/store.ts";
import type { HostLogSource, Joined, LogPoll } from "./log-source.ts";

/** Name of the log reader's state in the store. */
export const LOG_STATE = "mediator-log";
/** Evidence that is joined before the log is looked at again. */
const JOINS_A_TURN = 16;
const PENDING_AT_ONCE = 256;

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
    let joins = 0;
    for (const evidence of await store.pendingEvidence(PENDING_AT_ONCE)) {
      if (joins >= JOINS_A_TURN) break;
      if (await this.#join(evidence)) joins += 1;
    }
    if (now() - this.#savedAt >= saveMs) await this.#save();
    return poll.more || joins >= JOINS_A_TURN;
  }

  async #join(evidence: StoredReport): Promise<boolean> {
    const { source, store, now, onResult, onError } = this.#options;
    const { id, vmId, receivedAt } = evidence;
    let joined: Joined | "later" | null;
    try {
      joined = source.join({ vmId, receivedAt, document: JSON.parse(evidence.document) });
    } catch (error) {
      // A piece of evidence that breaks the matcher must not be met again at each turn.
      onError(error);
      joined = null;
    }
    if (joined === "later") return false;
    const document = joined === null ? null : JSON.stringify(joined.result);
    await store.putResult({ vmId, window: joined?.window ?? null, madeAt: now(), document, evidenceId: id });
    if (joined !== null) await store.addOperations(joined.operations.filter((row) => row.vmId === vmId));
    onResult(vmId, joined);
    return true;
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
