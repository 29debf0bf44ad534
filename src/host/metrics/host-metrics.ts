import { CATALOGUE } from "../../checks/catalogue.ts";
import { RUNGS, type Rung } from "../../protocol/vocabulary.ts";
import { ENTRY_REFUSALS, type EntryRefusal } from "../../report/wire/answers.ts";
import { DROP_REASONS } from "../../report/wire/batch.ts";
import { LEVELS, OPERATIONS } from "../match/result-schema.ts";
import { REQUEST_REFUSALS, type RequestRefusal } from "../server/events.ts";
import { Registry } from "./registry.ts";

/*
 * The metrics of the counterpart on the host. Names are stable: append, never rename. `vgpu_host_…` is what it knows of
 * VMs, guests' reports and the mediator; `vgpu_agent_…` is this program itself, as in the guests.
 */

/** Why a report was not taken: the server's words. Replayed: it had been taken before. */
const REFUSALS: readonly Refusal[] = [...new Set([...REQUEST_REFUSALS, ...ENTRY_REFUSALS, "replayed" as const])];
/** Why a report that was made is not kept: it was removed here, or its guest gave it up. */
const DROPS = ["retention", ...DROP_REASONS] as const;

export type Refusal = RequestRefusal | EntryRefusal | "replayed";
export type Drop = (typeof DROPS)[number];

/** VMs with series of their own. A host has tens. */
const MOST_VMS = 1024;
/** VMs beyond them that are counted. */
const MOST_COUNTED = 65_536;
const NO_CAUSES: ReadonlySet<string> = new Set();
/** Seconds. */
const LATENCY_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

export interface HostMetricsOptions {
  readonly version: string;
  readonly mostVms?: number;
}

/** The counterpart's metrics, and what sets them. Everything exists from the start. */
export class HostMetrics {
  readonly registry = new Registry();
  readonly #build;
  readonly #rung;
  readonly #lastReport;
  readonly #hidden;
  readonly #findings;
  readonly #open;
  readonly #openCauses;
  readonly #received;
  readonly #refused;
  readonly #dropped;
  readonly #seconds;
  readonly #logRead;
  readonly #logLag;
  readonly #logUnread;
  readonly #matched;
  readonly #storeBytes;
  readonly #mediators;
  readonly #mediatorFindings;
  readonly #silence;
  readonly #without = new Set<number>();
  /** Causes of each VM's last verdict; a VM without any is not here. */
  readonly #vms = new Map<number, ReadonlySet<string>>();
  readonly #vmsByCause = new Map<string, number>();

  constructor({ version, mostVms = MOST_VMS }: HostMetricsOptions) {
    const { registry } = this;
    const causes = CATALOGUE.map(({ id }) => id);
    const vm = { most: mostVms };
    this.#build = registry.gauge("vgpu_agent_build_info", "Always 1; the version is a label.", { version: [version] });
    this.#build.of(version).set(1);
    this.#rung = registry.gauge(
      "vgpu_host_vm_rung",
      "1 for the rung that a VM's last verdict reached, 0 for the others; all 0: no verdict.",
      { vm, rung: RUNGS },
    );
    this.#lastReport = registry.gauge(
      "vgpu_host_vm_last_report_timestamp_seconds",
      "When the last report of a VM was taken; 0: never.",
      { vm },
    );
    this.#hidden = registry.gauge(
      "vgpu_host_vms_without_series",
      "VMs that have no series of their own because there are too many.",
      {},
    );
    this.#findings = registry.gauge("vgpu_host_findings", "VMs whose last verdict names the cause.", { cause: causes });
    this.#open = registry.gauge("vgpu_host_vm_open_conditions", "Conditions of a VM that are open.", { vm });
    this.#openCauses = registry.gauge("vgpu_host_open_conditions", "Conditions of all VMs that are open.", {
      cause: causes,
    });
    this.#received = registry.counter("vgpu_host_reports_received_total", "Reports taken and stored.", {});
    this.#refused = registry.counter("vgpu_host_reports_refused_total", "Reports not taken.", { reason: REFUSALS });
    this.#dropped = registry.counter(
      "vgpu_host_reports_dropped_total",
      "Reports removed since they were taken (retention), or given up by their guest.",
      { reason: DROPS },
    );
    this.#seconds = registry.histogram(
      "vgpu_host_report_seconds",
      "From the first byte of a batch of reports to its answer.",
      LATENCY_BOUNDS,
      {},
    );
    this.#logRead = registry.counter(
      "vgpu_host_log_read_bytes_total",
      "Bytes of the mediator's log that were read.",
      {},
    );
    this.#logLag = registry.gauge(
      "vgpu_host_log_lag_bytes",
      "Bytes of the mediator's log that are not read yet; NaN: not known.",
      {},
      Number.NaN,
    );
    this.#logUnread = registry.counter(
      "vgpu_host_log_not_understood_bytes_total",
      "Bytes of the mediator's log that no grammar reads.",
      {},
    );
    this.#matched = registry.counter(
      "vgpu_host_matched_operations_total",
      "Joined results by operation and by how sure its match is.",
      {
        operation: OPERATIONS,
        confidence: LEVELS,
      },
    );
    this.#storeBytes = registry.gauge(
      "vgpu_host_store_bytes",
      "Size of the store on disk; NaN: not known.",
      {},
      Number.NaN,
    );
    this.#mediators = registry.gauge("vgpu_host_mediators", "Mediators that run; NaN: not known.", {}, Number.NaN);
    this.#mediatorFindings = registry.gauge(
      "vgpu_host_mediator_findings",
      "1 while the look at the mediator's health names the cause.",
      { cause: causes.filter((id) => id.startsWith("VG-H")) },
    );
    this.#silence = registry.gauge(
      "vgpu_host_mediator_silence_seconds",
      "Since the mediator last wrote to its log; NaN: not known.",
      {},
      Number.NaN,
    );
  }

  /** A VM that may report, by its enrolment: its series exist now. Only the host's own list comes here. */
  knowVm(vmId: number): void {
    const label = String(vmId);
    const isShown = this.#rung.admit(label) && this.#lastReport.admit(label) && this.#open.admit(label);
    if (!isShown && this.#without.size < MOST_COUNTED) this.#without.add(vmId);
    this.#hidden.of().set(this.#without.size);
  }

  /** Its enrolment was taken back. */
  forgetVm(vmId: number): void {
    this.#rung.dismiss(String(vmId));
    this.#lastReport.dismiss(String(vmId));
    this.#open.dismiss(String(vmId));
    this.#without.delete(vmId);
    this.#hidden.of().set(this.#without.size);
    this.#replaceCauses(vmId, NO_CAUSES);
  }

  /** The last verdict of a VM, and the causes that its findings name. `at`: epoch milliseconds. */
  setVerdict(
    vmId: number,
    verdict: { readonly rung: Rung | null; readonly causes: readonly string[]; readonly at: number },
  ): void {
    const label = String(vmId);
    this.knowVm(vmId);
    if (!this.#rung.has(label)) return;
    for (const rung of RUNGS) this.#rung.of(label, rung).set(rung === verdict.rung ? 1 : 0);
    this.#lastReport.of(label).set(verdict.at / 1000);
    this.#replaceCauses(vmId, new Set(verdict.causes.filter((id) => this.#findings.has(id))));
  }

  /** All that are open; those of VMs that may not report any more do not count. */
  setOpenConditions(
    all: readonly { readonly vmId: number; readonly cause: string | null; readonly count: number }[],
  ): void {
    const ofVm = new Map<number, number>();
    const ofCause = new Map<string, number>();
    for (const { vmId, cause, count } of all) {
      if (!this.#open.has(String(vmId))) continue;
      ofVm.set(vmId, (ofVm.get(vmId) ?? 0) + count);
      if (cause !== null) ofCause.set(cause, (ofCause.get(cause) ?? 0) + count);
    }
    for (const vm of this.#open.opened) this.#open.of(vm).set(ofVm.get(Number(vm)) ?? 0);
    for (const { id } of CATALOGUE) this.#openCauses.of(id).set(ofCause.get(id) ?? 0);
  }

  received(seconds: number, reports = 1): void {
    this.#received.of().add(reports);
    this.#seconds.of().observe(seconds);
  }

  refused(reason: Refusal): void {
    this.#refused.of(reason).add();
  }

  dropped(reason: Drop, reports = 1): void {
    this.#dropped.of(reason).add(reports);
  }

  logRead(bytes: number): void {
    this.#logRead.of().add(bytes);
  }

  /** Null: not known. */
  setLogLag(bytes: number | null): void {
    this.#logLag.of().set(bytes ?? Number.NaN);
  }

  logNotUnderstood(bytes: number): void {
    this.#logUnread.of().add(bytes);
  }

  matched(operation: (typeof OPERATIONS)[number], confidence: (typeof LEVELS)[number], operations = 1): void {
    this.#matched.of(operation, confidence).add(operations);
  }

  setStoreBytes(bytes: number | null): void {
    this.#storeBytes.of().set(bytes ?? Number.NaN);
  }

  /** From the look at the mediator; null: not known. */
  setMediator(seen: {
    readonly running: number | null;
    readonly silenceMs: number | null;
    readonly causes: readonly string[];
  }): void {
    this.#mediators.of().set(seen.running ?? Number.NaN);
    this.#silence.of().set(seen.silenceMs === null ? Number.NaN : seen.silenceMs / 1000);
    for (const { id } of CATALOGUE) {
      if (this.#mediatorFindings.has(id)) this.#mediatorFindings.of(id).set(seen.causes.includes(id) ? 1 : 0);
    }
  }

  /** Puts the causes of a VM's last verdict in the place of those before. */
  #replaceCauses(vmId: number, causes: ReadonlySet<string>): void {
    const before = this.#vms.get(vmId) ?? NO_CAUSES;
    for (const id of causes) if (!before.has(id)) this.#countVms(id, 1);
    for (const id of before) if (!causes.has(id)) this.#countVms(id, -1);
    if (causes.size === 0) this.#vms.delete(vmId);
    else this.#vms.set(vmId, causes);
  }

  #countVms(cause: string, change: 1 | -1): void {
    const vms = (this.#vmsByCause.get(cause) ?? 0) + change;
    this.#vmsByCause.set(cause, vms);
    this.#findings.of(cause).set(vms);
  }
}
