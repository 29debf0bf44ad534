import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { CallCount, Ledger } from "../facts/ledger.ts";
import { buildCallsReport, callsReportSchema } from "./calls.ts";
import { renderCallsTable } from "./calls-table.ts";

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, formats: { "date-time": true } });
const schemaFile = fileURLToPath(new URL("../../schema/calls-1.json", import.meta.url));
const validate = ajv.compile(JSON.parse(readFileSync(schemaFile, "utf8")));

const INFO = { toolVersion: "0.1.0", unit: "ollama.service", chosenBecause: "", debugCost: null };
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
    dropped: 0,
    calls: [counted({})],
    open: [],
    processes: [{ pid: 1203, comm: "ollama", libraries: ["/opt/vgpu/lib/libcuda.so.1"] }],
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
    assert.match(renderCallsTable(report, SCREEN), /cuLaunchKernel 0x0050 +10 +100\.0% +\? +880B +\? +\? +\? +\?/);
  });

  it("holds to its schema, published and own", () => {
    const full = buildCallsReport(
      ledger({
        coverage: "partial",
        gaps: ["x"],
        dropped: 3,
        open: [{ pid: 1203, tid: 1204, callId: 0x50, ageMs: 4000 }],
      }),
      { ...INFO, debugCost: { lines: 40, bytes: 4000 } },
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
  it("shows where the calls' latencies lie, what waits, what debugging costs and what is not covered", () => {
    const report = buildCallsReport(
      ledger({
        coverage: "partial",
        gaps: ["3 events were lost"],
        dropped: 3,
        open: [{ pid: 1203, tid: 1204, callId: 0x33, ageMs: 90_000 }],
      }),
      { ...INFO, debugCost: { lines: 40, bytes: 3610 } },
    );
    const text = renderCallsTable(report, SCREEN);
    assert.match(text, /10 \+ 3 dropped calls in 10s, counted in the kernel \(uprobes, eBPF\); coverage partial/);
    assert.match(text, /waiting: cuMemcpyDtoH of pid 1203 \(thread 1204\), entered 90s ago/);
    assert.match(text, /4\.0 lines and 361 bytes of text a call/);
    assert.match(text, /not covered: 3 events were lost/);
    assert.match(text, /█/);
  });

  it("keeps to its width and to ASCII, and lets no hostile name through", () => {
    const report = buildCallsReport(
      ledger({ processes: [{ pid: 1, comm: "\u001b[2Jx\n", libraries: ["/\u202elib"] }] }),
      INFO,
    );
    for (const line of renderCallsTable(report, { width: 60, ascii: true }).split("\n")) {
      assert.ok(line.length <= 60, line);
      assert.match(line, /^[\x20-\x7e]*$/);
    }
  });
});
