import { matchResultSchema } from "../match/result-schema.ts";
import type { HostStore, NewReports, ReportsAdded, Span } from "../store/store.ts";

/** A joined result as the guest may have it. */
export interface OwnResult {
  /** On the guest's clock, in whole milliseconds. */
  readonly window: Span | null;
  readonly madeAt: number;
  readonly result: Readonly<Record<string, unknown>>;
}

/** Raised for a stored result that is not of the VM it is stored for, or has what no guest may see: a bug of ours. */
export class UnfitResult extends Error {}

/**
 * The store as one VM may see it: what answers requests gets this and never the store, so that nothing of another VM is
 * within its reach.
 *
 * INVARIANTS
 * - Every call to the store has this VM's id, which came with the token and from nowhere else.
 * - A result leaves only if it is a `vgpu-agent/match/1` document without a further field, and of this VM.
 */
export class VmView {
  readonly vmId: number;
  readonly #store: HostStore;

  constructor(store: HostStore, vmId: number) {
    this.#store = store;
    this.vmId = vmId;
  }

  async addReports(batch: Omit<NewReports, "vmId">): Promise<ReportsAdded> {
    return await this.#store.addReports({ ...batch, vmId: this.vmId });
  }

  /** So much of its evidence waits. */
  async isFull(most: number): Promise<boolean> {
    return (await this.#store.countPending(this.vmId, most)) >= most;
  }

  async hasPending(window: Span | null): Promise<boolean> {
    return await this.#store.hasPending(this.vmId, window);
  }

  /** Throws UnfitResult. */
  async findResult(window: Span | null): Promise<OwnResult | null> {
    const stored = await this.#store.findResult(this.vmId, window);
    if (stored === null) return null;
    const parsed = matchResultSchema.safeParse(JSON.parse(stored.document));
    if (!parsed.success || stored.vmId !== this.vmId || parsed.data.vm_id !== this.vmId) {
      throw new UnfitResult(`the stored result of VM ${this.vmId} is not fit to be given out`);
    }
    return { window: stored.window, madeAt: stored.madeAt, result: parsed.data };
  }
}
