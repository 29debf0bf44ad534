import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { z } from "zod";
import type { CallCount, TraceFacts } from "../src/facts/ledger.ts";
import { HostState } from "../src/host/match/host-state.ts";
import { match } from "../src/host/match/matcher.ts";
import type { MatchResult } from "../src/host/match/result.ts";
import { evidenceOfTrace } from "../src/host/match/trace-evidence.ts";
import { LogFeed } from "../src/host/mediator-log/feed.ts";
import { CAPTURES, skipWithoutCaptures } from "./fixtures/captures.ts";

/** Windows of a real log whose growth was timed, and what the captured programs wrote of their own calls. */

const H100 = join(CAPTURES, "h100");
const VM = 11;
/** The log's size was looked at each millisecond, or a little later. */
const LOOK_MS = 5;

const scenarioSchema = z.object({ scenario: z.string(), pid: z.number(), guest_clock_offset: z.number() });
const callSchema = z.object({
  call: z.string(),
  t0: z.number(),
  t1: z.number(),
  rc: z.number(),
  bytes: z.number().optional(),
});
type Call = z.infer<typeof callSchema>;

const CALL_IDS: Readonly<Record<string, number>> = {
  cuMemAlloc_v2: 0x30,
  cuMemcpyHtoD_v2: 0x32,
  cuMemcpyDtoH_v2: 0x33,
  cuLaunchKernel: 0x50,
};

/** The log as one who reads it at each growth has it. */
function hostOf(): HostState {
  const host = new HostState();
  const log = readFileSync(join(H100, "mediator.log"));
  let epochs = 0;
  let read = 0;
  const feed = new LogFeed({ log: 0, emit: host.add, nextEpoch: () => epochs++, chunkBytes: 65_536 });
  for (const line of readFileSync(join(H100, "mediator.log.times"), "utf8").trim().split("\n")) {
    const [seconds = 0, size = 0] = line.split(" ").map(Number);
    const now = seconds * 1000;
    feed.when = { notBefore: now - LOOK_MS, notAfter: now };
    if (size > read) feed.push(log.subarray(read, size));
    read = size;
  }
  return host;
}

function callsOf(scenario: string): Call[] {
  return readFileSync(join(H100, "guest-vm11", scenario, "p1.gt.jsonl"), "utf8")
    .trim()
    .split("\n")
    .flatMap((line) => callSchema.safeParse(JSON.parse(line)).data ?? []);
}

/** What probes would have counted of these calls in a window, seconds on the guest's clock. */
function traceOf(pid: number, calls: readonly Call[], from: number, to: number): TraceFacts {
  const isIn = (time: number): boolean => time >= from && time <= to;
  const touched = calls.filter(({ call, t0, t1 }) => CALL_IDS[call] !== undefined && (isIn(t0) || isIn(t1)));
  const counts = [...Map.groupBy(touched, ({ call }) => call)].map(([call, all]): CallCount => {
    const mine = all.filter(({ t0 }) => isIn(t0));
    const back = all.filter(({ t1 }) => isIn(t1));
    const results: Record<string, number> = {};
    for (const { rc } of back) results[rc] = (results[rc] ?? 0) + 1;
    const bytes = mine.reduce((sum, one) => sum + (one.bytes ?? 0), 0);
    return {
      pid,
      callId: CALL_IDS[call] ?? 0,
      count: mine.length,
      returned: back.length,
      bytesToHost: call === "cuMemcpyHtoD_v2" ? bytes : 0,
      bytesBack: call === "cuMemcpyDtoH_v2" ? bytes : 0,
      results,
      latency: null,
      firstAt: null,
      lastAt: null,
    };
  });
  const window = { from: from * 1000, to: to * 1000 };
  const none = { gaps: [], notes: [], dropped: 0, possibleDrops: null, debugCost: null, open: [], processes: [] };
  const ledger = { source: "ebpf", ...window, coverage: "full", ...none, calls: counts } as const;
  return { ledger, workload: [pid], others: [] };
}

describe("windows of a real H100's log", { skip: skipWithoutCaptures }, () => {
  const host = skipWithoutCaptures === false ? hostOf() : new HostState();
  const scenarios =
    skipWithoutCaptures === false
      ? z.array(scenarioSchema).parse(JSON.parse(readFileSync(join(H100, "scenarios.json"), "utf8")))
      : [];
  const result = (name: string, from: (calls: readonly Call[]) => number, errorMs = 2, after = 0): MatchResult => {
    const found = scenarios.find(({ scenario }) => scenario === name);
    assert.ok(found !== undefined);
    const calls = callsOf(name);
    const last = (calls.at(-1)?.t1 ?? 0) + after;
    const trace = traceOf(found.pid, calls, from(calls), last);
    const clock = { offsetMs: found.guest_clock_offset * 1000, errorMs };
    return match(evidenceOfTrace(trace, { vmId: VM, bootId: null, clock }), VM, host).result;
  };
  const start = (calls: readonly Call[]): number => (calls[0]?.t0 ?? 0) - 1;
  const before = (name: string) => (calls: readonly Call[]) =>
    (calls.find(({ call }) => call === name)?.t0 ?? Number.NaN) - 0.000_001;

  it("show every healthy run as executing, and say what they have of each operation", () => {
    for (const { scenario } of scenarios.filter(({ scenario }) => scenario.includes("healthy"))) {
      const { verdict, processes } = result(scenario, start, 2, 1);
      assert.equal(verdict.state, "executing", `${scenario}: ${verdict.statement}`);
      for (const { operation, guest, host: side, confidence } of processes[0]?.operations ?? []) {
        assert.equal(confidence.level, "STRONG", `${scenario}, ${operation}: ${confidence.reason}`);
        if (guest?.bytes != null) assert.equal(side?.bytes, guest.bytes, `${scenario}, ${operation}`);
      }
    }
  });

  it("never show more, or less, than was there, wherever they begin and however far the clocks are off", () => {
    const names = ["cuModuleLoadData", "cuMemcpyHtoD_v2", "cuLaunchKernel", "cuMemcpyDtoH_v2", "cuMemFree_v2"];
    for (const { scenario } of scenarios.filter(({ scenario }) => scenario.includes("healthy"))) {
      for (const name of names) {
        for (const errorMs of [0.1, 20, 2000]) {
          const { verdict, processes } = result(scenario, before(name), errorMs);
          assert.notEqual(verdict.state, "refuted", `${scenario} from ${name}: ${verdict.statement}`);
          for (const { operation, guest, confidence } of processes[0]?.operations ?? []) {
            const said = `${scenario} from ${name}, ${operation}: ${confidence.reason}`;
            assert.notEqual(confidence.level, "EXACT", said);
            if (confidence.level === "ABSENT") assert.equal(guest?.count ?? 0, 0, said);
            if ((guest?.count ?? 0) > 0) assert.equal(confidence.level, "STRONG", said);
          }
        }
      }
    }
  });

  it("refute the runs whose launches failed, with the cause that is true of each", () => {
    for (const [scenario, cause] of [
      ["S05-illegal", "VG-X02"],
      ["S05b-after-illegal", "VG-H06"],
      ["S03-bulk64-shmem", "VG-H06"],
    ] as const) {
      const { verdict } = result(scenario, start);
      assert.deepEqual([verdict.state, verdict.cause], ["refuted", cause], `${scenario}: ${verdict.statement}`);
    }
  });
});
