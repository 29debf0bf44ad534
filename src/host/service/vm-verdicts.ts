import type { Rung } from "../../protocol/vocabulary.ts";
import type { HostMetrics } from "../metrics/host-metrics.ts";
import type { ReportedVerdict } from "../server/check-entries.ts";
import type { HostStore } from "../store/store.ts";
import type { Joined } from "./log-source.ts";

/** A joined result is of a window that is over: after so long it says nothing of now. */
const JOINED_HOLDS_MS = 10 * 60_000;
/** What a guest may claim alone: that calls ran on the GPU is for the host's own record to say. */
const GUEST_RUNGS: readonly Rung[] = ["unconfigured", "configured", "discovered", "connected"];

interface Known {
  reported: ReportedVerdict | null;
  joined: { readonly state: string; readonly cause: string | null; readonly at: number } | null;
}

/** The verdict of each VM for the metrics, of what its guest reports and of what was joined with the mediator's log. */
export class VmVerdicts {
  readonly #metrics: HostMetrics;
  readonly #now: () => number;
  readonly #vms = new Map<number, Known>();

  constructor(metrics: HostMetrics, now: () => number) {
    this.#metrics = metrics;
    this.#now = now;
  }

  /** VMs that may report now: those that are enrolled have series, and those that are not have none. */
  async syncEnrolled(store: HostStore): Promise<void> {
    const now = this.#now();
    const tokens = await store.listTokens();
    const valid = tokens.filter(
      ({ revokedAt, expiresAt }) => revokedAt === null && (expiresAt === null || expiresAt > now),
    );
    const enrolled = new Set(valid.map(({ vmId }) => vmId));
    for (const vmId of enrolled) {
      if (this.#vms.has(vmId)) continue;
      this.#vms.set(vmId, { reported: null, joined: null });
      this.#metrics.knowVm(vmId);
    }
    for (const vmId of this.#vms.keys()) {
      if (enrolled.has(vmId)) continue;
      this.#vms.delete(vmId);
      this.#metrics.forgetVm(vmId);
    }
  }

  reported(vmId: number, verdict: ReportedVerdict): void {
    this.#known(vmId).reported = verdict;
    this.#show(vmId);
  }

  joined(vmId: number, { verdict, operations }: Joined): void {
    this.#known(vmId).joined = { ...verdict, at: this.#now() };
    for (const { operation, confidence } of operations) this.#metrics.matched(operation, confidence);
    this.#show(vmId);
  }

  #known(vmId: number): Known {
    const known = this.#vms.get(vmId) ?? { reported: null, joined: null };
    this.#vms.set(vmId, known);
    return known;
  }

  #show(vmId: number): void {
    const { reported, joined } = this.#known(vmId);
    const at = this.#now();
    const recent = joined !== null && at - joined.at < JOINED_HOLDS_MS ? joined : null;
    const claimed = reported?.rung ?? null;
    const rung =
      recent?.state === "executing"
        ? "executing"
        : claimed === null || GUEST_RUNGS.includes(claimed)
          ? claimed
          : "connected";
    const causes = [...(reported?.causes ?? []), ...(recent?.cause == null ? [] : [recent.cause])];
    this.#metrics.setVerdict(vmId, { rung, causes, at });
  }
}
