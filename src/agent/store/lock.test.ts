import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { lockDirectory } from "./lock.ts";
import { inScratch } from "./spool-fixture.ts";
import { StorageError } from "./storage-error.ts";

const inUse = (error: unknown) => error instanceof StorageError && error.fault === "in-use";

test("one has it until it lets go", () =>
  inScratch(async (directory) => {
    const lock = await lockDirectory(directory);
    assert.ok(lock !== null);
    await assert.rejects(lockDirectory(directory), inUse);
    await lock.release();
    assert.ok(!existsSync(join(directory, "lock")));
    const next = await lockDirectory(directory);
    await next?.release();
  }));

test("a process that was killed does not hold it", () =>
  inScratch(async (directory) => {
    const script = `
      const { lockDirectory } = await import(${JSON.stringify(new URL("./lock.ts", import.meta.url).href)});
      await lockDirectory(${JSON.stringify(directory)});
      process.kill(process.pid, "SIGKILL");`;
    const run = promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script]);
    await assert.rejects(run, { signal: "SIGKILL" });
    assert.ok(existsSync(join(directory, "lock")), "what it left behind is there");
    const lock = await lockDirectory(directory);
    assert.ok(lock !== null);
    await lock.release();
  }));

test("a path that is too long for a socket's name is no obstacle", () =>
  inScratch(async (directory) => {
    const long = join(directory, "d".repeat(200));
    mkdirSync(long);
    const lock = await lockDirectory(long);
    await assert.rejects(lockDirectory(long), inUse);
    await lock?.release();
  }));

test("a directory that is not there is a typed error", () =>
  inScratch(async (directory) => {
    await assert.rejects(
      lockDirectory(join(directory, "none")),
      (error) => error instanceof StorageError && error.fault === "absent",
    );
  }));
