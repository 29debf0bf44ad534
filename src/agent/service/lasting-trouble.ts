import type { StorageError } from "../store/storage-error.ts";
import type { AgentLog } from "./agent-log.ts";
import { monotonicMs } from "./monotonic.ts";

const SAY_AGAIN_MS = 3600_000;

/** Tells the log of a trouble that lasts: when it begins, once an hour while it does, and when it is over. */
export class LastingTrouble {
  readonly #log: AgentLog;
  readonly #texts: { readonly lasts: string; readonly over: string };
  readonly #monotonic: () => number;
  /** By what is wrong: another fault is news, another file with the same one is not. */
  readonly #saidAt = new Map<StorageError["fault"], number>();
  #now: StorageError | null = null;

  constructor(
    log: AgentLog,
    texts: { readonly lasts: string; readonly over: string },
    monotonic: () => number = monotonicMs,
  ) {
    this.#log = log;
    this.#texts = texts;
    this.#monotonic = monotonic;
  }

  /** As it was noted last. */
  get now(): StorageError | null {
    return this.#now;
  }

  /** How it is; null: well. */
  note(trouble: StorageError | null, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#now = trouble;
    if (trouble === null) {
      if (this.#saidAt.size > 0) this.#log.info({}, this.#texts.over);
      this.#saidAt.clear();
      return;
    }
    const at = this.#monotonic();
    const said = this.#saidAt.get(trouble.fault);
    if (said !== undefined && at - said < SAY_AGAIN_MS) return;
    this.#saidAt.set(trouble.fault, at);
    this.#log.error({ problem: trouble.message, ...fields }, this.#texts.lasts);
  }
}
