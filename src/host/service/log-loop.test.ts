import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SqliteStore } from "../store/sqlite.ts";
import { batch, entry } from "../store/store-suite.ts";
import { LOG_STATE, LogLoop } from "./log-loop.ts";
import type { HostLogSource } from "./log-source.ts";

async function withLoop(
  answers: Pick<HostLogSource, "join" | "settledUntil">,
  body: (loop: LogLoop, store: SqliteStore, told: number[], errors: unknown[]) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "vgpu-loop-"));
  const store = new SqliteStore(join(directory, "host.db"));
  const told: number[] = [];
  const errors: unknown[] = [];
  let polls = 0;
  const source: HostLogSource = {
    poll: () => {
      polls += 1;
      return { bytes: 10, notUnderstood: 0, more: false, problem: null };
    },
    state: () => ({ polls }),
    following: () => null,
    ...answers,
    close: () => {},
  };
  const onError = (error: unknown) => void errors.push(error);
  const onResult = (vmId: number) => void told.push(vmId);
  const common = { store, source, onResult, onError, onPoll: () => {}, now: Date.now };
  try {
    await body(new LogLoop({ ...common, pollMs: 1, saveMs: 0 }), store, told, errors);
  } finally {
    await store.close();
    rmSync(directory, { recursive: true });
  }
}

const evidence = (seq: number) =>
  entry(seq, { kind: "guest-evidence", window: { from: 0, to: seq }, document: `{"seq":${seq}}` });

const ALWAYS = () => Number.MAX_SAFE_INTEGER;
const joinedOf = (vmId: number) => ({
  window: { from: 0, to: 1 },
  result: { vm_id: vmId },
  verdict: { state: "not known", cause: null } as const,
  operations: [],
});

test("evidence is joined, kept, and told of; the state is saved; evidence that comes too early waits", () => {
  let isReady = false;
  const settledUntil = () => (isReady ? Number.MAX_SAFE_INTEGER : null);
  const join: HostLogSource["join"] = ({ vmId }) => (isReady ? joinedOf(vmId) : assert.fail("it is too early"));
  return withLoop({ join, settledUntil }, async (loop, store, told) => {
    await store.addReports(batch([], { entries: [evidence(1)] }));
    assert.equal(await loop.turn(), false);
    assert.equal((await store.pendingEvidence({ receivedBy: Number.MAX_SAFE_INTEGER, limit: 10 })).length, 1);
    isReady = true;
    await loop.turn();
    assert.deepEqual(told, [11]);
    assert.equal((await store.findResult(11, { from: 0, to: 1 }))?.document, '{"vm_id":11}');
    assert.deepEqual(await store.loadState(LOG_STATE), { polls: 2 });
    await loop.stop();
  });
});

test("evidence that breaks the matcher is met once, costs no other, and who waits for it is told", () =>
  withLoop(
    {
      settledUntil: ALWAYS,
      join: ({ vmId, document }) => {
        if (JSON.stringify(document) === '{"seq":1}') throw new Error("broken");
        return joinedOf(vmId);
      },
    },
    async (loop, store, told, errors) => {
      await store.addReports(batch([], { entries: [evidence(1), evidence(2)] }));
      await loop.turn();
      await loop.turn();
      assert.deepEqual([told, errors.length], [[11, 11], 1]);
      assert.deepEqual(await store.pendingEvidence({ receivedBy: Number.MAX_SAFE_INTEGER, limit: 10 }), []);
      await loop.stop();
    },
  ));

test("when the store fails, the evidence stays and is joined again, and nobody is told before it is kept", () =>
  withLoop({ settledUntil: ALWAYS, join: ({ vmId }) => joinedOf(vmId) }, async (loop, store, told) => {
    await store.addReports(batch([], { entries: [evidence(1), evidence(2)] }));
    const put = store.putResult.bind(store);
    store.putResult = () => Promise.reject(new Error("full"));
    await assert.rejects(loop.turn(), /full/);
    assert.deepEqual(told, []);
    store.putResult = put;
    await loop.turn();
    assert.deepEqual(told, [11, 11]);
    await loop.stop();
  }));

test("a VM that floods the host with evidence waits for the others, and guests are answered between joins", () => {
  const order: string[] = [];
  const join: HostLogSource["join"] = ({ vmId }) => {
    order.push(String(vmId));
    for (const until = performance.now() + 12; performance.now() < until; );
    return joinedOf(vmId);
  };
  return withLoop({ settledUntil: ALWAYS, join }, async (loop, store) => {
    const many = Array.from({ length: 40 }, (_, index) => evidence(index + 1));
    await store.addReports(batch([], { entries: many }));
    await store.addReports(batch([], { vmId: 12, entries: [evidence(1)] }));
    let isTurning = true;
    const turning = loop.turn().finally(() => {
      isTurning = false;
    });
    while (isTurning) {
      await new Promise((resolve) => setImmediate(resolve));
      order.push("guest");
    }
    assert.equal(await turning, false, "each VM had its share of this turn");
    assert.ok(order.indexOf("12") >= 0 && order.indexOf("12") < 10, order.join(" "));
    assert.ok(!/(11|12) (11|12) (11|12)/.test(order.join(" ")), order.join(" "));
    await loop.stop();
  });
});
