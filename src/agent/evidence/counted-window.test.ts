import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { trace, WINDOW } from "../../../test/fixtures/calls.ts";
import { healthy } from "../../../test/fixtures/facts.ts";
import { emptyProcess, type GuestEvidence, type GuestProcess, noEvidence } from "../../host/match/guest-evidence.ts";
import { guestEvidenceSchema } from "../../host/match/guest-evidence-schema.ts";
import { countedWindow } from "./counted-window.ts";

const CLOCK = { offsetMs: 5, errorMs: 2 };
const PID = 1203;

function lines(more: Partial<GuestProcess>): GuestProcess {
  return { ...emptyProcess(PID), counted_by: "per-call-lines", coverage: "full", data_path: "BAR1", ...more };
}

function joined(processes: readonly GuestProcess[], more: Partial<GuestEvidence> = {}, vmId: number | null = 11) {
  const read = trace();
  assert.ok(read.state === "read");
  const log = { ...noEvidence(7), processes: [...processes], ...more };
  const document = countedWindow({ facts: healthy(), trace: read.value, log, vmId, clock: CLOCK });
  assert.ok(document !== null);
  return guestEvidenceSchema.parse(document);
}

const sent = (seq: number, at: number | null) => ({
  transport: 0,
  seq,
  call_id: 0x50,
  bytes: 88,
  status: 0,
  at,
  answered_at: at,
});

describe("a window that the kernel counted", () => {
  it("has the kernel's counts and ends, and what the log tells one by one", () => {
    const { window, processes } = joined([lines({ sequence: [sent(1, WINDOW.from + 10)] })]);
    assert.deepEqual(window, WINDOW);
    const [process, ...more] = processes;
    assert.deepEqual([process?.counted_by, process?.data_path, more], ["kernel", "BAR1", []]);
    assert.deepEqual(
      process?.sequence.map(({ seq }) => seq),
      [1],
    );
    assert.equal(process?.cut.sequence, false);
  });

  it("leaves out lines of calls from before it, and says so", () => {
    const { processes } = joined([lines({ sequence: [sent(1, WINDOW.from - 10), sent(2, null)] })]);
    assert.deepEqual(
      processes[0]?.sequence.map(({ seq }) => seq),
      [2],
    );
    assert.equal(processes[0]?.cut.sequence, true);
  });

  it("keeps processes that the log alone knows, as it tells of them", () => {
    const { processes } = joined([{ ...lines({ sequence: [sent(1, null)] }), pid: 7 }]);
    assert.deepEqual(
      processes.map(({ pid, counted_by }) => [pid, counted_by]),
      [
        [PID, "kernel"],
        [7, "per-call-lines"],
      ],
    );
  });

  it("is of the VM of the enrolment, or else of the one that the log names", () => {
    assert.equal(joined([]).vm_id, 11);
    assert.equal(joined([], {}, null).vm_id, 7);
  });

  it("stands alone where there is no log", () => {
    const read = trace();
    assert.ok(read.state === "read");
    const one = { facts: healthy(), trace: read.value, log: null, vmId: null, clock: null };
    assert.deepEqual(countedWindow(one)?.requests, []);
    const endless = { ...read.value, ledger: { ...read.value.ledger, from: null } };
    assert.equal(countedWindow({ ...one, trace: endless }), null);
  });
});
