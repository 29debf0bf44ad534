import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { ADMIN_QUESTIONS, AnswerReader, encodeQuestion } from "./admin-protocol.ts";

const SAMPLES = new URL("../../../../shared/samples/h100/admin/", import.meta.url);
const NO_SAMPLES = existsSync(SAMPLES) ? false : "the samples of a real mediator are not at hand";

function read(...pieces: readonly Uint8Array[]) {
  const reader = new AnswerReader();
  for (const piece of pieces) reader.push(piece);
  return reader.finish();
}

function answer(status: number, text: string): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(0x56475055, 0);
  header.writeUInt32LE(status, 4);
  header.writeUInt32LE(Buffer.byteLength(text), 8);
  return Buffer.concat([header, Buffer.from(text)]);
}

test("a question is 16 bytes with the mediator's magic, and none is the command that reloads", () => {
  for (const question of ADMIN_QUESTIONS) {
    const bytes = encodeQuestion(question);
    assert.equal(bytes.length, 16);
    assert.equal(bytes.toString("latin1", 0, 4), "UPGV");
    assert.notEqual(bytes.readUInt32LE(4), 0x12);
    assert.equal(bytes.readUInt32LE(8) + bytes.readUInt32LE(12), 0);
  }
});

test("answers of a real mediator are read whole", { skip: NO_SAMPLES }, () => {
  for (const name of ["m0-health", "m1-health", "m1-connections", "m2-metrics", "m2-prometheus"]) {
    const read1 = read(readFileSync(new URL(`${name}.bin`, SAMPLES)));
    assert.equal(read1.outcome, "answered", name);
    if (read1.outcome === "answered") assert.match(read1.text, /^(?:=== |# HELP )/);
  }
});

test("an answer in any pieces is the same answer", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 300 }).filter((value) => !value.includes("\0"));
  fc.assert(
    fc.property(text, fc.array(fc.nat(40)), (said, cuts) => {
      const bytes = answer(0, said);
      const pieces: Buffer[] = [];
      let at = 0;
      for (const cut of cuts) {
        pieces.push(bytes.subarray(at, at + cut));
        at += cut;
      }
      pieces.push(bytes.subarray(at));
      assert.deepEqual(read(...pieces), { outcome: "answered", text: said });
    }),
  );
});

test("an answer that is cut off, refused or another program's is never an answer", () => {
  assert.deepEqual(read(), { outcome: "cut-off", bytes: 0 });
  assert.deepEqual(read(answer(0, "abc").subarray(0, 14)), { outcome: "cut-off", bytes: 14 });
  assert.deepEqual(read(answer(1, "ERROR")), { outcome: "refused", status: 1, text: "ERROR" });
  assert.deepEqual(read(Buffer.from("HTTP/1.1 400 Bad")), { outcome: "foreign" });
  const huge = answer(0, "");
  huge.writeUInt32LE(0xffffffff, 8);
  assert.deepEqual(read(huge), { outcome: "foreign" });
});
