import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { counted, request, trace, WINDOW, WORK } from "../../../test/fixtures/calls.ts";
import type { TraceFacts } from "../../facts/ledger.ts";
import { emptyProcess, type GuestEvidence, type GuestProcess, noEvidence } from "./guest-evidence.ts";
import { guestEvidenceSchema } from "./guest-evidence-schema.ts";
import { evidenceOfTrace, mergeEvidence } from "./trace-evidence.ts";

const SUBJECT = { vmId: 11, bootId: "3f1c", clock: { offsetMs: -900, errorMs: 3 } };
const PID = 1203;

function facts(...given: Parameters<typeof trace>): TraceFacts {
  const reading = trace(...given);
  assert.ok(reading.state === "read");
  return reading.value;
}

const evidence = (...given: Parameters<typeof trace>): GuestEvidence =>
  guestEvidenceSchema.parse(evidenceOfTrace(facts(...given), SUBJECT));

describe("the kernel's counts as evidence", () => {
  it("are one process for each pid of the workload that called, with the window and the clocks", () => {
    const { vm_id, boot_id, window, clock_offset_ms, clock_error_ms, gaps, processes } = evidence();
    assert.deepEqual([vm_id, boot_id, clock_offset_ms, clock_error_ms], [11, "3f1c", -900, 3]);
    assert.deepEqual(window, WINDOW);
    assert.deepEqual(gaps, []);
    const [process, ...others] = processes;
    assert.deepEqual(others, []);
    assert.deepEqual([process?.pid, process?.counted_by, process?.coverage], [PID, "kernel", "full"]);
    assert.deepEqual(
      process?.calls.map(({ call_id, count, returned, bytes_to_host, failed }) => [
        call_id,
        count,
        returned,
        bytes_to_host,
        failed,
      ]),
      WORK.map(({ callId, count, returned, bytesToHost }) => [callId, count, returned, bytesToHost, 0]),
    );
    assert.deepEqual(process?.cut, { allocations: true, copies: true, sequence: true, failures: true });
  });

  it("leave out the calls of other programs and of whom nobody knows, and say so", () => {
    const calls = [...WORK, counted(0x50, { 0: 5 }, 42), counted(0x50, { 0: 7 }, 43)];
    const { processes, gaps } = evidence(calls, {}, { others: [42] });
    assert.deepEqual(
      processes.map(({ pid }) => pid),
      [PID],
    );
    assert.deepEqual(gaps, [
      "left out: 5 calls of 1 processes of other programs",
      "left out: 7 calls of 1 processes that had ended: whose they were is not known",
    ]);
  });

  it("have failures by result, and the calls that were under way when the window ended", () => {
    const open = [{ pid: PID, tid: 7, callId: 0x26, ageMs: 12 }];
    const { processes } = evidence([counted(0x50, { 0: 3, 700: 1, 999: 2 })], { open });
    const [process] = processes;
    assert.equal(process?.calls[0]?.failed, 3);
    assert.deepEqual(
      process?.failures.map(({ call_id, status, count, transport_error }) => [call_id, status, count, transport_error]),
      [
        [0x50, 700, 1, null],
        [0x50, 999, 2, null],
      ],
    );
    assert.deepEqual(process?.open, [{ call_id: 0x26, age_ms: 12 }]);
  });

  it("say nothing of results or bytes that were not seen", () => {
    const unseen = { ...counted(0x50, { 0: 3 }), returned: null, results: null, bytesBack: null };
    const [process] = evidence([unseen], { coverage: "partial", gaps: ["2 events lost"] }).processes;
    assert.equal(process?.coverage, "partial");
    assert.deepEqual(
      [process?.calls[0]?.failed, process?.calls[0]?.returned, process?.calls[0]?.bytes_back],
      [null, null, null],
    );
  });
});

describe("the kernel's counts with the lines of the same processes", () => {
  const failure = { seq: 40, transport: 0, transport_error: null, status: 700, timeout: false, count: 1 } as const;
  const lines = (changes: Partial<GuestProcess> = {}, whole: Partial<GuestEvidence> = {}): GuestEvidence => ({
    ...noEvidence(11),
    window: { from: WINDOW.from - 3_600_000, to: WINDOW.to },
    processes: [
      {
        ...emptyProcess(PID),
        data_path: "BAR1",
        counted_by: "per-call-lines",
        coverage: "full",
        calls: evidence([counted(0x50, { 0: 9 })]).processes[0]?.calls ?? [],
        allocations: [{ bytes: 16_384, ptr: "0x7f86bbe00000", failed: false, at: WINDOW.from - 1000 }],
        ...changes,
      },
      { ...emptyProcess(999), data_path: "BAR1" },
    ],
    ...whole,
  });

  it("keep the kernel's counts, and take pointers and the data path from the lines", () => {
    const { processes } = guestEvidenceSchema.parse(mergeEvidence(evidence(), lines()));
    const [process, ...others] = processes;
    assert.deepEqual(others, []);
    assert.equal(process?.counted_by, "kernel");
    assert.equal(process?.calls.find(({ call_id }) => call_id === 0x50)?.count, 700);
    assert.equal(process?.data_path, "BAR1");
    assert.equal(process?.allocations.length, 1);
  });

  it("count a failure once that both saw, and add what the lines do not have", () => {
    const at = WINDOW.from + 5000;
    const told = [{ ...failure, call_id: 0x50, at }];
    const counts = evidence([counted(0x50, { 0: 3, 700: 2, 999: 1 })]);
    const refused = { ...failure, call_id: 0x50, status: 999, transport_error: 0x0a, at };
    const { processes } = mergeEvidence(counts, lines({ failures: [...told, refused] }));
    assert.deepEqual(
      processes[0]?.failures.map(({ status, transport_error, count }) => [status, transport_error, count]),
      [
        [700, null, 1],
        [999, 0x0a, 1],
        [700, null, 1],
      ],
    );
  });

  it("leave out failures and requests of before the window", () => {
    const old = { ...failure, call_id: 0x50, at: WINDOW.from - 60_000 };
    const seen = (endedAt: number) => {
      const { sample, durationMs, status } = request({}, endedAt);
      return { at: sample.at, duration_ms: durationMs, status };
    };
    const requests = [seen(WINDOW.from - 5000), seen(WINDOW.from + 10), seen(WINDOW.to - 10)];
    const merged = mergeEvidence(evidence(), lines({ failures: [old] }, { requests }));
    assert.deepEqual(merged.processes[0]?.failures, []);
    // The second one began before the window: its work may have been done before it.
    assert.deepEqual(merged.requests, requests.slice(2));
  });

  it("are not mixed with lines of another boot, or from before the process began", () => {
    const counts = evidence();
    assert.equal(mergeEvidence(counts, lines({}, { boot_id: "other" })), counts);
    const early = lines({ first_at: WINDOW.from - 50_000 });
    const merged = mergeEvidence(counts, early, new Map([[PID, WINDOW.from - 10_000]]));
    assert.deepEqual(merged.processes, counts.processes);
  });
});
