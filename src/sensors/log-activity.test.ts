import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  entry,
  fileLine,
  fold,
  type Given,
  onlyProcess,
  onlyServer,
  summary,
  T0,
} from "../../test/fixtures/log-entries.ts";
import { GUEST_GRAMMARS } from "../protocol/guest-lines.ts";
import { LogActivity } from "./log-activity.ts";
import type { LogReadSummary } from "./log-reader.ts";

const LISTENING = 'time=2026-03-26T06:35:38.138Z level=INFO msg="Listening on 127.0.0.1:11434 (version 0.17.7)"';
const compute = (library: string, id: string): string =>
  `level=INFO source=types.go:42 msg="inference compute" id=${id} library=${library} compute=9.0 name=CUDA0 description="NVIDIA H100" total="80.0 GiB"`;

test("a shim's line without a pid belongs to the process that its stream named last", () => {
  const server = onlyServer(
    fold([
      { text: "[libvgpu-cuda] Skip flag SET to 0 (pid=501)" },
      { text: "[cuda-transport] Connected (vm_id=9) data_path=BAR1 status_from=BAR1-status-mirror" },
      { text: "[libvgpu-cuda] Skip flag SET to 0 (pid=502)" },
      { text: "[cuda-transport] STATUS_ERROR: call=cuInit(0x0001) seq=1 err=0x00000003(MEDIATOR_UNAVAIL) vm_id=9" },
      { text: "[cuda-transport] stale owner pid=333 detected; requesting host cleanup" },
    ]),
  );
  assert.deepEqual(
    server.processes.map(({ pid, lines }) => [pid, lines]),
    [
      [501, 2],
      [502, 3],
    ],
  );
  assert.equal(server.processes[0]?.connected?.vmId, 9);
  assert.equal(server.processes[0]?.transportErrors.length, 0);
  assert.equal(server.processes[1]?.connected, null);
  assert.equal(server.processes[1]?.transportErrors[0]?.code, 3);
  assert.equal(server.pid, 100);
});

test("streams do not lend each other their pid", () => {
  const server = onlyServer(
    fold([
      { text: "[libvgpu-cuda] Skip flag SET to 0 (pid=501)", pid: 100 },
      { text: "[cuda-transport] Connected (vm_id=9) data_path=BAR1", pid: 200 },
    ]),
  );
  assert.deepEqual(
    server.processes.map(({ pid }) => pid),
    [501, 200],
  );
});

test("without any pid a process is still kept, as unknown", () => {
  const process = onlyProcess(fold([fileLine("[cuda-transport] VGPU-STUB device not found")]));
  assert.equal(process.pid, null);
  assert.equal(process.deviceMissing?.count, 1);
  assert.equal(process.deviceMissing?.first.at, null);
});

test("each invocation of the unit is a life of its own, even when their lines mix", () => {
  const facts = fold([
    { text: "Started ollama.service - Ollama Service.", fromManager: true, pid: 1, invocationId: "a" },
    { text: compute("CUDA", "GPU-0"), invocationId: "a" },
    { text: "Started ollama.service - Ollama Service.", fromManager: true, pid: 1, invocationId: "b", at: T0 + 10 },
    { text: compute("cpu", "cpu"), invocationId: "b", pid: 200, at: T0 + 11 },
    {
      text: "ollama.service: Main process exited, code=dumped, status=11/SEGV",
      fromManager: true,
      pid: 1,
      invocationId: "a",
      at: T0 + 12,
    },
  ]);
  assert.deepEqual(
    facts.servers.map((server) => [
      server.invocationId,
      server.pid,
      server.discovery.map(({ library }) => library),
      server.mainExited?.status ?? null,
    ]),
    [
      ["a", 100, ["CUDA"], "11/SEGV"],
      ["b", 200, ["cpu"], null],
    ],
  );
});

test("in a plain file a new life begins where the server listens again", () => {
  const facts = fold([
    fileLine('time=2026-03-26T06:35:37.000Z level=INFO msg="server config" env="map[]"'),
    fileLine(LISTENING),
    fileLine(compute("CUDA", "GPU-0")),
    fileLine("[cuda-transport] VGPU-STUB device not found"),
    fileLine(LISTENING, { at: T0 + 60_000 }),
    fileLine(compute("cpu", "cpu")),
  ]);
  assert.deepEqual(
    facts.servers.map((server) => [server.listening?.count, server.discovery[0]?.library, server.processes.length]),
    [
      [1, "CUDA", 1],
      [1, "cpu", 0],
    ],
  );
  assert.equal(facts.servers[1]?.firstAt, T0 + 60_000);
});

test("a file that begins in the middle of a life keeps that life apart from the next", () => {
  const facts = fold([fileLine("[cuda-transport] VGPU-STUB device not found"), fileLine(LISTENING)]);
  assert.deepEqual(
    facts.servers.map((server) => [server.listening !== null, server.processes.length]),
    [
      [false, 1],
      [true, 0],
    ],
  );
});

test("a journal without invocation ids is divided by boots and by starts", () => {
  const anonymous = { invocationId: null };
  const facts = fold([
    { ...anonymous, text: "Started ollama.service - Ollama Service.", fromManager: true, pid: 1 },
    { ...anonymous, text: LISTENING },
    { ...anonymous, text: compute("CUDA", "GPU-0") },
    { ...anonymous, text: LISTENING, pid: 101, at: T0 + 60_000 },
    { ...anonymous, text: "[prog] hello", pid: 102, bootId: "boot2", at: T0 + 120_000 },
  ]);
  assert.deepEqual(
    facts.servers.map((server) => [server.pid, server.bootId, server.discovery.length]),
    [
      [100, "boot1", 1],
      [101, "boot1", 0],
      [102, "boot2", 0],
    ],
  );
});

test("a journal written out as text is read with its pids and its manager's lines", () => {
  const facts = fold(
    [
      fileLine("Mar 26 06:35:37 vm systemd[1]: Started cron.service - Cron."),
      fileLine("Mar 26 06:35:38 vm systemd[1]: Started ollama.service - Ollama Service."),
      fileLine("Mar 26 06:35:38 vm prog[384]: [cuda-transport] Connected (vm_id=9) data_path=BAR1 status_from=BAR1", {
        pid: 384,
      }),
      fileLine("Mar 26 06:35:39 vm systemd[1]: cron.service: Deactivated successfully."),
      fileLine(
        "Mar 26 06:35:39 vm systemd[1]: ollama.service: Main process exited, code=exited, status=2/INVALIDARGUMENT",
      ),
      fileLine("Mar 26 06:35:39 vm systemd-journald[90]: Suppressed 12 messages from ollama.service"),
    ],
    "ollama.service",
  );
  const server = onlyServer(facts);
  assert.equal(server.pid, 384);
  assert.equal(server.processes[0]?.pid, 384);
  assert.equal(server.deactivated, null);
  assert.equal(server.mainExited?.code, "exited");
  assert.equal(
    server.mainExited?.last.text,
    "ollama.service: Main process exited, code=exited, status=2/INVALIDARGUMENT",
  );
  assert.equal(facts.coverage, "partial");
});

test("stderr in a file is joined to the life that the journal shows at that time", () => {
  const facts = fold([
    {
      text: "Started ollama.service - Ollama Service.",
      fromManager: true,
      pid: 1,
      invocationId: "old",
      at: T0 - 90_000,
    },
    {
      text: "ollama.service: Deactivated successfully.",
      fromManager: true,
      pid: 1,
      invocationId: "old",
      at: T0 - 60_000,
    },
    { text: "Started ollama.service - Ollama Service.", fromManager: true, pid: 1, invocationId: "new", at: T0 - 50 },
    {
      text: '[GIN] 2026/03/26 - 06:36:00 | 200 | 1.5s | 127.0.0.1 | POST "/api/chat"',
      invocationId: "new",
      at: T0 + 22_000,
    },
    fileLine('level=INFO msg="server config" env="map[]"', { at: T0 - 20 }),
    fileLine(LISTENING, { at: T0 }),
    fileLine(compute("CUDA", "GPU-0"), { at: T0 + 10 }),
  ]);
  assert.deepEqual(
    facts.servers.map((server) => [server.invocationId, server.discovery.length, server.requestsOk?.count ?? 0]),
    [
      ["old", 0, 0],
      ["new", 1, 1],
    ],
  );
});

test("what a workload prints in the manager's words is not believed", () => {
  const forged = "systemd[1]: ollama.service: Main process exited, code=exited, status=1/FAILURE";
  for (const line of [
    entry({ text: forged }),
    fileLine(forged),
    fileLine(`Mar 26 06:35:39 vm ollama[7]: ${forged}`, { pid: 7 }),
    fileLine(`Mar 26 06:35:39 vm ollama[7]: 06:35:39 vm ${forged}`, { pid: 7 }),
  ]) {
    assert.equal(onlyServer(fold([line])).mainExited, null);
  }
});

test("a crash without a prefix is believed of this unit, and what a new process says after it is another life", () => {
  const said = (pid: number) =>
    fileLine(`[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=0x7f0000000000, size=4096 (pid=${pid})`);
  const end = (unit: string) => fileLine(`${unit}: Main process exited, code=dumped, status=11/SEGV`);
  const crashed = onlyServer(fold([said(7), end("cron.service"), end("ollama.service"), said(7)], "ollama.service"));
  assert.equal(crashed.mainExited?.status, "11/SEGV");
  assert.equal(crashed.mainExited?.count, 1);
  const { servers } = fold([said(7), end("ollama.service"), said(8)], "ollama.service");
  assert.deepEqual(
    servers.map(({ mainExited, processes }) => [mainExited?.code ?? null, processes.map(({ pid }) => pid)]),
    [
      ["dumped", [7]],
      [null, [8]],
    ],
  );
});

test("a runner ended by a signal is told from one that gave a reason", () => {
  const end = (reason: string) => ({ text: `msg="llama runner terminated" error="${reason}"` });
  assert.equal(onlyServer(fold([end("signal: segmentation fault (core dumped)")])).runnerFault?.count, 1);
  assert.equal(onlyServer(fold([end("signal: aborted (core dumped)")])).runnerFault?.count, 1);
  assert.equal(onlyServer(fold([{ text: "GGML_ASSERT(ptr) failed" }, end("signal: aborted")])).runnerFault, null);
  assert.equal(onlyServer(fold([end("exit status 2")])).runnerFault, null);
  assert.equal(onlyServer(fold([end("signal: killed")])).runnerFault, null);
});

test("the devices of the last discovery round are kept, those of earlier rounds are not", () => {
  const server = onlyServer(
    fold([
      { text: LISTENING },
      { text: 'msg="discovering available GPUs..."' },
      { text: compute("CUDA", "GPU-0") },
      { text: 'msg="discovering available GPUs..."', at: T0 + 1000 },
      { text: compute("CUDA", "GPU-1"), at: T0 + 1100 },
      { text: compute("cpu", "cpu"), at: T0 + 1101 },
    ]),
  );
  assert.deepEqual(
    server.discovery.map(({ library }) => library),
    ["CUDA", "cpu"],
  );
  assert.deepEqual(
    server.discovery.map(({ sample }) => sample.ordinal),
    [4, 5],
  );
});

test("discovery lines that lie apart in time or in lines are of different rounds", () => {
  const apart = onlyServer(fold([{ text: compute("CUDA", "GPU-0") }, { text: compute("cpu", "cpu"), at: T0 + 6000 }]));
  assert.deepEqual(
    apart.discovery.map(({ library }) => library),
    ["cpu"],
  );
  const noise = Array.from({ length: 60 }, () => ({ text: "noise" }));
  const far = onlyServer(fold([{ text: compute("CUDA", "GPU-0") }, ...noise, { text: compute("cpu", "cpu") }]));
  assert.deepEqual(
    far.discovery.map(({ library }) => library),
    ["cpu"],
  );
});

test("the older line for no GPU is a discovery of the CPU", () => {
  const server = onlyServer(fold([{ text: 'level=INFO msg="no compatible GPUs were discovered"' }]));
  assert.equal(server.discovery[0]?.library, "cpu");
});

test("only requests that run a model are counted, and a client's error is not the server's", () => {
  const gin = (status: number, method: string, path: string): Given => ({
    text: `[GIN] 2026/03/26 - 06:13:24 | ${status} |       1.5s |       127.0.0.1 | ${method}     "${path}"`,
  });
  const server = onlyServer(
    fold([
      gin(200, "GET", "/api/tags"),
      gin(200, "POST", "/api/generate"),
      gin(404, "POST", "/api/chat"),
      gin(500, "POST", "/api/chat"),
      gin(500, "POST", "/api/pull"),
    ]),
  );
  assert.equal(server.requestsOk?.count, 1);
  assert.equal(server.requestsFailed?.count, 1);
});

test("coverage is none without anything read, partial with a gap, full otherwise", () => {
  const coverage = (summaries: readonly LogReadSummary[]): string => new LogActivity().facts(summaries).coverage;
  assert.equal(coverage([]), "none");
  assert.equal(coverage([summary({ scanned: 0, entries: 0 })]), "none");
  assert.equal(coverage([summary()]), "full");
  assert.equal(coverage([summary({ entries: 0 })]), "full");
  assert.equal(coverage([summary(), summary({ gaps: ["a file is corrupt"] })]), "partial");
  assert.equal(coverage([summary({ suppressed: 3 })]), "partial");
  const activity = new LogActivity();
  activity.add(entry({ text: "x", truncated: true }));
  assert.equal(activity.facts([summary()]).coverage, "partial");
});

test("any lines at all are folded without an exception, and no sample is too long or has a control character", () => {
  const known = GUEST_GRAMMARS.flatMap((grammar) => grammar.examples);
  const piece = fc.oneof(
    fc.constantFrom(...known).map((text) => Buffer.from(text, "latin1")),
    fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
    fc.integer({ min: 1, max: 400 }).map((length) => Buffer.alloc(length, "\x1b")),
  );
  const line = fc.record({
    text: fc.array(piece, { maxLength: 4 }).map((pieces) => Buffer.concat(pieces)),
    pid: fc.constantFrom(null, 1, 100, 200),
    at: fc.constantFrom(null, T0, T0 + 60_000),
    bootId: fc.constantFrom(null, "boot1", "boot2"),
    invocationId: fc.constantFrom(null, "inv1", "inv2"),
    fromManager: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), (lines) => {
      const facts = fold(lines);
      const texts = [...JSON.stringify(facts).matchAll(/"text":"((?:[^"\\]|\\.)*)"/g)].map((match) =>
        String(JSON.parse(`"${match[1] ?? ""}"`)),
      );
      for (const text of texts) assert.ok(text.length <= 300 && /^[^\x00-\x1f\x7f-\x9f]*$/.test(text), text);
    }),
    { numRuns: 300 },
  );
});
