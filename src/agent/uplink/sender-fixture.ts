import assert from "node:assert/strict";
import { heldUpTo, highestHeld, holds, type Pieces, withNumbers } from "../../host/store/held-numbers.ts";
import type { Acknowledgement } from "../../report/wire/answers.ts";
import type { ReportBatch } from "../../report/wire/batch.ts";
import type { Spool } from "../store/spool.ts";
import { BOOT, inScratch, OTHER_AGENT, openIn } from "../store/spool-fixture.ts";
import type { NewEntry } from "../store/spool-types.ts";
import { HostUnreachable } from "./host-errors.ts";
import { type ReportSink, Sender, type SenderOptions } from "./sender.ts";

/* What the tests of the sender share. */

/** A clock whose time is that of the next timer, when the test says so. */
export class SteppedClock {
  time = 1_780_000_000_000;
  chance = 0.5;
  #timers: { readonly at: number; readonly callback: () => void }[] = [];

  readonly now = () => this.time;
  readonly random = () => this.chance;
  readonly after = (ms: number, callback: () => void) => {
    const timer = { at: this.time + ms, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  };

  /** Waits until the sender waits, and gives for how long. */
  async waiting(): Promise<number> {
    for (let turn = 0; turn < 1_000_000; turn += 1) {
      const [next] = this.#timers;
      if (next !== undefined) return next.at - this.time;
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error("the sender does not wait for anything");
  }

  async step(): Promise<number> {
    const ms = await this.waiting();
    this.fire();
    return ms;
  }

  /** Lets the next timer fire, if there is one. */
  fire(): void {
    const [next] = this.#timers.splice(0, 1);
    this.time = next?.at ?? this.time;
    next?.callback();
  }
}

/** Keeps numbers as the counterpart does. */
export class FakeHost implements ReportSink {
  readonly held = new Map<string, Pieces>();
  readonly entries: ReportBatch["entries"] = [];
  readonly batches: ReportBatch[] = [];
  /** What it does instead of answering; null: it answers. */
  failure: ((batch: ReportBatch) => Error | null) | null = null;
  /** Takes the batch before it fails. */
  losesAnswers = false;
  refuses: (entry: ReportBatch["entries"][number]) => Acknowledgement["refused"][number]["reason"] | null = () => null;

  async postReports(batch: ReportBatch): Promise<{ readonly answer: Acknowledgement }> {
    this.batches.push(batch);
    const failure = this.failure?.(batch) ?? null;
    if (failure !== null && !this.losesAnswers) throw failure;
    const answer = this.#take(batch);
    if (failure !== null) throw failure;
    return { answer };
  }

  #take(batch: ReportBatch): Acknowledgement {
    const key = `${batch.agent_id}/${batch.boot_id}`;
    let pieces = this.held.get(key) ?? [];
    const [accepted, duplicates]: [number[], number[]] = [[], []];
    const refused: Acknowledgement["refused"] = [];
    for (const [index, entry] of batch.entries.entries()) {
      const reason = this.refuses(entry);
      if (reason !== null) refused.push({ index, seq: entry.seq, reason, text: "it is wrong" });
      else if (holds(pieces, entry.seq)) duplicates.push(entry.seq);
      else {
        accepted.push(entry.seq);
        this.entries.push(entry);
        pieces = withNumbers(pieces, entry.seq, entry.seq);
        if (entry.kind === "dropped") pieces = withNumbers(pieces, entry.document.first, entry.document.last);
      }
    }
    this.held.set(key, pieces);
    return {
      schema: "vgpu-agent/acknowledgement/1",
      agent_id: batch.agent_id,
      boot_id: batch.boot_id,
      accepted,
      duplicates,
      refused,
      accepted_up_to: heldUpTo(pieces),
      highest: highestHeld(pieces),
      clock: { received_at: 0, sent_at: 0 },
    };
  }

  /** Of the reports that it holds. */
  ids(): readonly unknown[] {
    return this.entries.flatMap((entry) => (entry.kind === "report" ? [entry.document["id"]] : []));
  }

  assertWhole(): void {
    for (const [key, pieces] of this.held) assert.equal(heldUpTo(pieces), highestHeld(pieces), `holes of ${key}`);
  }
}

export interface Bench {
  readonly spool: Spool;
  readonly host: FakeHost;
  readonly clock: SteppedClock;
  readonly sender: Sender;
  readonly running: Promise<void>;
  readonly stop: AbortController;
  add(...ids: readonly number[]): Promise<void>;
  /** Steps until nothing is left in the spool. */
  drain(mostSteps?: number): Promise<void>;
}

export async function withSender(
  body: (bench: Bench) => Promise<void>,
  more: Partial<SenderOptions> = {},
): Promise<void> {
  await inScratch(async (directory) => {
    const spool = await openIn(directory);
    const [host, clock, stop] = [new FakeHost(), new SteppedClock(), new AbortController()];
    const renewAgent = async () => OTHER_AGENT;
    const sender = new Sender({ spool, sink: host, vmId: 11, clock, renewAgent, ...more });
    const running = sender.run(stop.signal);
    const add = async (...ids: readonly number[]) =>
      void (await Promise.all(ids.map((id) => spool.append(report(id)))));
    const drain = async (mostSteps = 10_000) => {
      for (let step = 0; step < mostSteps; step += 1) {
        await clock.waiting();
        if (spool.state().entries === 0 && sender.state().link === "idle") return;
        await clock.step();
      }
      throw new Error("it is not drained");
    };
    try {
      await body({ spool, host, clock, sender, running, stop, add, drain });
    } finally {
      stop.abort();
      await running;
      await spool.close();
    }
  });
}

export const report = (id: number, more: object = {}): NewEntry => ({
  kind: "report",
  at: 1_780_000_000_000,
  document: { id, ...more },
  position: null,
});
export const range = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);
export const unreachable = () => new HostUnreachable("ECONNREFUSED", "nothing listens there");

export const condition = (id: number): NewEntry => ({
  kind: "condition",
  at: Date.now(),
  position: null,
  document: {
    schema: "vgpu-agent/condition/1",
    boot_id: BOOT,
    id: `condition-${id}`,
    check: "bar-access",
    cause: null,
    outcome: "warn",
    state: "open",
    since: 0,
    at: 0,
    pid: null,
    ended_by: null,
    message: "",
  },
});
