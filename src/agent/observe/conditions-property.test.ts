import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CauseId, Finding } from "../../checks/finding.ts";
import { CHECKS } from "../../checks/registry.ts";
import type { Condition } from "../../report/wire/condition.ts";
import { endsWithMediator, ruleOf } from "./condition-rules.ts";
import { conditionStateSchema, type ProcessKey } from "./condition-state.ts";
import { ConditionTracker } from "./conditions.ts";

const VISIBLE_MS = 10_000;
const CLEAR_MS = 60_000;
const OPTIONS = {
  visibleMs: VISIBLE_MS,
  clearMs: CLEAR_MS,
  mostGapMs: 30_000,
  checks: new Set(CHECKS.map(({ name }) => name)),
};
const WATCHED: readonly (readonly [string, CauseId])[] = [
  ["pci-device", "VG-P04"],
  ["discovery", "VG-O01"],
  ["transport-errors", "VG-C07"],
  ["shim-files", "VG-L14"],
];

type Step =
  | { readonly do: "look"; readonly ms: number; readonly jumpMs: number; readonly says: readonly Word[] }
  | { readonly do: "reboot" | "restart server" | "stop server" | "new mediator" | "restart agent" };
type Word = "pass" | "fail" | "unknown" | "not-run" | "stale";

const word = fc.constantFrom<Word>("pass", "pass", "pass", "fail", "fail", "fail", "unknown", "not-run", "stale");
const look = fc.record({
  do: fc.constant("look" as const),
  ms: fc.constantFrom(1000, 5000, 5000, 20_000, 25_000, 120_000),
  jumpMs: fc.constantFrom(0, 0, 0, 3_600_000, -3_600_000),
  says: fc.array(word, { minLength: WATCHED.length, maxLength: WATCHED.length }),
});
/** Runs of the same word: single ones hardly ever hold for a time. */
const run = fc.tuple(look, fc.integer({ min: 1, max: 20 })).map(([one, times]) => Array<Step>(times).fill(one));
const event = fc
  .constantFrom("reboot", "restart server", "stop server", "new mediator", "restart agent")
  .map((what) => [{ do: what } as const]);
const history = fc
  .array(fc.oneof({ weight: 6, arbitrary: run }, { weight: 1, arbitrary: event }), { maxLength: 40 })
  .map((parts) => parts.flat());

const findingOf = (check: string, cause: CauseId, says: Exclude<Word, "stale">, serial: number): Finding => ({
  check,
  title: check,
  hop: null,
  outcome: says,
  cause: says === "fail" ? cause : null,
  message: `${check} ${says}`,
  // A new mediator has new errors, in the same words.
  evidence: says === "pass" || says === "fail" ? [{ source: "log", locator: "test", text: "", at: serial }] : [],
  because: [],
  durationMs: 0,
});

/** What has to be so when a document is said, kept apart from how the tracker works it out. */
class Truth {
  readonly open = new Map<string, Condition>();
  /** By check: time without a break that it failed or passed, as the steps told. */
  readonly failedMs = new Map<string, number>();
  readonly passedMs = new Map<string, number>();
  rebooted = false;
  serverEnded = false;
  newMediator = false;

  take(said: readonly Condition[]): void {
    for (const one of said) {
      const known = this.open.get(one.id);
      if (one.state === "open") {
        assert.equal(known, undefined, `${one.id} opened twice`);
        this.open.set(one.id, one);
        if (one.outcome === "fail" && !one.message.startsWith("comes and goes")) {
          assert.ok((this.failedMs.get(one.check) ?? 0) >= VISIBLE_MS, `${one.id} opened too early`);
        }
        continue;
      }
      assert.ok(known !== undefined, `${one.id} closed and was not open`);
      assert.equal(known.boot_id, one.boot_id);
      assert.equal(known.since, one.since);
      this.open.delete(one.id);
      this.#justified(one);
    }
  }

  #justified(one: Condition): void {
    const { boundTo } = ruleOf(one.check, one.cause);
    const reasons: Readonly<Record<string, boolean>> = {
      recovered: one.outcome !== "fail" || (this.passedMs.get(one.check) ?? 0) >= CLEAR_MS,
      reboot: this.rebooted && boundTo !== "machine",
      "process-ended": this.serverEnded && boundTo === "process",
      "mediator-restarted": this.newMediator && endsWithMediator(causeOf(one)),
    };
    assert.equal(reasons[one.ended_by ?? ""], true, `${one.id} ended by ${one.ended_by}`);
  }
}

function causeOf(one: Condition): CauseId | null {
  return WATCHED.find(([, cause]) => cause === one.cause)?.[1] ?? null;
}

test("whatever happens, a condition opens and closes in turn, each for a reason that was there", () => {
  fc.assert(
    fc.property(history, (steps) => {
      let tracker = new ConditionTracker(OPTIONS);
      const truth = new Truth();
      let [mono, at, boot, pid, epoch] = [1_000_000, 1_770_000_000_000, 1, 100, 1];
      let server: ProcessKey | null = { pid, startTicks: 1 };
      const restart = () => {
        tracker = new ConditionTracker(
          OPTIONS,
          conditionStateSchema.parse(JSON.parse(JSON.stringify(tracker.state()))),
        );
        truth.failedMs.clear();
        truth.passedMs.clear();
      };
      for (const step of steps) {
        if (step.do === "look") {
          mono += step.ms;
          at += step.ms + step.jumpMs;
          const findings: Finding[] = [];
          const asOf = new Map<string, number>();
          for (const [index, [check, cause]] of WATCHED.entries()) {
            const says = step.says[index] ?? "stale";
            if (says === "stale") continue;
            asOf.set(check, mono);
            findings.push(findingOf(check, cause, says, epoch));
          }
          for (const [index, [check]] of WATCHED.entries()) count(truth, check, step.says[index] ?? "stale", mono);
          truth.take(
            tracker.observe({
              at,
              bootId: `boot ${boot}`,
              agent: { pid: 1, startTicks: 1 },
              findings,
              asOf,
              processes: server === null ? [] : [server],
              server,
              monotonic: mono,
              mediator: { series: "0123456789abcdef", run: epoch, beganAt: mono - step.ms + 1 },
            }),
          );
          [truth.rebooted, truth.serverEnded, truth.newMediator] = [false, false, false];
          continue;
        }
        switch (step.do) {
          case "reboot":
            boot += 1;
            mono = 1000;
            truth.rebooted = true;
            truth.serverEnded = true;
            restart();
            server = { pid, startTicks: boot };
            break;
          case "restart server":
            pid += 1;
            truth.serverEnded = true;
            server = { pid, startTicks: mono };
            break;
          case "stop server":
            truth.serverEnded = true;
            server = null;
            break;
          case "new mediator":
            epoch += 1;
            truth.newMediator = true;
            break;
          case "restart agent":
            restart();
            break;
        }
      }
      const stillOpen = tracker.state().open.map(({ id }) => id);
      assert.deepEqual(stillOpen.sort(), [...truth.open.keys()].sort());
    }),
    { numRuns: 1500 },
  );
});

const lastSeen = new WeakMap<Truth, Map<string, { readonly word: Word; readonly mono: number }>>();

/** Adds up the time between two looks that saw the same, where they lie close together. */
function count(truth: Truth, check: string, says: Word, mono: number): void {
  if (says === "stale") return;
  const seen = lastSeen.get(truth) ?? new Map();
  lastSeen.set(truth, seen);
  const last = seen.get(check);
  seen.set(check, { word: says, mono });
  const passed = last !== undefined && last.word === says ? mono - last.mono : -1;
  const goesOn = passed >= 0 && passed <= OPTIONS.mostGapMs;
  for (const [word, times] of [
    ["fail", truth.failedMs],
    ["pass", truth.passedMs],
  ] as const) {
    times.set(check, says === word && goesOn ? (times.get(check) ?? 0) + passed : 0);
  }
}
