import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import fc from "fast-check";
import { counted, request, trace, WINDOW, WORK } from "../../test/fixtures/calls.ts";
import {
  healthy,
  idle,
  life,
  line,
  log,
  logLedger,
  NOW,
  notMapped,
  process,
  runner,
  running,
} from "../../test/fixtures/facts.ts";
import { type Case, judged, testCases, worst } from "../../test/fixtures/said.ts";
import type { Facts } from "../facts/facts.ts";
import type { RequestSeen } from "../facts/log.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { liveCalls } from "./live-calls.ts";

const withRequests = (requests: readonly RequestSeen[], changes: Partial<Facts> = {}): Facts =>
  healthy({ log: wasRead(log([life({ requests })])), ...changes });
/** A request that was answered while nothing was launched, with something changed. */
const asked = (changes: Partial<Facts> = {}, requests: readonly RequestSeen[] = [request()]): Facts =>
  withRequests(requests, { trace: trace([]), ...changes });
const failing = (rc: number) => trace([...WORK, counted(0x50, { [rc]: 3 })]);
const REFUTED = "fail VG-O12";

/** Calls that come with a start of the CUDA back end and compute nothing: connecting, device queries. */
const CONNECTING = [counted(0x0001, { 0: 1 }), counted(0x00f0, { 0: 1 }), counted(0x003b, { 0: 4 })];

const CASES: readonly Case[] = [
  ["nobody asked for a count", healthy(), "info"],
  ["the kernel does not let us count", healthy({ trace: notRead("denied", "it takes root") }), "unknown"],
  ["launches and copies came back with 0", healthy({ trace: trace() }), "pass"],
  [
    "matrix products alone compute too",
    healthy({ trace: trace(WORK.filter(({ callId }) => callId !== 0x50)) }),
    "pass",
  ],
  ["with a partial coverage what was seen was seen", healthy({ trace: trace(WORK, { coverage: "partial" }) }), "pass"],
  ["by tracefs", healthy({ trace: trace(WORK, { source: "tracefs" }) }), "pass"],
  ["a ledger of a journal", healthy({ trace: trace(WORK, { source: "journal" }) }), "unknown"],
  ["a ledger of a file", healthy({ trace: trace(WORK, { source: "file" }) }), "unknown"],
  ["no library was probed", healthy({ trace: trace([], { coverage: "none" }) }), "unknown"],
  ["launches without a copy in", healthy({ trace: trace(WORK.filter(({ callId }) => callId !== 0x3c)) }), "unknown"],
  ["launches without a copy out", healthy({ trace: trace(WORK.filter(({ callId }) => callId !== 0x33)) }), "unknown"],
  ["copies without a launch, and no request", healthy({ trace: trace([counted(0x3c, { 0: 1 })]) }), "info"],
  [
    "launches that have not come back",
    healthy({ trace: trace([{ ...counted(0x50, {}), count: 3 }, counted(0x3c, { 0: 1 }), counted(0x33, { 0: 1 })]) }),
    "unknown",
  ],
  [
    "launches whose returns are not seen",
    healthy({ trace: trace(WORK.map((call) => ({ ...call, returned: null, results: null }))) }),
    "unknown",
  ],
  [
    "a program outside of the workload works",
    healthy({ trace: trace(WORK, {}, { workload: [1187], others: [1203] }) }),
    "info",
  ],
  ["a process that nobody knows works", healthy({ trace: trace(WORK, {}, { workload: [1187] }) }), "info"],
  [
    "launches and copies of different processes",
    healthy({
      workload: running(process(), runner(), runner({ pid: 1300, nsPid: 1300 })),
      trace: trace(
        [counted(0x50, { 0: 5 }, 1300), counted(0x3c, { 0: 5 }), counted(0x33, { 0: 5 })],
        {},
        { workload: [1187, 1203, 1300] },
      ),
    }),
    "unknown",
  ],
  [
    "a process with a library of that name and no device",
    healthy({ workload: running(process(), notMapped()), trace: trace() }),
    "unknown",
  ],
  ["a runner that worked and has ended", healthy({ workload: running(process()), trace: trace() }), "unknown"],
  ["an illegal address among good launches", healthy({ trace: failing(700) }), "fail VG-X02"],
  ["a kernel without an image", healthy({ trace: failing(209) }), "fail VG-X01"],
  ["a context that something else broke", healthy({ trace: failing(201) }), "fail VG-H06"],
  ["an address of the wrong space", healthy({ trace: failing(716) }), "fail VG-X03"],
  ["a program that the driver cannot compile", healthy({ trace: failing(218) }), "fail VG-X16"],
  ["another result", healthy({ trace: failing(1) }), "fail VG-X17"],
  ["a call that the host does not have", healthy({ trace: failing(801) }), "warn VG-X14"],
  ["a failed transport names no cause", healthy({ trace: failing(999) }), "fail"],
  ["2 may be a failed transport too", healthy({ trace: failing(2) }), "fail"],
  ["a copy that failed", healthy({ trace: trace([...WORK, counted(0x33, { 700: 1 })]) }), "fail VG-X02"],
  [
    "a failed call that neither computes nor copies",
    healthy({ trace: trace([...WORK, counted(0x44, { 500: 1 })]) }),
    "pass",
  ],
  [
    "another program's failure",
    healthy({ trace: trace([...WORK, counted(0x50, { 700: 1 }, 4711)], {}, { others: [4711] }) }),
    "pass",
  ],
  ["no request and no launch", healthy({ trace: trace([]) }), "info"],
  ["a request was answered and nothing was launched", asked(), REFUTED],
  ["the same by tracefs", asked({ trace: trace([], { source: "tracefs" }) }), REFUTED],
  ["the same with calls that only connect", asked({ trace: trace(CONNECTING) }), REFUTED],
  [
    "the same beside another program that works",
    asked({ trace: trace([counted(0x50, { 0: 9 }, 4711)], {}, { others: [4711] }) }),
    REFUTED,
  ],
  [
    "one such request beside others that do not count",
    asked({}, [request({ status: 500 }), request({}, WINDOW.from + 200), request()]),
    REFUTED,
  ],
];

testCases(liveCalls, CASES);

describe("a request without a launch refutes nothing when", () => {
  const blocked: readonly (readonly [why: string, facts: Facts, said: RegExp])[] = [
    [
      "the coverage is partial",
      asked({ trace: trace([], { coverage: "partial", gaps: ["x was mapped while counting"] }) }),
      /not whole: x was mapped/,
    ],
    ["the lines of a journal were counted", asked({ trace: trace([], { source: "journal" }) }), /forged/],
    ["the processes are not known", asked({ workload: notRead("timed-out", "late") }), /late/],
    ["no process is the workload's", asked({ trace: trace([], {}, { workload: [] }) }), /no process is known/],
    [
      "a process had ended whose launches may be the workload's",
      asked({ trace: trace([counted(0x50, { 0: 1 }, 1999)]) }),
      /pid 1999, which had ended/,
    ],
    ["a call's id is not known", asked({ trace: trace([counted(0x0123, { 0: 1 })]) }), /0x0123/],
    ["a model may only have been loaded", asked({ trace: trace([counted(0x3c, { 0: 1 })]) }), /loaded a model/],
    ["memory was asked for", asked({ trace: trace([counted(0x30, { 0: 1 })]) }), /loaded a model/],
    ["all were answered at once", asked({}, [request({ durationMs: 40 })]), /less than 0\.2 s/],
    [
      "a process of the workload uses a library without a probe",
      asked({ trace: trace([], { processes: [] }) }),
      /without a probe/,
    ],
    [
      "the mappings of a process of the workload are not known",
      asked({
        workload: running(process(), runner(), process({ pid: 1300, maps: notRead("denied", "x") })),
        trace: trace([], {}, { workload: [1187, 1203, 1300] }),
      }),
      /mappings of/,
    ],
    ["it began before the count", asked({}, [request({}, WINDOW.from + 900)]), /no request that began/],
    ["it began as the probes were put in place", asked({}, [request({}, WINDOW.from + 1100)]), /no request that began/],
    ["it ended after the count", asked({}, [request({}, WINDOW.to + 1)]), /no request that began/],
    ["it failed", asked({}, [request({ status: 500 })]), /no request that began/],
    ["it was refused", asked({}, [request({ status: 404 })]), /no request that began/],
    ["its duration is not known", asked({}, [request({ durationMs: null })]), /no request that began/],
    ["its time is not known", asked({}, [{ ...request(), sample: line("[GIN]", null) }]), /no request that began/],
    [
      "its line is of an earlier server",
      asked({ log: wasRead(log([life({ invocationId: "old", requests: [request()] }), life()])) }),
      /no request that began/,
    ],
    ["the log was not read", asked({ log: notRead("denied", "x") }), /no request that began/],
    [
      "whole seconds of a file leave open when it began",
      asked({}, [
        { ...request(), sample: { ...line("[GIN]", WINDOW.from + 1800), locator: "/var/log/ollama.log:10" } },
      ]),
      /no request that began/,
    ],
    [
      "a minute and more is cut to whole seconds",
      asked({ trace: trace([], { from: NOW - 62_000 }) }, [request({ durationMs: 61_000 }, NOW - 500)]),
      /no request that began/,
    ],
  ];
  for (const [why, facts, said] of blocked) {
    it(why, () => {
      const { verdict } = judged(facts);
      assert.notEqual(worst(liveCalls, facts), REFUTED);
      assert.match(
        liveCalls
          .judge(facts)
          .map(({ message }) => message)
          .join("\n"),
        said,
      );
      assert.ok(!verdict.refuted.includes("executing"));
      assert.notEqual(verdict.rung, "executing");
    });
  }
});

describe("a launch proves nothing of the workload when", () => {
  it("lines of a log are all there is, whatever they say", () => {
    const results = fc.constantFrom<Record<string, number>>({ 0: 5 }, {}, { 0: 1, 700: 2 });
    const call = fc
      .tuple(fc.constantFrom(0x50, 0xb5, 0x32, 0x33, 0x3c, 0x30), results)
      .map(([id, came]) => counted(id, came));
    const requests = fc.array(
      fc.record({
        status: fc.constantFrom(200, 500),
        durationMs: fc.constantFrom(null, 1, 1000),
        at: fc.integer({ min: WINDOW.from - 5000, max: WINDOW.to + 5000 }),
      }),
      { maxLength: 5 },
    );
    const anyLog = fc.record({
      requests,
      answered: fc.boolean(),
      calls: fc.array(call, { maxLength: 6 }),
      coverage: fc.constantFrom("full" as const, "partial" as const, "none" as const),
      source: fc.constantFrom("journal" as const, "file" as const),
      callsDone: fc.nat(),
      /** The same calls as if they had been asked for with --live. */
      claimed: fc.boolean(),
    });
    fc.assert(
      fc.property(anyLog, fc.constantFrom(healthy, idle), (said, base) => {
        const seen = said.requests.map(({ at, ...rest }) => request(rest, at));
        const changes = {
          requests: seen,
          processes: life().processes.map((one) => ({
            ...one,
            callsDone: said.callsDone,
            answered: said.answered ? one.answered : null,
          })),
        };
        const { calls, coverage, source } = said;
        const facts = base({
          log: wasRead(log([life(changes)], { coverage })),
          ledger: wasRead(logLedger({ calls, coverage, source })),
          ...(said.claimed ? { trace: trace(calls, { coverage, source }) } : {}),
        });
        const { verdict } = judged(facts);
        assert.notEqual(verdict.rung, "executing");
        assert.equal(verdict.evidence, null);
        assert.ok(!verdict.refuted.includes("executing"));
      }),
      { numRuns: 300 },
    );
  });
});

test("the message of a pass says who, what, how often and in what time", () => {
  const [said] = liveCalls.judge(healthy({ trace: trace() }));
  assert.equal(
    said?.message,
    "model-runner (pid 1203): 790 launches, 20 copies in and 10 copies out came back with 0 in 10.0 s",
  );
  assert.match(said?.evidence[0]?.text ?? "", /^cuLaunchKernel 0x0050: 700 begun, came back 700 with 0$/);
});

test("the refutation names the requests and the calls of other programs", () => {
  const [said] = liveCalls.judge(asked({ trace: trace([counted(0x50, { 0: 9 }, 4711)], {}, { others: [4711] }) }));
  assert.match(
    said?.message ?? "",
    /^1 request was answered within the 10\.0 s .* launched no kernel; those of pid 4711/,
  );
  assert.ok(said?.evidence.some(({ source }) => source === "log"));
});
