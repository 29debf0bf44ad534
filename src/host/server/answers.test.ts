import assert from "node:assert/strict";
import { test } from "node:test";
import { DENIED, MODEL, NOW, STARTED, withLog } from "../../../test/fixtures/mediator-health.ts";
import { mediatorGone } from "../../../test/fixtures/reports.ts";
import { errorOf, refusedOf, withClient } from "../../../test/support/guest-client.ts";
import { BOOT_ID, batchOf, evidenceDocument, evidenceEntry } from "../../../test/support/host-client.ts";
import { wasRead } from "../../facts/reading.ts";
import { acknowledgementSchema, TAKES_HEADER, verdictAnswerSchema } from "../../report/wire/answers.ts";
import { noEvidence } from "../match/guest-evidence.ts";
import { HostState } from "../match/host-state.ts";
import { match } from "../match/matcher.ts";
import { toldHealth } from "../service/health-watch.ts";
import { NO_EVENTS } from "./events.ts";

test("a condition is taken and stays open until it is closed; one that is closed while it is open is refused", () =>
  withClient(async ({ host, send }) => {
    const document = {
      schema: "vgpu-agent/condition/1",
      boot_id: BOOT_ID,
      id: "transport/VG-C07",
      check: "transport-errors",
      cause: "VG-C07",
      outcome: "fail",
      state: "open",
      since: 1,
      at: 2,
      pid: 4711,
      ended_by: null,
      message: "calls time out",
    };
    const condition = (seq: number, more: object = {}) => {
      return { kind: "condition", seq, at: Date.now(), document: { ...document, ...more } };
    };
    const wrong = condition(2, { ended_by: "recovered" });
    const strange = condition(3, { schema: "vgpu-agent/condition/2" });
    const first = refusedOf(await send(batchOf([condition(1), wrong, strange])));
    assert.deepEqual(first.accepted, [1]);
    assert.deepEqual(
      first.refused.map(({ seq, reason }) => [seq, reason]),
      [
        [2, "malformed"],
        [3, "malformed"],
      ],
    );
    assert.deepEqual(await host.store.openConditions(), [{ vmId: 11, cause: "VG-C07", count: 1 }]);
    await send(batchOf([condition(4, { state: "closed", ended_by: "recovered" })]));
    assert.deepEqual(await host.store.openConditions(), []);
  }));

test("evidence that is not joined fast enough is held back by the guest, and its reports are not", () =>
  withClient(
    async ({ send, host }) => {
      assert.deepEqual(refusedOf(await send(batchOf([1, 2, 3].map((seq) => evidenceEntry(seq))))).accepted, [1, 2, 3]);
      const held = await send(batchOf([evidenceEntry(4)]));
      assert.deepEqual([held.status, errorOf(held).retry, held.headers["retry-after"]], [429, true, "5"]);
      const report = { ...mediatorGone, subject: { ...mediatorGone.subject, vm_id: 11 } };
      const entry = { kind: "report", seq: 5, at: Date.now(), document: report };
      assert.deepEqual(refusedOf(await send(batchOf([entry]))).accepted, [5]);
      const [oldest] = await host.store.pendingEvidence({ receivedBy: Date.now(), limit: 1 });
      const nothing = { window: null, document: null, operations: [] };
      await host.store.putResult({ vmId: 11, madeAt: 1, evidenceId: oldest?.id ?? 0, ...nothing });
      assert.deepEqual(refusedOf(await send(batchOf([evidenceEntry(4)]))).accepted, [4]);
    },
    { evidenceWaiting: 3 },
  ));

test("a result of a wider window is given at once only when no evidence of the window waits", () =>
  withClient(async ({ host, send, get }) => {
    const result = (from: number, to: number) => ({
      ...match({ ...noEvidence(11), window: { from, to } }, 11, new HostState()).result,
    });
    const put = (from: number, to: number, evidenceId: number | null) => {
      const document = JSON.stringify(result(from, to));
      return host.store.putResult({
        vmId: 11,
        window: { from, to },
        madeAt: 1,
        document,
        evidenceId,
        operations: [],
      });
    };
    await put(0, 9000, null);
    const path = "/v1/vms/11/verdict?window=100-200";
    const windowOf = ({ body }: { readonly body: Readonly<Record<string, unknown>> }) => {
      return verdictAnswerSchema.parse(body).result?.["window"];
    };
    assert.deepEqual(windowOf(await get(`${path}&wait=20`)), { from: 0, to: 9000 });
    await send(batchOf([evidenceEntry(1, { document: evidenceDocument(null, 100, 200) })]));
    assert.deepEqual(windowOf(await get(path)), { from: 0, to: 9000 }, "who does not wait gets what there is");
    const waiting = get(`${path}&wait=20`);
    await get("/v1/time");
    const [pending] = await host.store.pendingEvidence({ receivedBy: Date.now(), limit: 1 });
    await put(100, 200, pending?.id ?? null);
    host.server.bell.ring(11);
    assert.deepEqual(windowOf(await waiting), { from: 100, to: 200 });
    await put(0, 9000, null);
    assert.deepEqual(windowOf(await get(path)), { from: 100, to: 200 }, "of this very window, though older");
  }));

test("what a guest gave up is told with its reason, once", () => {
  const told: unknown[] = [];
  const events = { ...NO_EVENTS, dropped: (event: unknown) => void told.push(event) };
  const dropped = { first: 1, last: 8, count: 5, reason: "spool-full" };
  const entry = { kind: "dropped", seq: 9, at: 1, document: dropped };
  return withClient(
    async ({ send }) => {
      for (let time = 0; time < 2; time += 1) await send(batchOf([entry]));
      assert.deepEqual(told, [{ vmId: 11, reason: "spool-full", count: 5 }]);
    },
    {},
    { events },
  );
});

test("the mediator's health is in each verdict answer, and nothing in it is of another VM", () => {
  const theirs = { vmId: 987_654, pid: 876_543 };
  const path = "/var/xen/qemu/root-765432/tmp/vgpu-mediator.sock";
  const old = { epoch: 0, goesOn: { log: 0, at: 654_321 } };
  const facts = withLog(
    {
      epochsSeen: 1,
      oldOwners: [
        { ...theirs, ...old },
        { vmId: 11, pid: 4711, ...old },
      ],
    },
    {
      deviceModels: wasRead([MODEL, { ...MODEL, ...theirs, domId: 765_432, socketPath: path, socket: DENIED }]),
      guests: wasRead([{ ...theirs, startedAt: STARTED, aliveAt: NOW }]),
    },
  );
  const following = { problem: null, readAt: NOW, behindBytes: 0, watchedSince: STARTED };
  const health = (vmId: number) => toldHealth(facts, vmId, following);
  return withClient(
    async ({ get, send }) => {
      await send(batchOf([evidenceEntry(1)]));
      for (const query of ["", "?window=0-1000", "?window=5000-6000"]) {
        const { raw, body } = await get(`/v1/vms/11/verdict${query}`);
        const answer = verdictAnswerSchema.parse(body);
        assert.equal(answer.health?.log.state, "followed");
        const own = answer.health?.findings.find(({ cause }) => cause === "VG-H04");
        assert.match(own?.message ?? "", /4711/);
        assert.doesNotMatch(raw, /98765|87654|76543|65432/);
      }
      for (const other of [String(theirs.vmId), "12"]) {
        const { raw, status } = await get(`/v1/vms/${other}/verdict`);
        assert.equal(status, 403);
        assert.doesNotMatch(raw, /98765|87654|76543|65432|4711/);
      }
    },
    {},
    { health },
  );
});

test("the mediator's run is told to those who say that they understand it, and to nobody else", () => {
  const series = "0123456789abcdef";
  const mediatorRun = () => ({ series, run: 3, beganAt: Date.now() - 60_000 });
  return withClient(
    async ({ send, get }) => {
      const takes = { [TAKES_HEADER]: "mediator-run" };
      const { mediator } = acknowledgementSchema.parse((await send(batchOf([evidenceEntry(1)]), takes)).body);
      assert.deepEqual([mediator?.series, mediator?.run], [series, 3]);
      const ago = mediator?.began_ms_ago ?? assert.fail();
      assert.ok(ago >= 60_000 && ago < 70_000, `${ago} ms`);
      const older = await send(batchOf([evidenceEntry(2)]));
      assert.equal("mediator" in acknowledgementSchema.parse(older.body), false);
      const strange = await send(batchOf([evidenceEntry(3)]), { [TAKES_HEADER]: "something newer" });
      assert.equal("mediator" in strange.body, false);
      assert.equal("mediator" in (await get("/v1/vms/11/verdict")).body, false);
    },
    {},
    { mediatorRun },
  );
});
