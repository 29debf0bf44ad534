import type { ProcessState } from "./process-state.ts";
import type { HostWindow } from "./time-buckets.ts";

/** Pids of which it is remembered when their processes ended. */
const MOST = 4096;

/**
 * Processes that the log has and that are no longer held: there were too many, or the VM has booted again. A process of
 * the guest may be one of them. Bounded: of the oldest it is only known that they were.
 */
export class LostProcesses {
  /** By pid, until when the last of them wrote, milliseconds; infinite where the log has no times. */
  readonly #until = new Map<number, number>();
  #restUntil = Number.NEGATIVE_INFINITY;

  add({ pid, lastAt }: ProcessState): void {
    if (pid === null) return;
    const until = Math.max(lastAt?.notAfter ?? Number.POSITIVE_INFINITY, this.#until.get(pid) ?? 0);
    this.#until.delete(pid);
    this.#until.set(pid, until);
    if (this.#until.size <= MOST) return;
    const [oldest] = this.#until;
    if (oldest === undefined) return;
    this.#until.delete(oldest[0]);
    this.#restUntil = Math.max(this.#restUntil, oldest[1]);
  }

  /** Whether one with this pid may have called in a window; null: ever. */
  has(pid: number, window: HostWindow | null): boolean {
    const until = Math.max(this.#until.get(pid) ?? Number.NEGATIVE_INFINITY, this.#restUntil);
    return until >= (window?.from ?? Number.NEGATIVE_INFINITY) && until > Number.NEGATIVE_INFINITY;
  }
}
