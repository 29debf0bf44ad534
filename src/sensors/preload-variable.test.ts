import assert from "node:assert/strict";
import { test } from "node:test";
import { sensorContext, temporaryDirectory, writeTree } from "../../test/device-tree.ts";
import { idle, process, running, unit } from "../../test/fixtures/facts.ts";
import { notRead, wasRead } from "../facts/reading.ts";
import { readPreloadVariable } from "./preload-variable.ts";

const NO_UNIT = notRead("absent", "no unit");
const server = (text: string) => running(process({ env: wasRead({ LD_PRELOAD: text }) }));

test("each entry is looked at: one that is missing, one that is no library, one without a path", async (t) => {
  const root = await temporaryDirectory(t);
  await writeTree(root, { "/opt/x.so": "not an ELF" });
  const reading = await readPreloadVariable(sensorContext(root), server("/gone.so:/opt/x.so libname.so"), NO_UNIT);
  assert.equal(reading.state, "read");
  const found = reading.state === "read" ? reading.value : [];
  assert.deepEqual(
    found.map(({ library, exists, pid }) => [library, exists, pid]),
    [
      ["/gone.so", false, 1187],
      ["/opt/x.so", true, 1187],
      ["libname.so", null, 1187],
    ],
  );
  assert.ok(found.every(({ kind }) => kind.state !== "read"));
});

test("without a process the unit's own setting is looked at", async (t) => {
  const root = await temporaryDirectory(t);
  const withPreload = wasRead(unit({ environment: { LD_PRELOAD: "/gone.so" } }));
  const reading = await readPreloadVariable(sensorContext(root), running(), withPreload);
  assert.equal(reading.state, "read");
  assert.deepEqual(reading.state === "read" ? reading.value.map(({ pid, exists }) => [pid, exists]) : [], [
    [null, false],
  ]);
});

test("an environment that may not be read is not taken for one without LD_PRELOAD", async (t) => {
  const root = await temporaryDirectory(t);
  const closed = running(process({ env: notRead("denied", "x") }));
  assert.equal((await readPreloadVariable(sensorContext(root), closed, NO_UNIT)).state, "absent");
  assert.equal(idle().preloadVariable.state, "read");
});

test("a value of thousands of entries is cut", async (t) => {
  const root = await temporaryDirectory(t);
  const reading = await readPreloadVariable(sensorContext(root), server("/a.so:".repeat(5000)), NO_UNIT);
  assert.ok(reading.state === "read" && reading.value.length <= 64);
});

test("with a log alone nothing of this machine is looked at", async (t) => {
  const root = await temporaryDirectory(t);
  assert.equal((await readPreloadVariable(sensorContext(root, "evidence"), server("/x"), NO_UNIT)).state, "skipped");
});
