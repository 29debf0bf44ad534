import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogFacts, ServerLog, ShimProcessLog } from "../facts/log.ts";
import { LogActivity } from "./log-activity.ts";
import type { LogEntry, LogReadSummary } from "./log-reader.ts";

const T0 = Date.parse("2026-03-26T06:35:38Z");

interface Given extends Partial<Omit<LogEntry, "message">> {
  readonly text: string | Buffer;
}

function entry({ text, ...rest }: Given): LogEntry {
  return {
    at: T0,
    message: Buffer.isBuffer(text) ? text : Buffer.from(text),
    truncated: false,
    pid: 100,
    bootId: "boot1",
    invocationId: "inv1",
    fromManager: false,
    locator: "cursor",
    ...rest,
  };
}

/** A line of a plain file. */
const fileLine = (text: string | Buffer): LogEntry =>
  entry({ text, at: null, pid: null, bootId: null, invocationId: null, locator: "err.log:0" });

function summary(more: Partial<LogReadSummary> = {}): LogReadSummary {
  return {
    kind: "journal",
    path: "/var/log/journal",
    entries: 1,
    scanned: 1,
    bytes: 1,
    firstAt: T0,
    lastAt: T0,
    suppressed: 0,
    gaps: [],
    machineIds: [],
    bootIds: [],
    cursor: null,
    ...more,
  };
}

function fold(entries: readonly (LogEntry | Given)[], unit: string | null = null): LogFacts {
  const activity = new LogActivity(unit);
  for (const given of entries) activity.add("message" in given ? given : entry(given));
  return activity.facts([summary()]);
}

function onlyServer(facts: LogFacts): ServerLog {
  const [server, ...others] = facts.servers;
  assert.ok(server);
  assert.equal(others.length, 0);
  return server;
}

function onlyProcess(facts: LogFacts): ShimProcessLog {
  const [process, ...others] = onlyServer(facts).processes;
  assert.ok(process);
  assert.equal(others.length, 0);
  return process;
}

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

for (const line of [
  "[libvgpu-cuda] GPU info (live): HEXACORE vH100 CAP, mem=81079 MB, CC=9.0",
  "[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x0050 seq=19 status=DONE (pid=7)",
  "[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=0x7f86bbe00000, size=16384 (pid=7)",
  "[libvgpu-cuda] cuMemcpyHtoD() SUCCESS: forwarded to host (pid=7)",
  "[libvgpu-cuda] INIT PHASE COMPLETE: cleared g_in_init_phase after successful context creation",
  "[cuda-transport] STATUS_ERROR host-cuda: call=cuLaunchKernel(0x0050) seq=42 host_status=0x000002bc",
]) {
  test(`an answer of the host is proven by: ${line.slice(0, 60)}`, () => {
    assert.equal(onlyProcess(fold([{ text: line }])).answered?.count, 1);
  });
}

for (const line of [
  "[cuda-transport] Connected (vm_id=11) data_path=BAR1 status_from=BAR1-status-mirror",
  "[libvgpu-cuda] ensure_connected() transport live (vm_id=11 bdf=0000:00:01.0)",
  "[libvgpu-cuda] GPU defaults applied (H100 80GB CC=9.0 VRAM=81920 MB)",
  '[libvgpu-cuda] cuDeviceGetName SUCCESS: returning name="HEXACORE vH100 CAP"',
  "[libvgpu-cuda] cuInit() device found at 0000:00:05.0 - transport deferred",
  "[cuda-transport] cuda_transport_call() INVOKED: call_id=0x0001 data_len=0 tp=0x1 bar0=0x2 (pid=7)",
  "[cuda-transport] SENDING to VGPU-STUB: call_id=0x0001 seq=1 args=0 data_len=0 (pid=7)",
  "[libvgpu-cuda] cuMemcpyHtoD input prefix len=1024 prefix_len=2 bytes=[5a 5a ] (pid=384)",
  "[libvgpu-cudart] cudaMalloc() SUCCESS: ptr=0x1000000, size=545947648 (pid=107616)",
  "[libvgpu-cublas] cublasCreate_v2() SUCCESS: handle=0x1000 (pid=107616)",
  "[cuda-transport] STATUS_ERROR: call=cuInit(0x0001) seq=1 err=0x00000003(MEDIATOR_UNAVAIL) vm_id=11",
  "[cuda-transport] Timeout on call 0x0001 (seq=1) after 120s",
  "[libvgpu-cuda] cuMemAlloc_v2() ERROR: rc=2 status=2 num_results=0 ptr=0x0 (pid=241)",
]) {
  test(`no answer of the host is proven by: ${line.slice(0, 60)}`, () => {
    assert.equal(onlyProcess(fold([{ text: line }])).answered, null);
  });
}

test("errors are grouped by what they are, with the order in which they were seen last", () => {
  const process = onlyProcess(
    fold([
      { text: "[cuda-transport] STATUS_ERROR host-cuda: call=cuMemAlloc_v2(0x0030) seq=4 host_status=0x00000002" },
      { text: "[cuda-transport] STATUS_ERROR host-cuda: call=cuMemAlloc_v2(0x0030) seq=3 host_status=0x00000002" },
      { text: "[cuda-transport] STATUS_ERROR host-cuda: call=cuLaunchKernel(0x0050) seq=5 host_status=0x000002bc" },
      { text: "[cuda-transport] Timeout on call 0x0050 (seq=6) after 120s" },
      { text: "[libvgpu-cuda] cuMemAlloc_v2() SUCCESS: ptr=0x7f86bbe00000, size=16384" },
    ]),
  );
  assert.deepEqual(
    process.hostErrors.map(({ code, callId, count, last }) => [code, callId, count, last.ordinal]),
    [
      [2, 0x30, 2, 1],
      [700, 0x50, 1, 2],
    ],
  );
  assert.deepEqual(
    process.timeouts.map(({ callId, count }) => [callId, count]),
    [[0x50, 1]],
  );
  assert.equal(process.answered?.last.ordinal, 4);
});

test("failed tries at shared memory that end well are no fallback", () => {
  const process = onlyProcess(
    fold([
      { text: "[cuda-transport] mlock(256 MB) failed (attempt=1 map32=0): Cannot allocate memory" },
      { text: "[cuda-transport] SHMEM_REG stage=register pid=100 tp=0x1 req_gpa=0x2 size=65536 g2h=0x3" },
      { text: "[cuda-transport] Connected (vm_id=1) data_path=shmem status_from=BAR1-status-mirror" },
    ]),
  );
  assert.equal(process.shmemFallback, null);
  assert.equal(process.shmemBytes, 65536);
});

test("a fallback is told with the reason of the last failed try", () => {
  const process = onlyProcess(
    fold([
      { text: "[cuda-transport] mlock(256 MB) failed (attempt=1 map32=0): Cannot allocate memory" },
      { text: "[cuda-transport] Cannot resolve GPA for shmem (attempt=1 map32=0 reason=pfn_hidden detail=0xa1)" },
      { text: "[cuda-transport] Exhausted shmem registration retries — using BAR1" },
      { text: "[cuda-transport] Connected (vm_id=10) data_path=BAR1 status_from=BAR1-status-mirror" },
    ]),
  );
  assert.equal(process.shmemFallback?.reason, "pagemap: pfn_hidden");
  assert.equal(process.shmemFallback?.count, 1);
});

test("an older build falls back without a word, and is seen to", () => {
  const process = onlyProcess(
    fold([
      { text: "[cuda-transport] mmap shmem 256 MB failed: Resource temporarily unavailable" },
      { text: "[cuda-transport] Connected (vm_id=9) data_path=BAR1 status_from=BAR1" },
    ]),
  );
  assert.equal(process.shmemFallback?.reason, "mmap: Resource temporarily unavailable");
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
    fileLine(LISTENING.replace("06:35:38", "07:00:00")),
    fileLine(compute("cpu", "cpu")),
  ]);
  assert.deepEqual(
    facts.servers.map((server) => [server.listening?.count, server.discovery[0]?.library, server.processes.length]),
    [
      [1, "CUDA", 1],
      [1, "cpu", 0],
    ],
  );
  assert.equal(facts.servers[1]?.firstAt, Date.parse("2026-03-26T07:00:00.138Z"));
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
      fileLine("Mar 26 06:35:38 vm prog[384]: [cuda-transport] Connected (vm_id=9) data_path=BAR1 status_from=BAR1"),
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
    fileLine(LISTENING),
    fileLine(compute("CUDA", "GPU-0")),
  ]);
  assert.deepEqual(
    facts.servers.map((server) => [server.invocationId, server.discovery.length, server.requestsOk?.count ?? 0]),
    [
      ["old", 0, 0],
      ["new", 1, 1],
    ],
  );
});

test("what a workload prints in the manager's words is not believed in a journal", () => {
  const server = onlyServer(
    fold([{ text: "systemd[1]: ollama.service: Main process exited, code=exited, status=1/FAILURE" }]),
  );
  assert.equal(server.mainExited, null);
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

test("a sample shows the line without payload, and what is not text as its bytes", () => {
  const process = onlyProcess(
    fold([
      {
        text: Buffer.concat([
          Buffer.from("[cuda-transport] VGPU-STUB device not found \x1b[31m"),
          Buffer.from([0xff]),
          Buffer.from(" bytes=[5a 5a 5a ] src_first8=5a5a5a5a5a5a5a5a done"),
        ]),
      },
    ]),
  );
  assert.equal(
    process.deviceMissing?.last.text,
    "[cuda-transport] VGPU-STUB device not found \\x1b[31m\\xff bytes=[…] src_first8=… done",
  );
});

test("a sample keeps UTF-8 text as it is and is at most three hundred characters", () => {
  const process = onlyProcess(
    fold([
      { text: `[libvgpu-cuda] GPU info fetch failed — using defaults` },
      { text: `VGPU-STUB device not found ${"x".repeat(5000)}` },
    ]),
  );
  assert.equal(process.deviceMissing?.last.text.length, 300);
  const invented = onlyProcess(
    fold([{ text: "[libvgpu-cuda] ensure_connected() transport init failed — check resource0 permissions" }]),
  );
  assert.equal(
    invented.initFailed?.last.text,
    "[libvgpu-cuda] ensure_connected() transport init failed — check resource0 permissions",
  );
});

test("a sample ends where another writer's message begins, and never shows a prompt", () => {
  const secret = "my password is hunter2";
  const lines = [
    `[cuda-transport] VGPU-STUB device not foundtime=2026-03-26T06:35:38.138Z level=DEBUG msg="chat" prompt="${secret}"`,
    `[cuda-transport] VGPU-STUB device not found msg="completion request" prompt="${secret}"`,
    `[cuda-transport] VGPU-STUB device not found\n${secret}`,
    `[cuda-transport] VGPU-STUB device not found[other] ${secret}`,
  ];
  for (const text of lines) {
    assert.equal(onlyProcess(fold([{ text }])).deviceMissing?.last.text, "[cuda-transport] VGPU-STUB device not found");
  }
});

test("an error's own text is cut to two hundred characters in a sample", () => {
  const server = onlyServer(fold([{ text: `msg="llama runner terminated" error="${"x".repeat(390)}" a=b` }]));
  assert.match(server.runnerCrash?.last.text ?? "", /^msg="llama runner terminated" error="x{200}…" a=b$/);
});

test("lives, processes and groups of errors are bounded, and lost lives are counted", () => {
  const entries: Given[] = [];
  for (let life = 0; life < 20; life += 1) entries.push({ text: "hello", invocationId: `inv${life}`, at: T0 + life });
  for (let pid = 1000; pid < 1100; pid += 1) {
    entries.push({ text: `[cuda-transport] (debug logging on) (pid=${pid})`, invocationId: "inv19" });
  }
  for (let call = 0; call < 200; call += 1) {
    const id = call.toString(16).padStart(4, "0");
    entries.push({
      text: `STATUS_ERROR: call_id=0x${id} seq=1 err=0x00000003(MEDIATOR_UNAVAIL) vm_id=1`,
      invocationId: "inv19",
    });
  }
  const facts = fold(entries);
  assert.equal(facts.servers.length, 8);
  assert.equal(facts.serversDropped, 12);
  assert.deepEqual(
    facts.servers.map(({ invocationId }) => invocationId),
    ["inv12", "inv13", "inv14", "inv15", "inv16", "inv17", "inv18", "inv19"],
  );
  const processes = facts.servers.at(-1)?.processes ?? [];
  assert.deepEqual([processes.length, processes[0]?.pid, processes.at(-1)?.pid], [64, 1036, 1099]);
  assert.equal(processes.at(-1)?.transportErrors.length, 64);
});

test("memory does not grow with long lines that are kept as samples", () => {
  const activity = new LogActivity();
  const filler = Buffer.alloc(1024 * 1024, "x");
  const before = process.memoryUsage().arrayBuffers;
  for (let pid = 1; pid <= 60; pid += 1) {
    activity.add(entry({ text: Buffer.concat([Buffer.from(`VGPU-STUB device not found (pid=${pid})`), filler]) }));
  }
  globalThis.gc?.();
  const facts = activity.facts([summary()]);
  assert.equal(facts.servers[0]?.processes.length, 60);
  if (globalThis.gc !== undefined) assert.ok(process.memoryUsage().arrayBuffers - before < 8 * 1024 * 1024);
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
