import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { z } from "zod";
import { evidenceOfLogs } from "../src/host/match/evidence.ts";
import { guestEvidenceSchema } from "../src/host/match/guest-evidence-schema.ts";
import { HostState } from "../src/host/match/host-state.ts";
import { match } from "../src/host/match/matcher.ts";
import type { MatchResult } from "../src/host/match/result.ts";
import { StubState } from "../src/host/match/stub-log.ts";
import { readMediatorLog } from "../src/host/mediator-log/read.ts";
import { givenSources } from "../src/sensors/logs.ts";
import { CAPTURES, skipWithoutCaptures } from "./fixtures/captures.ts";

const H100 = join(CAPTURES, "h100");
const VM = 11;

const scenarioSchema = z.object({
  scenario: z.string(),
  pid: z.number(),
  allocs: z.array(z.tuple([z.number(), z.string()])),
  mediator: z.object({
    request_id_first: z.number().nullable(),
    request_id_last: z.number().nullable(),
    vm_records_in_time_window: z.number(),
    nonzero_status: z.array(z.tuple([z.number(), z.string(), z.number()])),
  }),
});
const callSchema = z.object({ call: z.string(), rc: z.number(), bytes: z.number().optional() });
type Scenario = z.infer<typeof scenarioSchema>;

/** What each of them is, by the truth that the captured program wrote down. */
const VERDICTS: Readonly<Record<string, readonly [MatchResult["verdict"]["state"], string | null]>> = {
  "S00-no-mediator": ["refuted", "VG-C07"],
  "S01-healthy-debug": ["executing", null],
  "S01b-healthy-debug-shmem": ["executing", null],
  "S01c-healthy-debug-cubin": ["executing", null],
  "S02-healthy-nodebug": ["executing", null],
  "S02b-healthy-nodebug-shmem": ["executing", null],
  "S04-oom": ["not known", "VG-H05"],
  "S04b-oom-nodebug": ["not known", "VG-H05"],
  "S14-badptx": ["not known", "VG-X16"],
  "S05-illegal": ["refuted", "VG-X02"],
  "S05b-after-illegal": ["refuted", "VG-H06"],
  "S03-bulk64-shmem": ["refuted", "VG-H06"],
  "S03b-bulk16-bar1": ["refuted", "VG-H06"],
};
const FAULT_REQUEST = 237;
const FAULT_PID = 271;
const FOUR = [
  ["alloc", "cuMemAlloc_v2"],
  ["copy-in", "cuMemcpyHtoD_v2"],
  ["launch", "cuLaunchKernel"],
  ["copy-out", "cuMemcpyDtoH_v2"],
] as const;

function scenarios(): Scenario[] {
  return z.array(scenarioSchema).parse(JSON.parse(readFileSync(join(H100, "scenarios.json"), "utf8")));
}

/** The program's own calls that came back with 0. */
function goodCalls(scenario: string, name: string): { readonly count: number; readonly bytes: number } {
  const lines = readFileSync(join(H100, "guest-vm11", scenario, "p1.gt.jsonl"), "utf8")
    .trim()
    .split("\n");
  const good = lines
    .flatMap((line) => callSchema.safeParse(JSON.parse(line)).data ?? [])
    .filter(({ call, rc }) => call === name && rc === 0);
  return { count: good.length, bytes: good.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0) };
}

describe("matching the paired evidence of a real H100", { skip: skipWithoutCaptures }, async () => {
  const host = new HostState();
  const stub = new StubState(VM);
  const results = new Map<string, MatchResult>();
  if (skipWithoutCaptures === false) {
    await readMediatorLog(join(H100, "mediator.log"), host.add);
    for (const line of readFileSync(join(H100, "qemu-stub-stderr-vm11.log"), "latin1").split("\n")) stub.add(line);
    for (const { scenario } of scenarios()) {
      const log = join(H100, "guest-vm11", scenario, "p1.stderr.log");
      const given = { journal: null, log, unit: "ollama.service", since: null, until: null };
      const sources = await givenSources(given, new AbortController().signal);
      assert.ok(sources !== null);
      const evidence = guestEvidenceSchema.parse(await evidenceOfLogs(sources));
      results.set(scenario, match(evidence, VM, host, { stub }).result);
    }
  }
  const resultOf = (scenario: string): MatchResult => {
    const result = results.get(scenario);
    assert.ok(result !== undefined);
    return result;
  };

  it("finds each process, with exactly its request ids and records", () => {
    for (const { scenario, pid, mediator } of scenarios()) {
      const [process, ...others] = resultOf(scenario).processes;
      assert.equal(others.length, 0, scenario);
      assert.equal(process?.pid, pid, scenario);
      const expected =
        mediator.request_id_first === null || mediator.request_id_last === null
          ? null
          : {
              first: mediator.request_id_first,
              last: mediator.request_id_last,
              records: mediator.vm_records_in_time_window,
            };
      assert.deepEqual(process?.requests ?? null, expected, scenario);
    }
  });

  it("counts the operations that succeeded as the program itself did", () => {
    for (const { scenario } of scenarios()) {
      for (const [operation, name] of FOUR) {
        const found = resultOf(scenario).operations.find((one) => one.operation === operation);
        const good = goodCalls(scenario, name);
        const host = found?.host ?? { count: 0, failed: 0, bytes: 0 };
        assert.equal(host.count - (host.failed ?? 0), good.count, `${scenario} ${operation}`);
        if (operation !== "launch") assert.equal(host.bytes ?? 0, good.bytes, `${scenario} ${operation} bytes`);
      }
    }
  });

  it("names the first fault of each process, and the fault that it follows from", () => {
    for (const { scenario, pid, mediator } of scenarios()) {
      const failure = resultOf(scenario).processes[0]?.first_failure ?? null;
      const [truth] = mediator.nonzero_status;
      if (truth === undefined) {
        if (scenario !== "S00-no-mediator") assert.equal(failure, null, scenario);
        continue;
      }
      const [request, call, status] = truth;
      assert.equal(failure?.request_id, request, scenario);
      assert.equal(Number.parseInt(failure?.call_id ?? "", 16), Number.parseInt(call, 16), scenario);
      assert.equal(failure?.status, status, scenario);
      const origin = failure?.origin;
      if (request > FAULT_REQUEST) {
        assert.ok(origin?.by === "this-vm", scenario);
        assert.deepEqual([origin.pid, origin.request_id], [FAULT_PID, FAULT_REQUEST], scenario);
      } else {
        assert.ok(origin?.by === "this-process", scenario);
        assert.equal(origin.request_id, request, `${scenario} of process ${pid}`);
      }
    }
  });

  it("says in the guest without a mediator that the mediator could not be reached", () => {
    const failure = resultOf("S00-no-mediator").processes[0]?.first_failure;
    assert.deepEqual([failure?.error, failure?.layer, failure?.seen_by], ["MEDIATOR_UNAVAIL", "mediator", "guest"]);
  });

  it("reaches the verdict that is true of each", () => {
    for (const { scenario } of scenarios()) {
      const { state, cause } = resultOf(scenario).verdict;
      assert.deepEqual([state, cause], VERDICTS[scenario], scenario);
    }
  });

  it("matches every operation of the healthy runs with debug lines one by one", () => {
    for (const scenario of ["S01-healthy-debug", "S01b-healthy-debug-shmem", "S01c-healthy-debug-cubin"]) {
      const levels = resultOf(scenario).operations.map(({ confidence }) => confidence.level);
      assert.deepEqual(levels, ["EXACT", "EXACT", "EXACT", "EXACT"], scenario);
      const answers = resultOf(scenario)
        .criteria.slice(0, 4)
        .map(({ answer }) => answer);
      assert.deepEqual(answers, ["proven", "proven", "proven", "proven"], scenario);
    }
  });

  it("suspects no corruption where the device took the bytes that the guest sent", () => {
    assert.equal(stub.picks.length, 6);
    for (const result of results.values()) assert.deepEqual(result.suspicions, []);
  });

  it("takes a stub that sent shared memory for a process on BAR1 for silent corruption", async () => {
    const wrong = new StubState(VM);
    wrong.add("[vgpu] vm_id=11 seq=9 PICK bulk op=0x0032 len=16384 sh_nz=1 b1_nz=1 sh0=5a b10=c3 gpa=0x3800000");
    wrong.add("[vgpu] FINAL_TX vm=11 op=0x0032 seq=9 len=16384 src=shmem first8=5a5a5a5a5a5a5a5a");
    const log = join(H100, "guest-vm11/S02-healthy-nodebug/p1.stderr.log");
    const given = { journal: null, log, unit: "ollama.service", since: null, until: null };
    const sources = await givenSources(given, new AbortController().signal);
    assert.ok(sources !== null);
    const { result } = match(await evidenceOfLogs(sources), VM, host, { stub: wrong });
    assert.deepEqual(
      result.suspicions.map(({ what }) => what),
      ["silent-corruption"],
    );
    assert.equal(result.criteria.find(({ criterion }) => criterion === "correct-results")?.answer, "not known");
  });

  it("lays the doorbells of the device's log beside the mediator's records", async () => {
    const { alignDoorbells } = await import("../src/host/match/rules/r8-doorbells.ts");
    const vm = host.vm(VM);
    assert.ok(vm !== undefined);
    const { requests, aligned } = alignDoorbells(stub.rings, vm.firstRequest, vm.lastRequest, (id) =>
      vm.records.get(id),
    );
    assert.equal(aligned, vm.lastRequest);
    // The first connection's doorbells reached no mediator, and used no request id up.
    assert.equal(requests[0], null);
    assert.equal(requests.filter((request) => request !== null).at(-1), vm.lastRequest);
  });
});

describe("a real log of a fault", { skip: skipWithoutCaptures }, () => {
  it("shows that no launch came through, and what broke it", async () => {
    const host = new HostState();
    await readMediatorLog(join(CAPTURES, "mediator/real-fault-chain.log"), host.add);
    const vm = host.vm(10);
    assert.ok(vm !== undefined);
    assert.equal(vm.calls, 149);
    assert.equal(vm.missing, 0);
    const [process] = vm.processesOf(48_771);
    assert.equal(process?.firstFailure?.requestId, 19_903);
    assert.deepEqual([process?.launches, process?.launchesFailed], [2, 2]);
    const fault = process?.failures.items.find(({ root }) => root !== null)?.root;
    assert.deepEqual([fault?.requestId, fault?.status, fault?.vmId], [19_904, 700, 10]);
  });
});
