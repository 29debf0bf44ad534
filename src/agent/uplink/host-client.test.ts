import assert from "node:assert/strict";
import { createServer } from "node:net";
import { describe, it } from "node:test";
import { clockNow, FAKE_TOKEN, sayJson, withFakeHost } from "../../../test/support/fake-host.ts";
import { evidenceDocument, type TestHost, withHost } from "../../../test/support/host-client.ts";
import { type ReportBatch, reportBatchSchema } from "../../report/wire/batch.ts";
import type { Enrolment } from "../../report/wire/enrolment-string.ts";
import { PinMismatch } from "../../report/wire/pinned-agent.ts";
import { HostClient, type HostClientOptions } from "./host-client.ts";
import { BadHostAnswer, BatchTooLarge, HostBusy, HostRefused, HostUnreachable, isRetryable } from "./host-errors.ts";

const AGENT = "6f1c1c4e-2f43-4d0a-9a55-0d3a6c1d8e01";
const BOOT = "c7a3f5de-90d1-4f6e-9a2b-1d2e3f4a5b6c";

function batch(): ReportBatch {
  const now = Date.now();
  return reportBatchSchema.parse({
    schema: "vgpu-agent/report-batch/1",
    agent_id: AGENT,
    boot_id: BOOT,
    vm_id: 11,
    sent_at: now,
    entries: [{ kind: "guest-evidence", seq: 1, at: now, document: evidenceDocument(11) }],
  });
}

async function using<T>(
  enrolment: Enrolment,
  use: (client: HostClient) => Promise<T>,
  options: HostClientOptions = {},
): Promise<T> {
  const client = new HostClient(enrolment, options);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

const enrolmentOf = async (host: TestHost, vm = 11): Promise<Enrolment> => ({
  url: `https://127.0.0.1:${host.server.port}`,
  vm,
  token: await host.token(vm),
  pin: host.identity.pin,
});

describe("the client, with the real server", () => {
  it("is told the mediator's run by a host that knows it, with reports and with verdicts", () =>
    withHost(
      async (host) => {
        await using(await enrolmentOf(host), async (client) => {
          const { answer } = await client.postReports(batch());
          const seen = await client.verdict({ window: null, waitSeconds: 0 });
          const told = { series: "0123456789abcdef", run: 3, began_ms_ago: null };
          assert.deepEqual([answer.mediator, seen.answer.mediator], [told, told]);
        });
      },
      {},
      { mediatorRun: () => ({ series: "0123456789abcdef", run: 3, beganAt: null }) },
    ));

  it("works with a host that tells nothing of the mediator's run", () =>
    withHost(async (host) => {
      await using(await enrolmentOf(host), async (client) => {
        assert.equal((await client.postReports(batch())).answer.mediator, undefined);
      });
    }));

  it("sends a batch once, and again as a duplicate", () =>
    withHost(async (host) => {
      await using(await enrolmentOf(host), async (client) => {
        assert.deepEqual((await client.postReports(batch())).answer.accepted, [1]);
        assert.deepEqual((await client.postReports(batch())).answer.duplicates, [1]);
        const { state, vm_id } = (await client.verdict({ window: { from: 0, to: 1000 }, waitSeconds: 0 })).answer;
        assert.deepEqual([state, vm_id], ["pending", 11]);
        assert.equal((await client.verdict({ window: null, waitSeconds: 0 })).answer.state, "pending");
      });
    }));

  it("measures the offset of the clocks, within its bound", () =>
    withHost(async (host) => {
      const enrolment = await enrolmentOf(host);
      for (const ahead of [0, 3_600_000, -12_345]) {
        const offset = await using(enrolment, (client) => client.clockOffset(), { now: () => Date.now() + ahead });
        assert.ok(offset !== null);
        assert.ok(Math.abs(offset.offsetMs - ahead) <= offset.errorMs, JSON.stringify(offset));
        assert.ok(offset.errorMs < 1000, JSON.stringify(offset));
      }
    }));

  it("is refused with a token that is not valid, and says no word of it", () =>
    withHost(async (host) => {
      const token = "x".repeat(43);
      const wrong = { ...(await enrolmentOf(host)), token };
      await using(wrong, async (client) => {
        const error = await client.time().catch((reason: unknown) => reason);
        assert.ok(error instanceof HostRefused && error.isAboutToken);
        assert.ok(!isRetryable(error));
        assert.ok(!`${error.stack} ${JSON.stringify(error)}`.includes(token));
      });
    }));

  it("is refused another VM's verdict", () =>
    withHost(async (host) => {
      const other = { ...(await enrolmentOf(host)), vm: 12 };
      await using(other, async (client) => {
        await assert.rejects(client.verdict({ window: null, waitSeconds: 0 }), (error) => {
          return error instanceof HostRefused && error.status === 403 && !error.isAboutToken;
        });
      });
    }));

  it("writes nothing to a server with another certificate", () =>
    withHost(async (host) => {
      const other = { ...(await enrolmentOf(host)), pin: "0".repeat(64) };
      await using(other, async (client) => {
        await assert.rejects(client.postReports(batch()), PinMismatch);
      });
      assert.deepEqual(await host.store.readReports({ vmId: 11, limit: 10 }), []);
    }));

  it("ends a long poll when its caller does, with the caller's reason", () =>
    withHost(async (host) => {
      await using(await enrolmentOf(host), async (client) => {
        await client.postReports(batch());
        const end = new AbortController();
        const waiting = client.verdict({ window: null, waitSeconds: 30, signal: end.signal });
        const reason = new Error("on purpose");
        await client.time();
        end.abort(reason);
        await assert.rejects(waiting, reason);
      });
    }));

  it("is told when to come again", () =>
    withHost(
      async (host) => {
        await using(await enrolmentOf(host), async (client) => {
          await client.time();
          const error = await client.time().catch((reason: unknown) => reason);
          assert.ok(error instanceof HostBusy && isRetryable(error), String(error));
          assert.ok((error.retryAfterMs ?? 0) >= 1000);
        });
      },
      { requestRate: { perSecond: 0.001, burst: 1 } },
    ));

  it("takes no notice of proxies in its environment", () =>
    withHost(async (host) => {
      const names = ["https_proxy", "HTTPS_PROXY", "all_proxy", "NODE_USE_ENV_PROXY"];
      for (const name of names) process.env[name] = "http://127.0.0.1:1";
      try {
        assert.ok((await using(await enrolmentOf(host), (client) => client.time())) !== null);
      } finally {
        for (const name of names) delete process.env[name];
      }
    }));
});

describe("the client, with a server that lies", () => {
  const time = () => ({ schema: "vgpu-agent/time/1", clock: clockNow() });
  const verdict = (more: object) => ({
    schema: "vgpu-agent/verdict-answer/1",
    vm_id: 11,
    state: "none",
    made_at: null,
    result: null,
    health: null,
    clock: clockNow(),
    ...more,
  });

  const rejectsAs = (kind: abstract new (...args: never[]) => Error, what: RegExp) => (error: unknown) => {
    assert.ok(error instanceof kind, String(error));
    assert.match(error.message, what);
    assert.ok(!error.message.includes(FAKE_TOKEN));
    return true;
  };

  const cases: readonly (readonly [
    string,
    Parameters<typeof withFakeHost>[0],
    abstract new (...args: never[]) => Error,
    RegExp,
  ])[] = [
    [
      "garbage",
      (_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<html>"),
      BadHostAnswer,
      /no JSON/,
    ],
    [
      "bytes that are no UTF-8",
      (_, response) =>
        response.writeHead(200, { "content-type": "application/json" }).end(Buffer.from([0x22, 0xff, 0x22])),
      BadHostAnswer,
      /no JSON/,
    ],
    ["another schema", (_, response) => sayJson(response, verdict({})), BadHostAnswer, /schema/],
    ["a further field", (_, response) => sayJson(response, { ...time(), more: 1 }), BadHostAnswer, /not as it must be/],
    [
      "a redirect",
      (_, response) => sayJson(response, time(), 307, { location: "https://127.0.0.1:1/v1/time" }),
      BadHostAnswer,
      /307/,
    ],
    [
      "a compressed answer",
      (_, response) => sayJson(response, time(), 200, { "content-encoding": "gzip" }),
      BadHostAnswer,
      /compressed/,
    ],
    [
      "an answer without end",
      (_, response) => {
        const more = Buffer.alloc(64 * 1024, " ");
        response.writeHead(200, { "content-type": "application/json" });
        const write = () => {
          while (!response.destroyed && response.write(more));
          if (!response.destroyed) response.once("drain", write);
        };
        write();
      },
      BadHostAnswer,
      /longer than/,
    ],
    [
      "an answer that drips",
      (_, response) => {
        response.writeHead(200, { "content-type": "application/json" });
        const drip = setInterval(() => response.write(" "), 50);
        response.once("close", () => clearInterval(drip));
      },
      HostUnreachable,
      /no whole answer/,
    ],
    ["silence", () => {}, HostUnreachable, /no whole answer/],
    [
      "half an answer",
      (_, response) => {
        response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
        response.write("{", () => response.destroy());
      },
      HostUnreachable,
      /cut|closed|no connection/,
    ],
    ["a closed connection", (request) => request.socket.destroy(), HostUnreachable, /cut|closed|no connection/],
    ["an error without a word", (_, response) => response.writeHead(400).end(), HostRefused, /does not say why/],
    [
      "an error that is ours to wait for",
      (_, response) => response.writeHead(503, { "retry-after": "99999999" }).end(),
      HostBusy,
      /503/,
    ],
    [
      "an endless head",
      (_, response) => response.writeHead(200, { "x-more": "x".repeat(60_000) }).end(),
      HostUnreachable,
      /no connection/,
    ],
  ];
  for (const [name, answer, kind, what] of cases) {
    it(`takes ${name} for what it is`, () =>
      withFakeHost(answer, async ({ enrolment, asked }) => {
        await using(enrolment, (client) => assert.rejects(client.time(), rejectsAs(kind, what)), { answerMs: 700 });
        assert.deepEqual([...new Set(asked)], ["GET /v1/time"]);
      }));
  }

  it("believes no answer about another VM", () =>
    withFakeHost(
      (_, response) => sayJson(response, verdict({ vm_id: 12 })),
      async ({ enrolment }) => {
        await using(enrolment, (client) =>
          assert.rejects(client.verdict({ window: null, waitSeconds: 0 }), BadHostAnswer),
        );
      },
    ));

  it("believes no acknowledgement of another agent's batch", () =>
    withFakeHost(
      (_, response) =>
        sayJson(response, {
          schema: "vgpu-agent/acknowledgement/1",
          agent_id: BOOT,
          boot_id: BOOT,
          accepted: [1],
          duplicates: [],
          refused: [],
          accepted_up_to: 1,
          highest: 1,
          clock: clockNow(),
        }),
      async ({ enrolment }) => {
        await using(enrolment, (client) => assert.rejects(client.postReports(batch()), BadHostAnswer));
      },
    ));

  it("takes no offset from a clock that was set meanwhile", () =>
    withFakeHost(
      (_, response) => sayJson(response, { ...time(), clock: { received_at: 2000, sent_at: 1000 } }),
      async ({ enrolment }) => {
        assert.equal(await using(enrolment, (client) => client.clockOffset()), null);
      },
    ));

  it("sends nothing that no host would take", () =>
    withFakeHost(
      (_, response) => response.end(),
      async ({ enrolment, asked }) => {
        const { entries, ...head } = batch();
        const large = { ...head, entries: [{ ...entries[0], document: { text: "x".repeat(5 << 20) } }] };
        await using(enrolment, (client) =>
          assert.rejects(client.postReports(reportBatchSchema.parse(large)), BatchTooLarge),
        );
        assert.deepEqual(asked, []);
      },
    ));
});

describe("the client, without a server", () => {
  const enrolment = { vm: 11, token: FAKE_TOKEN, pin: "0".repeat(64) };

  it("says that nothing listens", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = address !== null && typeof address === "object" ? address.port : 0;
    await new Promise((resolve) => server.close(resolve));
    await using({ ...enrolment, url: `https://127.0.0.1:${port}` }, async (client) => {
      await assert.rejects(client.time(), (error) => error instanceof HostUnreachable && error.code === "ECONNREFUSED");
    });
  });

  it("says that there is no such name", async () => {
    await using({ ...enrolment, url: "https://no-such-host.invalid:8443" }, async (client) => {
      await assert.rejects(client.time(), HostUnreachable);
    });
  });

  it("gives up a server that takes the connection and says nothing", async () => {
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = address !== null && typeof address === "object" ? address.port : 0;
    try {
      const url = `https://127.0.0.1:${port}`;
      await using(
        { ...enrolment, url },
        async (client) => {
          await assert.rejects(client.time(), HostUnreachable);
        },
        { connectMs: 200 },
      );
    } finally {
      server.close();
    }
  });
});
