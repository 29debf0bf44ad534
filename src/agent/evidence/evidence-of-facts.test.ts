import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { trace } from "../../../test/fixtures/calls.ts";
import { healthy, life, log, process, running, shimLog } from "../../../test/fixtures/facts.ts";
import { wasRead } from "../../facts/reading.ts";
import { emptyProcess, type GuestEvidence, type GuestProcess, noEvidence } from "../../host/match/guest-evidence.ts";
import { guestEvidenceSchema } from "../../host/match/guest-evidence-schema.ts";
import { WIRE_LIMITS } from "../../report/wire/limits.ts";
import { type EvidenceInput, evidenceOfFacts, type ReadLogs } from "./evidence-of-facts.ts";

const STARTED = 1_800_000_000_000;
const READ = STARTED + 60_000;
const CLOCK = { offsetMs: 5, errorMs: 2 };

const speaker = (pid: number, more: Partial<GuestProcess> = {}): GuestProcess => ({
  ...emptyProcess(pid),
  counted_by: "per-call-lines",
  coverage: "full",
  data_path: "BAR1",
  ...more,
});

function logs(evidence: Partial<GuestEvidence>, more: Partial<ReadLogs> = {}): ReadLogs {
  return { evidence: { ...noEvidence(null), ...evidence }, hasFiles: true, readAt: READ, ...more };
}

/** The workload is one process that runs: pid 7. */
function evidences(read: ReadLogs | null, more: Partial<EvidenceInput> = {}) {
  const workload = running(process({ pid: 7, nsPid: 7, startedAt: STARTED }));
  return evidenceOfFacts({ facts: healthy({ workload }), vmId: 11, logs: read, clock: CLOCK, ...more });
}

/** The log has a life of the server before this one, with a process of that pid. */
function withEarlierLife(pid: number) {
  const workload = running(process({ pid: 7, nsPid: 7, startedAt: STARTED }));
  return healthy({ workload, log: wasRead(log([life({ processes: [shimLog({ pid })] }), life()])) });
}

describe("evidence of a workload's log", () => {
  it("is of the whole life of the process, from its start until the log was read", () => {
    const [one, ...more] = evidences(logs({ processes: [speaker(7)], window: { from: READ - 9, to: READ - 8 } }));
    assert.deepEqual(more, []);
    assert.ok(one !== undefined);
    assert.equal(one.basis, "log");
    assert.ok(one.window.from <= STARTED && one.window.from >= STARTED - 5000);
    assert.equal(one.window.to, READ);
    assert.deepEqual(one.document.window, one.window);
    assert.equal(one.document.vm_id, 11);
    assert.equal(one.document.clock_offset_ms, 5);
    assert.ok((one.document.clock_error_ms ?? 0) > 2, "what the clocks may have drifted since is in it");
    assert.ok(guestEvidenceSchema.safeParse(one.document).success);
  });

  it("leaves out processes of a file that no longer run: their lines have no time, so no window surely holds them", () => {
    const [one] = evidences(logs({ processes: [speaker(7), speaker(99)] }));
    assert.deepEqual(
      one?.document.processes.map(({ pid }) => pid),
      [7],
    );
    assert.match(one?.document.gaps.join() ?? "", /a process of the log that no longer runs/);
  });

  it("leaves out an earlier process of the same pid", () => {
    const [one] = evidences(logs({ processes: [speaker(7, { first_at: STARTED - 60_000 })] }));
    assert.deepEqual(one?.document.processes, []);
  });

  it("leaves out lines without a time of a pid that comes again, with a container or in an earlier life of the log", () => {
    const read = logs({ processes: [speaker(7)] });
    const contained = healthy({ workload: running(process({ pid: 1203, nsPid: 7, startedAt: STARTED })) });
    assert.deepEqual(evidences(read, { facts: contained })[0]?.document.processes, []);
    const [again] = evidences(read, { facts: withEarlierLife(7) });
    assert.deepEqual(again?.document.processes, []);
    const [other] = evidences(read, { facts: withEarlierLife(8) });
    assert.equal(other?.document.processes.length, 1);
    const timed = logs({ processes: [speaker(7, { first_at: STARTED + 10 })] });
    assert.equal(evidences(timed, { facts: contained })[0]?.document.processes.length, 1);
  });

  it("keeps those of a journal, whose entries all have a time, in a window that holds them", () => {
    const ended = speaker(99, { first_at: STARTED - 600_000, last_at: STARTED - 500_000 });
    const [one] = evidences(logs({ processes: [ended, speaker(7)] }, { hasFiles: false }));
    assert.equal(one?.document.processes.length, 2);
    assert.equal(one?.window.from, STARTED - 600_000);
  });

  it("has no request that began before its window: its work may lie before it, too", () => {
    const request = (at: number | null, duration_ms: number | null) => ({ at, duration_ms, status: 200 });
    const requests = [
      request(STARTED + 5000, 100),
      request(STARTED + 5000, 90_000),
      request(STARTED - 50_000, 10),
      request(null, 10),
      request(STARTED + 5000, null),
      request(READ + 1, 10),
    ];
    const [one] = evidences(logs({ processes: [speaker(7)], requests }));
    assert.deepEqual(one?.document.requests, [request(STARTED + 5000, 100)]);
  });

  it("is none when nothing of the workload runs", () => {
    const facts = healthy({ workload: wasRead({ foundBy: "none", processes: [], incomplete: [] }) });
    assert.deepEqual(evidences(logs({ processes: [speaker(7)] }), { facts }), []);
  });

  it("fits into what a host takes, and says what was cut", () => {
    const trip = { transport: 0, seq: 1, call_id: 0x50, bytes: 4096, status: 0, at: READ, answered_at: READ };
    const processes = Array.from({ length: 8 }, (_, index) =>
      speaker(index, {
        first_at: STARTED,
        sequence: Array.from({ length: 4096 }, () => trip),
        allocations: [{ bytes: 1, ptr: "0x1", failed: false, at: null }],
      }),
    );
    const [one] = evidences(logs({ processes }, { hasFiles: false }));
    assert.ok(one !== undefined);
    assert.ok(Buffer.byteLength(JSON.stringify(one.document)) <= WIRE_LIMITS.documentBytes);
    assert.ok(one.document.processes.every(({ cut, sequence }) => cut.sequence && sequence.length === 0));
    assert.ok(one.document.processes.every(({ allocations }) => allocations.length === 1));
  });
});

describe("evidence of the kernel's counts", () => {
  it("comes first, with the window of the count in whole milliseconds", () => {
    const traced = trace();
    assert.ok(traced.state === "read");
    const [counted, told] = evidences(logs({ processes: [speaker(7)] }), {
      facts: healthy({
        workload: running(process({ pid: 7, nsPid: 7, startedAt: STARTED })),
        trace: traced,
      }),
    });
    assert.deepEqual([counted?.basis, told?.basis], ["kernel", "log"]);
    const { from, to } = traced.value.ledger;
    assert.ok(counted !== undefined && from !== null && to !== null);
    assert.ok(counted.window.from <= from && counted.window.to >= to);
    assert.ok(Number.isInteger(counted.window.from) && Number.isInteger(counted.window.to));
    assert.ok(counted.document.processes.every(({ counted_by }) => counted_by === "kernel"));
    assert.ok((counted.document.clock_error_ms ?? 0) > CLOCK.errorMs);
  });

  it("is of the pids that the processes see themselves: the host knows no others", () => {
    const counted = trace();
    assert.ok(counted.state === "read");
    const { ledger } = counted.value;
    const pid = ledger.calls[0]?.pid ?? 0;
    const strange = ledger.calls.map((call) => ({ ...call, pid: 7 }));
    const facts = healthy({
      workload: running(process({ pid, nsPid: 7 })),
      trace: wasRead({
        ...counted.value,
        workload: [pid, 4242],
        ledger: { ...ledger, calls: [...ledger.calls, ...strange] },
      }),
    });
    const [one] = evidences(null, { facts });
    const [first, ...more] = one?.document.processes ?? [];
    assert.deepEqual([first?.pid, more], [7, []]);
    const sum = (calls: readonly { readonly count: number }[] = []) => calls.reduce((all, { count }) => all + count, 0);
    assert.equal(sum(first?.calls), sum(ledger.calls.filter((call) => call.pid === pid)));
    assert.match(one?.document.gaps.join() ?? "", /left out: a process of a pid namespace/);
  });

  it("has no offset of clocks that were never compared", () => {
    const [counted] = evidences(null, { facts: healthy({ trace: trace() }), clock: null });
    assert.deepEqual([counted?.document.clock_offset_ms, counted?.document.clock_error_ms], [null, null]);
  });
});
