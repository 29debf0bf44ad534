import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryDirectory, writeTree } from "../../test/device-tree.ts";
import { type CollectOptions, collect } from "./collect.ts";

const OPTIONS: CollectOptions = {
  root: null,
  unit: "ollama.service",
  pid: null,
  since: null,
  until: null,
  journal: null,
  log: null,
  live: null,
  now: () => Date.parse("2026-03-26T12:00:00Z"),
  onSensor: () => {},
};
const LINES = [
  'time=2026-03-20T08:00:00.000Z level=INFO msg="Listening on 127.0.0.1:11434 (version 0.0.0)"',
  "[cuda-transport] Connected (vm_id=11) data_path=BAR1 status_from=BAR1-status-mirror",
  "",
].join("\n");

test("a log that no process of this machine writes is judged alone", async (t) => {
  const path = join(await temporaryDirectory(t), "o.log");
  await writeFile(path, LINES);
  const facts = await collect({ ...OPTIONS, log: path });
  assert.equal(facts.scope.subject, "evidence");
  for (const source of [facts.pci, facts.workload, facts.unit, facts.locks, facts.stateFiles, facts.bars]) {
    assert.equal(source.state, "skipped");
  }
  assert.equal(facts.log.state, "read");
  assert.equal(facts.collectedAt, Date.parse("2026-03-20T08:00:00Z"), "the moment judged is the log's, not today's");
});

test("a root with a log is judged as a tree, and the log is found where it was said", async (t) => {
  const root = await temporaryDirectory(t);
  await writeTree(root, { "/etc/hostname": "captured\n", "/sys/bus/pci/devices": null });
  const path = join(root, "o.log");
  await writeFile(path, LINES);
  const facts = await collect({ ...OPTIONS, root, log: path });
  assert.equal(facts.scope.subject, "tree");
  assert.equal(facts.pci.state, "read");
  assert.equal(facts.log.state === "read" ? facts.log.value.servers.length : 0, 1);
});

test("a log that cannot be read is told of and never replaced by another", async (t) => {
  const root = await temporaryDirectory(t);
  await writeTree(root, { "/etc/hostname": "captured\n" });
  const facts = await collect({ ...OPTIONS, root, log: join(root, "gone.log") });
  const detail =
    facts.log.state === "read" ? facts.log.value.sources.flatMap(({ gaps }) => gaps).join() : facts.log.detail;
  assert.match(detail, /gone\.log/);
  assert.ok(facts.log.state !== "read" || facts.log.value.coverage === "none");
});

test("calls are counted only when asked for, and only on this machine", async (t) => {
  const root = await temporaryDirectory(t);
  const live: CollectOptions["live"] = {
    seconds: 1,
    interruptible: () => assert.fail("a captured tree was counted"),
    onTick: () => {},
  };
  for (const asked of [null, live]) {
    const { trace } = await collect({ ...OPTIONS, root, live: asked });
    assert.equal(trace.state, "skipped");
    assert.match(trace.detail ?? "", asked === null ? /--live SECONDS/ : /captured tree/);
  }
});

test("every sensor is announced before it runs", async (t) => {
  const root = await temporaryDirectory(t);
  const names: string[] = [];
  await collect({ ...OPTIONS, root, onSensor: (name) => names.push(name) });
  for (const name of ["host", "unit", "processes", "PCI devices", "log", "locks"])
    assert.ok(names.includes(name), name);
});
