import assert from "node:assert/strict";
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { knownEvidence } from "../../../test/fixtures/match-evidence.ts";
import { MediatorLog, type TrueOperation } from "../../../test/fixtures/mediator-log.ts";
import { GuestProcess } from "../../../test/fixtures/mediator-vm.ts";
import { agentOf, ask, batchOf, evidenceEntry, withHost } from "../../../test/support/host-client.ts";
import { verdictAnswerSchema } from "../../report/wire/answers.ts";
import { LogLoop } from "./log-loop.ts";
import { MediatorSource } from "./mediator-source.ts";

const SECRET_KERNEL = "k_of_a_tenant_nobody_may_know";

test("evidence that a guest sends is joined with the mediator's log, and its long poll gets the result of it alone", () =>
  withHost(async ({ directory, store, server, identity, token, ...host }) => {
    const path = join(directory, "mediator.log");
    writeFileSync(path, "");
    const operations: TrueOperation[] = [];
    const log = new MediatorLog((text) => appendFileSync(path, text, "latin1"), {
      stderrOnly: false,
      onOperation: (operation) => operations.push(operation),
    });
    log.start([11, 77]);
    for (const [vmId, pid, kernel] of [
      [11, 4711, "mul_mat"],
      [77, 54_321, SECRET_KERNEL],
    ] as const) {
      const guest = new GuestProcess(log, { vmId, domId: vmId, fd: 40 + vmId, requestId: 100 }, pid);
      guest.init();
      const ptr = guest.alloc(200_000);
      assert.ok(ptr !== null);
      guest.copyIn(ptr, 200_000);
      guest.launch(kernel);
      guest.copyOut(ptr, 200_000);
    }
    let later = 0;
    const now = () => Date.now() + later;
    const errors: unknown[] = [];
    const loop = new LogLoop({
      store,
      source: new MediatorSource(path, { now }),
      onResult: (vmId) => server.bell.ring(vmId),
      onPoll: () => {},
      onError: (error) => errors.push(error),
      now,
      pollMs: 10,
      saveMs: 1000,
    });
    const agent = agentOf({ directory, store, server, identity, token, ...host });
    const base = { port: server.port, agent, token: await token(11) };
    const { evidence } = knownEvidence(operations, 11, "debug");
    const document = { ...evidence, window: { from: 0, to: 5000 } };
    const sent = await ask({ ...base, body: JSON.stringify(batchOf([evidenceEntry(1, { document })])) });
    assert.deepEqual(sent.body["accepted"], [1], sent.raw);
    await loop.turn();
    const wanted = { ...base, method: "GET", path: "/v1/vms/11/verdict?window=0-5000&wait=20" };
    assert.equal((await ask({ ...wanted, path: "/v1/vms/11/verdict" })).body["state"], "pending");
    const waiting = ask(wanted);
    later = 60_000;
    loop.start();
    const answer = await waiting;
    await loop.stop();
    assert.deepEqual(errors, []);
    const { state, result } = verdictAnswerSchema.parse(answer.body);
    assert.equal(state, "ready", answer.raw);
    assert.equal(result?.["vm_id"], 11);
    assert.match(JSON.stringify(result?.["verdict"]), /"state":"executing"/);
    for (const secret of [SECRET_KERNEL, "54321", ":77"]) assert.ok(!answer.raw.includes(secret), secret);
    const counted = await store.readOperations(11, { from: 0, to: 1e15 }, 10);
    assert.deepEqual(
      counted.map(({ operation, matched }) => [operation, matched > 0]),
      ["alloc", "copy-in", "copy-out", "launch"].map((operation) => [operation, true]),
    );
    agent.destroy();
  }));
