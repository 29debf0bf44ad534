import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { withHost } from "../../../test/support/host-client.ts";
import { PinMismatch } from "../../report/wire/pinned-agent.ts";
import { AGENT, BOOT, inScratch, NEXT_BOOT, OTHER_AGENT, openIn } from "../store/spool-fixture.ts";
import { HostClient } from "./host-client.ts";
import { BatchTooLarge, HostBusy, HostRefused, HostUnreachable } from "./host-errors.ts";
import { type ReportSink, Sender } from "./sender.ts";
import { condition, FakeHost, range, report, SteppedClock, unreachable, withSender } from "./sender-fixture.ts";

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

test("an hour of outages, half-open connections, busy answers and lost ones: each entry is there once, in order", () =>
  withSender(async ({ host, clock, sender, add, drain }) => {
    // Not chance: the same each time.
    let state = 12345;
    const random = () => {
      state = (state * 1103515245 + 12345) % 2147483648;
      return state / 2147483648;
    };
    let outageUntil = 0;
    host.failure = () => {
      const dice = random();
      if (clock.time < outageUntil) return unreachable();
      if (dice < 0.05) outageUntil = clock.time + random() * 600_000;
      host.losesAnswers = dice > 0.7;
      // Half-open: nothing comes until the client's limit; the batch may have arrived.
      if (dice > 0.85) clock.time += 20_000;
      if (dice > 0.7) return new HostUnreachable("TIMEOUT", "no whole answer within 20 s");
      host.losesAnswers = false;
      return dice > 0.6 ? new HostBusy(429, "slow down", 2000) : null;
    };
    const end = clock.time + 3_600_000;
    let id = 0;
    while (clock.time < end) {
      const count = Math.floor(random() * 6);
      await add(...range(id + 1, id + count));
      id += count;
      sender.wake();
      await clock.step();
    }
    host.failure = null;
    await drain();
    assert.ok(id > 500, `${id} entries`);
    assert.deepEqual(host.ids(), range(1, id));
    host.assertWhole();
    const { collisions, duplicates, refused } = sender.state();
    assert.equal(collisions, 0);
    assert.ok(duplicates > 0);
    assert.equal(refused.size, 0);
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

test("what a copied disk has of an earlier boot is taken once, whatever its source has sent beyond it", () =>
  inScratch(async (directory) => {
    const source = await openIn(directory);
    await Promise.all(range(1, 600).map((id) => source.append(report(id))));
    await source.close();
    const spool = await openIn(directory, { agentId: OTHER_AGENT, bootId: NEXT_BOOT });
    const [host, clock, stop] = [new FakeHost(), new SteppedClock(), new AbortController()];
    host.held.set(`${AGENT}/${BOOT}`, [[1, 900]]);
    const renewAgent = async () => assert.fail("nobody counts under our id");
    const sender = new Sender({ spool, sink: host, vmId: 11, clock, renewAgent });
    await spool.append(report(601));
    const running = sender.run(stop.signal);
    await clock.waiting();
    stop.abort();
    await running;
    assert.deepEqual(host.ids(), [601]);
    assert.equal(sender.state().duplicates, 600);
    assert.equal(spool.state().entries, 0);
    await spool.close();
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
