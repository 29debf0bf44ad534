import { randomUUID } from "node:crypto";
import { type Evidence, evidenceOfFacts, type ReadLogs } from "../agent/evidence/evidence-of-facts.ts";
import { readEnrolment } from "../agent/settings/enrolment-file.ts";
import { awaitResult, type Joined } from "../agent/uplink/await-result.ts";
import { type ClockOffset, spanning } from "../agent/uplink/clock.ts";
import { HostClient } from "../agent/uplink/host-client.ts";
import { HostBusy, HostRefused, HostUnreachable, isHostError } from "../agent/uplink/host-errors.ts";
import type { Facts } from "../facts/facts.ts";
import type { HostMatch } from "../facts/host-match.ts";
import { type NotRead, notRead, type Reading, valueIn, wasRead } from "../facts/reading.ts";
import { evidenceOfLogs } from "../host/match/evidence.ts";
import type { Report } from "../report/report.ts";
import type { Acknowledgement } from "../report/wire/answers.ts";
import { type BatchEntry, reportBatchSchema } from "../report/wire/batch.ts";
import type { Enrolment } from "../report/wire/enrolment-string.ts";
import { PinMismatch } from "../report/wire/pinned-agent.ts";
import { registerOf, sourcesOf } from "./doctor-host.ts";
import type { HostRequest } from "./host-request.ts";
import { UsageError } from "./usage.ts";

export interface CounterpartOptions {
  /** Told what is being waited for. */
  readonly onStep: (name: string) => void;
  /** Milliseconds that the host may take to join what it is sent. */
  readonly waitMs?: number;
}

export interface LogsGiven {
  readonly journal: string | null;
  readonly log: string | null;
}

const CONNECT_MS = 5000;
const ANSWER_MS = 15_000;
/** The host lets its log settle for seconds, and may wait for the next sign of life of an idle mediator (10 s). */
const WAIT_MS = 30_000;
const READ_LOGS_MS = 60_000;
/** A VM that was enrolled under another one's id would look as if it had called nothing. */
const NOT_CONFIRMED =
  "and nothing here says that this VM is that one: neither the device's registers nor the workload's log could be read for its id (run the doctor as root)";
const UUID_PARTS = /^(\w{8})(\w{4})(\w{4})(\w{4})(\w{12})$/;

/**
 * The counterpart of a VM that is enrolled, by the file at `place`; a reading that says why there is none to ask. Throws UsageError where the one
 * that was named cannot be meant.
 */
export async function openCounterpart(
  { url, enrolment }: HostRequest,
  place: string,
  options: CounterpartOptions,
): Promise<Counterpart | NotRead> {
  const read = await readEnrolment(place);
  if (read.state !== "read") {
    const isNamed = url !== null || enrolment !== null;
    if (!isNamed || read.state === "denied")
      return notRead(read.state === "absent" ? "skipped" : read.state, read.detail);
    throw new UsageError(
      read.state === "absent"
        ? `--host: this VM is not enrolled${url === null ? "" : ` with ${url}`}. On the host run \`vgpu-agent host enroll --vm ID --url ${url ?? "https://HOST:PORT"}\`, and in this VM \`vgpu-agent enroll\` with the word that it prints`
        : `--host: ${read.detail}`,
    );
  }
  const enrolled = read.value;
  if (url !== null && originOf(url) !== originOf(enrolled.url)) {
    throw new UsageError(
      `--host ${url}: this VM is enrolled with ${enrolled.url}. Leave the address out to ask that one; to change hosts, run \`vgpu-agent host enroll --vm ${enrolled.vm} --url ${url}\` there and \`vgpu-agent enroll --force\` here`,
    );
  }
  return new Counterpart(enrolled, options);
}

function originOf(url: string): string {
  return URL.parse(url)?.origin ?? url;
}

/**
 * One run's conversation with the counterpart: clocks, evidence, the joined result, the report. What goes wrong in it is a
 * reading that says so, never a failure of the GPU.
 */
export class Counterpart {
  readonly #client: HostClient;
  readonly #enrolment: Enrolment;
  readonly #options: CounterpartOptions;
  /** Fresh for each run: its entries count from 1, and no other run's are taken for them. */
  readonly #agentId = randomUUID();
  #clock: ClockOffset | null = null;
  #trouble: NotRead | null = null;
  #bootId: string | null = null;
  #sent = 0;

  constructor(enrolment: Enrolment, options: CounterpartOptions) {
    this.#client = new HostClient(enrolment, { connectMs: CONNECT_MS, answerMs: ANSWER_MS });
    this.#enrolment = enrolment;
    this.#options = options;
  }

  /** Before the calls that are counted: the clocks may be set in between, and a host that is away is known at once. */
  async greet(): Promise<void> {
    this.#options.onStep(`the host's clock (${this.#enrolment.url})`);
    try {
      this.#clock = await this.#client.clockOffset();
    } catch (error) {
      this.#trouble = readingOf(error, this.#enrolment.url);
    }
  }

  /** Sends what this VM knows of its calls, and waits for the host's record of them. Never rejects for what is wrong with either. */
  async compare(facts: Facts, given: LogsGiven): Promise<Reading<HostMatch>> {
    if (facts.scope.subject !== "live") {
      return notRead("skipped", "what is judged is not of this machine: nothing of it was sent to this machine's host");
    }
    if (this.#trouble !== null) return this.#trouble;
    this.#bootId = uuidOf(valueIn(facts.host)?.bootId ?? null);
    if (this.#bootId === null) {
      return this.#refuse(
        "absent",
        "this machine's boot id could not be read, and the host takes no report without it",
      );
    }
    const { vm, url } = this.#enrolment;
    const device = registerOf(facts);
    if (device !== null && device !== vm) return this.#refuse("invalid", otherVm("this VM's device", device, vm));
    try {
      const logs = await this.#readLogs(facts, given);
      const named = logs?.evidence.vm_id ?? null;
      if (device === null && named !== null && named !== vm) {
        return this.#refuse("invalid", otherVm("the workload's log", named, vm));
      }
      const after = await this.#client.clockOffset();
      const clock = this.#clock === null || after === null ? (after ?? this.#clock) : spanning(this.#clock, after);
      const pieces = evidenceOfFacts({ facts, vmId: vm, logs, clock });
      if (pieces.length === 0) {
        return this.#refuse("absent", "no process of the workload runs whose calls the host could be asked for");
      }
      const { acknowledgement, receivedAt } = await this.#send(
        pieces.map((piece) => ({ kind: "guest-evidence", document: piece.document })),
      );
      const taken = pieces.filter((_, index) => acknowledgement.refused.every((one) => one.index !== index));
      if (taken.length === 0) {
        const why = acknowledgement.refused.map(({ reason, text }) => `${reason}: ${text}`).join("; ");
        return notRead("invalid", `${url} did not take this VM's evidence: ${why}`);
      }
      return await this.#await(taken, receivedAt, device !== null || named !== null);
    } catch (error) {
      this.#trouble = readingOf(error, url);
      return this.#trouble;
    }
  }

  /** The report, for the host to keep. Null: it has it, or was never spoken with; otherwise why it has not, in words. */
  async sendReport(report: Report): Promise<string | null> {
    if (this.#trouble !== null || this.#bootId === null) return null;
    try {
      const { acknowledgement } = await this.#send([{ kind: "report", document: report }]);
      const [refused] = acknowledgement.refused;
      return refused === undefined ? null : `the host did not take the report: ${refused.reason}: ${refused.text}`;
    } catch (error) {
      if (!isHostError(error)) throw error;
      return `the host did not get the report: ${error.message}`;
    }
  }

  close(): void {
    this.#client.close();
  }

  /** Nothing is sent, of this or of the report. */
  #refuse(state: NotRead["state"], detail: string): NotRead {
    this.#trouble = notRead(state, detail);
    return this.#trouble;
  }

  /** Null: they cannot be read, as the report's sources say. */
  async #readLogs(facts: Facts, { journal, log }: LogsGiven): Promise<ReadLogs | null> {
    this.#options.onStep("the workload's log, for the host");
    const signal = AbortSignal.timeout(READ_LOGS_MS);
    try {
      const sources = await sourcesOf(facts, { root: null, journal, log, signal });
      const evidence = await evidenceOfLogs(sources);
      return { evidence, hasFiles: sources.files.length > 0, readAt: Date.now() };
    } catch {
      return null;
    }
  }

  async #send(
    documents: readonly { readonly kind: "report" | "guest-evidence"; readonly document: object }[],
  ): Promise<{ readonly acknowledgement: Acknowledgement; readonly receivedAt: number }> {
    const now = Date.now();
    const first = this.#sent + 1;
    const entries = documents.map(
      ({ kind, document }, index): BatchEntry => ({ kind, seq: first + index, at: now, document: { ...document } }),
    );
    this.#sent += entries.length;
    const batch = reportBatchSchema.parse({
      schema: "vgpu-agent/report-batch/1",
      agent_id: this.#agentId,
      boot_id: this.#bootId,
      vm_id: this.#enrolment.vm,
      sent_at: now,
      entries,
    });
    const { answer } = await this.#client.postReports(batch);
    return { acknowledgement: answer, receivedAt: answer.clock.received_at };
  }

  /** The most telling result: the first that says anything definite, strongest evidence first. */
  async #await(pieces: readonly Evidence[], receivedAt: number, isVmConfirmed: boolean): Promise<Reading<HostMatch>> {
    const { onStep, waitMs = WAIT_MS } = this.#options;
    const { url } = this.#enrolment;
    const until = performance.now() + waitMs;
    let best: { readonly piece: Evidence; readonly joined: Joined } | null = null;
    let why = "";
    for (const piece of pieces) {
      onStep(`waiting for the host's record (${url})`);
      const joined = await awaitResult(this.#client, { window: piece.window, receivedAt, until });
      if (joined.result === null) {
        why = joined.why;
        continue;
      }
      best ??= { piece, joined };
      if (joined.result.verdict.state === "not known") continue;
      best = { piece, joined };
      break;
    }
    if (best === null) return notRead("absent", `${url} has this VM's calls, and ${why}`);
    const { verdict, host } = best.joined.result;
    if (verdict.state === "refuted" && host.calls === 0 && !isVmConfirmed) {
      return notRead("absent", `${url} has no call of VM ${this.#enrolment.vm}, ${NOT_CONFIRMED}`);
    }
    return wasRead(matchOf(best.joined, url), `${url}, by ${BASIS_WORDS[best.piece.basis]}`);
  }
}

const BASIS_WORDS: Readonly<Record<Evidence["basis"], string>> = {
  kernel: "what this kernel counted",
  log: "what the workload's log tells",
};

function matchOf({ result, madeAt, answer }: Joined, url: string): HostMatch {
  const { vm_id, window, host, operations, verdict, suspicions, criteria } = result;
  return {
    vm_id,
    window,
    host: { coverage: host.coverage, reasons: host.reasons, calls: host.calls },
    operations,
    verdict,
    suspicions,
    criteria,
    source: { kind: "host", name: url },
    joined_at: madeAt,
    answered_at: answer.clock.sent_at,
    health: answer.health,
  };
}

function otherVm(who: string, said: number, enrolled: number): string {
  return `${who} says that this is VM ${said}, and the enrolment is VM ${enrolled}'s: nothing was sent. Enrol this VM with a word of its own (vgpu-agent host enroll --vm ${said})`;
}

/** `timed-out` is a host that could not be reached: nothing is wrong with the VM. Throws what is no error of the conversation. */
function readingOf(error: unknown, url: string): NotRead {
  if (error instanceof HostUnreachable) return notRead("timed-out", error.message);
  if (error instanceof HostBusy) return notRead("timed-out", `${url}: ${error.message}`);
  if (error instanceof PinMismatch) return notRead("invalid", `${url}: ${error.message}`);
  if (error instanceof HostRefused && error.isAboutToken) {
    return notRead(
      "denied",
      `${url} does not take this VM's token: it was revoked or has expired. \`vgpu-agent host enroll --vm ID\` there makes a new one`,
    );
  }
  if (isHostError(error)) return notRead("invalid", `${url}: ${error.message}`);
  throw error;
}

/** A boot id as the kernel writes it, from its 32 digits. */
function uuidOf(bootId: string | null): string | null {
  return bootId !== null && UUID_PARTS.test(bootId) ? bootId.replace(UUID_PARTS, "$1-$2-$3-$4-$5") : null;
}
