import assert from "node:assert/strict";
import { test } from "node:test";
import { entry, fold, type Given, onlyProcess, onlyServer, summary, T0 } from "../../test/fixtures/log-entries.ts";
import { LogActivity } from "./log-activity.ts";

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

test("what was noted once, and what was asked for, holds no line any more", () => {
  const activity = new LogActivity("ollama.service");
  const text = "[cuda-transport] VGPU-STUB device not found";
  const lines = [entry({ text }), entry({ text: `${text} again` })];
  const last = () => onlyProcess(activity.facts([summary()])).deviceMissing?.last.text;
  for (const line of lines) {
    activity.add(line);
    assert.equal(last(), line.message.toString("latin1"));
    line.message.fill(" ");
    assert.equal(last(), `${text}${line === lines[0] ? "" : " again"}`);
  }
  const once = new LogActivity("ollama.service");
  const line = entry({ text });
  once.add(line);
  line.message.fill(" ");
  assert.equal(onlyProcess(once.facts([summary()])).deviceMissing?.last.text, text);
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
