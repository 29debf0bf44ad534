import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { LogEntry, LogReadSummary } from "../log-reader.ts";
import { LogLedger } from "./log-ledger.ts";

const SERVER = 1187;
const RUNNER = 1203;

function entry(message: string, at: number | null = 1000, pid: number | null = SERVER): LogEntry {
  return {
    at,
    pid,
    message: Buffer.from(message, "latin1"),
    truncated: false,
    bootId: null,
    invocationId: null,
    fromManager: false,
    locator: "x",
  };
}

const SUMMARY: LogReadSummary = {
  kind: "journal",
  path: "/j",
  entries: 5,
  scanned: 5,
  bytes: 500,
  firstAt: 1000,
  lastAt: 5000,
  newestAt: 5000,
  suppressed: 0,
  gaps: [],
  machineIds: [],
  bootIds: [],
  cursor: null,
};

const invoked = (callId: string, bytes: number, pid = RUNNER) =>
  `[cuda-transport] cuda_transport_call() INVOKED: call_id=${callId} data_len=${bytes} tp=0x5594ede26bc0 bar0=0x7f39b5123000 (pid=${pid})`;

function ledgerOf(entries: readonly LogEntry[], summary: Partial<LogReadSummary> = {}) {
  const ledger = new LogLedger({ everyLine: true });
  for (const one of entries) ledger.add(one);
  return ledger.ledger([{ ...SUMMARY, ...summary }]);
}

describe("the ledger of a log", () => {
  it("counts a call once, by process and call id, with the bytes before chunking", () => {
    const { calls, coverage, debugCost } = ledgerOf([
      entry(invoked("0x0050", 88), 1000),
      entry("[cuda-transport] SENDING to VGPU-STUB: call_id=0x0050 seq=14 args=0 data_len=88 (pid=1203)", 1001),
      entry("[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x0050 seq=14 status=DONE (pid=1203)", 1002),
      entry(invoked("0x0050", 90), 3000),
      entry(invoked("0x003c", 65536, 99), 4000),
    ]);
    assert.equal(coverage, "full");
    const launches = calls.find(({ callId }) => callId === 0x50);
    assert.deepEqual(
      {
        pid: launches?.pid,
        count: launches?.count,
        bytes: launches?.bytesToHost,
        first: launches?.firstAt,
        last: launches?.lastAt,
      },
      { pid: RUNNER, count: 2, bytes: 178, first: 1000, last: 3000 },
    );
    assert.equal(calls.find(({ callId }) => callId === 0x3c)?.pid, 99);
    assert.equal(debugCost?.lines, 5);
  });

  it("counts what debug logging costs: every line for single calls, and nothing else", () => {
    const lines = [
      invoked("0x0050", 88),
      "[cuda-transport] SENDING to VGPU-STUB: call_id=0x0050 seq=14 args=0 data_len=88 (pid=1203)",
      "[cuda-transport] RINGING DOORBELL: MMIO write to VGPU-STUB (call_id=0x0050, pid=1203)",
      "[cuda-transport] RECEIVED from VGPU-STUB: call_id=0x0050 seq=14 status=DONE (pid=1203)",
    ];
    const others = ["[cuda-transport] Connected (vm_id=11) data_path=BAR1", "[GIN] 200"];
    const { debugCost } = ledgerOf([...lines, ...others].map((line) => entry(line)));
    assert.deepEqual(debugCost, { lines: 4, bytes: lines.join("").length });
    assert.deepEqual(ledgerOf(others.map((line) => entry(line))).debugCost, { lines: 0, bytes: 0 });
  });

  it("does not claim to know that cost where only lines with calls come by", () => {
    const ledger = new LogLedger();
    ledger.add(entry(invoked("0x0050", 88)));
    assert.equal(ledger.ledger([SUMMARY]).debugCost, null);
  });

  it("flags a journal's burst that ends at journald's limit, and not a file's", () => {
    const burst = Array.from({ length: 12_500 }, () => ({ ...entry(invoked("0x0050", 88)), bootId: "b" }));
    const { coverage, gaps, possibleDrops } = ledgerOf(burst);
    assert.deepEqual(possibleDrops, { intervals: 1, intervalMs: 30_000, lines: 12_500, exact: true });
    assert.equal(coverage, "partial");
    assert.match(gaps.join(), /possibly .* 1 interval of 30 s exactly as many lines .* \(12500\)/);
    const record = { ...entry("Suppressed 7 messages from ollama.service", 40_000), fromManager: true, bootId: "b" };
    const told = ledgerOf([...burst, record, { ...entry("x", 40_000), bootId: "b" }], { suppressed: 7 });
    assert.deepEqual([told.possibleDrops, told.dropped], [null, 7]);
    assert.equal(
      ledgerOf(
        burst.map((one) => ({ ...one, bootId: null })),
        { kind: "file" },
      ).possibleDrops,
      null,
    );
    const ofAProgram = { ...record, fromManager: false };
    assert.notEqual(ledgerOf([...burst, ofAProgram]).possibleDrops, null);
  });

  it("counts every copy of a text that the journal hands on as the same bytes", () => {
    const one = entry(invoked("0x0050", 88));
    const { calls } = ledgerOf([one, one, one]);
    assert.equal(calls[0]?.count, 3);
  });

  it("takes failures from the lines that need no debugging, each once, for the process named before them", () => {
    const { calls } = ledgerOf([
      entry("[libvgpu-cuda] cuMemAlloc_v2() CALLED (size=1048576, pid=1203)"),
      entry("[cuda-transport] STATUS_ERROR: call=cuMemAlloc_v2(0x0030) seq=4 err=0x00000005(CUDA_ERROR) vm_id=11"),
      entry("[cuda-transport] STATUS_ERROR host-cuda: call=cuMemAlloc_v2(0x0030) seq=4 host_status=0x00000002"),
      entry("[cuda-transport] STATUS_ERROR: call=cuInit(0x0001) seq=1 err=0x00000003(MEDIATOR_UNAVAIL) vm_id=11"),
      entry("[cuda-transport] Timeout on call 0x0033 (seq=9) after 120s"),
    ]);
    const failures = calls.map(({ pid, callId, results }) => [pid, callId, results]);
    assert.deepEqual(
      failures.sort(),
      [
        [RUNNER, 0x01, { 999: 1 }],
        [RUNNER, 0x30, { 2: 1 }],
        [RUNNER, 0x33, { 999: 1 }],
      ].sort(),
    );
  });

  it("without a per-call line counts nothing and says that this is not none", () => {
    const { coverage, gaps } = ledgerOf([entry("[cuda-transport] Connected (vm_id=11) data_path=BAR1")]);
    assert.equal(coverage, "none");
    assert.match(gaps.join(), /VGPU_DEBUG/);
  });

  it("is partial where journald dropped lines", () => {
    const { coverage, dropped } = ledgerOf([entry(invoked("0x0050", 88))], { suppressed: 7 });
    assert.deepEqual([coverage, dropped], ["partial", 7]);
  });

  it("is partial where a call's line is torn, at whatever place before its numbers", () => {
    const whole = invoked("0x0050", 88);
    for (let cut = "[cuda-transport] c".length; cut < whole.indexOf("data_len=88"); cut += 1) {
      const { calls, coverage, gaps } = ledgerOf([entry(whole), entry(whole.slice(0, cut)), entry(whole.slice(cut))]);
      assert.deepEqual([calls[0]?.count, coverage], [1, "partial"], `cut at ${cut}`);
      assert.match(gaps.join(), /1 call's line is torn/);
    }
  });

  it("is not fooled by the manager's lines and by text that only speaks of a call", () => {
    const { calls } = ledgerOf([
      { ...entry(invoked("0x0050", 88)), fromManager: true },
      entry("prompt: what does cuda_transport_call() do?"),
    ]);
    assert.deepEqual(calls, []);
  });

  it("stays bounded with more call ids than there are", () => {
    const many = Array.from({ length: 5000 }, (_, pid) => entry(invoked("0x0050", 1, pid + 2)));
    const { calls, gaps, coverage } = ledgerOf(many);
    assert.equal(calls.length, 4096);
    assert.match(gaps.join(), /904 calls/);
    assert.equal(coverage, "partial");
  });
});
