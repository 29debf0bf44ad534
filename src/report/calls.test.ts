import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import { RUNNER } from "../../test/fixtures/calls.ts";
import type { CallCount, Ledger } from "../facts/ledger.ts";
import { buildCallsReport } from "./build-calls.ts";
import { callsReportSchema } from "./calls.ts";
import { renderCallsTable } from "./calls-table.ts";

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, formats: { "date-time": true } });
const schemaFile = fileURLToPath(new URL("../../schema/calls-1.json", import.meta.url));
const validate = ajv.compile(JSON.parse(readFileSync(schemaFile, "utf8")));

const INFO = { toolVersion: "0.1.0", unit: "ollama.service", pid: null, chosenBecause: "", isAskedFor: null };
const SCREEN = { width: 120, ascii: false };

function counted(changes: Partial<CallCount>): CallCount {
  return {
    pid: 1203,
    callId: 0x50,
    count: 10,
    returned: 10,
    bytesToHost: 880,
    bytesBack: 0,
    results: { 0: 10 },
    latency: { 14: 9, 20: 1 },
    firstAt: 0,
    lastAt: 9000,
    ...changes,
  };
}

function ledger(changes: Partial<Ledger> = {}): Ledger {
  return {
    source: "ebpf",
    from: 0,
    to: 10_000,
    coverage: "full",
    gaps: [],
    notes: [],
    dropped: 0,
    possibleDrops: null,
    debugCost: null,
    calls: [counted({})],
    open: [],
    processes: [RUNNER],
    ...changes,
  };
}

describe("the report of the ledger", () => {
  it("has one row a call id, over all processes, the most frequent first", () => {
    const report = buildCallsReport(
      ledger({
        calls: [
          counted({ pid: 1203, count: 3, results: { 0: 3 } }),
          counted({ pid: 99, count: 4, results: { 0: 3, 700: 1 } }),
          counted({ callId: 0x3c, count: 21, bytesToHost: 1 << 20 }),
        ],
      }),
      INFO,
    );
    assert.deepEqual(
      report.calls.map(({ call_id, name, count, pids, errors, share, per_second }) => [
        call_id,
        name,
        count,
        pids,
        errors,
        share,
        per_second,
      ]),
      [
        ["0x003c", "cuMemcpyHtoDAsync", 21, [1203], 0, 0.75, 2.1],
        ["0x0050", "cuLaunchKernel", 7, [99, 1203], 1, 0.25, 0.7],
      ],
    );
    assert.equal(report.total, 28);
  });

  it("never turns what was not seen into 0", () => {
    const report = buildCallsReport(
      ledger({ from: null, calls: [counted({ returned: null, bytesBack: null, results: null, latency: null })] }),
      INFO,
    );
    const [row] = report.calls;
    assert.deepEqual(
      [
        row?.per_second,
        row?.bytes_back,
        row?.errors,
        row?.results,
        row?.p50_us,
        row?.p99_us,
        row?.latency_ns,
        report.window.seconds,
      ],
      [null, null, null, null, null, null, null, null],
    );
    const text = renderCallsTable(report, SCREEN);
    assert.match(text, /cuLaunchKernel {2}0x0050 {5}10 {2}100\.0% {5}880B\n/);
    assert.match(text, /\(not in this source: \/s, back, errors, p50, p99, 1µs … 1min\)/);
  });

  it("holds to its schema, published and own", () => {
    const full = buildCallsReport(
      ledger({
        coverage: "partial",
        gaps: ["x"],
        notes: ["y"],
        dropped: 3,
        possibleDrops: { intervals: 1, intervalMs: 30_000, lines: 37_500, exact: true },
        debugCost: { lines: 40, bytes: 4000 },
        open: [{ pid: 1203, tid: 1204, callId: 0x50, ageMs: 4000 }],
      }),
      { ...INFO, isAskedFor: () => true },
    );
    for (const report of [
      full,
      buildCallsReport(ledger({ calls: [], from: null, to: null, coverage: "none" }), INFO),
    ]) {
      const printed: unknown = JSON.parse(JSON.stringify(report));
      assert.ok(validate(printed), ajv.errorsText(validate.errors));
      assert.deepEqual(callsReportSchema.parse(printed), report);
    }
  });
});

describe("the table of the ledger", () => {
  const table = (changes: Partial<Ledger>, info = {}, screen = SCREEN) =>
    renderCallsTable(buildCallsReport(ledger(changes), { ...INFO, ...info }), screen);

  it("shows where the calls' latencies lie, what waits and what is not covered", () => {
    const text = table({
      coverage: "partial",
      gaps: ["3 events were lost"],
      notes: ["x does not pass here"],
      dropped: 3,
      open: [
        { pid: 1203, tid: 1204, callId: 0x33, ageMs: 90_000 },
        { pid: 1203, tid: 1205, callId: 0x50, ageMs: 3 },
      ],
    });
    assert.match(
      text.replaceAll(/\s+/g, " "),
      /^ollama\.service: counted 10 calls \+ 3 events lost by the kernel in 10s, counted in the kernel \(uprobes, eBPF\); coverage partial /,
    );
    assert.match(text, /waiting: cuMemcpyDtoH of pid 1203 \(thread 1204\), entered 90s ago\n1 call under way/);
    assert.match(text, /not covered: 3 events were lost\nnote: x does not pass here/);
    assert.match(text, /█/);
  });

  it("shows what journald dropped beside what was counted, and how to have all lines kept", () => {
    const text = table({ source: "journal", coverage: "partial", dropped: 90_625, calls: [counted({ count: 9375 })] });
    assert.match(text, /counted 9,375 calls \+ 90,625 lines dropped by journald in 10s/);
    assert.match(text, /LogRateLimitIntervalSec=1us/);
    assert.doesNotMatch(table({ source: "journal" }), /LogRateLimit/);
  });

  it("shows what debug logging costs wherever it is seen, and how to turn it off", () => {
    const cost = (debugCost: Ledger["debugCost"]) => table({ source: "journal", debugCost }).replaceAll(/\s+/g, " ");
    assert.match(
      cost({ lines: 40, bytes: 3610 }),
      /wrote 40 lines .* 4\.0 lines and 361 bytes a call.* remove VGPU_DEBUG/,
    );
    assert.match(cost(null), /What they cost was not counted .* remove VGPU_DEBUG/);
    assert.doesNotMatch(cost({ lines: 0, bytes: 0 }), /VGPU_DEBUG/);
    assert.doesNotMatch(table({ debugCost: null }), /VGPU_DEBUG/);
  });

  it("tells the unit's processes from others that use the device", () => {
    const processes = [
      RUNNER,
      { ...RUNNER, pid: 99, comm: "python3", unit: "user@1000.service" },
      { ...RUNNER, pid: 7, comm: "", libraries: [], unit: null, group: null, ppid: null },
      { ...RUNNER, pid: 8, comm: "idle", unit: "other.service" },
    ];
    const calls = [counted({}), counted({ pid: 99, count: 4 }), counted({ pid: 7, count: 1 })];
    const isAskedFor = (pid: number) => (pid === 7 ? null : pid === 1203);
    const report = buildCallsReport(ledger({ processes, calls }), { ...INFO, isAskedFor });
    assert.deepEqual([report.total, report.of_others], [15, 4]);
    const text = renderCallsTable(report, SCREEN);
    assert.match(text, /ollama\.service: 15 calls in 10s, 4 of them by processes outside of it/);
    assert.match(text, /pid 1203 ollama: 10 calls; of ollama\.service; \/opt/);
    assert.match(text, /pid 99 python3: 4 calls; not of ollama\.service but of user@1000\.service; \/opt/);
    assert.match(text, /pid 7: 1 call; ended before it was looked at: whose it was is not known/);
    assert.doesNotMatch(text, /idle/);
  });

  it("names the process that was asked for", () => {
    assert.match(table({}, { pid: 1203, isAskedFor: () => true }), /^process 1203 and its descendants: 10 calls/);
  });

  it("says that nothing was counted without an empty table", () => {
    const text = table({ calls: [], coverage: "none", gaps: ["no process has it"], processes: [] });
    assert.match(text, /^ollama\.service: 0 calls in 10s, .*; coverage none\n\nnot covered: no process has it\n$/);
  });

  it("leaves out columns where there is no room, says which, and never cuts a number", () => {
    const calls = Array.from({ length: 17 }, (_, index) => counted({ callId: 0x30 + index, count: 10 ** (index % 8) }));
    for (const width of [200, 120, 100, 80, 60, 40]) {
      const text = table({ calls }, {}, { width, ascii: false });
      for (const line of text.split("\n")) assert.ok(line.length <= width, `${width}: ${line}`);
      assert.match(text, /10,000,000 /);
      const header = text.split("\n").find((line) => line.startsWith("call")) ?? "";
      assert.match(header, /count.*errors/);
      for (const name of ["share", "/s", "to host", "back", "p50", "p99", "1µs"]) {
        assert.ok(text.includes(name), `${width}: ${name} is neither shown nor said to be missing`);
      }
    }
  });

  it("keeps to its width and to ASCII, and lets no hostile name through", () => {
    const processes = [{ ...RUNNER, comm: "\u001b[2Jx\n", unit: "\u202ex", libraries: ["/\u202elib"] }];
    const text = table({ processes }, { isAskedFor: () => false }, { width: 60, ascii: true });
    for (const line of text.split("\n")) {
      assert.ok(line.length <= 60, line);
      assert.match(line, /^[\x20-\x7e]*$/);
    }
    assert.match(text, /\\x1b\[2Jx/);
  });
});
