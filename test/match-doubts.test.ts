import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { emptyProcess, type GuestEvidence, noEvidence } from "../src/host/match/guest-evidence.ts";
import { match } from "../src/host/match/matcher.ts";
import type { MatchResult } from "../src/host/match/result.ts";
import { renderMatch } from "../src/host/match/table.ts";
import { device, Stage, work } from "./fixtures/match-stage.ts";

const SECRET_KERNEL = "k_of_a_tenant_nobody_may_know";
const OTHER_PID = 54_321;
const CLOCK = { clock_offset_ms: 0, clock_error_ms: 5 } as const;

const call = (call_id: number, count: number, bytes = 0) => ({
  call_id,
  count,
  returned: count,
  bytes_to_host: bytes,
  bytes_back: null,
  failed: 0,
  first_at: null,
  last_at: null,
});
const counted = (pid: number, calls: ReturnType<typeof call>[]) => ({
  ...emptyProcess(pid),
  counted_by: "kernel" as const,
  coverage: "full" as const,
  calls,
  cut: { allocations: true, copies: true, sequence: true, failures: true },
});

/** Names nothing of the other VM. */
function tellsNothing(result: MatchResult): void {
  const told = JSON.stringify(result).replaceAll(/"at":\d+/g, "");
  for (const secret of [SECRET_KERNEL, String(OTHER_PID), "77"]) assert.ok(!told.includes(secret), secret);
}

describe("a fault of another VM", () => {
  const scene = () => {
    const stage = new Stage(1_000_000);
    stage.log.start([9, 77]);
    const victim = stage.process(device(9), 500);
    const tenant = stage.process(device(77), OTHER_PID);
    work(tenant, SECRET_KERNEL);
    return { stage, victim, tenant };
  };

  it("is told of a VM that ran before it and has not called since, with what it means", () => {
    const { stage, victim, tenant } = scene();
    work(victim);
    tenant.launch(SECRET_KERNEL, true);
    const { result, forOperator } = match(stage.evidence(9), 9, stage.host);
    assert.equal(result.verdict.state, "executing");
    assert.match(
      result.verdict.statement,
      /a fault of another VM broke the GPU context of all VMs after this VM's last good launch: .*its next calls fail/,
    );
    assert.match(result.verdict.next[0] ?? "", /Restart the mediator/);
    assert.deepEqual(
      result.suspicions.map(({ what }) => what),
      ["fault-of-another-vm"],
    );
    tellsNothing(result);
    assert.match(renderMatch({ result, forOperator }, { width: 120, ascii: true }), /Host only: vm 77, process 54321/);
  });

  it("is the cause of a window in which the VM did nothing, as long as it stands", () => {
    const { stage, victim, tenant } = scene();
    work(victim);
    stage.now = 1_020_000;
    tenant.launch(SECRET_KERNEL, true);
    for (const now of [1_030_000, 1_040_000]) {
      stage.now = now;
      stage.log.heartbeat();
    }
    const evidence: GuestEvidence = {
      ...noEvidence(9),
      ...CLOCK,
      window: { from: 1_025_000, to: 1_035_000 },
      processes: [counted(500, [])],
    };
    const { result } = match(evidence, 9, stage.host);
    assert.deepEqual([result.verdict.state, result.verdict.cause], ["not known", "VG-H06"]);
    assert.equal(result.verdict.first_broken_hop, "executor");
    tellsNothing(result);
    stage.log.start([9, 77]);
    assert.equal(match(evidence, 9, stage.host).result.verdict.cause, null);
  });

  it("is said to be in between when launches went well after it", () => {
    const { stage, victim, tenant } = scene();
    work(victim);
    tenant.launch(SECRET_KERNEL, true);
    stage.log.start([9, 77]);
    victim.launch("mul_mat");
    const { result } = match(stage.evidence(9), 9, stage.host);
    assert.match(result.verdict.statement, /in between, and launches of this VM went well after it/);
    assert.deepEqual(result.verdict.next, []);
  });

  it("of a process that had ended is no word about this one", () => {
    const { stage, victim, tenant } = scene();
    work(victim);
    victim.cleanup();
    tenant.launch(SECRET_KERNEL, true);
    const { result } = match(stage.evidence(9), 9, stage.host);
    assert.deepEqual(result.suspicions, []);
  });
});

describe("a window of a model that is loaded already", () => {
  /** Loads at once, answers ten seconds later, and again. */
  const scene = (generation: "current" | "plain-owner" = "current") => {
    const stage = new Stage(1_000_000, false, generation);
    stage.log.start([9]);
    const process = stage.process(device(9), 500);
    const ptr = process.alloc(200_000);
    assert.ok(ptr !== null);
    process.copyIn(ptr, 200_000);
    for (const now of [1_010_000, 1_020_000]) {
      stage.now = now;
      stage.log.heartbeat();
      process.launch("mul_mat");
      process.copyOut(ptr, 4096);
    }
    stage.now = 1_030_000;
    stage.log.heartbeat();
    return stage;
  };
  const evidence = (calls: ReturnType<typeof call>[]): GuestEvidence => ({
    ...noEvidence(9),
    ...CLOCK,
    window: { from: 1_015_000, to: 1_025_000 },
    processes: [counted(500, calls)],
  });

  it("shows it executing by its launches and copies out, and says where the rest is", () => {
    const { result } = match(evidence([call(0x50, 1), call(0x33, 1)]), 9, scene().host);
    assert.equal(result.verdict.state, "executing");
    assert.match(result.verdict.statement, /and before it the allocations and copies in$/);
    assert.deepEqual(
      result.criteria.slice(0, 4).map(({ answer }) => answer),
      ["proven", "proven", "proven", "proven"],
    );
    assert.match(result.criteria[1]?.reason ?? "", /none in this window, and 4 records of these processes before it/);
  });

  it("does not when the guest made an allocation in it that the host does not have", () => {
    const { result } = match(evidence([call(0x30, 1), call(0x50, 1), call(0x33, 1)]), 9, scene().host);
    assert.equal(result.verdict.state, "not known");
    assert.match(result.verdict.statement, /alloc: the guest has 1, the host has none/);
  });

  it("refutes it when the guest launched, and a log that was watched has no launch", () => {
    const host = scene().host;
    const window = { from: 1_022_000, to: 1_028_000 };
    const { result } = match({ ...evidence([call(0x50, 40)]), window }, 9, host);
    assert.equal(result.verdict.state, "refuted", result.verdict.statement);
    assert.match(result.verdict.statement, /40 launches in the guest, none on the host/);
    const open = [{ call_id: 0x50, age_ms: 5000 }];
    const waiting = { ...counted(500, [call(0x50, 1)]), open };
    const { verdict } = match({ ...evidence([]), window, processes: [waiting] }, 9, host).result;
    assert.equal(verdict.state, "not known", verdict.statement);
  });

  it("says when only the VM was matched, because the mediator names no process", () => {
    const { result } = match(evidence([call(0x50, 1), call(0x33, 1)]), 9, scene("plain-owner").host);
    assert.equal(result.verdict.state, "executing");
    assert.match(result.verdict.statement, /by the VM alone: this mediator names no process/);
    for (const { confidence } of result.operations) assert.notEqual(confidence.level, "EXACT");
  });
});

describe("records of an earlier process with the same pid", () => {
  it("are not said to be this one's in the verdict or the criteria", () => {
    const stage = new Stage();
    stage.log.start([9]);
    work(stage.process(device(9), 500));
    const evidence: GuestEvidence = {
      ...noEvidence(9),
      processes: [{ ...emptyProcess(500), data_path: "BAR1", cut: { ...emptyProcess(1).cut, copies: true } }],
    };
    const { result } = match(evidence, 9, stage.host);
    assert.equal(result.verdict.state, "not known");
    for (const { criterion, answer, reason } of result.criteria.slice(0, 4)) {
      assert.equal(answer, "not known", criterion);
      assert.match(reason, /1 on the host, but .* earlier process's/);
    }
  });

  it("are another's when the host gave it other pointers", () => {
    const stage = new Stage();
    stage.log.start([9]);
    work(stage.process(device(9), 500));
    const evidence: GuestEvidence = {
      ...noEvidence(9),
      processes: [
        {
          ...emptyProcess(500),
          data_path: "BAR1",
          allocations: [{ bytes: 200_000, ptr: "0x7f0000000000", failed: false, at: null }],
        },
      ],
    };
    const { result } = match(evidence, 9, stage.host);
    const [process] = result.processes;
    assert.deepEqual([process?.identity.level, process?.requests], ["UNKNOWN", null]);
    assert.match(process?.identity.reason ?? "", /other pointers/);
    assert.equal(result.verdict.state, "not known");
  });
});

describe("two VMs with one id", () => {
  it("are told to the guest without the other, and to the operator with their domains", () => {
    const stage = new Stage();
    stage.log.start([9]);
    stage.log.connection(3, 41);
    work(stage.process(device(9, 3), 500));
    stage.log.connection(7, 42);
    const second = { ...device(9, 7), requestId: 5000 };
    work(stage.process(second, 600));
    const { result, forOperator } = match(stage.evidence(9), 9, stage.host);
    assert.equal(result.verdict.state, "not known");
    assert.match(result.verdict.next[0] ?? "", /a VM id of its own/);
    assert.deepEqual(
      result.suspicions.map(({ what }) => what),
      ["duplicate-vm-id"],
    );
    assert.doesNotMatch(JSON.stringify([result.verdict, result.suspicions]), /\b7\b/);
    const text = renderMatch({ result, forOperator }, { width: 120, ascii: true });
    assert.match(text, /Host only: the domains 3, 7 connected as vm 9/);
  });
});

describe("a call that was given up after two minutes", () => {
  const evidence = (at: number): GuestEvidence => ({
    ...noEvidence(9),
    ...CLOCK,
    window: { from: 1_000_000, to: 1_200_000 },
    processes: [
      {
        ...emptyProcess(500),
        data_path: "BAR1",
        failures: [
          { call_id: 1, seq: 1, transport: 0, transport_error: null, status: null, timeout: true, count: 1, at },
        ],
      },
    ],
  });
  const reasonAfter = (beats: readonly number[]): string | null => {
    const stage = new Stage(1_000_000);
    stage.log.start([9]);
    for (const now of beats) {
      stage.now = now;
      stage.log.heartbeat();
    }
    return match(evidence(1_140_000), 9, stage.host).result.processes[0]?.failures[0]?.timeout ?? null;
  };

  it("was held up by the mediator when its log was silent all the while", () => {
    assert.equal(reasonAfter([1_010_000, 1_145_000, 1_150_000]), "mediator-blocked");
  });

  it("was not when the log went on, or nobody watched it", () => {
    const every = Array.from({ length: 20 }, (_, index) => 1_000_000 + 10_000 * (index + 1));
    assert.equal(reasonAfter(every), "unknown");
    assert.equal(reasonAfter([1_010_000]), "unknown");
  });
});

describe("launches that name nobody", () => {
  it("are no proof of a process while another one lives, nor of the other's doing nothing", () => {
    const stage = new Stage(1_000_000);
    stage.log.start([9]);
    const one = device(9);
    const first = stage.process(one, 500);
    const other = stage.process(one, 600);
    const ptr = first.alloc(4096);
    assert.ok(ptr !== null);
    first.copyIn(ptr, 4096);
    other.gemm();
    first.copyOut(ptr, 4096);
    const { result } = match(stage.evidence(9, "counts"), 9, stage.host);
    assert.notEqual(result.verdict.state, "executing");
    const of = (pid: number) => result.processes.find((process) => process.pid === pid)?.operations[2];
    assert.equal(of(500)?.good, 0);
    assert.equal(of(600)?.confidence.level, "UNKNOWN", of(600)?.confidence.reason);
    assert.notEqual(result.verdict.state, "refuted");
  });
});
