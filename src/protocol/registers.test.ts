import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CAPTURES, skipWithoutCaptures } from "../../test/fixtures/captures.ts";
import {
  BAR0_SIZE,
  capabilityNames,
  IDENTITY_REGISTERS,
  PROGRESS_REGISTERS,
  REGISTERS,
  registerAt,
  registerOffset,
  statusName,
} from "./registers.ts";

const REAL_SNAPSHOT = join(CAPTURES, "h100/guest-vm11/bar0-boot.jsonl");

test("the table covers BAR0 once and without a gap", () => {
  let next = 0;
  for (const { offset, words, name } of REGISTERS) {
    assert.equal(offset, next, `${name} begins where the entry before it ends`);
    next = offset + words * 4;
  }
  assert.equal(next, BAR0_SIZE);
});

test("the registers of a pass are all safe to read, and STATUS is not one of them", () => {
  for (const name of [...IDENTITY_REGISTERS, ...PROGRESS_REGISTERS, "TIMESTAMP_LO", "TIMESTAMP_HI"] as const) {
    assert.equal(registerAt(registerOffset(name))?.read, "safe", name);
  }
  assert.equal(registerAt(0x004)?.read, "logs");
});

test("payload is private and an unaligned offset is no register", () => {
  for (const offset of [0x100, 0x4fc, 0x500, 0x8fc, 0x040]) assert.equal(registerAt(offset)?.read, "private");
  assert.equal(registerAt(0x011), undefined);
  assert.equal(registerAt(BAR0_SIZE), undefined);
});

test("values have names", () => {
  assert.equal(statusName(3), "ERROR");
  assert.equal(statusName(7), "0x00000007");
  assert.deepEqual(capabilityNames(0x71), ["BASIC", "CUDA", "BAR1", "SHMEM"]);
  assert.deepEqual(capabilityNames(0x81), ["BASIC", "0x80"]);
});

test("the names are those of a snapshot of a real device", { skip: skipWithoutCaptures }, () => {
  const [line = ""] = readFileSync(REAL_SNAPSHOT, "utf8").split("\n");
  const snapshot: Record<string, unknown> = JSON.parse(line);
  for (const name of [...IDENTITY_REGISTERS, ...PROGRESS_REGISTERS, "STATUS", "TIMESTAMP_LO"] as const) {
    assert.ok(name in snapshot, `${name} is in the snapshot`);
  }
});
