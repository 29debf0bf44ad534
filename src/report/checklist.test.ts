import assert from "node:assert/strict";
import { test } from "node:test";
import { trace } from "../../test/fixtures/calls.ts";
import { errorSeen, evidenceOf, healthy, idle, life, vgpu, withShimLog } from "../../test/fixtures/facts.ts";
import { judged } from "../../test/fixtures/said.ts";
import type { Facts } from "../facts/facts.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { checklistOf } from "./checklist.ts";

const list = (facts: Facts) => checklistOf(judged(facts).findings);
const answerTo = (facts: Facts, question: RegExp) => list(facts).find((entry) => question.test(entry.question));
const EXECUTION = /kernels run on the physical GPU/;

test("every question is on the list once, whatever is known", () => {
  const nothing = idle({ pci: notRead("denied", "x"), log: notRead("denied", "x"), workload: notRead("denied", "x") });
  for (const facts of [healthy(), idle(), evidenceOf([life()]), nothing]) {
    const questions = list(facts).map(({ question }) => question);
    assert.equal(questions.length, 12);
    assert.equal(new Set(questions).size, 12);
  }
});

test("what is answered no stands first, then what is open, then what is known", () => {
  const order = ["no", "unknown", "yes"];
  const answers = list(withShimLog({ answered: null, transportErrors: [errorSeen(3, 1)] })).map(({ answer }) =>
    order.indexOf(answer),
  );
  assert.deepEqual(answers, [...answers].sort());
  assert.equal(answers[0], 0);
});

test("the guest never answers where the kernels ran", () => {
  for (const facts of [healthy(), idle(), evidenceOf([life()]), healthy({ trace: trace() })]) {
    const entry = answerTo(facts, EXECUTION);
    assert.equal(entry?.answer, "unknown");
    assert.match(entry?.detail ?? "", /mediator's log/);
  }
});

test("a failure answers its question with no, and names the cause", () => {
  const gone = idle({ pci: wasRead({ scanned: 3, unreadable: [], candidates: [], nvidiaModule: false }) });
  assert.deepEqual(answerTo(gone, /have the vGPU device/), {
    question: "Does the VM have the vGPU device?",
    answer: "no",
    detail: "VG-P01",
  });
  assert.match(answerTo(gone, /open and map it/)?.detail ?? "", /not asked because of VG-P01/);
});

test("a question with one open part is open", () => {
  assert.equal(answerTo(healthy(), /open and map it/)?.answer, "yes");
  assert.equal(answerTo(healthy({ lockdown: notRead("denied", "x") }), /open and map it/)?.answer, "unknown");
});

test("a device that is listed and may not answer is no yes", () => {
  const listed = vgpu({ config: notRead("denied", "x") });
  const facts = idle({ pci: wasRead({ scanned: 3, unreadable: [], candidates: [listed], nvidiaModule: false }) });
  assert.equal(answerTo(facts, /have the vGPU device/)?.answer, "unknown");
});

test("no call is in flight is no answer to whether calls come back", () => {
  assert.equal(answerTo(idle(), /calls come back/)?.answer, "unknown");
  assert.equal(answerTo(healthy(), /calls come back/)?.answer, "yes");
});
