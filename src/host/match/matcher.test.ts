import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { device, Stage, work } from "../../../test/fixtures/match-stage.ts";
import { emptyProcess, type GuestEvidence, noEvidence } from "./guest-evidence.ts";
import { match } from "./matcher.ts";
import { renderMatch } from "./table.ts";

const SECRET_KERNEL = "k_of_a_tenant_nobody_may_know";
const OTHER_PID = 54_321;

describe("guest and host together", () => {
  it("say that a VM executes when all four operations are in the host's log", () => {
    const stage = new Stage();
    stage.log.start([9]);
    work(stage.process(device(9), 500));
    const { result } = match(stage.evidence(9), 9, stage.host);
    assert.equal(result.verdict.state, "executing");
    assert.deepEqual(
      result.operations.map(({ confidence, host }) => [confidence.level, host?.count]),
      [
        ["EXACT", 1],
        ["EXACT", 1],
        ["EXACT", 1],
        ["EXACT", 1],
      ],
    );
  });

  it("say of another VM's fault that it was another VM's, and nothing else", () => {
    const stage = new Stage(1_000_000);
    stage.log.start([9, 77]);
    const victim = stage.process(device(9), 500);
    const tenant = stage.process(device(77), OTHER_PID);
    work(victim);
    work(tenant, SECRET_KERNEL);
    tenant.function(SECRET_KERNEL);
    tenant.launch(SECRET_KERNEL, true);
    victim.launch("mul_mat");
    const { result, forOperator } = match(stage.evidence(9), 9, stage.host);
    assert.deepEqual(result.processes[0]?.first_failure?.origin, { by: "another-vm", at: 1_000_000 });
    assert.deepEqual([result.verdict.state, result.verdict.cause], ["refuted", "VG-H06"]);
    const told = JSON.stringify(result);
    for (const secret of [SECRET_KERNEL, String(OTHER_PID), "77"]) {
      assert.equal(told.replaceAll(/"at":\d+/g, "").includes(secret), false, secret);
    }
    assert.deepEqual(
      forOperator.culprits.map(({ vmId, pid }) => [vmId, pid]),
      [[77, OTHER_PID]],
    );
    assert.match(renderMatch({ result, forOperator }, { width: 100, ascii: true }), /Host only: vm 77, process 54321/);
  });

  it("refute the GPU for a request that was answered while a watched log shows no call", () => {
    const stage = new Stage(1_000_000);
    stage.log.start([9]);
    const later = stage.process(device(9), 400);
    work(later);
    for (let tick = 0; tick < 10; tick += 1) {
      stage.now = 1_010_000 + tick * 10_000;
      stage.log.heartbeat();
    }
    const evidence: GuestEvidence = {
      ...noEvidence(9),
      window: { from: 1_030_000, to: 1_060_000 },
      clock_offset_ms: 0,
      clock_error_ms: 50,
      requests: [{ at: 1_050_000, duration_ms: 9000, status: 200 }],
      processes: [
        { ...emptyProcess(600), counted_by: "kernel", coverage: "full", first_at: 1_030_000, last_at: 1_060_000 },
      ],
    };
    const { result } = match(evidence, 9, stage.host);
    assert.equal(result.host.coverage, "full");
    assert.deepEqual([result.verdict.state, result.verdict.cause], ["refuted", "VG-O12"]);
    assert.equal(result.operations[2]?.confidence.level, "ABSENT");
  });

  it("do not say so when the log was not watched for the whole window, or has a hole", () => {
    const window = { from: 1_030_000, to: 1_060_000 };
    const evidence = (vmId: number): GuestEvidence => ({
      ...noEvidence(vmId),
      window,
      clock_offset_ms: 0,
      clock_error_ms: 0,
      requests: [{ at: 1_050_000, duration_ms: 9000, status: 200 }],
      processes: [{ ...emptyProcess(600), counted_by: "kernel", coverage: "full" }],
    });
    const silent = new Stage(1_000_000);
    silent.log.start([9]);
    silent.process(device(9), 400);
    silent.now = 1_040_000;
    silent.log.heartbeat();
    silent.now = 1_070_000;
    silent.log.heartbeat();
    assert.equal(match(evidence(9), 9, silent.host).result.verdict.state, "not known");

    const untimed = new Stage();
    untimed.log.start([9]);
    untimed.process(device(9), 400);
    untimed.log.heartbeat();
    assert.equal(match(evidence(9), 9, untimed.host).result.operations[2]?.confidence.level, "UNKNOWN");
  });

  it("count refusals by their number, and do not take their request ids for lost calls", () => {
    const stage = new Stage();
    stage.log.start([9]);
    const process = stage.process(device(9), 500);
    work(process);
    process.rejectedLaunch();
    process.cleanup();
    const evidence = stage.evidence(9);
    const guest = evidence.processes[0];
    assert.ok(guest !== undefined);
    guest.failures.push({
      call_id: 0x50,
      seq: null,
      transport: null,
      transport_error: 0x0a,
      status: 999,
      timeout: false,
      count: 1,
      at: null,
    });
    const { result } = match(evidence, 9, stage.host);
    assert.deepEqual([result.rejections.guest, result.rejections.host, result.rejections.reason], [1, 1, "rate"]);
    assert.equal(result.rejections.confidence.level, "STRONG");
    assert.equal(result.host.missing_requests, 1);
  });

  it("tell nothing of refusals by a log of standard error alone", () => {
    const stage = new Stage(null, true);
    stage.log.start([9]);
    work(stage.process(device(9), 500));
    assert.equal(match(stage.evidence(9), 9, stage.host).result.rejections.host, null);
  });

  it("call everything ambiguous of two VMs that use one id", () => {
    const stage = new Stage();
    stage.log.start([9]);
    const [one, two] = [device(9, 2), { ...device(9, 3), requestId: 7000 }];
    stage.log.connection(2, 41);
    const first = stage.process(one, 500);
    stage.log.connection(3, 42);
    const second = stage.process(two, 600);
    work(first);
    work(second);
    const { result } = match(stage.evidence(9), 9, stage.host);
    assert.equal(result.verdict.state, "not known");
    assert.ok(result.suspicions.some(({ what }) => what === "duplicate-vm-id"));
    assert.ok(result.processes.every(({ identity }) => identity.level === "AMBIGUOUS"));
  });

  it("suspect handles of before a restart when such a launch ended the mediator", () => {
    const stage = new Stage();
    stage.log.start([9]);
    const process = stage.process(device(9), 500);
    work(process);
    process.crashingLaunch();
    stage.log.start([9]);
    const { result } = match(stage.evidence(9), 9, stage.host);
    assert.deepEqual(
      result.suspicions.map(({ what }) => what),
      ["handles-of-before-restart"],
    );
    assert.equal(result.host.restarts, 1);
  });

  it("hold a day of calls in memory that does not grow", () => {
    const stage = new Stage(1_000_000);
    stage.log.start([9]);
    const vm = device(9);
    for (let pid = 1; pid <= 300; pid += 1) {
      const process = stage.process(vm, pid);
      const ptr = process.alloc(4096);
      for (let call = 0; call < 20; call += 1) process.copyIn(ptr ?? 0, 4096);
      process.launch("k");
      process.cleanup();
      stage.now = 1_000_000 + pid * 30_000;
    }
    const state = stage.host.vm(9);
    assert.equal(state?.processes.length, 128);
    assert.equal(state?.processesDropped, 172);
    assert.equal(state?.calls, stage.operations.length);
  });
});
