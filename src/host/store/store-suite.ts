import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { HostStore, NewEntry, NewReports, OperationCount, StoredToken } from "./store.ts";

/** What a store under test is made of: `open` gives the same data again after `close`. */
export interface StoreUnderTest {
  open(): Promise<HostStore>;
  remove(): Promise<void>;
}

const AGENT = "6f1c1c4e-2f43-4d0a-9a55-0d3a6c1d8e01";
const OTHER_AGENT = "0a9c3a52-90f6-4f8a-8a57-3b7a2f8e6c11";
const BOOT = "c7a3f5de-90d1-4f6e-9a2b-1d2e3f4a5b6c";
const OTHER_BOOT = "11111111-2222-4333-8444-555555555555";
const T0 = 1_780_000_000_000;
const DAY = 86_400_000;

export function entry(seq: number, more: Partial<NewEntry> = {}): NewEntry {
  const none = { window: null, settles: null, condition: null };
  return { seq, kind: "report", at: T0 + seq, document: `{"n":${seq}}`, ...none, ...more };
}

export function batch(seqs: readonly number[], more: Partial<NewReports> = {}): NewReports {
  const entries = seqs.map((seq) => entry(seq));
  return { vmId: 11, agentId: AGENT, bootId: BOOT, sentAt: T0, receivedAt: T0, entries, ...more };
}

const token = (id: string, more: Partial<StoredToken> = {}): StoredToken => {
  return { id, hash: `hash-${id}`, vmId: 11, madeAt: T0, expiresAt: null, revokedAt: null, ...more };
};

const evidence = (seq: number, from: number, to: number): NewEntry =>
  entry(seq, { kind: "guest-evidence", window: { from, to } });

async function sequencesOf(store: HostStore, vmId: number): Promise<readonly number[]> {
  return (await store.readReports({ vmId, limit: 10_000 })).map(({ seq }) => seq);
}

/** What every store promises. `make` gives an empty one each time. */
export function testStore(name: string, make: () => Promise<StoreUnderTest>): void {
  const check = (title: string, body: (store: HostStore, under: StoreUnderTest) => Promise<void>) =>
    it(title, async () => {
      const under = await make();
      const store = await under.open();
      try {
        await body(store, under);
      } finally {
        await store.close();
        await under.remove();
      }
    });

  describe(`${name}: tokens`, () => {
    check("are found by their hash, also when they are revoked", async (store) => {
      await store.addToken(token("a", { expiresAt: T0 + DAY }));
      assert.deepEqual(await store.findToken("hash-a"), token("a", { expiresAt: T0 + DAY }));
      assert.equal(await store.findToken("hash-b"), null);
      assert.equal(await store.revokeToken("a", T0 + 5), true);
      assert.equal((await store.findToken("hash-a"))?.revokedAt, T0 + 5);
    });

    check("are revoked once, and the time of it stays", async (store) => {
      await store.addToken(token("a"));
      assert.equal(await store.revokeToken("a", T0 + 5), true);
      assert.equal(await store.revokeToken("a", T0 + 9), false);
      assert.equal(await store.revokeToken("nobody", T0), false);
      assert.deepEqual(await store.listTokens(), [token("a", { revokedAt: T0 + 5 })]);
    });

    check("are listed oldest first", async (store) => {
      await store.addToken(token("late", { madeAt: T0 + 2 }));
      await store.addToken(token("early"));
      assert.deepEqual(
        (await store.listTokens()).map(({ id }) => id),
        ["early", "late"],
      );
    });
  });

  describe(`${name}: reports`, () => {
    check("are kept once, however often and in whatever order they come", async (store) => {
      const first = await store.addReports(batch([2, 1, 2]));
      assert.deepEqual(first, { accepted: [2, 1], duplicates: [2], tooManyGaps: [], upTo: 2, highest: 2 });
      const second = await store.addReports(batch([5, 2, 3]));
      assert.deepEqual(second, { accepted: [5, 3], duplicates: [2], tooManyGaps: [], upTo: 3, highest: 5 });
      assert.deepEqual(await sequencesOf(store, 11), [2, 1, 5, 3]);
    });

    check("with the same number are told apart by VM, agent and boot", async (store) => {
      for (const more of [{}, { vmId: 12 }, { agentId: OTHER_AGENT }, { bootId: OTHER_BOOT }]) {
        assert.deepEqual((await store.addReports(batch([1], more))).accepted, [1]);
      }
      assert.deepEqual(await sequencesOf(store, 11), [1, 1, 1]);
      assert.deepEqual(await sequencesOf(store, 12), [1]);
    });

    check("that came side by side are each kept once", async (store) => {
      const added = await Promise.all(
        Array.from({ length: 40 }, (_, index) => store.addReports(batch([(index % 10) + 1]))),
      );
      assert.equal(added.flatMap(({ accepted }) => accepted).length, 10);
      assert.equal(added.flatMap(({ duplicates }) => duplicates).length, 30);
      assert.equal((await sequencesOf(store, 11)).length, 10);
    });

    check("are there after the store was opened again, and still known", async (store, under) => {
      await store.addReports(batch([1, 2]));
      await store.close();
      const again = await under.open();
      assert.deepEqual(await sequencesOf(again, 11), [1, 2]);
      assert.deepEqual((await again.addReports(batch([2, 3]))).duplicates, [2]);
      const [read] = await again.readReports({ vmId: 11, limit: 1 });
      assert.deepEqual(
        { ...read, id: 0 },
        {
          id: 0,
          vmId: 11,
          agentId: AGENT,
          bootId: BOOT,
          seq: 1,
          kind: "report",
          at: T0 + 1,
          receivedAt: T0,
          document: '{"n":1}',
        },
      );
      await again.close();
    });

    check("that a guest dropped account for their numbers", async (store) => {
      await store.addReports(batch([1]));
      const settles = { first: 2, last: 8 };
      const dropped = entry(9, { kind: "dropped", settles });
      const added = await store.addReports(batch([], { entries: [dropped] }));
      assert.deepEqual([added.upTo, added.highest], [9, 9]);
      assert.deepEqual((await store.addReports(batch([4]))).duplicates, [4]);
    });

    check("with more gaps than are remembered are refused, and nothing else is", async (store) => {
      const scattered = Array.from({ length: 600 }, (_, index) => 2 * index + 1);
      const added = await store.addReports(batch(scattered));
      assert.equal(added.accepted.length + added.tooManyGaps.length, 600);
      assert.ok(added.tooManyGaps.length > 0);
      assert.equal((await sequencesOf(store, 11)).length, added.accepted.length);
      assert.deepEqual((await store.addReports(batch([2]))).accepted, [2]);
    });

    check("are read by kind, from a place on, and so many", async (store) => {
      await store.addReports(batch([], { entries: [entry(1), evidence(2, 0, 9), entry(3), entry(4)] }));
      const all = await store.readReports({ vmId: 11, limit: 10 });
      const from = await store.readReports({ vmId: 11, kind: "report", after: all[0]?.id ?? 0, limit: 1 });
      assert.deepEqual(
        from.map(({ seq }) => seq),
        [3],
      );
    });

    check("of invented boots cost their own VM alone", async (store) => {
      await store.addReports(batch([1], { vmId: 12 }));
      for (let boot = 0; boot < 300; boot += 1) {
        await store.addReports(batch([1], { bootId: `boot-${boot}`, receivedAt: T0 + boot }));
      }
      const kept = await sequencesOf(store, 11);
      assert.ok(kept.length <= 256);
      assert.deepEqual(await sequencesOf(store, 12), [1]);
      const { documents } = await store.usage();
      assert.ok(documents < 257 * 400, `${documents} bytes are counted`);
    });
  });

  describe(`${name}: evidence and results`, () => {
    check("evidence waits until its result is put", async (store) => {
      await store.addReports(batch([], { entries: [entry(1), evidence(2, 100, 200)] }));
      const [pending, ...rest] = await store.pendingEvidence({ receivedBy: T0, limit: 10 });
      assert.deepEqual([pending?.seq, rest.length], [2, 0]);
      assert.equal(await store.hasPending(11, { from: 120, to: 180 }), true);
      assert.equal(await store.hasPending(11, { from: 120, to: 280 }), false);
      assert.equal(await store.hasPending(12, null), false);
      const window = { from: 100, to: 200 };
      const put = { vmId: 11, window, madeAt: T0, document: "{}", operations: [] };
      await store.putResult({ ...put, evidenceId: pending?.id ?? 0 });
      assert.deepEqual(await store.pendingEvidence({ receivedBy: T0, limit: 10 }), []);
      assert.equal(await store.hasPending(11, null), false);
    });

    check(
      "evidence of a VM that sends much waits for the others' turns, and what is too young is not given",
      async (store) => {
        const many = Array.from({ length: 50 }, (_, index) => evidence(index + 1, 0, index));
        await store.addReports(batch([], { entries: many }));
        await store.addReports(batch([], { vmId: 13, entries: [evidence(1, 0, 1), evidence(2, 0, 2)] }));
        await store.addReports(batch([], { vmId: 12, entries: [evidence(1, 0, 1)] }));
        await store.addReports(batch([], { vmId: 14, entries: [evidence(1, 0, 1)], receivedAt: T0 + 1 }));
        const given = await store.pendingEvidence({ receivedBy: T0, limit: 12 });
        assert.deepEqual(
          given.map(({ vmId, seq }) => `${vmId}/${seq}`),
          ["11/1", "13/1", "12/1", "11/2", "13/2", "11/3"],
        );
        assert.deepEqual([await store.countPending(11, 20), await store.countPending(11, 100)], [20, 50]);
        assert.equal(await store.countPending(15, 20), 0);
      },
    );

    check("evidence of which nothing comes waits no longer either", async (store) => {
      await store.addReports(batch([], { entries: [evidence(1, 100, 200)] }));
      const [pending] = await store.pendingEvidence({ receivedBy: T0, limit: 10 });
      await store.putResult({
        vmId: 11,
        window: null,
        madeAt: T0,
        document: null,
        evidenceId: pending?.id ?? 0,
        operations: [],
      });
      assert.deepEqual(await store.pendingEvidence({ receivedBy: T0, limit: 10 }), []);
      assert.equal(await store.findResult(11, null), null);
    });

    check("the result of this very window is found, or the newest that covers it, of this VM alone", async (store) => {
      const put = (vmId: number, from: number, to: number, madeAt: number, document: string) =>
        store.putResult({ vmId, window: { from, to }, madeAt, document, evidenceId: null, operations: [] });
      await put(11, 0, 100, T0, '"wide"');
      await put(11, 40, 60, T0 + 1, '"narrow"');
      await put(12, 0, 100, T0 + 2, '"another VM"');
      assert.equal((await store.findResult(11, { from: 45, to: 55 }))?.document, '"narrow"');
      assert.equal((await store.findResult(11, { from: 10, to: 55 }))?.document, '"wide"');
      assert.equal(await store.findResult(11, { from: 10, to: 155 }), null);
      assert.equal((await store.findResult(11, null))?.document, '"narrow"');
      assert.equal(await store.findResult(13, null), null);
      await put(11, 20, 80, T0 + 2, '"wider, and made later"');
      assert.equal((await store.findResult(11, { from: 40, to: 60 }))?.document, '"narrow"');
      assert.equal((await store.findResult(11, { from: 41, to: 60 }))?.document, '"wider, and made later"');
      await put(11, 40, 60, T0 + 3, '"better"');
      assert.deepEqual(await store.findResult(11, { from: 40, to: 60 }), {
        vmId: 11,
        window: { from: 40, to: 60 },
        madeAt: T0 + 3,
        document: '"better"',
      });
    });
  });

  describe(`${name}: conditions`, () => {
    const condition = (seq: number, id: string, isOpen: boolean, cause: string | null = "VG-C07") => {
      return entry(seq, { kind: "condition", condition: { id, isOpen, cause, outcome: "fail", since: T0 } });
    };

    check("are open from the entry that opens them to the one that closes them", async (store) => {
      const opened = [condition(1, "a", true), condition(2, "b", true), condition(3, "c", true, null)];
      await store.addReports(batch([], { entries: opened }));
      await store.addReports(batch([], { vmId: 12, entries: [condition(1, "a", true)] }));
      assert.deepEqual(await store.openConditions(), [
        { vmId: 11, cause: null, count: 1 },
        { vmId: 11, cause: "VG-C07", count: 2 },
        { vmId: 12, cause: "VG-C07", count: 1 },
      ]);
      await store.addReports(batch([], { entries: [condition(4, "a", false), condition(5, "c", false, null)] }));
      assert.deepEqual(await store.openConditions(), [
        { vmId: 11, cause: "VG-C07", count: 1 },
        { vmId: 12, cause: "VG-C07", count: 1 },
      ]);
      assert.equal((await store.readReports({ vmId: 11, kind: "condition", limit: 10 })).length, 5);
    });

    check("are what was said last by the numbers, in whatever order it comes, and however often", async (store) => {
      await store.addReports(batch([], { entries: [condition(2, "a", false)] }));
      await store.addReports(batch([], { entries: [condition(1, "a", true)] }));
      assert.deepEqual(await store.openConditions(), []);
      await store.addReports(batch([], { entries: [condition(3, "a", true)] }));
      await store.addReports(batch([], { entries: [condition(2, "a", false)] }));
      assert.equal((await store.openConditions()).length, 1);
      await store.addReports(batch([], { bootId: OTHER_BOOT, entries: [condition(1, "a", false)] }));
      assert.deepEqual(await store.openConditions(), []);
    });

    check("of an agent that another one has taken the place of are forgotten", async (store) => {
      await store.addReports(batch([], { entries: [condition(1, "a", true), condition(2, "b", true)] }));
      await store.addReports(batch([], { agentId: OTHER_AGENT, entries: [condition(1, "b", true)] }));
      assert.deepEqual(await store.openConditions(), [{ vmId: 11, cause: "VG-C07", count: 1 }]);
    });

    check("are remembered up to a bound, and those that are over go first", async (store) => {
      const many = Array.from({ length: 600 }, (_, index) => condition(index + 1, `c${index}`, index < 100));
      await store.addReports(batch([], { entries: many }));
      assert.deepEqual(await store.openConditions(), [{ vmId: 11, cause: "VG-C07", count: 100 }]);
      const more = Array.from({ length: 600 }, (_, index) => condition(index + 1001, `d${index}`, true));
      await store.addReports(batch([], { entries: more }));
      const [open] = await store.openConditions();
      assert.ok(open !== undefined && open.count <= 256);
    });
  });

  describe(`${name}: operations and states`, () => {
    check("operations are read by VM and time, and replaced", async (store) => {
      const row = (vmId: number, at: number, matched: number): OperationCount => {
        const known = { vmId, at, operation: "launch", confidence: "EXACT", matched };
        return { ...known, guest: 5, host: null, failed: 0, bytes: null };
      };
      const put = (vmId: number, operations: readonly OperationCount[]) =>
        store.putResult({ vmId, window: null, madeAt: T0, document: "{}", evidenceId: null, operations });
      await put(11, [row(11, 10, 1), row(11, 20, 2)]);
      await put(12, [row(12, 10, 3)]);
      await put(11, [row(11, 10, 4)]);
      assert.deepEqual(await store.readOperations(11, { from: 0, to: 20 }, 10), [row(11, 10, 4)]);
      assert.deepEqual(await store.readOperations(11, { from: 0, to: 21 }, 10), [row(11, 10, 4), row(11, 20, 2)]);
    });

    check("a state is there after the store was opened again", async (store, under) => {
      assert.equal(await store.loadState("log"), null);
      await store.saveState("log", { offset: 1 });
      await store.saveState("log", { offset: 2, epochs: [1, 2] });
      await store.close();
      const again = await under.open();
      assert.deepEqual(await again.loadState("log"), { offset: 2, epochs: [1, 2] });
      await again.close();
    });
  });

  describe(`${name}: what is kept`, () => {
    const KEEP = { maxAgeMs: DAY, maxBytesPerVm: 1e9, maxBytes: 1e9 };

    check("what is too old goes, and is known again when it is replayed", async (store) => {
      await store.addReports(batch([1, 2]));
      await store.addReports(batch([3], { receivedAt: T0 + DAY }));
      const result = { vmId: 11, window: null, madeAt: T0, document: "{}" };
      await store.putResult({ ...result, evidenceId: null, operations: [] });
      const removed = await store.retain(KEEP, T0 + DAY + 1);
      assert.deepEqual(removed, { reports: 2, results: 1, operations: 0, more: false });
      assert.deepEqual(await sequencesOf(store, 11), [3]);
      assert.deepEqual((await store.addReports(batch([1, 2, 3]))).duplicates, [1, 2, 3]);
    });

    check("a report dated into the future is kept no longer than others", async (store) => {
      await store.addReports(batch([], { entries: [entry(1, { at: T0 + 1000 * DAY })] }));
      assert.equal((await store.retain(KEEP, T0 + DAY + 1)).reports, 1);
    });

    check("who has too much loses its oldest, and nobody else loses anything", async (store) => {
      const document = JSON.stringify({ text: "x".repeat(1000) });
      const many = Array.from({ length: 200 }, (_, index) => entry(index + 1, { document }));
      await store.addReports(batch([], { entries: many }));
      await store.addReports(batch([1, 2], { vmId: 12 }));
      const limits = { ...KEEP, maxBytesPerVm: 50_000 };
      while ((await store.retain(limits, T0)).more);
      const kept = await sequencesOf(store, 11);
      assert.ok(kept.length > 30 && kept.length < 50, `${kept.length} are kept`);
      assert.equal(kept.at(-1), 200);
      assert.deepEqual(await sequencesOf(store, 12), [1, 2]);
      assert.ok((await store.usage()).documents <= 51_000);
    });

    check("when all together is too much, it goes off whoever has most", async (store) => {
      const document = JSON.stringify({ text: "x".repeat(1000) });
      const many = Array.from({ length: 100 }, (_, index) => entry(index + 1, { document }));
      await store.addReports(batch([], { entries: many }));
      await store.addReports(batch([], { vmId: 12, entries: many.slice(0, 10) }));
      const limits = { ...KEEP, maxBytes: 40_000 };
      while ((await store.retain(limits, T0)).more);
      assert.equal((await sequencesOf(store, 12)).length, 10);
      assert.ok((await store.usage()).documents <= 40_000);
    });
  });
}
