import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { trace } from "../../test/fixtures/calls.ts";
import { healthy, process, runner, running, unit } from "../../test/fixtures/facts.ts";
import type { Scope } from "../facts/facts.ts";
import type { LedgerProcess, TraceFacts } from "../facts/ledger.ts";
import { notRead, valueIn, wasRead } from "../facts/reading.ts";
import type { ProcessFacts, WorkloadFacts } from "../facts/workload.ts";
import { attribute } from "./live-calls.ts";

const { scope } = healthy();
const program = (changes: Partial<ProcessFacts>) =>
  process({ role: "program", comm: "train", unit: "session-1.scope", ppid: 900, ...changes });
const met = (pid: number, its: string | null, ppid: number | null): LedgerProcess => ({
  pid,
  comm: "x",
  libraries: [],
  unit: its,
  group: null,
  ppid,
});

interface Looked {
  readonly scope?: Partial<Scope>;
  readonly foundBy?: WorkloadFacts["foundBy"];
  readonly before?: readonly ProcessFacts[];
  readonly after?: readonly ProcessFacts[];
  /** What the count itself saw. */
  readonly seen?: readonly LedgerProcess[];
}

function attributed({
  scope: asked = {},
  foundBy = "unit",
  before = [process(), runner()],
  after = before,
  seen = [],
}: Looked): TraceFacts {
  const ledger = valueIn(trace([], { processes: seen }))?.ledger ?? assert.fail();
  const look = (processes: readonly ProcessFacts[]) => wasRead({ foundBy, processes, incomplete: [] });
  const found = attribute(
    wasRead({ ledger }, "eBPF"),
    { ...scope, ...asked },
    wasRead(unit()),
    look(before),
    look(after),
  );
  assert.equal(found.detail, "eBPF");
  return valueIn(found) ?? assert.fail();
}

const whose = (looked: Looked) => {
  const { workload, others } = attributed(looked);
  return [[...workload].sort(), [...others].sort()];
};

describe("calls are the workload's", () => {
  it("when their process is in the unit", () => {
    assert.deepEqual(whose({}), [[1187, 1203], []]);
  });

  it("when it was there before and has ended, or came since", () => {
    assert.deepEqual(whose({ after: [process(), runner({ pid: 1300 })] }), [[1187, 1203, 1300], []]);
  });

  it("when it came and went in between, and the count saw it in the unit or below the server", () => {
    const seen = [met(1400, "ollama.service", 1), met(1401, null, 1187), met(1402, null, 1401), met(1403, null, 7)];
    assert.deepEqual(whose({ seen }), [[1187, 1203, 1400, 1401, 1402], []]);
  });

  it("when it ended before anybody looked, and the kernel saw it call from the unit's control group", () => {
    const brief = (pid: number, its: string | null, group: string | null) => ({
      ...met(pid, its, null),
      comm: "",
      group,
    });
    const seen = [
      brief(1400, "ollama.service", "/system.slice/ollama.service"),
      brief(1401, "cron.service", "/system.slice/cron.service"),
      brief(1402, null, "/"),
      brief(1403, null, null),
      brief(1203, "cron.service", "/system.slice/cron.service"),
    ];
    assert.deepEqual(
      whose({ seen }),
      [
        [1187, 1203, 1400],
        [1401, 1402],
      ],
      "1403 may be anybody's",
    );
    assert.deepEqual(whose({ seen, foundBy: "argv" })[1], [], "the unit says nothing there");
  });

  it("when its parent is, in whatever control group it is", () => {
    assert.deepEqual(whose({ after: [process(), program({ pid: 1500, ppid: 1187 })] }), [[1187, 1203, 1500], []]);
  });

  it("when it is the process asked for or below it", () => {
    const asked = { scope: { pid: 900 }, foundBy: "pid" } as const;
    assert.deepEqual(whose({ ...asked, before: [program({ pid: 900 }), program({ pid: 901 })] }), [[900, 901], []]);
    assert.deepEqual(whose({ ...asked, before: [program({ pid: 900 })], seen: [met(902, "ollama.service", 1)] }), [
      [900],
      [],
    ]);
  });
});

describe("calls are not the workload's", () => {
  it("when their process merely uses the device too", () => {
    assert.deepEqual(whose({ after: [process(), runner(), program({ pid: 1600 })] }), [[1187, 1203], [1600]]);
  });

  it("when the pid has become another program's meanwhile", () => {
    assert.deepEqual(whose({ after: [process(), program({ pid: 1203 })] }), [[1187], [1203]]);
  });

  it("when no workload was found", () => {
    assert.deepEqual(whose({ foundBy: "none", before: [program({ pid: 1600 })] }), [[], [1600]]);
    assert.deepEqual(whose({ foundBy: "argv", before: [process(), program({ pid: 1600 })] }), [[1187], [1600]]);
  });
});

it("a count that could not be had stays so", () => {
  const refused = notRead("denied", "it takes root");
  assert.equal(attribute(refused, scope, wasRead(unit()), running(process()), running(process())), refused);
});
