import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { it, test } from "node:test";
import { Spool } from "./spool.ts";
import { drain, entry, inScratch, NEXT_BOOT, openIn, optionsIn, Receiver } from "./spool-fixture.ts";

const isRoot = process.getuid?.() === 0;
const needsRoot = { skip: isRoot ? false : "mounting a small file system needs root" };

/** In a file system of its own of this size. */
async function onSmallDisk(size: string, body: (directory: string) => Promise<void>): Promise<void> {
  await inScratch(async (directory) => {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", directory]);
    try {
      await body(directory);
    } finally {
      execFileSync("umount", ["-l", directory]);
    }
  });
}

/** Time that only goes on when a test says so: retries of the disk are due when it is moved. */
function clockOf(): { now: number; readonly monotonic: () => number } {
  const clock = { now: 0, monotonic: () => clock.now };
  return clock;
}

it(
  "a disk that others fill: entries are kept in memory, sent from there, and written when there is room again",
  needsRoot,
  () =>
    onSmallDisk("256k", async (directory) => {
      const clock = clockOf();
      const spool = await openIn(directory, { monotonic: clock.monotonic });
      assert.equal((await spool.append(entry(1))).kept, "disk");
      const ballast = join(directory, "ballast");
      assert.throws(() => writeFileSync(ballast, Buffer.alloc(1024 * 1024)), { code: "ENOSPC" });
      const text = "x".repeat(20_000);
      clock.now += 2000;
      assert.equal((await spool.append(entry(2, { document: { id: 2, text } }))).kept, "memory");
      assert.equal((await spool.append(entry(3))).kept, "memory");
      const { trouble, memoryEntries } = spool.state();
      assert.equal(trouble?.fault, "full");
      assert.match(trouble?.message ?? "", /free space/);
      assert.equal(memoryEntries, 2);
      const receiver = new Receiver();
      const batch = await spool.peek(2, 1e6);
      assert.ok(batch !== null);
      assert.deepEqual(
        batch.entries.map(({ seq }) => seq),
        [1, 2],
      );
      await spool.settle(batch, { taken: receiver.take(batch), refused: new Set() });
      assert.equal(spool.state().memoryEntries, 1, "what is delivered need not be written");
      await rm(ballast);
      clock.now += 2000;
      assert.equal((await spool.append(entry(4))).kept, "disk");
      assert.equal(spool.state().memoryEntries, 0);
      assert.equal(spool.state().trouble, null);
      await spool.close();
      const again = await openIn(directory);
      await drain(again, receiver);
      assert.deepEqual(receiver.ids(), [1, 2, 3, 4]);
      receiver.assertNoHoles();
      await again.close();
    }),
);

it(
  "a disk that the spool itself fills, as its limit is larger than the disk: nothing acknowledged comes again",
  needsRoot,
  () =>
    onSmallDisk("512k", async (directory) => {
      const clock = clockOf();
      const spool = await openIn(directory, { monotonic: clock.monotonic, segmentBytes: 50_000 });
      const text = "x".repeat(5000);
      let id = 0;
      while (spool.state().trouble === null && id < 1000) {
        id += 1;
        await spool.append(entry(id, { document: { id, text } }));
      }
      assert.equal(spool.state().trouble?.fault, "full");
      const receiver = new Receiver();
      await drain(spool, receiver, 20);
      assert.equal(receiver.ids().length, id);
      receiver.assertNoHoles();
      clock.now += 2000;
      assert.equal((await spool.append(entry(id + 1))).kept, "disk", "what was delivered made room");
      await drain(spool, receiver);
      receiver.assertNoHoles();
      await spool.close();
    }),
);

it("memory is bounded too: the oldest reports go first, are counted, and the host is told", needsRoot, () =>
  onSmallDisk("256k", async (directory) => {
    const clock = clockOf();
    const spool = await openIn(directory, { monotonic: clock.monotonic, memoryBytes: 10_000 });
    execFileSync("mount", ["-o", "remount,ro", directory]);
    const text = "x".repeat(900);
    const kept: string[] = [];
    for (let id = 1; id <= 30; id += 1) {
      const kind = id % 5 === 0 ? "condition" : "report";
      kept.push((await spool.append(entry(id, { kind, document: { id, text } }))).kept);
    }
    assert.equal(spool.state().trouble?.fault, "read-only");
    assert.ok(!kept.includes("disk"));
    const { lostInMemory, memoryBytes } = spool.state();
    assert.ok(lostInMemory > 15 && memoryBytes <= 10_000);
    execFileSync("mount", ["-o", "remount,rw", directory]);
    clock.now += 2000;
    const receiver = await drain(spool);
    receiver.assertNoHoles();
    assert.equal(receiver.ids().length, 30 - lostInMemory);
    assert.deepEqual(
      receiver.ids().filter((id) => id % 5 === 0),
      [5, 10, 15, 20, 25, 30],
    );
    assert.equal(
      receiver.accounts().reduce((sum, { count }) => sum + count, 0),
      lostInMemory,
    );
    await spool.close();
  }),
);

it("a read-only /var at the start: it begins, sends what is there, and keeps the new in memory", needsRoot, () =>
  onSmallDisk("256k", async (directory) => {
    const before = await openIn(directory);
    await before.append(entry(1));
    await before.close();
    execFileSync("mount", ["-o", "remount,ro", directory]);
    const { spool, found } = await Spool.open(optionsIn(directory));
    assert.equal(found.checkpoint, "read");
    assert.deepEqual(found.position, { line: 1 });
    assert.equal(spool.state().trouble?.fault, "read-only");
    assert.equal((await spool.append(entry(2))).kept, "memory");
    const receiver = await drain(spool);
    assert.deepEqual(receiver.ids(), [1, 2]);
    receiver.assertNoHoles();
    await spool.close();
  }),
);

it(
  "files that cannot be read are left as they are, are told to nobody as lost, and are sent when they can be",
  needsRoot,
  () =>
    inScratch(async (directory) => {
      const before = await openIn(directory);
      await before.append(entry(1));
      await before.close();
      const file = join(directory, "spool", "0000000001.seg");
      renameSync(file, join(directory, "aside"));
      // Reading a directory as a file fails, for root too.
      mkdirSync(file);
      const blind = await openIn(directory, { bootId: NEXT_BOOT });
      assert.ok(blind.state().trouble !== null);
      assert.equal((await blind.append(entry(2))).kept, "memory");
      const receiver = await drain(blind);
      assert.deepEqual(receiver.ids(), [2]);
      assert.deepEqual(receiver.accounts(), []);
      await blind.close();
      rmSync(file, { recursive: true });
      renameSync(join(directory, "aside"), file);
      const again = await openIn(directory, { bootId: NEXT_BOOT });
      assert.deepEqual((await drain(again, receiver)).ids(), [2, 1]);
      receiver.assertNoHoles();
      await again.close();
    }),
);

test("a directory that cannot be made is a trouble that is said, and entries are kept in memory", () =>
  inScratch(async (directory) => {
    writeFileSync(join(directory, "spool"), "a file in its place");
    const { spool, found } = await Spool.open(optionsIn(directory));
    assert.equal(found.files, 0);
    assert.equal((await spool.append(entry(1))).kept, "memory");
    assert.ok(spool.state().trouble !== null);
    assert.deepEqual((await drain(spool)).ids(), [1]);
    await spool.close();
  }));
