import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type GuestProcess, noEvidence } from "../src/host/match/guest-evidence.ts";
import { guestEvidenceSchema } from "../src/host/match/guest-evidence-schema.ts";
import { match } from "../src/host/match/matcher.ts";
import type { Pair } from "../src/host/match/operations.ts";
import type { MatchResult, OperationName } from "../src/host/match/result.ts";
import { matchResultSchema } from "../src/host/match/result-schema.ts";
import { evidenceOfTrace, mergeEvidence } from "../src/host/match/trace-evidence.ts";
import { isTrue, type KnownProcess, knownEvidence, type Watched } from "./fixtures/match-evidence.ts";
import {
  followed,
  isIn,
  START,
  type TimedOperation,
  type TimedScenario,
  type TrueWindow,
  timedScenario,
  traceOf,
} from "./fixtures/match-windows.ts";
import type { Generation, TrueOperation } from "./fixtures/mediator-log.ts";

const GROUPS: Readonly<Record<OperationName, readonly TrueOperation["kind"][]>> = {
  alloc: ["alloc"],
  "copy-in": ["copy-in", "copy-in-async"],
  launch: ["launch", "gemm"],
  "copy-out": ["copy-out"],
};

interface Run {
  readonly seed: number;
  readonly trouble: boolean;
  readonly generation: Generation;
  /** Of the scenario's time: where the window begins, and where reading does, in percent. */
  readonly start: number;
  readonly reading: number;
  readonly lengthMs: number;
  readonly errorMs: number;
  /** How wrong the measured offset is, in percent of the error that is told. */
  readonly wrong: number;
  readonly pollMs: number;
  readonly operations?: number;
  /** When a part of the log is lost before it is read, in percent of the scenario's time; null: nothing is. */
  readonly lostAt?: number | null;
  /** What the log of the same processes tells beside the counts; null: there is none. */
  readonly lines?: Exclude<Watched, "counts"> | null;
}

interface Seen {
  readonly vmId: number;
  readonly window: TrueWindow;
  readonly result: MatchResult;
  readonly mine: readonly TimedOperation[];
  /** All that was written was read. */
  readonly isWhole: boolean;
  /** Single matches, and those of them that are called EXACT and are wrong. */
  readonly exact: number;
  readonly wrong: readonly Pair[];
}

const OFFSET = 34_567;

function run(one: Run, scenario: TimedScenario = scenarioOf(one)): Seen[] {
  const length = scenario.end - START;
  const from = START + Math.floor((length * one.start) / 100);
  const window = { from, to: Math.min(from + one.lengthMs, scenario.end) };
  const lostFrom = START + Math.floor((length * (one.lostAt ?? 0)) / 100);
  const host = followed(scenario, {
    since: START + Math.floor((length * one.reading) / 100),
    pollMs: one.pollMs,
    ...(one.lostAt == null ? {} : { lost: [lostFrom, lostFrom + 4000] as const }),
  });
  const measured = OFFSET + (one.errorMs * one.wrong) / 100;
  return [...new Set(scenario.operations.map(({ vmId }) => vmId))].map((vmId) => {
    const trace = traceOf(scenario, vmId, window, OFFSET);
    const clock = { offsetMs: measured, errorMs: one.errorMs };
    const evidence = evidenceOfTrace(trace, { vmId, bootId: null, clock });
    assert.deepEqual(guestEvidenceSchema.parse(evidence), evidence);
    const told = toldBy(one.lines ?? null, scenario, vmId, window);
    const logs = { ...noEvidence(vmId), processes: [...told.values()].map(({ guest }) => guest) };
    let exact = 0;
    const wrong: Pair[] = [];
    const onPair = ({ pid }: GuestProcess, pair: Pair): void => {
      const known = told.get(pid ?? 0);
      if (pair.level !== "EXACT" || known === undefined) return;
      exact += 1;
      if (!isTrue(pair, known)) wrong.push(pair);
    };
    const { result } = match(one.lines == null ? evidence : mergeEvidence(evidence, logs), vmId, host, { onPair });
    assert.deepEqual(matchResultSchema.parse(result), result);
    return {
      vmId,
      window,
      result,
      mine: scenario.operations.filter((operation) => operation.vmId === vmId),
      isWhole: one.lostAt == null,
      exact,
      wrong,
    };
  });
}

/** The lines that the newest process of each pid had written when the window ended. */
function toldBy(
  lines: Exclude<Watched, "counts"> | null,
  { operations }: TimedScenario,
  vmId: number,
  { to }: TrueWindow,
): Map<number, KnownProcess> {
  if (lines === null) return new Map();
  const { processes } = knownEvidence(
    operations.filter(({ returned }) => returned !== null && returned <= to),
    vmId,
    lines,
  );
  return new Map(processes.map((process) => [process.guest.pid ?? 0, process]));
}

const scenarioOf = ({ seed, trouble, generation, operations = 300 }: Run): TimedScenario =>
  timedScenario({ seed, trouble, generation, operations });

/** Records of an operation that were truly written in the window, those of them that went well, and operations all of
 * whose records were. */
function truth({ mine, window }: Seen, operation: OperationName, pid: number | null) {
  const ours = mine.filter((one) => GROUPS[operation].includes(one.kind) && (pid === null || one.pid === pid));
  const records = ours.flatMap((one) => one.terminators.filter((at) => isIn(at, window)).map(() => one));
  const whole = ours.filter(({ terminators: all }) => all.length > 0 && all.every((at) => isIn(at, window)));
  return { records: records.length, good: records.filter(({ good }) => good).length, whole: whole.length };
}

/** What is said and is not so. */
function lies(seen: Seen): string[] {
  const { result, mine, window } = seen;
  const lies: string[] = seen.wrong.map((pair) => `wrong and EXACT: ${JSON.stringify(pair)}`);
  for (const { pid, operations } of result.processes) {
    for (const { operation, guest, host, good, confidence } of operations) {
      const name = `process ${pid}, ${operation}, ${confidence.level} (${confidence.reason})`;
      const { records, whole } = truth(seen, operation, pid);
      if (confidence.level === "EXACT") lies.push(`${name}: nothing of a window of counts is unique`);
      if (confidence.level === "ABSENT" && records > 0) lies.push(`${name}: ${records} were written`);
      if (confidence.level === "ABSENT" && (guest?.count ?? 0) > 0 && truth(seen, operation, pid).records > 0)
        lies.push(`${name}: it is there`);
      if (
        seen.isWhole &&
        confidence.level === "STRONG" &&
        host !== null &&
        records > (host.records ?? 0) &&
        operation !== "launch"
      )
        lies.push(`${name}: ${records} records, and it says ${host.records}`);
      const least = host?.least ?? null;
      if (host !== null && least !== null && (least.count > host.count || (least.failed ?? 0) > (host.failed ?? 0)))
        lies.push(`${name}: ${JSON.stringify(host)} is no range`);
      const isNamedByPid = result.host.has_owners && confidence.level === "STRONG";
      const most = operation.startsWith("copy") ? whole : records;
      const sure = least ?? host;
      if (isNamedByPid && seen.isWhole && sure !== null && sure.count > most)
        lies.push(`${name}: at least ${sure.count}, and there are ${most}`);
      const every = mine.filter((one) => GROUPS[operation].includes(one.kind) && one.pid === pid && one.good);
      const possible = every.flatMap(({ terminators }) => terminators.filter((at) => isIn(at, window))).length;
      const isNamed =
        !confidence.rules.includes("R0") && !result.processes.some(({ identity }) => identity.rules.includes("R0"));
      if (isNamed && confidence.level === "STRONG" && (good ?? 0) > possible)
        lies.push(`${name}: ${good} are said to be good, ${possible} are`);
    }
  }
  const { state, statement } = result.verdict;
  const ran = (operation: OperationName) => truth(seen, operation, null).good > 0;
  const isEarlier = (kinds: readonly string[]) =>
    mine.some(({ kind, good, entered }) => kinds.includes(kind) && good && entered <= window.to);
  if (state === "executing" && !(ran("launch") && ran("copy-out"))) lies.push(`executing: ${statement}`);
  if (state === "executing" && !(isEarlier(GROUPS.alloc) && isEarlier(GROUPS["copy-in"]))) lies.push(statement);
  if (state === "refuted" && !hasTrouble(seen)) lies.push(`refuted: ${statement}`);
  return lies;
}

const EDGE_MS = 1500;

/** Something went wrong in or near the window, or nothing was launched. */
function hasTrouble({ mine, window }: Seen): boolean {
  const near = { from: window.from - EDGE_MS, to: window.to + EDGE_MS };
  const touched = mine.filter(({ entered, returned }) => isIn(entered, near) || isIn(returned, near));
  return touched.some(({ good, kind, outcome }) => !good && (kind !== "synchronize" || outcome !== "done"));
}

const runs: fc.Arbitrary<Run> = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  trouble: fc.boolean(),
  generation: fc.constantFrom<Generation>("current", "current", "plain-owner"),
  start: fc.integer({ min: 0, max: 95 }),
  reading: fc.constantFrom(0, 0, 0, 30, 70),
  lengthMs: fc.integer({ min: 200, max: 20_000 }),
  errorMs: fc.constantFrom(0, 5, 50, 500),
  wrong: fc.integer({ min: -100, max: 100 }),
  pollMs: fc.constantFrom(50, 250, 1000),
  lines: fc.constantFrom("debug", "lines", null),
  lostAt: fc.option(fc.integer({ min: 1, max: 95 }), { nil: null, freq: 3 }),
});

const ONCE = {
  trouble: true,
  generation: "current",
  errorMs: 0,
  wrong: 0,
  pollMs: 50,
  lines: null,
  lostAt: null,
} as const;

/** What was said wrongly once, and of what. */
const ONCE_WRONG: readonly Run[] = [
  // A copy that began before the window, and whose records lie in it.
  { ...ONCE, trouble: false, seed: 1_962_713_122, start: 51, reading: 0, lengthMs: 200 },
  // Products of another process between two calls of this one.
  { ...ONCE, seed: 78_292_350, start: 0, reading: 0, lengthMs: 19_372 },
  // Failures of some time before the reader came.
  { ...ONCE, seed: 287_103_373, start: 26, reading: 70, lengthMs: 200 },
  // A pid that was used again, of which one process's records were lost.
  { ...ONCE, seed: 1_102_930_731, start: 58, reading: 0, lengthMs: 7272, lostAt: 86 },
  // Two processes with one pid in one window, and lines of the second.
  { ...ONCE, seed: 1_205_827_983, start: 0, reading: 0, lengthMs: 11_484, lines: "debug" },
  // A launch that failed at the window's edge, and none for certain in it.
  {
    ...ONCE,
    seed: 1_264_420_546,
    start: 3,
    reading: 30,
    lengthMs: 1595,
    lines: "debug",
    lostAt: 2,
  },
  // A hole with some of many calls that are all alike, in a log that goes on where the guest's list ends.
  { ...ONCE, seed: 1_294_488_057, start: 23, reading: 0, lengthMs: 19_622, lines: "debug", lostAt: 23 },
  // A build that names no process: its records are no process's with other pointers.
  {
    ...ONCE,
    seed: 1_686_975_361,
    generation: "plain-owner",
    start: 70,
    reading: 70,
    lengthMs: 200,
    lines: "debug",
    lostAt: 18,
  },
];

describe("a window of a followed log", () => {
  it("is never said to show what it does not, nor to lack what it has", () => {
    fc.assert(
      fc.property(runs, (one) => {
        assert.deepEqual(run(one).flatMap(lies), []);
      }),
      { numRuns: 250, examples: ONCE_WRONG.map((one): [Run] => [one]) },
    );
  });

  it("finds a warm model executing, with its allocations before the window", (t) => {
    const share = (trouble: boolean, lines: "debug" | null) => {
      let [wanted, executing, strong, operations, exact] = [0, 0, 0, 0, 0];
      for (let seed = 0; seed < 40; seed += 1) {
        const at = { start: 30, reading: 0, lengthMs: 10_000, errorMs: 5, wrong: 50, pollMs: 250 };
        const one: Run = { seed, trouble, generation: "current", ...at, operations: 500, lines };
        for (const seen of run(one)) {
          exact += seen.exact;
          for (const process of seen.result.processes) {
            for (const { guest, confidence } of process.operations) {
              if (guest === null || guest.count === 0) continue;
              operations += 1;
              if (confidence.level === "STRONG") strong += 1;
            }
          }
          if (truth(seen, "launch", null).good < 3 || truth(seen, "copy-out", null).good < 3) continue;
          wanted += 1;
          if (seen.result.verdict.state === "executing") executing += 1;
        }
      }
      const host = trouble ? "faults, refusals, restarts" : "quiet";
      t.diagnostic(
        `${host}, ${lines ?? "counts"}: of ${wanted} windows with work ${executing} executing; of ${operations} operations ${strong} STRONG; ${exact} single matches EXACT`,
      );
      assert.ok(wanted > 20);
      return { executing: executing / wanted, strong: strong / operations };
    };
    const quiet = share(false, null);
    assert.ok(quiet.executing > 0.95);
    assert.ok(quiet.strong > 0.95);
    assert.ok(share(false, "debug").executing > 0.95);
    assert.ok(share(true, null).executing > 0.5);
  });
});
