import assert from "node:assert/strict";
import { appendFileSync, copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { brotliCompressSync } from "node:zlib";
import { countAt } from "../../../test/fixtures/count.ts";
import {
  type EntrySpec,
  type FileShape,
  temporaryDirectory,
  toExport,
  USUAL_SHAPE,
  withoutJournalRemote,
  writeJournal,
} from "../../../test/fixtures/journal-files.ts";
import { readWithLibsystemd, withoutLibsystemd } from "../../../test/fixtures/libsystemd.ts";
import type { Ledger } from "../../facts/ledger.ts";
import { logScanPath, runLogScan } from "../../native/log-scan.ts";
import { SHIM_WORDS } from "../../protocol/guest-lines.ts";
import { journalOfDirectory, journalOfFile } from "../journal/directory.ts";
import { openJournalFile } from "../journal/journal-file.ts";
import { FIELD_STARTS, UnitMatch } from "../journal/match.ts";
import { RootFs } from "../root-fs.ts";
import { LogLedger } from "./log-ledger.ts";

const UNIT = "ollama.service";
const BOOTS = ["3c4f8a1f0d7e4d5b9a5e1c2b3d4e5f60", "4c4f8a1f0d7e4d5b9a5e1c2b3d4e5f61"] as const;
const START = 1_767_225_600_000_000;
const SKIP = withoutJournalRemote();

type Line = { readonly message: string; readonly unit?: string; readonly pid?: number; readonly more?: Fields };
type Fields = readonly (readonly [string, string])[];

function spec({ message, unit = UNIT, pid = 1203, more = [] }: Line, index: number): EntrySpec {
  return {
    realtime: START + index * 1000,
    monotonic: 60_000_000 + index * 1000,
    bootId: BOOTS[index > 700 ? 1 : 0],
    fields: [
      ["_SYSTEMD_UNIT", unit],
      ["_PID", String(pid)],
      ["_UID", "998"],
      ["_MACHINE_ID", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"],
      ["SYSLOG_IDENTIFIER", unit],
      ["MESSAGE", message],
      ...more,
    ],
  };
}

const invoked = (callId: number, bytes: number, pid = 1203) =>
  `[cuda-transport] cuda_transport_call() INVOKED: call_id=0x${callId.toString(16).padStart(4, "0")} data_len=${bytes} tp=0x5594ede26bc0 bar0=0x7f39b5123000 (pid=${pid})`;

/** Everything that a log of calls has: repeats, other units with the same text, torn, long and failing lines. */
function lineOf(index: number): Line {
  const call = [0x50, 0x32, 0x3c][index % 3] ?? 0;
  const runner = index < 600 ? 1203 : 1777;
  if (index === 1200) return { message: "z".repeat(70_000) };
  if (index % 97 === 5) return { message: invoked(0x50, 88), unit: "sudo-audit.service", pid: 4000 };
  if (index % 89 === 7) return { message: `${"x".repeat(700)} ${invoked(0x44, index)} ${"y".repeat(900)}` };
  if (index % 83 === 3) return { message: `[cuda-transport] RECEIVED from V${invoked(0x64, 3)}` };
  if (index % 79 === 11) {
    return {
      message: `[cuda-transport] STATUS_ERROR: call=cuInit(0x0001) seq=${index} err=0x00000003(MEDIATOR_UNAVAIL) vm_id=1`,
    };
  }
  if (index % 73 === 13) {
    return {
      message: `[cuda-transport] STATUS_ERROR host-cuda: call=cuMemAlloc_v2(0x0030) seq=4 host_status=0x00000002`,
    };
  }
  if (index % 71 === 17) return { message: "[cuda-transport] Timeout on call 0x0033 (seq=9) after 120s" };
  if (index % 67 === 19) {
    return {
      message: "Suppressed 12 messages from ollama.service",
      unit: "systemd-journald.service",
      pid: 300,
      more: [
        ["_UID", "0"],
        ["OBJECT_SYSTEMD_UNIT", UNIT],
        ["MESSAGE_ID", "a596d6fe7bfa4994828e72309e95d61e"],
        ["N_DROPPED", "12"],
      ],
    };
  }
  if (index % 4 === 0) return { message: invoked(call, (index % 5) * 64, runner), pid: runner };
  if (index % 4 === 1) {
    const text = `[cuda-transport] SENDING to VGPU-STUB: call_id=0x0050 seq=${index} args=2 data_len=88 (pid=${runner})`;
    return { message: text, pid: runner };
  }
  if (index % 4 === 2) return { message: `[GIN] 2026/01/01 - 10:00:00 | 200 | ${index}ms | POST "/api/generate"` };
  return { message: `Accepted publickey for root from 10.0.0.1 port ${index}`, unit: "ssh.service", pid: 20 };
}

const LINES = Array.from({ length: 1400 }, (_, index) => lineOf(index));
const SPECS = LINES.map(spec);

interface Bounds {
  readonly since?: number | null;
  readonly until?: number | null;
}

const options = ({ since = null, until = null }: Bounds) => ({
  unit: UNIT,
  since,
  until,
  signal: new AbortController().signal,
});

const bulk = (path: string, bounds: Bounds = {}) => countAt(new RootFs("/"), path, options(bounds));

async function entryByEntry(path: string, bounds: Bounds = {}): Promise<Ledger> {
  const ledger = new LogLedger({ everyLine: true });
  const open = path.endsWith(".journal") ? journalOfFile : journalOfDirectory;
  const reader = open(new RootFs("/"), path);
  return ledger.ledger([await reader.read((one) => ledger.add(one), { ...options(bounds), afterCursor: null })]);
}

function sorted(ledger: Ledger): Ledger {
  return {
    ...ledger,
    gaps: [...ledger.gaps].sort(),
    calls: ledger.calls.toSorted((one, other) => one.pid - other.pid || one.callId - other.callId),
    processes: ledger.processes.toSorted((one, other) => one.pid - other.pid),
  };
}

async function assertSame(path: string, bounds: Bounds = {}): Promise<Ledger> {
  const ours = sorted(await bulk(path, bounds));
  assert.deepEqual(ours, sorted(await entryByEntry(path, bounds)));
  return ours;
}

/** Why the fast way cannot read a file, or null when it can. */
async function doubtOf(path: string): Promise<string | null> {
  const file = await openJournalFile(new RootFs("/"), path);
  if ("problem" in file) return file.problem;
  const { handle, size, header } = file;
  const match = new UnitMatch(UNIT);
  let found: string | null = null;
  const nothing = () => undefined;
  const handler = { field: nothing, entry: nothing, line: nothing, silent: nothing, calls: nothing, end: nothing };
  const request = {
    kind: "journal",
    files: [{ fd: handle.fd, size, entries: header.entries }],
    matches: match.naming,
    keep: FIELD_STARTS,
    words: SHIM_WORDS,
    since: -Infinity,
    until: Infinity,
    lines: "shim",
    signal: new AbortController().signal,
  } as const;
  try {
    const ended = await runLogScan(logScanPath() ?? "log-scan is not built", request, {
      ...handler,
      doubt: (_part, reason) => {
        found = reason;
      },
    });
    return ended ? found : "log-scan did not come to its end";
  } finally {
    await handle.close();
  }
}

const total = (ledger: Ledger) =>
  ledger.calls.reduce(
    (sum, call) => sum + call.count + Object.values(call.results ?? {}).reduce((a, b) => a + b, 0),
    0,
  );

describe("the bulk ledger", { skip: SKIP }, () => {
  const directory = temporaryDirectory(after);
  const usual = () => writeJournal(directory, "usual", toExport(SPECS));
  const path = SKIP === false ? usual() : "";

  it("counts what libsystemd hands on", { skip: withoutLibsystemd() }, async () => {
    const ledger = new LogLedger();
    const wanted = readWithLibsystemd([path], ["MESSAGE", "_PID"], [[`_SYSTEMD_UNIT=${UNIT}`]]);
    for (const { realtime, values } of wanted) {
      ledger.add({
        at: Math.floor(realtime / 1000),
        message: values[0] ?? Buffer.alloc(0),
        truncated: false,
        pid: Number(values[1]),
        bootId: null,
        invocationId: null,
        fromManager: false,
        locator: "",
      });
    }
    const { calls } = sorted(ledger.ledger([]));
    const ours = sorted(await bulk(path));
    assert.deepEqual(ours.calls, calls);
    assert.ok(total(ours) > 300);
  });

  const shapes: readonly FileShape[] = [true, false].flatMap((compact) =>
    [true, false].map((keyedHash) => ({ ...USUAL_SHAPE, compact, keyedHash })),
  );
  for (const shape of [...shapes, { ...USUAL_SHAPE, compress: false }]) {
    const name = `${shape.compact ? "compact" : "regular"}, ${shape.keyedHash ? "keyed" : "unkeyed"}, ${shape.compress ? "zstd" : "plain"}`;
    it(`is the ledger of every entry: ${name}`, async () => {
      const made = writeJournal(directory, name.replaceAll(/\W+/g, "-"), toExport(SPECS), shape);
      const { dropped, coverage } = await assertSame(made);
      assert.ok(dropped > 0 && coverage === "partial");
      assert.equal(await doubtOf(made), null, "the fast way has to do for a sound file");
    });
  }

  it("applies a window to every entry, also where equal texts lie on both sides of it", async () => {
    const at = (index: number) => START / 1000 + index;
    for (const bounds of [
      { since: at(100) },
      { until: at(701) },
      { since: at(333), until: at(900) },
      { since: at(500), until: at(500) },
      { since: at(5000) },
      { until: at(-1) },
    ]) {
      await assertSame(path, bounds);
    }
  });

  it("adds up files that follow one another, and counts an entry once that two files have", async () => {
    const several = join(directory, "several");
    mkdirSync(several);
    writeJournal(several, "one", toExport(SPECS.slice(0, 500)));
    writeJournal(several, "two", toExport(SPECS.slice(500, 900)));
    const apart = await assertSame(several);
    writeJournal(several, "copy", toExport(SPECS.slice(300, 700)));
    const overlapping = await assertSame(several);
    assert.equal(total(overlapping), total(apart));
    copyFileSync(join(several, "one.journal"), join(several, "same.journal"));
    assert.equal(total(await assertSame(several)), total(apart));
  });

  it("counts large files in several threads", async () => {
    const large = join(directory, "large");
    mkdirSync(large);
    for (const part of [0, 1, 2, 3]) {
      const made = writeJournal(large, `part${part}`, toExport(SPECS.slice(part * 350, part * 350 + 350)));
      truncateSync(made, 40 << 20);
    }
    await assertSame(large);
  });

  it("finds the process of a line without a pid in the file before", async () => {
    const split = join(directory, "split");
    mkdirSync(split);
    const lines = [
      { message: invoked(0x50, 1, 1777), pid: 1203 },
      { message: "[cuda-transport] Timeout on call 0x0033 (seq=9) after 120s", pid: 1203 },
    ].map(spec);
    writeJournal(split, "one", toExport(lines.slice(0, 1)));
    writeJournal(split, "two", toExport(lines.slice(1)));
    const { calls } = await assertSame(split);
    assert.equal(calls.find(({ callId }) => callId === 0x33)?.pid, 1777);
  });

  it("takes from a file that is written to what was there when it was opened", async () => {
    const online = join(directory, "online.journal");
    const bytes = Buffer.from(readFileSync(path));
    bytes.writeUInt8(1, 16);
    writeFileSync(online, bytes);
    await assertSame(online);
    assert.equal(await doubtOf(online), null);
    // The last entry is appended, and not counted yet.
    bytes.writeBigUInt64LE(bytes.readBigUInt64LE(152) - 1n, 152);
    writeFileSync(online, bytes);
    await assertSame(online);
    assert.equal(await doubtOf(online), null);
  });

  it("reads a file again entry by entry where it is cut off, and says so", async () => {
    const cut = join(directory, "cut.journal");
    copyFileSync(path, cut);
    for (const part of [0.9, 0.5, 0.1, 0.001]) {
      truncateSync(cut, Math.floor(readFileSync(cut).length * part));
      const { coverage } = await assertSame(cut);
      assert.notEqual(coverage, "full");
    }
  });

  it("says what is no journal, and that nothing is there", async () => {
    const odd = join(directory, "odd");
    mkdirSync(odd);
    assert.equal((await assertSame(odd)).coverage, "none");
    writeFileSync(join(odd, "a.journal"), brotliCompressSync(Buffer.from("no journal")));
    appendFileSync(join(odd, "b.journal"), "");
    assert.equal((await assertSame(odd)).gaps.length, 3);
    assert.equal((await bulk(join(directory, "nowhere"))).coverage, "none");
  });

  it("stops when it is told to, and says that it did", async () => {
    const signal = AbortSignal.abort();
    const { coverage, gaps } = await countAt(new RootFs("/"), path, { ...options({}), signal });
    assert.notEqual(coverage, "full");
    assert.match(gaps.join(), /stopped/);
  });
});
