import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { loadIdentity } from "../src/host/enrolment/identity.ts";
import { issueToken } from "../src/host/enrolment/tokens.ts";
import { matchResultSchema } from "../src/host/match/result-schema.ts";
import { LOG_STATE } from "../src/host/service/log-loop.ts";
import { SqliteStore } from "../src/host/store/sqlite.ts";
import { type VerdictAnswer, verdictAnswerSchema } from "../src/report/wire/answers.ts";
import { pinnedAgent } from "../src/report/wire/pinned-agent.ts";
import { knownEvidence } from "./fixtures/match-evidence.ts";
import { MediatorLog, type TrueOperation } from "./fixtures/mediator-log.ts";
import { type Device, GuestProcess } from "./fixtures/mediator-vm.ts";
import { parseExposition } from "./support/exposition.ts";
import { ask, batchOf, evidenceEntry } from "./support/host-client.ts";
import { type RunningHost, startHost } from "./support/running-host.ts";

/** The counterpart as it is run, with a mediator's log that grows as it looks. */
describe("vgpu-agent host", () => {
  let directory = "";
  let running: RunningHost[] = [];
  const log = () => join(directory, "mediator.log");

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "vgpu-host-service-"));
    running = [];
  });
  afterEach(async () => {
    for (const { child } of running) child.kill("SIGKILL");
    await Promise.all(running.map(({ ended }) => ended));
    rmSync(directory, { recursive: true });
  });

  async function start(...options: string[]): Promise<RunningHost> {
    const listen = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--data", directory];
    const host = await startHost(...listen, ...options);
    running.push(host);
    return host;
  }

  async function enrol(vmId: number): Promise<string> {
    const store = new SqliteStore(join(directory, "host.db"));
    const { secret } = await issueToken(store, vmId, null, Date.now());
    await store.close();
    return secret;
  }

  async function scrape({ metricsPort }: RunningHost): Promise<(name: string, labels?: string) => number | undefined> {
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    parseExposition(text);
    return (name, labels = "") => {
      const line = text.split("\n").find((one) => one.startsWith(`${name}${labels} `));
      return line === undefined ? undefined : Number(line.split(" ").at(-1));
    };
  }

  async function until<T>(look: () => Promise<T | null>): Promise<T> {
    for (const end = performance.now() + 20_000; ; await sleep(100)) {
      const found = await look();
      if (found !== null) return found;
      if (performance.now() > end) assert.fail("it did not become so within 20 s");
    }
  }

  const agent = () => pinnedAgent(loadIdentity(directory, new Date()).pin);

  async function verdictOf(port: number, token: string, path: string): Promise<VerdictAnswer> {
    const client = agent();
    try {
      return verdictAnswerSchema.parse((await ask({ port, agent: client, token, method: "GET", path })).body);
    } finally {
      client.destroy();
    }
  }

  async function send(port: number, token: string, entries: readonly unknown[]): Promise<void> {
    const client = agent();
    try {
      const answer = await ask({ port, agent: client, token, body: JSON.stringify(batchOf(entries)) });
      assert.equal(answer.status, 200, answer.raw);
    } finally {
      client.destroy();
    }
  }

  /** A guest's process whose calls the mediator answers, with the log's lines. */
  function work(mediator: MediatorLog, device: Device, pid: number): void {
    const guest = new GuestProcess(mediator, device, pid);
    guest.init();
    const ptr = guest.alloc(200_000) ?? assert.fail();
    guest.copyIn(ptr, 200_000);
    guest.launch("mul_mat");
    guest.copyOut(ptr, 200_000);
  }

  it("joins, tells the metrics and the log's state, and knows after a restart what it knew before", async () => {
    writeFileSync(log(), "");
    const operations: TrueOperation[] = [];
    const mediator = new MediatorLog((text) => appendFileSync(log(), text, "latin1"), {
      stderrOnly: false,
      onOperation: (operation) => operations.push(operation),
    });
    mediator.start([11]);
    const first = await start("--mediator-log", log());
    const before = await scrape(first);
    assert.equal(before("vgpu_host_vm_rung", '{vm="11",rung="executing"}'), undefined);
    const token = await enrol(11);
    mediator.heartbeat();
    const from = Date.now();
    // The log has no times: it is known only between which two looks of the host, 0.25 s apart, a line was written.
    await sleep(1000);
    work(mediator, { vmId: 11, domId: 11, fd: 51, requestId: 1 }, 4711);
    await sleep(1000);
    mediator.heartbeat();
    const to = Date.now();
    const { evidence } = knownEvidence(operations, 11, "debug");
    const document = { ...evidence, window: { from, to }, clock_offset_ms: 0, clock_error_ms: 1 };
    await send(first.port, token, [evidenceEntry(1, { document })]);
    const path = `/v1/vms/11/verdict?window=${from}-${to}&wait=20`;
    const answer = await verdictOf(first.port, token, path);
    assert.equal(answer.state, "ready");
    assert.equal(answer.health?.log.state, "followed");
    assert.equal(answer.health?.log.behind_bytes, 0);
    const { read_at } = answer.health?.log ?? { read_at: null };
    assert.ok(read_at !== null && Math.abs(read_at - answer.clock.sent_at) < 5000);

    await until(async () => {
      const metric = await scrape(first);
      return metric("vgpu_host_vm_rung", '{vm="11",rung="executing"}') === 1 ? metric : null;
    });
    const metric = await scrape(first);
    assert.equal(metric("vgpu_host_matched_operations_total", '{operation="launch",confidence="EXACT"}'), 1);
    assert.ok((metric("vgpu_host_log_read_bytes_total") ?? 0) > 1000);
    assert.equal(metric("vgpu_host_log_lag_bytes"), 0);
    assert.ok((metric("vgpu_host_store_bytes") ?? 0) > 0);
    assert.ok(Number.isInteger(metric("vgpu_host_mediators")));

    first.child.kill("SIGTERM");
    await first.ended;
    const second = await start("--mediator-log", log());
    await send(second.port, token, [evidenceEntry(2, { document: { ...document, window: { from: from - 1, to } } })]);
    const again = await verdictOf(second.port, token, `/v1/vms/11/verdict?window=${from - 1}-${to}&wait=20`);
    assert.equal(again.state, "ready");
    assert.deepEqual(again.result?.["operations"], answer.result?.["operations"]);
  });

  it("after kill -9 knows what it knew before, and takes what was written meanwhile for what it is", async () => {
    writeFileSync(log(), "");
    const operations: TrueOperation[] = [];
    const mediator = new MediatorLog((text) => appendFileSync(log(), text, "latin1"), {
      stderrOnly: false,
      onOperation: (operation) => operations.push(operation),
    });
    mediator.start([11]);
    const token = await enrol(11);
    const first = await start("--mediator-log", log());
    mediator.heartbeat();
    const device: Device = { vmId: 11, domId: 11, fd: 51, requestId: 1 };
    const windows: { from: number; to: number; evidence: object }[] = [];
    const window = async (pid: number) => {
      const from = Date.now();
      await sleep(1000);
      const before = operations.length;
      work(mediator, device, pid);
      await sleep(1000);
      mediator.heartbeat();
      const to = Date.now();
      const { evidence } = knownEvidence(operations.slice(before), 11, "debug");
      windows.push({
        from,
        to,
        evidence: { ...evidence, window: { from, to }, clock_offset_ms: 0, clock_error_ms: 1 },
      });
    };
    await window(4711);
    await until(async () => {
      const store = new SqliteStore(join(directory, "host.db"));
      const saved = JSON.stringify(await store.loadState(LOG_STATE));
      await store.close();
      const [, caughtUpAt] = /"caughtUpAt":(\d+)/.exec(saved) ?? [];
      return Number(caughtUpAt) > (windows[0]?.to ?? 0) ? true : null;
    });
    first.child.kill("SIGKILL");
    await first.ended;
    await window(4712);
    const second = await start("--mediator-log", log());
    await window(4713);
    const answers: VerdictAnswer[] = [];
    for (const [index, { from, to, evidence }] of windows.entries()) {
      await send(second.port, token, [evidenceEntry(index + 1, { document: evidence })]);
      answers.push(await verdictOf(second.port, token, `/v1/vms/11/verdict?window=${from}-${to}&wait=20`));
    }
    const [before, meanwhile, after] = answers.map(({ result }) => matchResultSchema.parse(result));
    assert.ok(before !== undefined && meanwhile !== undefined && after !== undefined);
    for (const { verdict, processes, operations: counts } of [before, after]) {
      assert.equal(verdict.state, "executing");
      assert.equal(processes[0]?.identity.level, "EXACT");
      for (const { operation, guest, host } of counts) assert.equal(host?.count, guest?.count, operation);
    }
    // Between two looks that are 3 s apart, so when its lines were written is known that well, and no better: the host's
    // figure is a range, and what the guest made lies in it.
    assert.notEqual(meanwhile.verdict.state, "refuted");
    for (const { operation, guest, host } of meanwhile.operations) {
      if (host === null || guest === null) continue;
      assert.ok((host.least ?? host).count <= guest.count && guest.count <= host.count, operation);
    }
  });

  it("tells of open conditions and of what a guest gave up, also of a VM that was enrolled while it runs", async () => {
    const host = await start();
    const token = await enrol(12);
    const at = Date.now();
    const condition = {
      schema: "vgpu-agent/condition/1",
      boot_id: "",
      id: "transport/VG-C07",
      check: "transport-errors",
      cause: "VG-C07",
      outcome: "fail",
      state: "open",
      since: at,
      at,
      pid: null,
      ended_by: null,
      message: "",
    };
    const dropped = { first: 2, last: 4, count: 3, reason: "spool-full" };
    await send(host.port, token, [
      { kind: "condition", seq: 1, at, document: condition },
      { kind: "dropped", seq: 5, at, document: dropped },
    ]);
    const metric = await until(async () => {
      const found = await scrape(host);
      return found("vgpu_host_vm_open_conditions", '{vm="12"}') === 1 ? found : null;
    });
    assert.equal(metric("vgpu_host_open_conditions", '{cause="VG-C07"}'), 1);
    assert.equal(metric("vgpu_host_reports_dropped_total", '{reason="spool-full"}'), 3);
    assert.equal(metric("vgpu_host_vm_rung", '{vm="12",rung="executing"}'), 0);
    host.child.kill("SIGKILL");
    await host.ended;
    const again = await start();
    await until(async () => {
      return (await scrape(again))("vgpu_host_vm_open_conditions", '{vm="12"}') === 1 ? true : null;
    });
  });

  it("without a mediator's log ends the wait for a verdict at once, and says that there is no log", async () => {
    const host = await start();
    const token = await enrol(11);
    await send(host.port, token, [evidenceEntry(1)]);
    const begun = performance.now();
    const answer = await verdictOf(host.port, token, "/v1/vms/11/verdict?window=0-1000&wait=25");
    assert.ok(performance.now() - begun < 10_000);
    assert.equal(answer.state, "none");
    await until(async () => ((await verdictOf(host.port, token, "/v1/vms/11/verdict")).health !== null ? true : null));
    const { health } = await verdictOf(host.port, token, "/v1/vms/11/verdict");
    assert.equal(health?.log.state, "none");
  });

  it("says that a log cannot be read, in its own log and to the guest", async () => {
    const host = await start("--mediator-log", directory);
    const token = await enrol(11);
    const { health } = await until(async () => {
      const answer = await verdictOf(host.port, token, "/v1/vms/11/verdict");
      return answer.health === null ? null : answer;
    });
    assert.equal(health?.log.state, "unreadable");
    host.child.kill("SIGTERM");
    assert.match((await host.ended).text, /the mediator's log cannot be read/);
  });
});
