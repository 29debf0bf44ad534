import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { it, test } from "node:test";
import { readFileDurable, writeFileDurable } from "./durable-file.ts";
import { inScratch } from "./spool-fixture.ts";
import { StorageError, type StorageFault } from "./storage-error.ts";

const isRoot = process.getuid?.() === 0;
const needsRoot = { skip: isRoot ? false : "mounting a small file system needs root" };
const isFault = (fault: StorageFault) => (error: unknown) => {
  assert.ok(error instanceof StorageError, String(error));
  assert.equal(error.fault, fault);
  assert.match(error.message, /: .*: ./, "it says what to do");
  return true;
};
const valueIn = async (path: string) => {
  const read = await readFileDurable(path);
  return read.state === "read" ? read.value : read.state;
};

test("what was written is read; nothing else is left in the directory", () =>
  inScratch(async (directory) => {
    const path = join(directory, "state");
    assert.equal(await valueIn(path), "absent");
    await writeFileDurable(path, "first");
    await writeFileDurable(path, '{"a":"ü"}\n');
    assert.equal(await valueIn(path), '{"a":"ü"}\n');
    assert.deepEqual(readdirSync(directory), ["state"]);
    await writeFileDurable(path, "");
    assert.equal(await valueIn(path), "");
  }));

test("cut at any byte it is invalid, and never half of it", () =>
  inScratch(async (directory) => {
    const path = join(directory, "state");
    await writeFileDurable(path, JSON.stringify({ next: 17, position: { line: 4 } }));
    const whole = readFileSync(path);
    for (let length = 0; length < whole.length; length += 1) {
      writeFileSync(path, whole.subarray(0, length));
      assert.equal(await valueIn(path), "invalid", `cut at ${length}`);
    }
    writeFileSync(path, Buffer.concat([whole, Buffer.from("x")]));
    assert.equal(await valueIn(path), "invalid", "with more behind it");
  }));

test("with any one bit changed it is invalid", () =>
  inScratch(async (directory) => {
    const path = join(directory, "state");
    await writeFileDurable(path, "position 12345");
    const whole = readFileSync(path);
    for (let bit = 0; bit < whole.length * 8; bit += 1) {
      const changed = Buffer.from(whole);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      writeFileSync(path, changed);
      assert.equal(await valueIn(path), "invalid", `bit ${bit}`);
    }
  }));

test("a crash in the middle of writing, at any byte, leaves the old file, and the next write succeeds", () =>
  inScratch(async (directory) => {
    const path = join(directory, "state");
    await writeFileDurable(path, "old");
    const whole = readFileSync(path);
    for (let length = 0; length <= whole.length; length += 1) {
      writeFileSync(`${path}.new`, whole.subarray(0, length));
      assert.equal(await valueIn(path), "old");
    }
    await writeFileDurable(path, "new");
    assert.equal(await valueIn(path), "new");
    assert.deepEqual(readdirSync(directory), ["state"]);
  }));

test("a link in the place of the file is not followed", () =>
  inScratch(async (directory) => {
    const [path, other] = [join(directory, "state"), join(directory, "other")];
    await writeFileDurable(other, "other's");
    symlinkSync(other, path);
    assert.equal(await valueIn(path), "invalid");
    symlinkSync(other, `${path}.new`);
    await assert.rejects(writeFileDurable(path, "x"), isFault("failed"));
    assert.equal(await valueIn(other), "other's");
  }));

test("a directory that is missing, and a directory in its place, are typed errors", () =>
  inScratch(async (directory) => {
    await assert.rejects(writeFileDurable(join(directory, "none", "state"), "x"), isFault("absent"));
    mkdirSync(join(directory, "state"));
    await assert.rejects(writeFileDurable(join(directory, "state"), "x"), isFault("failed"));
    assert.equal(await valueIn(join(directory, "state")), "invalid");
  }));

it("a full disk is a typed error; the old file stays, and no part of the new one", needsRoot, () =>
  inScratch(async (directory) => {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", directory]);
    try {
      const path = join(directory, "state");
      await writeFileDurable(path, "old");
      await assert.rejects(writeFileDurable(path, "x".repeat(200_000)), isFault("full"));
      assert.equal(await valueIn(path), "old");
      assert.deepEqual(readdirSync(directory), ["state"]);
    } finally {
      execFileSync("umount", [directory]);
    }
  }),
);

it("a file system that is read-only is a typed error, and is read", needsRoot, () =>
  inScratch(async (directory) => {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", directory]);
    try {
      const path = join(directory, "state");
      await writeFileDurable(path, "old");
      execFileSync("mount", ["-o", "remount,ro", directory]);
      await assert.rejects(writeFileDurable(path, "new"), isFault("read-only"));
      assert.equal(await valueIn(path), "old");
    } finally {
      execFileSync("umount", [directory]);
    }
  }),
);

it("a directory of somebody else is a typed error", () =>
  inScratch(async (directory) => {
    const path = join(directory, "state");
    await writeFileDurable(path, "old");
    chmodSync(path, 0);
    chmodSync(directory, 0o500);
    // Root may write everywhere: it is nobody meanwhile, in all of its threads.
    if (isRoot) process.seteuid?.(65534);
    try {
      await assert.rejects(writeFileDurable(path, "new"), isFault("denied"));
      assert.equal(await valueIn(path), "denied");
    } finally {
      if (isRoot) process.seteuid?.(0);
      chmodSync(directory, 0o700);
    }
  }));
