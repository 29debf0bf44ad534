import type { GuestEvidence } from "../../host/match/guest-evidence.ts";
import type { Acknowledgement, MediatorRunAnswer } from "../../report/wire/answers.ts";
import type { ReportBatch } from "../../report/wire/batch.ts";
import type { MediatorRun } from "../observe/mediator-run.ts";
import { readEnrolment } from "../settings/enrolment-file.ts";
import type { Settings } from "../settings/settings.ts";
import type { AgentIdentity } from "../store/identity.ts";
import { Spool } from "../store/spool.ts";
import { type Appended, EntryTooLarge, type NewEntry, type SpoolFound } from "../store/spool-types.ts";
import type { ClockOffset } from "../uplink/clock.ts";
import { HostClient } from "../uplink/host-client.ts";
import {
  type ClockBase,
  isCurrent,
  isFresh,
  isWaiting,
  type Measured,
  placedBatch,
  placedNow,
  type WaitingEvidence,
} from "../uplink/placement.ts";
import { Sender, type SenderState } from "../uplink/sender.ts";
import type { AgentLog } from "./agent-log.ts";
import { LastingTrouble } from "./lasting-trouble.ts";
import { monotonicMs } from "./monotonic.ts";

const BYTES_A_MEBIBYTE = 2 ** 20;
/** How long the first comparison of the clocks may take. */
const FIRST_CLOCK_MS = 2000;

export interface DeliveryOptions {
  readonly settings: Settings;
  readonly checkpointFile: string;
  readonly identity: AgentIdentity;
  readonly bootId: string;
  readonly log: AgentLog;
}

/** What is seen goes to the spool, and from there to the host, where this VM is enrolled with one. */
export class Delivery {
  readonly #options: DeliveryOptions;
  readonly #spool: Spool;
  #link: { readonly client: HostClient; readonly sender: Sender; readonly stop: AbortController } | null = null;
  #running: Promise<void> = Promise.resolve();
  #clock: Measured | null = null;
  #mediator: MediatorRun | null = null;
  #noLink = "not connected yet";
  #tooLarge = 0;
  readonly #disk: LastingTrouble;

  private constructor(options: DeliveryOptions, spool: Spool) {
    this.#options = options;
    this.#spool = spool;
    this.#disk = new LastingTrouble(options.log, {
      lasts: "what is seen is kept in memory alone",
      over: "the disk takes what is seen again",
    });
  }

  static async open(options: DeliveryOptions): Promise<{ readonly delivery: Delivery; readonly found: SpoolFound }> {
    const { settings, checkpointFile, identity, bootId } = options;
    const { spool, found } = await Spool.open({
      directory: settings.spool.directory,
      checkpointFile,
      agentId: identity.agentId,
      bootId,
      maxBytes: settings.spool.max_mebibytes * BYTES_A_MEBIBYTE,
    });
    return { delivery: new Delivery(options, spool), found };
  }

  /** Reads the enrolment, and sends to its host from now on; without one, entries are kept. `signal`: not worth waiting any more. */
  async connect({ host }: Settings, signal: AbortSignal): Promise<void> {
    await this.#disconnect();
    if (!host.enabled) {
      this.#noLink = "host.enabled is false";
      return;
    }
    const enrolment = await readEnrolment(host.enrolment);
    if (enrolment.state !== "read") {
      this.#noLink = enrolment.detail;
      this.#options.log.warn({ reason: enrolment.detail }, "not enrolled: what is seen is kept here");
      return;
    }
    const client = new HostClient(enrolment.value);
    const stop = new AbortController();
    const sender = new Sender({
      spool: this.#spool,
      sink: { postReports: async (batch, signal) => ({ answer: await this.#post(client, batch, signal) }) },
      vmId: client.vmId,
      // A host that lost its data has a new certificate, and nothing of what was sent before.
      receiver: `${enrolment.value.pin} ${client.vmId}`,
      clock: { now: Date.now, random: Math.random, after: later },
      renewAgent: () => this.#options.identity.renew(),
    });
    this.#link = { client, sender, stop };
    this.#running = sender.run(stop.signal).catch((error: unknown) => {
      this.#options.log.error({ err: error }, "sending failed");
    });
    // A host that is away is not waited for: what is seen meanwhile is placed when it is sent.
    await this.#compareClocks(client, AbortSignal.any([signal, AbortSignal.timeout(FIRST_CLOCK_MS)])).catch(() => {});
    this.#options.log.info({ host: client.url, vm: client.vmId }, "reports to");
  }

  /** Resolves when it is on the disk, or kept as well as the disk allows; "lost" also for what no host takes. */
  async append(entry: NewEntry): Promise<Appended["kept"]> {
    try {
      const { kept } = await this.#spool.append(entry);
      this.#link?.sender.wake();
      return kept;
    } catch (error) {
      if (!(error instanceof EntryTooLarge)) throw error;
      this.#tooLarge += 1;
      this.#options.log.error({ kind: entry.kind, total: this.#tooLarge }, error.message);
      return "lost";
    }
  }

  /** Says it while the disk does not take what is seen, and when it does again. */
  noteDisk(): void {
    const { trouble, memoryEntries } = this.#spool.state();
    this.#disk.note(trouble, { entries: memoryEntries });
  }

  /** Evidence with how this VM's clock stood to the host's; where that is not known yet, it is put in when it is sent. */
  placed(document: GuestEvidence, base: ClockBase | null): WaitingEvidence {
    const isOfThisBoot = document.boot_id === null || isSameBoot(document.boot_id, this.#options.bootId);
    const measured = isFresh(this.#clock, monotonicMs()) ? this.#clock : null;
    return placedNow(document, isOfThisBoot ? base : null, measured);
  }

  /** As the host told it last; null: it did not, or is another host now. */
  get mediator(): MediatorRun | null {
    return this.#mediator;
  }

  get vmId(): number | null {
    return this.#link?.client.vmId ?? null;
  }

  /** Nothing that covers a part of the log waits for the host. */
  get isDelivered(): boolean {
    return this.#spool.state().entries === 0;
  }

  get state(): SenderState | { readonly link: "none"; readonly why: string; readonly backlog: SenderState["backlog"] } {
    return this.#link?.sender.state() ?? { link: "none", why: this.#noLink, backlog: this.#spool.state() };
  }

  async close(): Promise<void> {
    await this.#disconnect();
    await this.#spool.close();
  }

  async #post(client: HostClient, batch: ReportBatch, signal: AbortSignal | undefined): Promise<Acknowledgement> {
    const isOfThisBoot = isSameBoot(batch.boot_id, this.#options.bootId);
    const begunAt = monotonicMs();
    const isOld = isWaiting(batch) && !isCurrent(this.#clock, begunAt, Date.now() - begunAt);
    if (isOfThisBoot && isOld) await this.#compareClocks(client, signal);
    const begun = monotonicMs();
    const { answer, offset } = await client.postReports(placedBatch(batch, isOfThisBoot ? this.#clock : null), signal);
    if (offset !== null) this.#clock = measuredNow(offset);
    if (answer.mediator !== undefined) this.#mediator = runOf(answer.mediator, begun);
    return answer;
  }

  async #compareClocks(client: HostClient, signal: AbortSignal | undefined): Promise<void> {
    const offset = await client.clockOffset(signal);
    // Of before, it says nothing of a clock that was set just now.
    this.#clock = offset === null ? null : measuredNow(offset);
  }

  async #disconnect(): Promise<void> {
    const link = this.#link;
    this.#link = null;
    link?.stop.abort();
    await this.#running;
    // What comes next may be another host.
    this.#mediator = null;
    this.#clock = null;
    link?.client.close();
  }
}

function later(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
}

function measuredNow(offset: ClockOffset): Measured {
  const at = monotonicMs();
  return { offset, base: Date.now() - at, at };
}

/** `begun`: CLOCK_MONOTONIC in milliseconds before the request was sent, and so before the answer was. */
function runOf({ series, run, began_ms_ago: ago }: MediatorRunAnswer, begun: number): MediatorRun {
  return { series, run, beganAt: ago === null ? null : begun - ago };
}

/** The kernel writes it with hyphens, a journal without. */
function isSameBoot(one: string, other: string): boolean {
  return one.replaceAll("-", "") === other.replaceAll("-", "");
}
