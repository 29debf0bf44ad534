import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Effort } from "../src/host/match/effort.ts";
import { EvidenceFold } from "../src/host/match/evidence-fold.ts";
import { type GuestEvidence, type GuestProcess, noEvidence } from "../src/host/match/guest-evidence.ts";
import { LIMITS } from "../src/host/match/guest-limits.ts";
import { HostState } from "../src/host/match/host-state.ts";
import { match } from "../src/host/match/matcher.ts";
import type { Pair } from "../src/host/match/operations.ts";
import { LogFeed } from "../src/host/mediator-log/feed.ts";
import { knownEvidence } from "./fixtures/match-evidence.ts";
import { lossyScenario } from "./fixtures/match-lossy.ts";
import { device, Stage } from "./fixtures/match-stage.ts";
import { mediatorScenario, type Scenario } from "./fixtures/mediator-scenario.ts";

const PID = 4711;
const VM = 9;
/** What laying sequences side by side may take at most. */
const BOUND = 32_000_000;

/** Says how much was asked for, and how often. */
class Counted extends Effort {
  steps = 0;
  asked = 0;

  override spend(steps = 1): boolean {
    this.asked += 1;
    const isLeft = super.spend(steps);
    if (isLeft) this.steps += steps;
    return isLeft;
  }
}

/** What the lines of a guest's file come to, each of them a thing that the shim could have written. */
function evidenceOf(lines: Iterable<string>): GuestEvidence {
  const fold = new EvidenceFold();
  for (const message of lines) {
    fold.add({
      at: null,
      message: Buffer.from(message),
      truncated: false,
      pid: PID,
      bootId: null,
      invocationId: null,
      fromManager: false,
      locator: "stderr.log:0",
    });
  }
  return { ...noEvidence(VM), processes: fold.processes(false) };
}

const transport = (text: string): string => `[cuda-transport] ${text} (pid=${PID})`;
const id = (callId: number): string => `0x${callId.toString(16).padStart(4, "0")}`;
const sent = (callId: number, seq: number): string =>
  transport(`SENDING to VGPU-STUB: call_id=${id(callId)} seq=${seq} args=4 data_len=0`);
const answered = (callId: number, seq: number): string =>
  transport(`RECEIVED from VGPU-STUB: call_id=${id(callId)} seq=${seq} status=DONE`);
const lost = (callId: number, seq: number): string =>
  transport(`STATUS_ERROR: call_id=${id(callId)} seq=${seq} err=0x00000007(RATE_LIMITED) vm_id=${VM}`);

/** A process that has connected again and again, and between asks for nothing but to wait. */
function manyConnections(): Stage {
  const stage = new Stage();
  stage.log.start([VM]);
  const guest = stage.process(device(VM), PID);
  for (let connection = 1; connection < 100; connection += 1) {
    for (let call = 0; call < 20; call += 1) guest.synchronize();
    guest.init();
  }
  return stage;
}

function* worstLines(kind: "all-first" | "every-second-lost" | "all-alike"): Generator<string> {
  yield `[libvgpu-cuda] cuInit() device found at 0000:00:05.0 (pid=${PID})`;
  yield transport(`Connected (vm_id=${VM}) data_path=BAR1 status_from=BAR1-status-mirror`);
  for (let seq = 1; seq <= LIMITS.sequence; seq += 1) {
    const callId = kind === "all-alike" && seq > 1 ? 0x26 : 0x01;
    yield sent(callId, seq);
    const isLost = kind === "every-second-lost" ? seq % 2 === 0 : kind === "all-alike" && seq % 64 === 0;
    yield isLost ? lost(callId, seq) : answered(callId, seq);
  }
}

describe("a guest's file that is made to be compared for ever", () => {
  const { host } = manyConnections();
  for (const kind of ["all-first", "every-second-lost", "all-alike"] as const) {
    it(`ends within the bound, and is no match: ${kind}`, () => {
      const evidence = evidenceOf(worstLines(kind));
      assert.equal(evidence.processes[0]?.sequence.length, LIMITS.sequence);
      const effort = new Counted();
      const { result } = match(evidence, VM, host, { effort });
      assert.ok(effort.steps < BOUND && effort.asked < BOUND, `${effort.steps} steps, asked ${effort.asked} times`);
      assert.notEqual(result.processes[0]?.identity.level, "EXACT");
    });
  }

  it("is said to have been too much, and what is sure without it stays", () => {
    const { result } = match(evidenceOf(worstLines("every-second-lost")), VM, host);
    const { level, rules, reason } = result.processes[0]?.identity ?? assert.fail();
    assert.deepEqual([level, rules], ["STRONG", ["R2"]]);
    assert.match(reason, /only one process .*; there were too many ways to lay its calls beside the host's records$/);
  });

  it("is bounded as one, however many processes it tells of and however many had their pid", () => {
    const stage = new Stage();
    stage.log.start([VM]);
    const vm = device(VM);
    for (let life = 0; life < 128; life += 1) {
      const guest = stage.process(vm, PID);
      for (let call = 0; call < 40; call += 1) guest.init();
      guest.cleanup();
    }
    const [process] = evidenceOf(worstLines("every-second-lost")).processes;
    assert.ok(process !== undefined);
    const evidence = { ...noEvidence(VM), processes: Array.from({ length: LIMITS.processes }, () => process) };
    const effort = new Counted();
    const { result } = match(evidence, VM, stage.host, { effort });
    assert.ok(effort.steps < BOUND && effort.asked < BOUND, `${effort.steps} steps, asked ${effort.asked} times`);
    for (const { identity } of result.processes) {
      assert.equal(identity.level, "AMBIGUOUS");
      assert.match(identity.reason, /128 processes of this VM had this pid; there were too many ways/);
    }
  });
});

describe("the bound of what is compared", () => {
  it("is a hundred times what ordinary evidence takes", (t) => {
    let most = 0;
    const note = ({ bytes, operations }: Scenario): void => {
      const host = hostOf(bytes);
      for (const vmId of new Set(operations.map((operation) => operation.vmId))) {
        const effort = new Counted();
        match(knownEvidence(operations, vmId, "debug").evidence, vmId, host, { effort });
        most = Math.max(most, effort.steps);
      }
    };
    for (let seed = 0; seed < 20; seed += 1) {
      note(
        mediatorScenario({
          seed,
          operations: 1000,
          vms: 2,
          trouble: seed % 2 === 0,
          generation: "current",
          chunk: 65_536,
        }),
      );
      note(lossyScenario(seed, 200));
    }
    t.diagnostic(`at most ${most} steps of ${BOUND}`);
    assert.ok(most > 0 && most < BOUND / 100, `${most}`);
  });

  it("makes nothing surer: without any effort there is no more than the pid and the pointers tell", () => {
    const { bytes, operations } = lossyScenario(1, 200);
    const host = hostOf(bytes);
    const vmId = operations[0]?.vmId ?? assert.fail();
    const { evidence } = knownEvidence(operations, vmId, "debug");
    const levels = (effort: Effort): string[] =>
      match(evidence, vmId, host, { effort }).result.operations.map(({ confidence }) => confidence.level);
    assert.ok(levels(new Effort()).includes("EXACT"));
    const ranks = ["UNKNOWN", "AMBIGUOUS", "STRONG", "EXACT"];
    for (const [index, level] of levels(new Effort(0)).entries()) {
      assert.ok(ranks.indexOf(level) <= ranks.indexOf(levels(new Effort())[index] ?? ""), level);
    }
  });
});

describe("a pid that was used again by a program that always makes the same calls", () => {
  /** The same program twice, as a container that is started again runs it: pid, pointers and calls are the same. */
  const twice = (between: number) => {
    const stage = new Stage();
    stage.log.start([VM]);
    const vm = device(VM);
    const run = (): void => {
      const guest = stage.process(vm, PID);
      guest.copyIn(0x7f00_0000_0000, 4096);
      guest.launch("mul_mat");
      guest.cleanup();
    };
    run();
    const other = stage.process(vm, PID + 1);
    for (let call = 0; call < between; call += 1) other.launch("mul_mat");
    other.cleanup();
    run();
    const [first] = knownEvidence(stage.operations, VM, "debug").processes.filter(({ guest }) => guest.pid === PID);
    const guest: GuestProcess = first?.guest ?? assert.fail();
    return match({ ...noEvidence(VM), processes: [guest] }, VM, stage.host).result.processes[0]?.identity;
  };

  it("is not taken for the second one because the records of the first are no longer held", () => {
    for (const between of [10, 40_000]) assert.equal(twice(between)?.level, "AMBIGUOUS", `${between} calls between`);
  });

  /** Once, then so many other processes, then again; the evidence is of the first. */
  const again = (stage: Stage, others: number, window: Partial<GuestEvidence> = {}) => {
    stage.log.start([VM]);
    const vm = device(VM);
    const run = (pid: number): void => {
      const guest = stage.process(vm, pid);
      const ptr = guest.alloc(4096) ?? assert.fail();
      guest.copyIn(ptr, 4096);
      guest.launch("mul_mat");
      guest.free(ptr, 4096);
      guest.cleanup();
    };
    run(PID);
    for (let other = 1; other <= others; other += 1) run(PID + other);
    if (stage.now !== null) stage.now += 60_000;
    run(PID);
    const [first] = knownEvidence(stage.operations, VM, "debug").processes;
    const evidence = { ...noEvidence(VM), ...window, processes: [first?.guest ?? assert.fail()] };
    const levels: string[] = [];
    const onPair = (_: GuestProcess, { level }: Pair): void => {
      levels.push(level);
    };
    const { result } = match(evidence, VM, stage.host, { onPair });
    return { levels, ...(result.processes[0]?.identity ?? assert.fail()) };
  };

  it("is not taken for it either when the first process is no longer held at all", () => {
    assert.equal(again(new Stage(), 0).level, "AMBIGUOUS");
    const { level, reason, levels } = again(new Stage(), 200);
    assert.deepEqual([...new Set(levels)], ["STRONG"]);
    assert.equal(level, "STRONG");
    assert.match(reason, /an earlier process with this pid is no longer held/);
  });

  it("is told by the time where the clocks were compared", () => {
    const stage = new Stage(1_000_000);
    const window = { from: 1_050_000, to: 1_070_000 };
    const { level } = again(stage, 200, { window, clock_offset_ms: 0, clock_error_ms: 5 });
    assert.equal(level, "EXACT");
  });

  it("is not taken for one of the VM's next boot", () => {
    const stage = new Stage();
    stage.log.start([VM]);
    for (let boot = 0; boot < 2; boot += 1) {
      const guest = stage.process(device(VM), PID);
      guest.launch("mul_mat");
    }
    const [first] = knownEvidence(stage.operations, VM, "debug").processes;
    const evidence = { ...noEvidence(VM), processes: [first?.guest ?? assert.fail()] };
    const { identity, operations } = match(evidence, VM, stage.host).result.processes[0] ?? assert.fail();
    assert.notEqual(identity.level, "EXACT", identity.reason);
    for (const { confidence } of operations) assert.notEqual(confidence.level, "EXACT");
  });
});

function hostOf(bytes: Buffer): HostState {
  const host = new HostState();
  let epochs = 0;
  const feed = new LogFeed({ log: 0, emit: host.add, nextEpoch: () => epochs++, chunkBytes: 65_536 });
  feed.push(bytes);
  feed.finish();
  return host;
}
