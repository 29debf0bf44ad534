import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CAPTURES, skipWithoutCaptures } from "../../test/fixtures/captures.ts";
import type { ServerLog, ShimProcessLog } from "../facts/log.ts";
import { GUEST_GRAMMARS, matchLine } from "../protocol/guest-lines.ts";
import { LogActivity } from "./log-activity.ts";
import type { LogEntry, LogReadSummary } from "./log-reader.ts";

/** What really happened in captures of real runs is known from their own records; see their README. */
const captures = CAPTURES;
const skip = skipWithoutCaptures;

/** Journal export format, as far as these captures use it: text fields, and binary ones with a 64-bit length. */
function* exported(data: Buffer): Generator<ReadonlyMap<string, Buffer>> {
  let fields = new Map<string, Buffer>();
  for (let offset = 0; offset < data.length; ) {
    const end = data.indexOf(10, offset);
    const row = data.subarray(offset, end < 0 ? data.length : end);
    const equals = row.indexOf("=");
    offset += row.length + 1;
    if (row.length === 0) {
      if (fields.size > 0) yield fields;
      fields = new Map();
    } else if (equals >= 0) {
      fields.set(row.subarray(0, equals).toString(), row.subarray(equals + 1));
    } else {
      const length = Number(data.readBigUInt64LE(offset));
      fields.set(row.toString(), data.subarray(offset + 8, offset + 8 + length));
      offset += 8 + length + 1;
    }
  }
  if (fields.size > 0) yield fields;
}

function journalEntries(path: string): LogEntry[] {
  return [...exported(readFileSync(join(captures, path)))].map((fields): LogEntry => {
    const text = (name: string): string | null => fields.get(name)?.toString() ?? null;
    return {
      at: Number(text("__REALTIME_TIMESTAMP")) / 1000,
      message: fields.get("MESSAGE") ?? Buffer.alloc(0),
      truncated: false,
      pid: Number(text("_PID")),
      bootId: text("_BOOT_ID"),
      invocationId: text("_SYSTEMD_INVOCATION_ID") ?? text("INVOCATION_ID"),
      fromManager: text("_PID") === "1",
      locator: text("__CURSOR") ?? "",
    };
  });
}

function fileEntries(path: string): LogEntry[] {
  return readFileSync(join(captures, path), "latin1")
    .split("\n")
    .map((row) => ({
      at: null,
      message: Buffer.from(row, "latin1"),
      truncated: false,
      pid: null,
      bootId: null,
      invocationId: null,
      fromManager: false,
      locator: path,
    }));
}

const READ: LogReadSummary = {
  kind: "journal",
  path: "",
  entries: 1,
  scanned: 1,
  bytes: 1,
  firstAt: null,
  lastAt: null,
  newestAt: null,
  suppressed: 0,
  gaps: [],
  machineIds: [],
  bootIds: [],
  cursor: null,
};

function server(entries: readonly LogEntry[]): ServerLog {
  const activity = new LogActivity();
  for (const entry of entries) activity.add(entry);
  const { servers } = activity.facts([READ]);
  const [only] = servers;
  assert.ok(only);
  assert.equal(servers.length, 1);
  return only;
}

function onlyProcess(of: ServerLog): ShimProcessLog {
  const [only] = of.processes;
  assert.ok(only);
  assert.equal(of.processes.length, 1);
  return only;
}

const shim = (name: string): ShimProcessLog => onlyProcess(server(fileEntries(`shim/${name}.stderr.log`)));
const h100 = (name: string): ShimProcessLog =>
  onlyProcess(server(fileEntries(`h100/guest-vm11/${name}/p1.stderr.log`)));
const codes = (process: ShimProcessLog): number[] => process.transportErrors.map(({ code }) => code);

for (const [name, debug] of [
  ["A-ok", true],
  ["A2-nodebug", false],
] as const) {
  test(`${name}: the process was answered without an error, and its unit ended well`, { skip }, () => {
    const entries = journalEntries(`vm/${name}/journal.export`);
    const found = server(entries);
    const process = onlyProcess(found);
    assert.ok(process.answered);
    assert.deepEqual([process.transportErrors, process.hostErrors, process.timeouts], [[], [], []]);
    assert.equal(process.pid, found.pid);
    assert.equal(process.debug, debug);
    assert.equal(process.connected?.vmId, 200);
    assert.equal(process.connected?.dataPath, "BAR1");
    assert.equal(process.deviceFound?.bdf, "0000:00:01.0");
    assert.ok(found.deactivated);
    assert.equal(found.mainExited, null);
    assert.equal(found.unitFailed, null);
    assert.match(found.invocationId ?? "", /^[0-9a-f]{32}$/);
    const printed = (words: string): number => entries.filter(({ message }) => message.includes(words)).length;
    assert.equal(process.callsInvoked, printed("cuda_transport_call() INVOKED"));
    assert.equal(process.callsDone, printed("RECEIVED from VGPU-STUB"));
    assert.equal(process.callsDone > 0, debug);
  });
}

test("D-mediator-dies: answers first, the mediator missing afterwards, and the program's exit", { skip }, () => {
  const found = server(journalEntries("vm/D-mediator-dies/journal.export"));
  const process = onlyProcess(found);
  assert.deepEqual(new Set(codes(process)), new Set([3]));
  const lastError = Math.max(...process.transportErrors.map(({ last }) => last.ordinal));
  assert.ok(process.answered && lastError > process.answered.last.ordinal);
  assert.ok(process.answered.first.ordinal < Math.min(...process.transportErrors.map(({ first }) => first.ordinal)));
  assert.deepEqual([process.hostErrors, process.timeouts], [[], []]);
  assert.equal(found.mainExited?.code, "exited");
  assert.match(found.mainExited?.status ?? "", /^2\b/);
  assert.equal(found.unitFailed?.result, "exit-code");
  assert.equal(found.deactivated, null);
});

test("S00: with no mediator there is no answer, although the transport calls itself live", { skip }, () => {
  const process = h100("S00-no-mediator");
  assert.equal(process.answered, null);
  assert.deepEqual(new Set(codes(process)), new Set([3]));
  assert.equal(process.pid, 133);
  assert.ok(process.connected);
  assert.equal(process.initCallFailed?.rc, 999);
  assert.equal(process.callsDone, 0);
});

for (const [name, pid, dataPath, debug] of [
  ["S01-healthy-debug", 149, "BAR1", true],
  ["S01b-healthy-debug-shmem", 164, "shmem", true],
  ["S01c-healthy-debug-cubin", 179, "BAR1", true],
  ["S02-healthy-nodebug", 194, "BAR1", false],
  ["S02b-healthy-nodebug-shmem", 209, "shmem", false],
] as const) {
  test(`${name}: a healthy run is answered and has no error`, { skip }, () => {
    const process = h100(name);
    assert.ok(process.answered);
    assert.deepEqual([process.transportErrors, process.hostErrors, process.timeouts], [[], [], []]);
    assert.equal(process.initFailed, null);
    assert.equal(process.inventedSuccess, null);
    assert.equal(process.pid, pid);
    assert.equal(process.debug, debug);
    assert.equal(process.connected?.dataPath, dataPath);
    assert.equal(process.connected?.vmId, 11);
    assert.equal(process.shmemBytes !== null, dataPath === "shmem");
    assert.equal(process.shmemFallback?.reason ?? null, dataPath === "shmem" ? null : "VGPU_DISABLE_SHMEM=1");
  });
}

test("S04b: out of memory on the host is the host's code 2 on the alloc, and answers follow it", { skip }, () => {
  const process = h100("S04b-oom-nodebug");
  assert.deepEqual(
    process.hostErrors.map(({ code, callId, count }) => [code, callId, count]),
    [[2, 0x30, 2]],
  );
  const lastError = process.hostErrors[0]?.last.ordinal ?? Number.POSITIVE_INFINITY;
  assert.ok(process.answered && process.answered.last.ordinal > lastError);
});

test("S05: the first error of the host is the illegal address of the launch", { skip }, () => {
  const process = h100("S05-illegal");
  assert.deepEqual([process.hostErrors[0]?.code, process.hostErrors[0]?.callId], [700, 0x50]);
  assert.deepEqual(new Set(process.hostErrors.map(({ code }) => code)), new Set([700, 709, 201, 400, 1]));
});

test("S05b: an innocent process after it is answered with errors alone, and the live GPU info", { skip }, () => {
  const process = h100("S05b-after-illegal");
  assert.ok(process.answered);
  assert.deepEqual([process.hostErrors[0]?.code, process.hostErrors[0]?.callId], [201, 0x30]);
});

test("S14: a bad image is the host's code 218 on the module load", { skip }, () => {
  assert.deepEqual(
    h100("S14-badptx").hostErrors.map(({ code, callId }) => [code, callId]),
    [[218, 0x40]],
  );
});

test("bar0_eacces: the registers could not be opened, and nothing was connected", { skip }, () => {
  const process = shim("bar0_eacces");
  assert.equal(process.bar0OpenFailed?.reason, "Permission denied");
  assert.ok(process.initFailed);
  assert.ok(process.deviceFound);
  assert.equal(process.connected, null);
  assert.equal(process.answered, null);
});

test("no_device: the device is missing and the GPU that the program sees is invented", { skip }, () => {
  const process = shim("no_device");
  assert.ok(process.deviceMissing);
  assert.ok(process.deviceInvented);
  assert.equal(process.deviceFound, null);
  assert.equal(process.answered, null);
});

test("err_quarantined and err_mediator_unavail: each error has its code, and no answer came", { skip }, () => {
  const quarantined = shim("err_quarantined");
  assert.deepEqual(new Set(codes(quarantined)), new Set([0x0b]));
  assert.equal(quarantined.answered, null);
  const unavailable = shim("err_mediator_unavail");
  assert.deepEqual(new Set(codes(unavailable)), new Set([3]));
  assert.equal(unavailable.answered, null);
});

test("shmem_no_caps: shared memory fell back because the page frames are hidden", { skip }, () => {
  const process = shim("shmem_no_caps");
  assert.equal(process.shmemFallback?.reason, "pagemap: pfn_hidden");
  assert.equal(process.shmemBytes, null);
});

test("lockfile_root_owned: the owner lock is told as the reason", { skip }, () => {
  assert.equal(shim("lockfile_root_owned").shmemFallback?.reason, "owner lock held or not openable");
});

test("no sample of a real run shows payload bytes", { skip }, () => {
  for (const name of ["S01-healthy-debug", "S02b-healthy-nodebug-shmem", "S05-illegal"]) {
    assert.doesNotMatch(JSON.stringify(h100(name)), /bytes=\[[0-9a-f]|first8=[0-9a-f]/);
  }
});

test("most grammars of the shim have been seen in a real run", { skip }, () => {
  const seen = new Set<string>();
  for (const path of [
    ...["no_device", "bar0_eacces", "shmem_no_caps", "ok_shmem", "ok_bar1_debug", "err_quarantined"].map(
      (name) => `shim/${name}.stderr.log`,
    ),
    ...["S00-no-mediator", "S05-illegal", "S01b-healthy-debug-shmem"].map(
      (name) => `h100/guest-vm11/${name}/p1.stderr.log`,
    ),
  ]) {
    for (const { message } of fileEntries(path)) {
      for (const { grammar } of matchLine(message.toString("latin1"))) seen.add(grammar.id);
    }
  }
  const shimIds = new Set(GUEST_GRAMMARS.filter(({ source }) => source === "shim").map(({ id }) => id));
  assert.ok(
    seen.size >= 20,
    `${seen.size} of ${shimIds.size}: ${[...shimIds].filter((id) => !seen.has(id)).join(" ")}`,
  );
});

test("lines per second of a real log (printed, not judged)", { skip }, (context) => {
  for (const [name, entries] of [
    ["debug on", journalEntries("vm/A-ok/journal.export")],
    ["debug off", journalEntries("vm/A2-nodebug/journal.export")],
  ] as const) {
    const activity = new LogActivity();
    const rounds = Math.ceil(30_000 / entries.length);
    const started = performance.now();
    for (let round = 0; round < rounds; round += 1) for (const entry of entries) activity.add(entry);
    const perSecond = (rounds * entries.length * 1000) / (performance.now() - started);
    context.diagnostic(`${name}: ${Math.round(perSecond).toLocaleString("en")} lines a second`);
  }
});
