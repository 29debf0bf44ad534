import assert from "node:assert/strict";
import { test } from "node:test";
import { CALLS, callName, callOf, formatCallId, isCall } from "./call-ids.ts";

test("the calls that carry inference are told apart by group", () => {
  assert.ok(isCall(0x0050, "launch"));
  for (const gemm of [0x00b4, 0x00b5, 0x00b6, 0x00ba]) assert.ok(isCall(gemm, "launch", "gemm"));
  for (const copy of [0x0032, 0x003c]) assert.ok(isCall(copy, "copy-in"));
  assert.ok(isCall(0x0033, "copy-out"));
  assert.ok(isCall(0x0030, "alloc"));
});

test("connecting is not work", () => {
  for (const id of [0x0001, 0x00f0]) {
    assert.equal(callOf(id)?.group, "connect");
    assert.ok(!isCall(id, "launch", "gemm", "alloc", "copy-in", "copy-out"));
  }
});

test("an id of a range has the range's name, an unknown id its number", () => {
  assert.equal(callName(0x0050), "cuLaunchKernel");
  assert.equal(callName(0x0062), "stream call");
  assert.equal(callName(0x0123), "call 0x0123");
  assert.equal(callOf(0x0123), undefined);
  assert.ok(!isCall(0x0123, "launch"));
});

test("ids are printed as logs print them", () => {
  assert.equal(formatCallId(0xbc), "0x00bc");
});

test("no id has two names", () => {
  assert.equal(new Set(CALLS.map(({ id }) => id)).size, CALLS.length);
});
