import assert from "node:assert/strict";
import { test } from "node:test";
import { wasRead } from "../facts/reading.ts";
import { withLimit } from "./with-limit.ts";

test("a reading within the limit is handed on", async () => {
  assert.deepEqual(await withLimit("x", 1000, async () => wasRead(7)), wasRead(7));
});

test("a sensor that never answers is timed out, and its signal is aborted", async () => {
  let aborted = false;
  const reading = await withLimit<number>("the bus", 5, (signal) => {
    signal.addEventListener("abort", () => {
      aborted = true;
    });
    return new Promise(() => {});
  });
  assert.equal(reading.state, "timed-out");
  assert.match(reading.detail ?? "", /the bus took longer than 5 ms/);
  assert.equal(aborted, true);
});

test("what a sensor throws becomes a reading, also before its first await", async () => {
  const refused = Object.assign(new Error("no"), { code: "EACCES" });
  const later = await withLimit("x", 1000, async () => Promise.reject(refused));
  assert.equal(later.state, "denied");
  const atOnce = await withLimit("x", 1000, () => {
    throw new Error("a bug");
  });
  assert.equal(atOnce.state, "invalid");
  assert.match(atOnce.detail ?? "", /a bug/);
});

test("a sensor that fails after its limit harms nobody", async () => {
  let fail = (_: Error) => {};
  const reading = await withLimit<number>("x", 1, () => new Promise((_, reject) => (fail = reject)));
  assert.equal(reading.state, "timed-out");
  fail(new Error("too late"));
  await new Promise((resolve) => setImmediate(resolve));
});
