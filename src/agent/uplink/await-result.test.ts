import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { describe, it } from "node:test";
import { clockNow, type FakeHost, sayJson, withFakeHost } from "../../../test/support/fake-host.ts";
import { noEvidence } from "../../host/match/guest-evidence.ts";
import { HostState } from "../../host/match/host-state.ts";
import { match } from "../../host/match/matcher.ts";
import { awaitResult } from "./await-result.ts";
import { HostClient } from "./host-client.ts";
import { BadHostAnswer } from "./host-errors.ts";

const WINDOW = { from: 1000, to: 2000 };
const RECEIVED = 5000;

const resultOf = (window: { from: number | null; to: number | null }, vm = 11) =>
  match({ ...noEvidence(vm), window }, vm, new HostState()).result;

function answer(more: object): object {
  return {
    schema: "vgpu-agent/verdict-answer/1",
    vm_id: 11,
    state: "pending",
    made_at: null,
    result: null,
    health: null,
    clock: clockNow(),
    ...more,
  };
}

const ready = (result: object, madeAt = RECEIVED) => answer({ state: "ready", made_at: madeAt, result });
const healthOf = (state: string, behind: number | null = 0) => ({
  checked_at: 1,
  findings: [],
  log: { state, read_at: null, behind_bytes: behind, watched_since: null },
});

/** Answers one after the other; the last again and again. */
async function ask(answers: readonly (object | ((response: ServerResponse) => void))[], limitMs = 400) {
  let turn = 0;
  const results: Awaited<ReturnType<typeof awaitResult>>[] = [];
  const waits: string[] = [];
  const reply = (_: unknown, response: ServerResponse) => {
    const said = answers[Math.min(turn, answers.length - 1)] ?? {};
    turn += 1;
    if (typeof said === "function") said(response);
    else sayJson(response, said);
  };
  await withFakeHost(reply, async ({ enrolment, asked }: FakeHost) => {
    const client = new HostClient(enrolment);
    try {
      const until = performance.now() + limitMs;
      results.push(await awaitResult(client, { window: WINDOW, receivedAt: RECEIVED, until }));
    } finally {
      client.close();
      waits.push(...asked);
    }
  });
  const [result] = results;
  assert.ok(result !== undefined);
  return { result, waits };
}

describe("waiting for a joined result", () => {
  it("ends with the result of the window that was asked for", async () => {
    const { result, waits } = await ask([answer({}), ready(resultOf(WINDOW))]);
    assert.equal(result.result?.vm_id, 11);
    assert.equal(waits[0], "GET /v1/vms/11/verdict?window=1000-2000&wait=1");
  });

  it("takes no result of a wider window, and none that is older than the evidence", async () => {
    for (const other of [ready(resultOf({ from: 0, to: 9000 })), ready(resultOf(WINDOW), RECEIVED - 1)]) {
      const { result } = await ask([other]);
      assert.ok(result.result === null);
      assert.match(result.why, /another window/);
    }
    const { result } = await ask([ready(resultOf(WINDOW), RECEIVED - 1), ready(resultOf(WINDOW))], 5000);
    assert.ok(result.result !== null);
  });

  it("does not wait for a host that cannot join, and says why", async () => {
    for (const [more, why] of [
      [{ health: healthOf("none") }, /needs --mediator-log/],
      [{ health: healthOf("unreadable") }, /cannot read the mediator's log/],
      [{ state: "none", health: healthOf("none") }, /needs --mediator-log/],
      [{ state: "none" }, /make nothing of/],
    ] as const) {
      const { result, waits } = await ask([answer(more)], 60_000);
      assert.ok(result.result === null);
      assert.match(result.why, why);
      assert.equal(waits.length, 1);
    }
  });

  it("gives up in time, and says what the host was busy with", async () => {
    for (const [more, why] of [
      [{}, /has not joined them yet/],
      [{ health: healthOf("followed", 4096) }, /still reading the mediator's log \(4096 bytes/],
    ] as const) {
      const { result } = await ask([answer(more)], 100);
      assert.ok(result.result === null);
      assert.match(result.why, why);
    }
  });

  it("comes again when the host is busy", async () => {
    const busy = (response: ServerResponse) => response.writeHead(503, { "retry-after": "0" }).end();
    const { result } = await ask([busy, busy, ready(resultOf(WINDOW))], 5000);
    assert.ok(result.result !== null);
  });

  it("uses no result of another VM, and none that is not as it must be", async () => {
    for (const wrong of [ready(resultOf(WINDOW, 12)), ready({ ...resultOf(WINDOW), more: 1 }), ready({})]) {
      await assert.rejects(ask([wrong]), BadHostAnswer);
    }
  });
});
