import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { GuestProcess } from "../src/host/match/guest-evidence.ts";
import { guestEvidenceSchema } from "../src/host/match/guest-evidence-schema.ts";
import { HostState } from "../src/host/match/host-state.ts";
import { match } from "../src/host/match/matcher.ts";
import type { Pair } from "../src/host/match/operations.ts";
import type { MatchResult } from "../src/host/match/result.ts";
import { matchResultSchema } from "../src/host/match/result-schema.ts";
import { LogFeed } from "../src/host/mediator-log/feed.ts";
import { isTrue, type KnownProcess, knownEvidence, partOf, type Watched } from "./fixtures/match-evidence.ts";
import { lossyScenario } from "./fixtures/match-lossy.ts";
import type { Generation, TrueOperation } from "./fixtures/mediator-log.ts";
import { mediatorScenario, type Scenario } from "./fixtures/mediator-scenario.ts";

const VMS = 4;
const FOUR: readonly TrueOperation["kind"][] = ["alloc", "copy-in", "copy-in-async", "copy-out", "launch", "gemm"];

function hostOf(bytes: Buffer): HostState {
  const host = new HostState();
  let epochs = 0;
  const feed = new LogFeed({ log: 0, emit: host.add, nextEpoch: () => epochs++, chunkBytes: 65_536 });
  feed.push(bytes);
  feed.finish();
  return host;
}

interface Tally {
  exact: number;
  wrongExact: Pair[];
  strong: number;
  wrongStrong: number;
  /** Of the operations that the evidence has one by one: how many there are, and how many were found and how surely. */
  total: number;
  found: number;
  foundStrong: number;
  results: MatchResult[];
}

/** Changes what the two sides have, before they are matched. */
interface Damage {
  readonly log?: (bytes: Buffer) => Buffer;
  readonly guest?: (known: KnownProcess) => KnownProcess;
}

function tallyOf(
  seed: number,
  watched: Watched,
  generation: Generation,
  trouble: boolean,
  operations = 400,
  damage: Damage = {},
): Tally {
  return tally(mediatorScenario({ seed, operations, vms: VMS, trouble, generation, chunk: 65_536 }), watched, damage);
}

function tally({ bytes, operations }: Scenario, watched: Watched, { log, guest }: Damage = {}): Tally {
  const host = hostOf(log === undefined ? bytes : log(bytes));
  const tally: Tally = {
    exact: 0,
    wrongExact: [],
    strong: 0,
    wrongStrong: 0,
    total: 0,
    found: 0,
    foundStrong: 0,
    results: [],
  };
  for (const vmId of new Set(operations.map((operation) => operation.vmId))) {
    const whole = knownEvidence(operations, vmId, watched);
    const processes = guest === undefined ? whole.processes : whole.processes.map(guest);
    const evidence = { ...whole.evidence, processes: processes.map((process) => process.guest) };
    const known = new Map<GuestProcess, KnownProcess>(processes.map((process) => [process.guest, process]));
    const seen = new Map<KnownProcess, Map<number, Pair["level"]>>();
    const onPair = (of: GuestProcess, pair: Pair): void => {
      const process = known.get(of);
      assert.ok(process !== undefined);
      const right = isTrue(pair, process);
      const levels = seen.get(process) ?? new Map<number, Pair["level"]>();
      if (levels.get(pair.first) !== "EXACT") levels.set(pair.first, pair.level);
      seen.set(process, levels);
      if (pair.level === "EXACT") tally.exact += 1;
      if (pair.level === "EXACT" && !right) tally.wrongExact.push(pair);
      if (pair.level === "STRONG") tally.strong += 1;
      if (pair.level === "STRONG" && !right) tally.wrongStrong += 1;
    };
    assert.equal(guestEvidenceSchema.safeParse(evidence).success, true);
    tally.results.push(match(evidence, vmId, host, { onPair }).result);
    for (const process of processes) {
      for (const { requests } of wanted(process, watched)) {
        const level = seen.get(process)?.get(requests?.[0] ?? -1);
        tally.total += 1;
        if (level === "EXACT") tally.found += 1;
        if (level === "STRONG") tally.foundStrong += 1;
      }
    }
  }
  return tally;
}

/** Operations that the host answered, of those that this evidence tells one by one. */
function wanted({ operations, allocations, copies }: KnownProcess, watched: Watched): readonly TrueOperation[] {
  const told = watched === "lines" ? [...allocations, ...copies] : operations.filter(({ kind }) => FOUR.includes(kind));
  return told.filter(
    ({ answered, bytes, kind, outcome }) =>
      answered > 0 && (bytes > 0 || !kind.startsWith("copy")) && (outcome === "done" || watched === "debug"),
  );
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 - 1 });
const watchings = fc.constantFrom<Watched>("debug", "lines", "counts");

const percent = (part: number, of: number): string => `${((100 * part) / of).toFixed(1)} %`;

describe("matching what is known to be true", () => {
  it("never calls a wrong match EXACT, whatever happens on the host", () => {
    fc.assert(
      fc.property(seeds, watchings, fc.boolean(), (seed, watched, trouble) => {
        const { wrongExact } = tallyOf(seed, watched, "current", trouble);
        assert.deepEqual(wrongExact, []);
      }),
      { numRuns: 150 },
    );
  });

  it("never does so of a part of the guest's evidence, nor of a log that begins late or ends early", () => {
    const share = fc.integer({ min: 0, max: 100 });
    fc.assert(
      fc.property(
        seeds,
        fc.constantFrom<Watched>("debug", "lines"),
        share,
        share,
        share,
        share,
        (seed, watched, a, b, c, d) => {
          const part = (from: number, to: number, length: number) =>
            [Math.floor((length * Math.min(from, to)) / 100), Math.ceil((length * Math.max(from, to)) / 100)] as const;
          const { wrongExact } = tallyOf(seed, watched, "current", true, 250, {
            guest: (known) => partOf(known, ...part(a, b, known.operations.length)),
            log: (bytes) => bytes.subarray(...part(c, d, bytes.length)),
          });
          assert.deepEqual(wrongExact, []);
        },
      ),
      // Once wrong: a pid that was used again, with one life's start and the other one's end cut off; and two lives with one
      // pid and the same first calls, in a log that ends before they begin to differ; and two processes with one pid at once.
      {
        numRuns: 150,
        examples: [
          [145_143_034, "debug", 0, 76, 59, 34],
          [1_532_819_537, "debug", 67, 0, 0, 74],
          [30, "debug", 24, 0, 31, 63],
          [30, "debug", 28, 0, 52, 31],
          [871_900_593, "debug", 36, 0, 0, 25],
        ],
      },
    );
  });

  it("never does so where doorbells were lost, and still finds most", (t) => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 5, max: 200 }), (seed, steps) => {
        assert.deepEqual(tally(lossyScenario(seed, steps), "debug").wrongExact, []);
        const cut = tally(lossyScenario(seed, steps), "debug", {
          guest: (known) => partOf(known, 3, known.operations.length),
        });
        assert.deepEqual(cut.wrongExact, []);
      }),
      { numRuns: 150 },
    );
    const tallies = Array.from({ length: 20 }, (_, seed) => tally(lossyScenario(seed, 150), "debug"));
    const [found, total] = [
      tallies.reduce((sum, one) => sum + one.found, 0),
      tallies.reduce((sum, one) => sum + one.total, 0),
    ];
    t.diagnostic(`lost doorbells: of ${total} operations ${percent(found, total)} EXACT`);
    assert.ok(found > 0.9 * total);
  });

  it("calls nothing EXACT that is of a build without owners or terminators", () => {
    fc.assert(
      fc.property(
        seeds,
        watchings,
        fc.constantFrom<Generation>("plain-owner", "no-terminators"),
        (seed, watched, generation) => {
          const { exact } = tallyOf(seed, watched, generation, true, 200);
          assert.equal(exact, 0);
        },
      ),
      { numRuns: 20 },
    );
  });

  it("finds nearly every round trip of a quiet host one by one, and most of a troubled one", (t) => {
    const share = (watched: Watched, trouble: boolean) => {
      const tallies = Array.from({ length: 12 }, (_, seed) => tallyOf(seed + 100, watched, "current", trouble));
      const sum = (pick: (tally: Tally) => number) => tallies.reduce((total, tally) => total + pick(tally), 0);
      const [found, strong, total] = [sum((one) => one.found), sum((one) => one.foundStrong), sum((one) => one.total)];
      const wrong = sum(({ wrongStrong }) => wrongStrong);
      const host = trouble ? "faults, refusals, restarts" : "quiet";
      t.diagnostic(
        `${watched}, ${host}: of ${total} operations ${percent(found, total)} EXACT, ${percent(strong, total)} STRONG; wrong STRONG pairs: ${wrong}`,
      );
      return { exact: found / total, any: (found + strong) / total, wrong };
    };
    assert.ok(share("debug", false).exact > 0.95);
    const lines = share("lines", false);
    assert.ok(lines.any > 0.95);
    assert.equal(lines.wrong, 0);
    assert.ok(share("debug", true).exact > 0.5);
    share("lines", true);
  });

  it("gives results that fit the published schema, and name no other VM", () => {
    fc.assert(
      fc.property(seeds, watchings, (seed, watched) => {
        for (const result of tallyOf(seed, watched, "current", true, 150).results) {
          assert.deepEqual(matchResultSchema.parse(JSON.parse(JSON.stringify(result))), result);
        }
      }),
      { numRuns: 15 },
    );
  });
});
