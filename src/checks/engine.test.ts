import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { healthy } from "../../test/fixtures/facts.ts";
import type { Check } from "./check.ts";
import { BrokenCheckGraph, runChecks, sortChecks, UnknownCheck } from "./engine.ts";
import { type CauseId, type Judgement, pass } from "./finding.ts";
import { CHECKS } from "./registry.ts";

const FACTS = healthy();
const SHOWN = [{ source: "test", locator: "here", text: "as made", at: null }];

function check(
  name: string,
  judge: () => readonly Judgement[],
  after: readonly string[] = [],
  limitMs?: number,
): Check {
  const base = { name, title: name, hop: null, after, causes: [], judge };
  return limitMs === undefined ? base : { ...base, limitMs };
}

const passes = (name: string, ...after: string[]) => check(name, () => [pass("fine", SHOWN)], after);
const fails = (name: string, cause: CauseId | null, ...after: string[]) =>
  check(name, () => [{ outcome: "fail", cause, message: "broken", evidence: SHOWN }], after);

const outcomes = (checks: readonly Check[], only: string[] = [], skip: string[] = []) =>
  runChecks(checks, FACTS, { only, skip }).map(({ check: name, outcome, because }) =>
    [name, outcome, ...because].join(" "),
  );

describe("a failed check", () => {
  it("keeps its children and grandchildren from running, and each names the cause", () => {
    const chain = [fails("a", "VG-P01"), passes("b", "a"), passes("c", "b"), passes("d", "c"), passes("free")];
    assert.deepEqual(outcomes(chain), [
      "a fail",
      "b not-run VG-P01",
      "c not-run VG-P01",
      "d not-run VG-P01",
      "free pass",
    ]);
  });

  it("is merged with other failed ancestors, each cause once", () => {
    const graph = [fails("a", "VG-P01"), fails("b", "VG-B02"), passes("c", "a"), passes("d", "b", "c", "a")];
    assert.deepEqual(outcomes(graph).at(-1), "d not-run VG-B02 VG-P01");
  });

  it("without a cause is named by itself", () => {
    const [, child] = runChecks([fails("a", null), passes("b", "a")], FACTS);
    assert.equal(child?.outcome, "not-run");
    assert.match(child?.message ?? "", /because a failed/);
  });

  it("reaches through a check that was left out", () => {
    const graph = [fails("a", "VG-P01"), passes("b", "a"), passes("c", "b")];
    assert.equal(outcomes(graph, [], ["b"]).at(-1), "c not-run VG-P01");
  });
});

it("a warning and an unknown keep nothing from running", () => {
  const warns = check("a", () => [{ outcome: "warn", cause: "VG-F03", message: "slow", evidence: SHOWN }]);
  const open = check("b", () => [{ outcome: "unknown", cause: null, message: "?", evidence: [] }]);
  assert.deepEqual(outcomes([warns, open, passes("c", "a", "b")]).at(-1), "c pass");
});

describe("a check with a bug in it costs one finding", () => {
  const crashes: readonly (readonly [string, Check])[] = [
    [
      "it throws",
      check("x", () => {
        throw new Error("no such field");
      }),
    ],
    [
      "it throws something that is no error",
      check("x", () => {
        throw "a word";
      }),
    ],
    ["it says nothing", check("x", () => [])],
    [
      "it loops for ever",
      check(
        "x",
        () => {
          for (;;);
        },
        [],
        50,
      ),
    ],
    [
      "it names a cause that does not exist",
      CHECKS[0] === undefined
        ? passes("x")
        : check("x", () => {
            throw new RangeError("VG-Q99");
          }),
    ],
  ];
  for (const [story, broken] of crashes) {
    it(story, () => {
      assert.deepEqual(outcomes([broken, passes("next", "x")]), ["x crashed", "next pass"]);
    });
  }

  it("and what was judged before it is told once", () => {
    const endless = check(
      "x",
      () => {
        for (;;);
      },
      [],
      50,
    );
    const found = outcomes([passes("before"), endless, passes("next", "x")]);
    assert.deepEqual(found, ["before pass", "x crashed", "next pass"]);
  });

  it("and with an expression that never comes to an end, the ones beside it keep what they said", () => {
    const backtracks = check("x", () => [pass(String(/^(a+)+$/.test(`${"a".repeat(64)}b`)), SHOWN)], [], 50);
    const found = outcomes([fails("before", "VG-P01"), backtracks, passes("below", "before"), passes("next", "x")]);
    assert.deepEqual(found, ["before fail", "x crashed", "below not-run VG-P01", "next pass"]);
  });

  it("is judged again only where it did not end, and the others with it", () => {
    const times = new Map<string, number>();
    const counted = (name: string, judge: () => readonly Judgement[], limitMs?: number) =>
      check(
        name,
        () => {
          times.set(name, (times.get(name) ?? 0) + 1);
          return judge();
        },
        [],
        limitMs,
      );
    const fine = () => [pass("fine", SHOWN)];
    const throws = () => {
      throw new Error("no such field");
    };
    const loops = () => {
      for (;;);
    };
    outcomes([counted("a", fine), counted("b", throws), counted("c", fine)]);
    assert.deepEqual(Object.fromEntries(times), { a: 1, b: 1, c: 1 });
    times.clear();
    outcomes([counted("a", fine), counted("b", loops, 50), counted("c", fine)]);
    assert.deepEqual(Object.fromEntries(times), { a: 2, b: 2, c: 1 });
  });

  it("many that take long are not one that takes too long", () => {
    const slow = (name: string) =>
      check(
        name,
        () => {
          const until = performance.now() + 60;
          while (performance.now() < until);
          return [pass("fine", SHOWN)];
        },
        [],
        200,
      );
    const found = outcomes(["a", "b", "c", "d", "e"].map(slow));
    assert.deepEqual(found, ["a pass", "b pass", "c pass", "d pass", "e pass"]);
  });
});

it("a crash is told with the error's own words", () => {
  const [finding] = runChecks(
    [
      check("x", () => {
        throw new Error("no such field");
      }),
    ],
    FACTS,
  );
  assert.match(finding?.message ?? "", /no such field/);
});

describe("the order of the checks", () => {
  it("puts what is depended on first and otherwise keeps the order given", () => {
    const given = [passes("c", "a"), passes("b"), passes("a"), passes("d")];
    assert.deepEqual(
      sortChecks(given).map(({ name }) => name),
      ["a", "c", "b", "d"],
    );
  });

  it("is the same for the same checks", () => {
    const names = () => sortChecks(CHECKS).map(({ name }) => name);
    assert.deepEqual(names(), names());
    assert.equal(new Set(names()).size, CHECKS.length);
  });

  it("refuses a circle, an unknown dependency, a check that depends on itself, and a name given twice", () => {
    const isBroken = (pattern: RegExp) => (error: unknown) =>
      error instanceof BrokenCheckGraph && pattern.test(error.message);
    assert.throws(
      () => sortChecks([passes("a", "b"), passes("b", "c"), passes("c", "a")]),
      isBroken(/circle: a → b → c/),
    );
    assert.throws(() => sortChecks([passes("a", "a")]), isBroken(/circle/));
    assert.throws(() => sortChecks([passes("a", "nobody")]), isBroken(/nobody/));
    assert.throws(() => sortChecks([passes("a"), passes("a")]), isBroken(/same name/));
  });
});

describe("--only and --skip", () => {
  const three = [passes("a"), passes("b", "a"), passes("c")];

  it("leave the other checks in the report as not run", () => {
    assert.deepEqual(outcomes(three, ["b"]), ["a not-run", "b pass", "c not-run"]);
    assert.deepEqual(outcomes(three, [], ["b"]), ["a pass", "b not-run", "c pass"]);
    assert.deepEqual(outcomes(three, ["a", "b"], ["b"]), ["a pass", "b not-run", "c not-run"]);
  });

  it("refuse a name that no check has, and say which there are", () => {
    const isUnknown = (error: unknown) => error instanceof UnknownCheck && error.known.join() === "a,b,c";
    assert.throws(() => runChecks(three, FACTS, { only: ["d"], skip: [] }), isUnknown);
    assert.throws(() => runChecks(three, FACTS, { only: [], skip: ["A"] }), isUnknown);
  });
});

it("the findings of a check are sorted worst first and carry its duration", () => {
  let clock = 0;
  const two = check("a", () => [
    pass("fine", SHOWN),
    { outcome: "fail", cause: "VG-P01", message: "no", evidence: SHOWN },
  ]);
  const found = runChecks([two], FACTS, { only: [], skip: [] }, () => (clock += 5));
  assert.deepEqual(
    found.map(({ outcome }) => outcome),
    ["fail", "pass"],
  );
  assert.ok(found.every(({ durationMs }) => durationMs > 0));
});
