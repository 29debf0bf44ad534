import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CallEvent, MediatorLine } from "../../../protocol/mediator-events.ts";
import { framingOf } from "./r1-framing.ts";
import { absenceOf } from "./r9-absence.ts";
import { matchRejections } from "./r10-rejections.ts";
import { explainTimeout } from "./r11-timeout.ts";
import { PoisonTracker } from "./r12-poison.ts";
import { gemmOutcome } from "./r13-cublas.ts";
import { isProbe } from "./r14-probe.ts";

function call(
  requestId: number,
  callId: number,
  status: number,
  lines: readonly MediatorLine[] = [],
  vmId = 10,
): CallEvent {
  const place = { log: 0, epoch: 0, at: requestId * 100, end: requestId * 100 + 99, when: null };
  const slice = { owner: null, seq: null, payloadBytes: null, lines, sound: true };
  return { kind: "call", ...place, ...slice, vmId, requestId, callId, status, terminatorAt: requestId * 100 };
}

describe("R1, framing", () => {
  it("believes whole slices, doubts contradicting ones, and gives lines without a terminator to nobody", () => {
    assert.equal(framingOf(call(1, 0x30, 0)), "whole");
    assert.equal(framingOf({ ...call(1, 0x30, 0), sound: false }), "doubtful");
    const { terminatorAt: _at, requestId: _request, status: _status, ...rest } = call(1, 0x30, 0);
    assert.equal(framingOf({ ...rest, kind: "unframed", why: "end" }), "open");
  });
});

describe("R9, absence", () => {
  const covered = {
    hasTerminator: true,
    missing: 0,
    unframed: 0,
    watched: true,
    bracketedBy: null,
    whyNot: "not watched",
  };

  it("is proven by a watched window without a hole", () => {
    assert.equal(absenceOf(covered).proven, true);
  });

  it("is not proven by a log that was not watched, unless calls of the guest stand on both sides", () => {
    assert.deepEqual(absenceOf({ ...covered, watched: false }), { proven: false, why: "not watched" });
    assert.equal(absenceOf({ ...covered, watched: false, bracketedBy: "its whole life is there" }).proven, true);
  });

  it("is never proven with a request id missing, a call cut off, or a build without terminators", () => {
    for (const hole of [{ missing: 1 }, { unframed: 1 }, { hasTerminator: false }]) {
      assert.equal(absenceOf({ ...covered, bracketedBy: "its whole life", ...hole }).proven, false);
    }
  });
});

describe("R10, refusals", () => {
  it("matches them by their number, with as many request ids missing", () => {
    assert.equal(
      matchRejections({ guest: 59, host: { least: 59, most: 59 }, missing: 59, shown: true }).level,
      "STRONG",
    );
    assert.equal(
      matchRejections({ guest: 58, host: { least: 59, most: 59 }, missing: 59, shown: true }).level,
      "AMBIGUOUS",
    );
    assert.equal(
      matchRejections({ guest: 59, host: { least: 59, most: 59 }, missing: 3, shown: true }).level,
      "AMBIGUOUS",
    );
  });

  it("says nothing of a log without standard output", () => {
    assert.equal(matchRejections({ guest: 0, host: { least: 0, most: 0 }, missing: 0, shown: false }).level, "UNKNOWN");
  });
});

describe("R11, timeouts", () => {
  const unknown = { rung: null, answered: null, heartbeats: null, ignored: null, applied: null };

  it("tells a mediator that was held up from an answer that came too late, or that nobody saw", () => {
    assert.equal(explainTimeout({ ...unknown, rung: true, answered: false, heartbeats: false }), "mediator-blocked");
    assert.equal(explainTimeout({ ...unknown, answered: true, ignored: true }), "reply-late");
    assert.equal(explainTimeout({ ...unknown, answered: true, applied: true }), "reply-unseen");
    assert.equal(explainTimeout({ ...unknown, rung: false }), "not-rung");
    assert.equal(explainTimeout(unknown), "unknown");
  });
});

describe("R12, poison", () => {
  const recovering: MediatorLine = {
    kind: "recovering",
    owner: 10 * 2 ** 24 + 77,
    fault: "cuLaunchKernel sync hit CUDA_ERROR_ILLEGAL_ADDRESS",
  };
  const failed: MediatorLine = { kind: "recovery-failed", stage: "retain", rc: 700 };
  const worked: MediatorLine = { kind: "alloc-ok", owner: 11 * 2 ** 24 + 5, ptr: 4096, recovered: true };

  it("gives what fails after a fault to that fault, of whatever VM, until the mediator restarts", () => {
    const tracker = new PoisonTracker();
    const fault = call(237, 0x50, 700, [recovering, failed]);
    assert.equal(tracker.rootOf(fault), null);
    tracker.note(fault);
    const victim = { ...call(5, 0x30, 201, [], 11) };
    assert.equal(tracker.rootOf(victim)?.requestId, 237);
    tracker.note({ ...victim, lines: [{ ...recovering, owner: 11 * 2 ** 24 + 5 }, failed] });
    assert.equal(tracker.rootOf(call(6, 0x26, 709, [], 11))?.vmId, 10);
    tracker.restart();
    assert.equal(tracker.rootOf(victim), null);
  });

  it("takes a fault for healed once the GPU worked again", () => {
    const tracker = new PoisonTracker();
    tracker.note(call(237, 0x50, 700, [recovering]));
    tracker.note(call(240, 0x30, 0, [worked], 11));
    assert.equal(tracker.rootOf(call(250, 0x30, 201, [], 11)), null);
  });

  it("blames no fault for an error that has its own reason", () => {
    const tracker = new PoisonTracker();
    tracker.note(call(237, 0x50, 700, [recovering, failed]));
    assert.equal(tracker.rootOf(call(238, 0x40, 218)), null);
  });
});

describe("R13, matrix products", () => {
  it("does not take status 0 for success", () => {
    assert.equal(gemmOutcome(call(1, 0xb5, 0)), "ok");
    assert.equal(
      gemmOutcome(call(1, 0xb5, 0, [{ kind: "blas-mapping-failed", owner: 9, op: "cublasGemmEx" }])),
      "failed",
    );
    assert.equal(
      gemmOutcome(call(1, 0xb5, 0, [{ kind: "blas-result", owner: 9, op: "cublasGemmEx", rc: 13 }])),
      "failed",
    );
  });

  it("knows nothing of products whose failures print nothing", () => {
    assert.equal(gemmOutcome(call(1, 0xb4, 0)), "unknown");
    assert.equal(gemmOutcome(call(1, 0xba, 0)), "unknown");
  });
});

describe("R14, self-tests", () => {
  it("knows them by a number that no process has", () => {
    assert.equal(isProbe(0x80_d1a6), true);
    assert.equal(isProbe(4_194_304), false);
  });
});
