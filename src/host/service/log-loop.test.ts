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
  join_: HostLogSource["join"],
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
    join: join_,
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

test("evidence is joined, kept, and told of; the state is saved; evidence that comes too early waits", () => {
  let isReady = false;
  const answer: HostLogSource["join"] = ({ vmId }) =>
    isReady
      ? {
          window: { from: 0, to: 1 },
          result: { vm_id: vmId },
          verdict: { state: "not known", cause: null },
          operations: [],
        }
      : "later";
  return withLoop(answer, async (loop, store, told) => {
    await store.addReports(batch([], { entries: [evidence(1)] }));
    assert.equal(await loop.turn(), false);
    assert.equal((await store.pendingEvidence(10)).length, 1);
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
    ({ document }) => {
      if (JSON.stringify(document) === '{"seq":1}') throw new Error("broken");
      return { window: null, result: {}, verdict: { state: "not known", cause: null }, operations: [] };
    },
    async (loop, store, told, errors) => {
      await store.addReports(batch([], { entries: [evidence(1), evidence(2)] }));
      await loop.turn();
      await loop.turn();
      assert.deepEqual([told, errors.length], [[11, 11], 1]);
      assert.deepEqual(await store.pendingEvidence(10), []);
      await loop.stop();
    },
  ));
