import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { withHost } from "../../../test/support/host-client.ts";
import { heldUpTo, highestHeld, holds, type Pieces, withNumbers } from "../../host/store/held-numbers.ts";
import type { Acknowledgement } from "../../report/wire/answers.ts";
import type { ReportBatch } from "../../report/wire/batch.ts";
import { PinMismatch } from "../../report/wire/pinned-agent.ts";
import type { Spool } from "../store/spool.ts";
import { AGENT, BOOT, inScratch, NEXT_BOOT, OTHER_AGENT, openIn } from "../store/spool-fixture.ts";
import type { NewEntry } from "../store/spool-types.ts";
import { HostClient } from "./host-client.ts";
import { BatchTooLarge, HostBusy, HostRefused, HostUnreachable } from "./host-errors.ts";
import { type ReportSink, Sender, type SenderOptions } from "./sender.ts";

/** A clock whose time is that of the next timer, when the test says so. */
class SteppedClock {
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
class FakeHost implements ReportSink {
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

interface Bench {
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

async function withSender(body: (bench: Bench) => Promise<void>, more: Partial<SenderOptions> = {}): Promise<void> {
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

const report = (id: number, more: object = {}): NewEntry => ({
  kind: "report",
  at: 1_780_000_000_000,
  document: { id, ...more },
  position: null,
});
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);
const unreachable = () => new HostUnreachable("ECONNREFUSED", "nothing listens there");

test("what is appended is sent, in order, within a second of the call", () =>
  withSender(async ({ host, clock, sender, add, drain }) => {
    await clock.waiting();
    await add(1, 2, 3);
    const begun = clock.time;
    sender.wake();
    await drain();
    assert.ok(clock.time - begun <= 1000);
    assert.deepEqual(host.ids(), [1, 2, 3]);
    assert.equal(host.batches.length, 1);
    const { link, lastSuccessAt, accepted, backlog } = sender.state();
    assert.equal(link, "idle");
    assert.equal(lastSuccessAt, clock.time);
    assert.equal(accepted, 3);
    assert.equal(backlog.entries, 0);
  }));

test("a host that is away for a day gets everything once, in order, and is asked at most every few seconds meanwhile", () =>
  withSender(async ({ host, clock, sender, add, drain }) => {
    host.failure = unreachable;
    const end = clock.time + 86_400_000;
    let id = 0;
    clock.chance = 0.9;
    while (clock.time < end) {
      await add(id + 1, id + 2);
      id += 2;
      assert.ok((await clock.step()) <= 5 * 60_000);
    }
    assert.equal(sender.state().link, "away");
    assert.match(sender.state().lastError?.text ?? "", /nothing listens/);
    assert.ok(host.batches.length < 400, `${host.batches.length} attempts`);
    assert.equal(sender.state().backlog.entries, id);
    host.failure = null;
    await drain();
    assert.deepEqual(host.ids(), range(1, id));
    host.assertWhole();
    assert.equal(sender.state().failures, 0);
  }));

test("answers that are lost cost nothing: the host has each entry once, and nobody is taken for a stranger", () =>
  withSender(async ({ host, clock, sender, add, drain }) => {
    host.failure = unreachable;
    host.losesAnswers = true;
    await add(...range(1, 20));
    for (let step = 0; step < 4; step += 1) await clock.step();
    host.failure = null;
    await drain();
    assert.deepEqual(host.ids(), range(1, 20));
    assert.equal(sender.state().collisions, 0);
    assert.ok(sender.state().duplicates > 0);
  }));

test("Retry-After is waited for, and a day of it is not believed", () =>
  withSender(async ({ host, clock, add }) => {
    clock.chance = 0;
    host.failure = () => new HostBusy(503, "full", 42_000);
    await add(1);
    while (host.batches.length === 0) await clock.step();
    assert.equal(await clock.waiting(), 42_000);
    host.failure = () => new HostBusy(503, "full", 86_400_000);
    await clock.step();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await clock.waiting(), 5 * 60_000);
  }));

for (const [what, failure] of [
  ["a revoked token", () => new HostRefused(401, "unauthorised", "the token is not valid")],
  ["a token of another VM", () => new HostRefused(403, "forbidden", "enrol this VM anew")],
  ["another certificate", () => new PinMismatch()],
  ["a small batch that is said to be too large", () => new HostRefused(413, "too-large", "too large")],
] as const) {
  test(`${what} is said loudly, asked about rarely, and loses nothing`, () =>
    withSender(async ({ host, clock, sender, add, drain }) => {
      host.failure = failure;
      await add(1, 2);
      const begun = clock.time;
      while (clock.time < begun + 3_600_000) await clock.step();
      assert.equal(sender.state().link, "refused");
      assert.ok(host.batches.length < 20, `${host.batches.length} attempts in an hour`);
      assert.deepEqual(sender.state().lastError?.text, failure().message);
      host.failure = null;
      await drain();
      assert.deepEqual(host.ids(), [1, 2]);
    }));
}

test("an entry that the host refuses is dropped, counted with its reason, and the host is told", () =>
  withSender(async ({ host, sender, add, drain }) => {
    host.refuses = (entry) => (entry.kind === "report" && entry.document["id"] === 2 ? "malformed" : null);
    await add(1, 2, 3);
    await drain();
    assert.deepEqual(host.ids(), [1, 3]);
    host.assertWhole();
    assert.deepEqual(
      host.entries.filter(({ kind }) => kind === "dropped").map(({ document }) => document),
      [{ first: 2, last: 2, count: 1, reason: "refused" }],
    );
    assert.equal(sender.state().refused.get("malformed"), 1);
    assert.match(sender.state().lastRefusal ?? "", /it is wrong/);
    assert.equal(sender.state().backlog.dropped.refused, 1);
  }));

test("an entry that the wire does not know is not sent; it is accounted for as refused", () =>
  withSender(async ({ host, spool, sender, add, drain }) => {
    await add(1);
    await spool.append({ kind: "condition", at: 0, document: { schema: "of another version" }, position: null });
    await add(3);
    await drain();
    assert.deepEqual(host.ids(), [1, 3]);
    host.assertWhole();
    assert.equal(sender.state().refused.get("unfit"), 1);
  }));

test("too many gaps are told first, and then the entry is taken", () =>
  withSender(async ({ host, sender, add, drain }) => {
    let rounds = 0;
    host.refuses = (entry) => (entry.kind === "report" && entry.document["id"] === 2 && rounds++ < 2 ? "gaps" : null);
    await add(1, 2, 3);
    await drain();
    assert.deepEqual([...host.ids()].sort(), [1, 2, 3]);
    assert.equal(sender.state().backlog.dropped.refused, 0);
  }));

test("batches that are too large are cut until they fit; an entry that never fits is dropped and told", () =>
  withSender(async ({ host, spool, sender, drain }) => {
    const most = 300_000;
    host.failure = (batch) => {
      const { length } = JSON.stringify(batch);
      return length > most ? new BatchTooLarge(length, most) : null;
    };
    for (const id of range(1, 8)) await spool.append(report(id, { text: "x".repeat(id === 5 ? 400_000 : 100_000) }));
    await drain();
    assert.deepEqual(host.ids(), [1, 2, 3, 4, 6, 7, 8]);
    host.assertWhole();
    assert.equal(sender.state().refused.get("too-large"), 1);
  }));

test("entries of an older boot go first, in batches of their own", () =>
  inScratch(async (directory) => {
    const before = await openIn(directory);
    await before.append(report(1));
    await before.close();
    const spool = await openIn(directory, { bootId: NEXT_BOOT });
    await spool.append(report(2));
    const [host, clock, stop] = [new FakeHost(), new SteppedClock(), new AbortController()];
    const sender = new Sender({ spool, sink: host, vmId: null, clock, renewAgent: async () => OTHER_AGENT });
    const running = sender.run(stop.signal);
    await clock.waiting();
    stop.abort();
    await running;
    assert.deepEqual(
      host.batches.map(({ boot_id, entries }) => [boot_id, entries.length]),
      [
        [BOOT, 1],
        [NEXT_BOOT, 1],
      ],
    );
    await spool.close();
  }));

test("a copy of a running VM counts on under the same numbers: both notice or neither loses, and all entries arrive", () =>
  withSender(async ({ host, clock, sender, spool, add, drain }) => {
    await add(1, 2);
    await drain();
    // The other one, with the same memory, was faster with 3 and 4.
    await host.postReports({
      schema: "vgpu-agent/report-batch/1",
      agent_id: AGENT,
      boot_id: BOOT,
      vm_id: 11,
      sent_at: 0,
      entries: [3, 4].map((seq) => ({ kind: "report", seq, at: 0, document: { id: `other ${seq}` } })),
    });
    await add(3);
    sender.wake();
    await drain();
    await add(4, 5);
    sender.wake();
    await drain();
    assert.deepEqual(host.ids(), [1, 2, "other 3", "other 4", 3, 4, 5]);
    assert.equal(sender.state().collisions, 1);
    assert.deepEqual([...host.held.keys()], [`${AGENT}/${BOOT}`, `${OTHER_AGENT}/${BOOT}`]);
    host.assertWhole();
    assert.equal(spool.state().entries, 0);
    assert.ok(clock.time > 0);
  }));

test("a host that knows of higher numbers than were ever given is answered with a new agent id", () =>
  withSender(async ({ host, sender, add, drain }) => {
    host.held.set(`${AGENT}/${BOOT}`, [[2, 90]]);
    await add(1);
    await drain();
    await add(2);
    sender.wake();
    await drain();
    assert.deepEqual(host.ids(), [1, 2]);
    assert.equal(sender.state().collisions, 1);
    assert.deepEqual(host.held.get(`${OTHER_AGENT}/${BOOT}`), [[1, 1]]);
  }));

test("an answer that settles nothing is a failure, not a reason to ask at once again", () =>
  withSender(async ({ host, clock, sender, add }) => {
    const real = host.postReports.bind(host);
    host.postReports = async (batch) => {
      const { answer } = await real(batch);
      return { answer: { ...answer, accepted: [], duplicates: [], highest: 0 } };
    };
    await add(1);
    while (sender.state().lastError === null) await clock.step();
    for (let step = 0; step < 10; step += 1) await clock.step();
    assert.ok(host.batches.length <= 12);
    assert.match(sender.state().lastError?.text ?? "", /settles no entry/);
  }));

test("it ends at once when it is told to, waiting or sending", async () => {
  await withSender(async ({ clock, running, stop }) => {
    await clock.waiting();
    stop.abort();
    await running;
  });
  const never: ReportSink = {
    postReports: (_batch, signal) =>
      new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason))),
  };
  await withSender(
    async ({ sender, clock, running, stop, add }) => {
      await add(1);
      while (sender.state().link !== "sending") {
        sender.wake();
        clock.fire();
        await new Promise((resolve) => setImmediate(resolve));
      }
      stop.abort();
      await running;
      assert.equal(sender.state().backlog.entries, 1);
    },
    { sink: never },
  );
});

test("with the real client and the real counterpart, everything is in its store once", () =>
  withHost(async (host) => {
    await inScratch(async (directory) => {
      const spool = await openIn(directory);
      const { port } = host.server;
      const url = `https://127.0.0.1:${port}`;
      const client = new HostClient({ url, vm: 11, token: await host.token(11), pin: host.identity.pin });
      const stop = new AbortController();
      const clock = new SteppedClock();
      clock.time = Date.now();
      const sender = new Sender({ spool, sink: client, vmId: 11, clock, renewAgent: async () => randomUUID() });
      await Promise.all(range(1, 700).map((id) => spool.append(condition(id))));
      const running = sender.run(stop.signal);
      while (spool.state().entries > 0) await clock.step();
      stop.abort();
      await running;
      client.close();
      const stored = await host.store.readReports({ vmId: 11, limit: 1000 });
      assert.deepEqual(
        stored.map(({ seq }) => seq),
        range(1, 700),
      );
      await spool.close();
    });
  }));

const condition = (id: number): NewEntry => ({
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
