import assert from "node:assert/strict";
import { test } from "node:test";
import {
  errorSeen,
  evidenceOf,
  healthy,
  idle,
  life,
  log,
  registers,
  seen,
  shimLog,
  withShimLog,
} from "../../test/fixtures/facts.ts";
import { type Case, testCases } from "../../test/fixtures/said.ts";
import type { ShimProcessLog } from "../facts/log.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { transportErrors } from "./transport-errors.ts";

const unanswered = (changes: Partial<ShimProcessLog>) => withShimLog({ answered: null, ...changes });
/** Errors, and an answer after them. */
const mended = (code: number, count = 1) => {
  const errors = [errorSeen(code, 0x30, count)];
  return withShimLog({ transportErrors: errors, answered: seen("RECEIVED from VGPU-STUB") });
};
const NO_LOG = { log: notRead("denied", "x") };
const REFUSED = { bars: wasRead(registers({ ERROR_CODE: 3 }, 3)) };

const CASES: readonly Case[] = [
  ["calls are answered and the whole log has no error", healthy(), "pass"],
  ["the mediator cannot be reached", unanswered({ transportErrors: [errorSeen(3, 1, 9)] }), "fail VG-C07"],
  [
    "the mediator died after calls were answered",
    withShimLog({ answered: seen("GPU info (live)"), transportErrors: [errorSeen(3, 0x30)] }),
    "fail VG-C07",
  ],
  ["the mediator was away and is back", mended(3), "warn VG-C07"],
  ["a timeout", unanswered({ timeouts: [errorSeen(4, 0x30)] }), "fail VG-C05"],
  ["quarantined", unanswered({ transportErrors: [errorSeen(11, 1)] }), "fail VG-C08"],
  ["a few refusals for rate, and answers since", mended(10, 4), "warn VG-C08"],
  ["many refusals for rate, though calls are answered since", mended(10, 5), "fail VG-C08"],
  ["a request that the device does not accept", unanswered({ transportErrors: [errorSeen(1, 0x40)] }), "fail VG-C12"],
  ["the same, though other calls are answered since", mended(9), "fail VG-C12"],
  ["a CUDA error of the host is none of the transport", withShimLog({ transportErrors: [errorSeen(5, 0x30)] }), "pass"],
  [
    "without a log, the registers show a refusal of a living process",
    healthy({ ...NO_LOG, ...REFUSED }),
    "fail VG-C07",
  ],
  ["without a log, the registers show a refusal of a process that is gone", idle({ ...NO_LOG, ...REFUSED }), "unknown"],
  ["the registers' last word is of a process that is gone", idle(REFUSED), "info"],
  ["nothing was asked", idle(), "info"],
  ["no error in a log that is not whole", healthy({ log: wasRead(log([life()], { coverage: "partial" })) }), "unknown"],
  ["an empty log", healthy({ log: wasRead(log([], { coverage: "none" })) }), "unknown"],
  ["no log", healthy(NO_LOG), "unknown"],
];

testCases(transportErrors, CASES);

test("a failure that calls have outlived is marked as overcome", () => {
  assert.equal(transportErrors.judge(mended(3))[0]?.overcome, true);
  assert.equal(transportErrors.judge(mended(10, 50))[0]?.overcome, true);
  assert.equal(transportErrors.judge(unanswered({ transportErrors: [errorSeen(3, 1)] }))[0]?.overcome, undefined);
});

test("errors of an earlier server count for nothing", () => {
  const old = life({
    invocationId: "old",
    processes: [shimLog({ answered: null, transportErrors: [errorSeen(3, 1)] })],
  });
  assert.deepEqual(
    transportErrors.judge(healthy({ log: wasRead(log([old, life()])) })).map(({ outcome }) => outcome),
    ["pass"],
  );
});

test("errors of one code are one finding with their number, first and last line", () => {
  const logs = [shimLog({ answered: null, transportErrors: [errorSeen(3, 1, 4), errorSeen(3, 0x30, 5)] })];
  const [finding, ...rest] = transportErrors.judge(evidenceOf([life({ processes: logs })]));
  assert.deepEqual(rest, []);
  assert.match(finding?.message ?? "", /9 times/);
  assert.equal(finding?.evidence.length, 2);
});

test("stderr that goes to /dev/null makes the journal's silence worthless", () => {
  const facts = healthy();
  if (facts.workload.state !== "read") assert.fail();
  const processes = facts.workload.value.processes.map((one) => ({ ...one, stderr: wasRead({ to: "null" as const }) }));
  const blind = { ...facts, workload: wasRead({ ...facts.workload.value, processes }) };
  assert.deepEqual(
    transportErrors.judge(blind).map(({ outcome }) => outcome),
    ["unknown"],
  );
});
