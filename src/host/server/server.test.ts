import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { mediatorGone } from "../../../test/fixtures/reports.ts";
import { errorOf, refusedOf, withClient } from "../../../test/support/guest-client.ts";
import {
  agentOf,
  ask,
  batchOf,
  evidenceDocument,
  evidenceEntry,
  rawSocket,
  untilClosed,
} from "../../../test/support/host-client.ts";
import { hostAnswerSchema } from "../../report/wire/answers.ts";
import { PinMismatch, pinnedAgent } from "../../report/wire/pinned-agent.ts";

test("a report and evidence are taken once, plain, with gzip and with zstd, and the clocks are told", () =>
  withClient(async ({ host, send }) => {
    const report = { ...mediatorGone, subject: { ...mediatorGone.subject, vm_id: 11 } };
    const batch = batchOf([evidenceEntry(1), { kind: "report", seq: 2, at: Date.now(), document: report }]);
    const first = refusedOf(await send(batch));
    assert.deepEqual([first.accepted, first.duplicates, first.refused], [[1, 2], [], []]);
    assert.ok(first.clock.received_at <= first.clock.sent_at && Date.now() - first.clock.sent_at < 60_000);
    const text = JSON.stringify(batch);
    for (const [encoding, body] of [
      ["gzip", gzipSync(text)],
      ["zstd", zstdCompressSync(text)],
    ] as const) {
      const again = refusedOf(await send(body, { "content-encoding": encoding }));
      assert.deepEqual([again.accepted, again.duplicates, again.accepted_up_to], [[], [1, 2], 2]);
    }
    assert.equal((await host.store.readReports({ vmId: 11, limit: 10 })).length, 2);
  }));

test("entries that are malformed, of a newer version, of another VM or from the future are refused alone", () =>
  withClient(async ({ send }) => {
    const secret = "SECRET-CONTENT";
    const answer = await send(
      batchOf([
        evidenceEntry(1),
        { kind: "guest-evidence", seq: 2, at: Date.now(), document: { ...evidenceDocument(null), [secret]: secret } },
        evidenceEntry(3, { document: { schema: "vgpu-agent/guest-evidence/2" } }),
        evidenceEntry(4, { document: evidenceDocument(12) }),
        evidenceEntry(5, { at: Date.now() + 3_600_000 }),
        { kind: secret },
        secret,
        evidenceEntry(9, { at: -1 }),
        { kind: "dropped", seq: 10, at: 1, document: { first: 9, last: 3, count: 1, reason: "spool-full" } },
        evidenceEntry(11),
      ]),
    );
    const { accepted, refused } = refusedOf(answer);
    assert.deepEqual(accepted, [1, 11]);
    assert.deepEqual(
      refused.map(({ index, seq, reason }) => [index, seq, reason]),
      [
        [1, 2, "malformed"],
        [2, 3, "unknown-version"],
        [3, 4, "other-vm"],
        [4, 5, "out-of-time"],
        [5, null, "malformed"],
        [6, null, "malformed"],
        [7, 9, "malformed"],
        [8, 10, "malformed"],
      ],
    );
    assert.ok(!answer.raw.includes(secret));
  }));

test("what is no batch is refused whole, with what is wrong, and nothing is kept", () =>
  withClient(async ({ host, send }) => {
    const bad: readonly (readonly [unknown, number, Record<string, string>])[] = [
      ["{", 400, {}],
      ["", 400, {}],
      ["[]", 400, {}],
      [Buffer.from([0x22, 0xff, 0x22]), 400, {}],
      [batchOf([]), 400, {}],
      [batchOf([evidenceEntry(1)], { agent_id: "me" }), 400, {}],
      [batchOf([evidenceEntry(1)], { extra: 1 }), 400, {}],
      [batchOf([evidenceEntry(1)], { vm_id: 12 }), 403, {}],
      [gzipSync("{}").subarray(0, 12), 400, { "content-encoding": "gzip" }],
      ["{}", 400, { "content-encoding": "zstd" }],
      ["{}", 415, { "content-encoding": "br" }],
      ["{}", 415, { "content-type": "text/plain" }],
    ];
    for (const [body, status, headers] of bad) {
      const answer = await send(body, headers);
      assert.equal(answer.status, status, answer.raw);
      assert.ok(errorOf(answer).text.length > 10);
    }
    assert.deepEqual(await host.store.readReports({ vmId: 11, limit: 10 }), []);
  }));

test("bodies that are too large, and bombs of gzip and zstd, are refused", () =>
  withClient(
    async ({ send }) => {
      const zeros = Buffer.alloc(30_000_000);
      for (const [body, headers] of [
        [Buffer.alloc(70_000), {}],
        [gzipSync(zeros), { "content-encoding": "gzip" }],
        [zstdCompressSync(zeros), { "content-encoding": "zstd" }],
      ] as const) {
        const answer = await send(body, headers);
        assert.equal(answer.status, 413);
        assert.equal(errorOf(answer).error, "too-large");
      }
    },
    { bodyBytes: 65_536, decompressedBytes: 1_000_000 },
  ));

test("without a valid token nothing is answered, a revoked one is none, and guessing is slowed down", () =>
  withClient(
    async ({ host, token, get }) => {
      const agent = agentOf(host);
      const { port } = host.server;
      const [stored] = await host.store.listTokens();
      assert.equal((await get("/v1/time")).status, 200);
      await host.store.revokeToken(stored?.id ?? "", Date.now());
      for (const wrong of [token, "x".repeat(43), "", "a b"]) {
        const answer = await ask({ port, agent, method: "GET", path: "/v1/time", token: wrong });
        assert.equal(answer.status, 401);
      }
      const slowed = await ask({ port, agent, path: "/anything" });
      assert.deepEqual([slowed.status, errorOf(slowed).retry], [429, true]);
      assert.ok(Number(slowed.headers["retry-after"]) >= 1);
      agent.destroy();
    },
    { failureRate: { perSecond: 0.01, burst: 4 } },
  ));

test("a client that pins another certificate sends nothing", () =>
  withClient(async ({ host, token }) => {
    const agent = pinnedAgent("0".repeat(64));
    await assert.rejects(ask({ port: host.server.port, agent, token }), PinMismatch);
    agent.destroy();
  }));

test("one VM's rate does not slow another's", () =>
  withClient(
    async ({ host, get }) => {
      const agent = agentOf(host);
      const statuses = await Promise.all(Array.from({ length: 6 }, () => get("/v1/time")));
      assert.equal(statuses.filter(({ status }) => status === 429).length, 3);
      const other = await host.token(12);
      const answer = await ask({ port: host.server.port, agent, token: other, method: "GET", path: "/v1/time" });
      assert.equal(answer.status, 200);
      agent.destroy();
    },
    { requestRate: { perSecond: 0.01, burst: 3 }, waitsPerVm: 10 },
  ));

test("a store that is locked is an error that may be retried, and nothing is acknowledged", () =>
  withClient(async ({ host, send }) => {
    const other = new DatabaseSync(join(host.directory, "host.db"));
    other.exec("BEGIN IMMEDIATE");
    const answer = await send(batchOf([evidenceEntry(1)]));
    assert.deepEqual([answer.status, errorOf(answer).retry], [503, true]);
    assert.ok(!answer.raw.includes("host.db"));
    other.exec("ROLLBACK");
    other.close();
    assert.deepEqual(refusedOf(await send(batchOf([evidenceEntry(1)]))).accepted, [1]);
  }));

test("a long poll is pending, and is answered when the bell rings for a result that is there", () =>
  withClient(async ({ host, send, get }) => {
    assert.equal((await get("/v1/vms/11/verdict")).body["state"], "none");
    await send(batchOf([evidenceEntry(1)]));
    assert.equal((await get("/v1/vms/11/verdict?window=0-1000&wait=0")).body["state"], "pending");
    const waiting = get("/v1/vms/11/verdict?window=0-1000&wait=1");
    host.server.bell.ring(11);
    assert.equal((await waiting).body["state"], "pending");
    for (const bad of ["?window=5-1", "?window=x", "?wait=-1", "?other=1"]) {
      assert.equal((await get(`/v1/vms/11/verdict${bad}`)).status, 400);
    }
  }));

test("slow bodies, half-open connections and huge heads end by themselves, and others are served meanwhile", () =>
  withClient(
    async ({ host, token, get }) => {
      const { port } = host.server;
      const head = `POST /v1/reports HTTP/1.1\r\nhost: h\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\n`;
      const slow = await Promise.all(Array.from({ length: 3 }, () => rawSocket(port)));
      for (const socket of slow) socket.write(`${head}content-length: 1000\r\n\r\n{`);
      const halfHead = await rawSocket(port);
      halfHead.write("POST /v1/repo");
      const huge = await rawSocket(port);
      huge.write(`${head}x: ${"y".repeat(20_000)}\r\n\r\n`);
      const ends = [...slow, halfHead, huge].map(untilClosed);
      assert.equal((await get("/v1/time")).status, 200);
      const texts = await Promise.all(ends);
      assert.match(texts.at(-1) ?? "", /^HTTP\/1\.1 431 /);
      for (const text of texts.slice(0, 4)) assert.match(text, /^(HTTP\/1\.1 408 |$)/);
    },
    { requestMs: 300, headersMs: 200, checkMs: 50 },
  ));

test("pipelined requests are limited like others, and wrong lengths are refused", () =>
  withClient(
    async ({ host, token }) => {
      const { port } = host.server;
      const one = `GET /v1/vms/11/verdict?wait=1 HTTP/1.1\r\nhost: h\r\nauthorization: Bearer ${token}\r\n`;
      const piped = await rawSocket(port);
      piped.write(`${one}\r\n${one}\r\n${one}\r\n${one}connection: close\r\n\r\n`);
      const text = await untilClosed(piped);
      assert.ok((text.match(/HTTP\/1\.1 200 /g) ?? []).length <= 2, text);
      for (const lengths of [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: -5",
        "content-length: 5\r\ntransfer-encoding: chunked",
      ]) {
        const wrong = await rawSocket(port);
        wrong.write(
          `POST /v1/reports HTTP/1.1\r\nhost: h\r\nauthorization: Bearer ${token}\r\n${lengths}\r\n\r\nhello`,
        );
        assert.match(await untilClosed(wrong), /^HTTP\/1\.1 400 /);
      }
    },
    { waitsPerVm: 2 },
  ));

test("an address gets no more connections than its share", () =>
  withClient(
    async ({ host }) => {
      const first = await Promise.all([rawSocket(host.server.port), rawSocket(host.server.port)]);
      await assert.rejects(rawSocket(host.server.port));
      for (const socket of first) socket.destroy();
    },
    { connectionsPerAddress: 2 },
  ));

test("no byte of another VM is in any answer, good or bad", () =>
  withClient(async ({ host, send, get }) => {
    const TENANT = "987654321";
    const NAME = "tenants-secret-kernel";
    const NONE = { window: null, settles: null, condition: null };
    await host.token(Number(TENANT));
    const theirs = { seq: 1, kind: "report", at: 1, document: `{"k":"${NAME}"}`, ...NONE } as const;
    const sent = { agentId: "a3a3a3a3-0000-4000-8000-00000000a3a3", bootId: "b4b4b4b4-0000-4000-8000-00000000b4b4" };
    await host.store.addReports({ vmId: Number(TENANT), ...sent, sentAt: 1, receivedAt: 1, entries: [theirs] });
    const put = (vmId: number, document: unknown, to: number) =>
      host.store.putResult({
        vmId,
        window: { from: 0, to },
        madeAt: 1,
        document: JSON.stringify(document),
        evidenceId: null,
        operations: [],
      });
    await put(Number(TENANT), { vm_id: Number(TENANT), kernel: NAME }, 10);
    // A bug that puts another VM's result, or the operator's detail, under this VM: it does not leave.
    await put(11, { schema: "vgpu-agent/match/1", vm_id: Number(TENANT), kernel: NAME }, 20);
    const answers = [
      await send(batchOf([evidenceEntry(1), evidenceEntry(2, { document: evidenceDocument(5) })])),
      await send(
        batchOf([evidenceEntry(1)], { agent_id: sent.agentId, boot_id: "b4b4b4b4-0000-4000-8000-00000000b4b5" }),
      ),
      await send("{"),
      await get("/v1/vms/11/verdict"),
      await get("/v1/vms/11/verdict?window=0-15"),
      await get("/v1/vms/12/verdict"),
      await get("/v1/vms/0/verdict?wait=1"),
      await get("/v1/vms/%zz/verdict"),
      await get("/nothing"),
      await get("/v1/time"),
    ];
    for (const { raw, body } of answers) {
      for (const secret of [TENANT, NAME, "a3a3a3a3a3", "b4b4b4b4b4", "host.db"]) assert.ok(!raw.includes(secret), raw);
      assert.ok(hostAnswerSchema.safeParse(body).success, raw);
    }
    // Whether there is such a VM is not told either.
    const [existing, missing] = [await get(`/v1/vms/${TENANT}/verdict`), await get("/v1/vms/987654322/verdict")];
    assert.deepEqual([existing.status, errorOf(existing).text], [missing.status, errorOf(missing).text]);
    assert.deepEqual([answers[3]?.status, answers[4]?.status, existing.status], [500, 500, 403]);
  }));
