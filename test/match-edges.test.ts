import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { wasRead } from "../src/facts/reading.ts";
import { emptyProcess, type GuestEvidence, noEvidence } from "../src/host/match/guest-evidence.ts";
import { match } from "../src/host/match/matcher.ts";
import type { MatchResult } from "../src/host/match/result.ts";
import { matchResultSchema } from "../src/host/match/result-schema.ts";
import { renderMatch } from "../src/host/match/table.ts";
import { buildReport } from "../src/report/build.ts";
import { hostMatchText } from "../src/report/host-match.ts";
import { reportSchema } from "../src/report/report.ts";
import { healthy } from "./fixtures/facts.ts";
import { hostMatch } from "./fixtures/host-match.ts";
import { device, Stage } from "./fixtures/match-stage.ts";
import { judged } from "./fixtures/said.ts";

const VM = 9;
const PID = 500;
const FROM = 1_010_000;
const TO = 1_020_000;
/** The clocks are unsure by so much, milliseconds. */
const ERROR = 100;

const call = (call_id: number, count: number) => ({
  call_id,
  count,
  returned: count,
  bytes_to_host: 0,
  bytes_back: null,
  failed: 0,
  first_at: null,
  last_at: null,
});

function evidence(more: Partial<GuestEvidence["processes"][number]> = {}): GuestEvidence {
  const process = { ...emptyProcess(PID), counted_by: "kernel" as const, coverage: "full" as const, ...more };
  const window = { from: FROM, to: TO };
  return { ...noEvidence(VM), clock_offset_ms: 0, clock_error_ms: ERROR, window, processes: [process] };
}

const refused = (at: number | null, count = 1): GuestEvidence["processes"][number]["failures"][number] => ({
  call_id: 0x50,
  seq: null,
  transport: null,
  transport_error: 0x0a,
  status: 999,
  timeout: false,
  count,
  at,
});

function rendered(outcome: ReturnType<typeof match>): string {
  assert.deepEqual(matchResultSchema.parse(JSON.parse(JSON.stringify(outcome.result))), outcome.result);
  return renderMatch(outcome, { width: 120, ascii: false });
}

describe("refused calls", () => {
  /** Refused at these moments; null: the log is read without times. */
  const stageOf = (moments: readonly number[], isTimed = true): Stage => {
    const stage = new Stage(isTimed ? 1_000_000 : null);
    stage.log.start([VM]);
    const process = stage.process(device(VM), PID);
    process.launch("mul_mat");
    for (const now of moments) {
      if (isTimed) stage.now = now;
      process.rejectedLaunch();
    }
    process.launch("mul_mat");
    return stage;
  };
  const inside = [FROM + 1000, FROM + 2000, FROM + 3000];
  const outside = [FROM - 5000, FROM - 4000];

  it("are counted in the window, on both sides, and not those before and after it", () => {
    const { host } = stageOf([...outside, ...inside, TO + 5000]);
    const failures = [...outside, ...inside].map((at) => refused(at));
    const outcome = match(evidence({ failures }), VM, host);
    const { scope, guest, host: most, host_least: least, reason, confidence } = outcome.result.rejections;
    assert.deepEqual([scope, guest, least, most, reason], ["window", 3, 3, 3, "rate"]);
    assert.equal(confidence.level, "STRONG");
    assert.match(rendered(outcome), /^ {2}Refused calls in the window: 3 \(rate\)$/m);
  });

  it("are a range where some of them lie at the window's edges", () => {
    const { host } = stageOf([...outside, FROM - 50, FROM + 50, ...inside, TO + 50]);
    const outcome = match(evidence({ failures: inside.map((at) => refused(at)) }), VM, host);
    const { guest, host: most, host_least: least, confidence } = outcome.result.rejections;
    assert.deepEqual([guest, least, most, confidence.level], [3, 3, 6, "STRONG"]);
    assert.match(confidence.reason, /3 in the guest, 3–6 on the host/);
    assert.match(rendered(outcome), /^ {2}Refused calls in the window: 3–6 \(rate\)$/m);
  });

  it("are none of a window when all of them were before it, and no reason is given", () => {
    const { rejections } = match(evidence(), VM, stageOf(outside).host).result;
    assert.deepEqual([rejections.guest, rejections.host, rejections.reason], [0, 0, null]);
  });

  it("are counted over the whole log, and said to be, where it has no times or the clocks were not compared", () => {
    const untimed = match(
      evidence({ failures: [refused(FROM + 1)] }),
      VM,
      stageOf([...outside, ...inside], false).host,
    );
    const apart = { ...evidence(), clock_offset_ms: null };
    for (const outcome of [untimed, match(apart, VM, stageOf([...outside, ...inside]).host)]) {
      assert.deepEqual([outcome.result.rejections.scope, outcome.result.rejections.host], ["whole-log", 5]);
      assert.match(rendered(outcome), /^ {2}Refused calls over the whole log: 5 \(rate\)$/m);
    }
  });

  it("are not counted for the guest when only the first of several has a time, and that one is before the window", () => {
    const { host } = stageOf(inside);
    const ofGuest = (one: ReturnType<typeof refused>) =>
      match(evidence({ failures: [one] }), VM, host).result.rejections.guest;
    assert.equal(ofGuest(refused(FROM - 1, 5)), null);
    assert.equal(ofGuest(refused(FROM - 1, 1)), 0);
    assert.equal(ofGuest(refused(null, 1)), null);
    assert.equal(ofGuest(refused(FROM + 1, 5)), 5);
  });

  it("that are no longer held may have been in the window, unless the oldest that is held is older", () => {
    const many = Array.from({ length: 1100 }, (_, index) => FROM + 1000 + index);
    const { rejections } = match(evidence(), VM, stageOf(many).host).result;
    assert.equal(rejections.host, 1100);
    assert.ok((rejections.host_least ?? 1100) < 1100);
    const before = Array.from({ length: 1100 }, (_, index) => FROM - 5000 + index);
    const later = match(evidence(), VM, stageOf([...before, ...inside]).host).result.rejections;
    assert.deepEqual([later.host_least, later.host], [3, 3]);
  });
});

describe("the host's side of a window", () => {
  const EDGE = 20;
  const SURE = 100;

  /** Launches and copies out that surely lie in the window, and as many at each edge as the clocks do not tell. */
  function outcomeOf(guestCalls: number): ReturnType<typeof match> {
    const stage = new Stage(1_000_000);
    stage.log.start([VM]);
    const process = stage.process(device(VM), PID);
    const ptr = process.alloc(200_000) ?? assert.fail();
    process.copyIn(ptr, 200_000);
    const calls = (now: number, times: number): void => {
      stage.now = now;
      for (let index = 0; index < times; index += 1) {
        process.launch("mul_mat");
        process.copyOut(ptr, 2048);
      }
    };
    calls(FROM - 20, EDGE);
    calls(FROM + 5000, SURE);
    calls(TO + 20, EDGE);
    stage.now = TO + 8000;
    stage.log.heartbeat();
    return match(evidence({ calls: [call(0x50, guestCalls), call(0x33, guestCalls)] }), VM, stage.host);
  }
  const operation = ({ operations }: MatchResult, name: string) =>
    operations.find((one) => one.operation === name) ?? assert.fail();

  it("is a range from what surely lies in it to what may, wherever it is shown", () => {
    const outcome = outcomeOf(SURE + EDGE);
    const launch = operation(outcome.result, "launch");
    assert.deepEqual(launch.host, {
      count: SURE + 2 * EDGE,
      records: SURE + 2 * EDGE,
      bytes: null,
      failed: 0,
      least: { count: SURE, bytes: null, failed: 0 },
    });
    assert.equal(launch.confidence.level, "STRONG");
    assert.match(launch.confidence.reason, /between 100 and 140 records/);
    const text = rendered(outcome);
    assert.match(text, /launch, GEMM +120 +100–140 +STRONG/);
    assert.match(text, /copy out +120 +100–140 200–280KiB +STRONG/);
    assert.match(text, /A range on the host: .*from what surely lies in the window to what may/);
  });

  it("is the same range in the doctor's report, with what a range is", () => {
    const side = { bytes: null, failed: 0 };
    const range = { ...side, count: 182, least: { ...side, count: 139 } };
    const match = hostMatch("executing");
    const facts = healthy({
      hostMatch: wasRead({ ...match, operations: match.operations.map((one) => ({ ...one, host: range })) }),
    });
    const { findings, verdict } = judged(facts);
    const report = buildReport(facts, findings, verdict, {
      runId: "test",
      toolVersion: "0.0.0",
      startedAt: 0,
      durationMs: 1,
    });
    assert.deepEqual(reportSchema.parse(JSON.parse(JSON.stringify(report))).host_match?.operations[0]?.host, range);
    const said = hostMatchText(report);
    assert.equal(said?.rows[1]?.[2], "139–182");
    assert.match(said?.head ?? "", /A range on the host: from what surely lies in the window to what may/);
    const finding = report.findings.find(({ check }) => check === "host-correlation");
    assert.match(finding?.evidence[0]?.text ?? "", /host 139–182;/);
  });

  it("holds what was truly done in it", () => {
    for (const guestCalls of [SURE, SURE + EDGE, SURE + 2 * EDGE]) {
      for (const name of ["launch", "copy-out"]) {
        const { host } = operation(outcomeOf(guestCalls).result, name);
        assert.ok((host?.least?.count ?? host?.count ?? 0) <= guestCalls, name);
        assert.ok((host?.count ?? 0) >= guestCalls, name);
      }
    }
  });

  it("is no range where both edges are sharp", () => {
    const stage = new Stage(1_000_000);
    stage.log.start([VM]);
    const process = stage.process(device(VM), PID);
    stage.now = FROM + 5000;
    process.launch("mul_mat");
    const outcome = match(evidence({ calls: [call(0x50, 1)] }), VM, stage.host);
    assert.equal(operation(outcome.result, "launch").host?.least, null);
    assert.match(rendered(outcome), /launch, GEMM +1 +1 +STRONG/);
  });
});
