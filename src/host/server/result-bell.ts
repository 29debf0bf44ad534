/** Tells those who wait for a VM's result that there is a new one. */
export class ResultBell {
  readonly #waiting = new Map<number, Set<() => void>>();

  ring(vmId: number): void {
    for (const wake of [...(this.#waiting.get(vmId) ?? [])]) wake();
  }

  /** Wakes everybody: the server ends. */
  ringAll(): void {
    for (const vmId of [...this.#waiting.keys()]) this.ring(vmId);
  }

  /** True: it rang. False: the time is over, or the signal came. */
  async wait(vmId: number, milliseconds: number, signal: AbortSignal): Promise<boolean> {
    if (milliseconds <= 0 || signal.aborted) return false;
    return await new Promise((resolve) => {
      const waiting = this.#waiting.get(vmId) ?? new Set();
      this.#waiting.set(vmId, waiting);
      const end = (rang: boolean) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", gone);
        waiting.delete(wake);
        if (waiting.size === 0 && this.#waiting.get(vmId) === waiting) this.#waiting.delete(vmId);
        resolve(rang);
      };
      const wake = () => end(true);
      const gone = () => end(false);
      const timer = setTimeout(gone, milliseconds);
      waiting.add(wake);
      signal.addEventListener("abort", gone, { once: true });
    });
  }
}
