import assert from "node:assert/strict";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Spool } from "./spool.ts";
import {
  AGENT,
  BOOT,
  drain,
  entry,
  idOf,
  inScratch,
  NEXT_BOOT,
  NONE,
  OTHER_AGENT,
  openIn,
  optionsIn,
  Receiver,
} from "./spool-fixture.ts";
import { EntryTooLarge } from "./spool-types.ts";

const range = (first: number, last: number): number[] =>
  Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);

test("entries come out once and in order, numbered from 1, also after a restart", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    const kept = await Promise.all(range(1, 50).map((id) => spool.append(entry(id))));
    assert.deepEqual(
      kept.map(({ seq }) => seq),
      range(1, 50),
    );
    assert.ok(kept.every((one) => one.kept === "disk"));
    const receiver = new Receiver();
    const batch = await spool.peek(20, 1e6);
    assert.ok(batch !== null);
    await spool.settle(batch, { taken: receiver.take(batch), refused: NONE });
    await spool.close();
    const again = await openIn(directory);
    await again.append(entry(51));
    await drain(again, receiver);
    assert.deepEqual(receiver.ids(), range(1, 51));
    receiver.assertNoHoles();
    assert.equal(again.state().entries, 0);
    await again.close();
  }));

test("a batch that was not acknowledged comes again, the same", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    await spool.append(entry(1));
    const [one, two] = [await spool.peek(10, 1e6), await spool.peek(10, 1e6)];
    assert.deepEqual(one?.entries, two?.entries);
    assert.equal(one?.entries[0]?.restored, false);
    await spool.close();
    const again = await openIn(directory);
    assert.equal((await again.peek(10, 1e6))?.entries[0]?.restored, true);
    await again.close();
  }));

test("numbers go on after the spool was emptied, and after its files were removed", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    await Promise.all(range(1, 5).map((id) => spool.append(entry(id))));
    await drain(spool);
    await spool.close();
    for (let round = 0; round < 2; round += 1) {
      const again = await openIn(directory);
      assert.equal(await again.peek(10, 1e6), null);
      await again.close();
      assert.deepEqual(readdirSync(join(directory, "spool")), []);
    }
    const last = await openIn(directory);
    assert.equal((await last.append(entry(6))).seq, 6);
    await last.close();
  }));

test("entries of an older boot go first, under their own boot id", () =>
  inScratch(async (directory) => {
    const before = await openIn(directory);
    await Promise.all([before.append(entry(1)), before.append(entry(2))]);
    await before.close();
    const spool = await openIn(directory, { bootId: NEXT_BOOT });
    assert.equal((await spool.append(entry(3))).seq, 1);
    const old = await spool.peek(10, 1e6);
    assert.deepEqual(old?.entries.map(idOf), [1, 2]);
    const receiver = await drain(spool);
    assert.deepEqual(receiver.ids(), [1, 2, 3]);
    assert.equal(receiver.entries.size, 2);
    receiver.assertNoHoles();
    // Nothing is left of a boot that is over.
    await spool.append(entry(4));
    await drain(spool);
    assert.ok(!readFileSync(join(directory, "checkpoint"), "utf8").includes(BOOT));
    await spool.close();
  }));

test("a full spool drops the oldest reports, then evidence, and conditions last; every number is accounted for", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory, { maxBytes: 200_000, segmentBytes: 20_000 });
    const kinds = ["report", "guest-evidence", "condition"] as const;
    for (const id of range(1, 600)) {
      const kind = kinds[id % 3] ?? "report";
      const text = "x".repeat(kind === "report" ? 1500 : 500);
      await spool.append(entry(id, { kind, document: { id, text } }));
    }
    assert.ok(spool.state().diskBytes <= 200_000);
    const dropped = spool.state().dropped["spool-full"];
    const receiver = await drain(spool, new Receiver(), 30);
    receiver.assertNoHoles();
    const ids = receiver.ids();
    assert.equal(ids.length, 600 - dropped);
    assert.deepEqual(
      ids.filter((id) => id % 3 === 2),
      range(1, 600).filter((id) => id % 3 === 2),
      "all conditions are there",
    );
    const evidence = ids.filter((id) => id % 3 === 1);
    assert.deepEqual(
      evidence,
      range(1, 600)
        .filter((id) => id % 3 === 1)
        .slice(-evidence.length),
    );
    assert.equal(
      receiver.accounts().reduce((sum, { count }) => sum + count, 0),
      dropped,
    );
    assert.ok(receiver.accounts().every(({ reason }) => reason === "spool-full"));
    await spool.close();
  }));

test("small remains of files that were made smaller do not become many files", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory, { maxBytes: 100_000, segmentBytes: 10_000 });
    for (const id of range(1, 1000)) {
      const isCondition = id % 20 === 0;
      const document = { id, text: "x".repeat(isCondition ? 10 : 900) };
      await spool.append(entry(id, { kind: isCondition ? "condition" : "report", document }));
    }
    assert.ok(readdirSync(join(directory, "spool")).length <= 13);
    await spool.close();
  }));

test("what is refused is dropped, and told with its reason", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    await Promise.all(range(1, 5).map((id) => spool.append(entry(id))));
    const receiver = new Receiver();
    const batch = await spool.peek(10, 1e6);
    assert.ok(batch !== null);
    const taken = receiver.take(batch, ({ seq }) => seq !== 2 && seq !== 3);
    await spool.settle(batch, { taken, refused: new Set([2, 3]) });
    assert.equal(spool.state().dropped.refused, 2);
    await spool.close();
    const again = await openIn(directory);
    await drain(again, receiver);
    receiver.assertNoHoles();
    assert.deepEqual(receiver.accounts(), [{ first: 2, last: 3, count: 2, reason: "refused" }]);
    await again.close();
  }));

test("an account that was made and not acknowledged is not made twice", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    await Promise.all(range(1, 3).map((id) => spool.append(entry(id))));
    const batch = await spool.peek(10, 1e6);
    assert.ok(batch !== null);
    await spool.settle(batch, { taken: new Set([1, 3]), refused: new Set([2]) });
    const [one, two] = [await spool.peek(10, 1e6), await spool.peek(10, 1e6)];
    assert.deepEqual(one?.entries, two?.entries);
    await spool.close();
    const again = await openIn(directory);
    assert.deepEqual(
      (await again.peek(10, 1e6))?.entries.map(({ seq, kind, document }) => ({ seq, kind, document })),
      one?.entries.map(({ seq, kind, document }) => ({ seq, kind, document })),
    );
    await again.close();
  }));

test("reading goes on behind the last entry of the spool, or behind what was delivered", () =>
  inScratch(async (directory) => {
    const positionIn = async () => {
      const { spool, found } = await Spool.open(optionsIn(directory));
      await spool.close();
      return found.position;
    };
    assert.equal(await positionIn(), null);
    const spool = await openIn(directory);
    await Promise.all(range(1, 4).map((id) => spool.append(entry(id))));
    await spool.append(entry(5, { kind: "condition", position: null }));
    const batch = await spool.peek(2, 1e6);
    assert.ok(batch !== null);
    await spool.settle(batch, { taken: new Set([1, 2]), refused: NONE });
    await spool.close();
    assert.deepEqual(await positionIn(), { line: 4 });
    rmSync(join(directory, "spool"), { recursive: true });
    assert.deepEqual(await positionIn(), { line: 2 });
  }));

test("what was dropped as the spool was full is not read again", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory, { maxBytes: 20_000, segmentBytes: 5000 });
    for (const id of range(1, 20)) await spool.append(entry(id, { document: { id, text: "x".repeat(1000) } }));
    const more = { kind: "condition", position: null } as const;
    for (const id of range(21, 40))
      await spool.append(entry(id, { ...more, document: { id, text: "x".repeat(1000) } }));
    await spool.close();
    const { spool: again, found } = await Spool.open(optionsIn(directory));
    assert.deepEqual(found.position, { line: 20 });
    const receiver = await drain(again);
    receiver.assertNoHoles();
    await again.close();
  }));

test("a lost spool is told, number by number, and its numbers are not given again", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    await Promise.all(range(1, 6).map((id) => spool.append(entry(id))));
    const batch = await spool.peek(2, 1e6);
    assert.ok(batch !== null);
    const receiver = new Receiver();
    await spool.settle(batch, { taken: receiver.take(batch), refused: NONE });
    await spool.close();
    rmSync(join(directory, "spool"), { recursive: true });
    const again = await openIn(directory);
    await again.append(entry(7));
    await drain(again, receiver);
    receiver.assertNoHoles();
    assert.deepEqual(receiver.accounts(), [{ first: 3, last: 6, count: 4, reason: "damaged" }]);
    await again.close();
  }));

test("without its checkpoint it says so, and sends what it has", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    await Promise.all(range(1, 3).map((id) => spool.append(entry(id))));
    await spool.close();
    writeFileSync(join(directory, "checkpoint"), "nonsense");
    const { spool: again, found } = await Spool.open(optionsIn(directory, { agentId: OTHER_AGENT }));
    assert.equal(found.checkpoint, "invalid");
    assert.equal((await again.append(entry(4))).seq, 1);
    const receiver = await drain(again);
    assert.deepEqual(receiver.ids(), [1, 2, 3, 4]);
    receiver.assertNoHoles();
    await again.close();
  }));

test("without its checkpoint, what was delivered and removed is not told as lost", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory, { segmentBytes: 200 });
    for (const id of range(1, 4)) await spool.append(entry(id));
    const batch = await spool.peek(2, 1e6);
    assert.ok(batch !== null);
    await spool.settle(batch, { taken: new Set([1, 2]), refused: NONE });
    await spool.close();
    rmSync(join(directory, "checkpoint"));
    const again = await openIn(directory, { agentId: OTHER_AGENT });
    const receiver = await drain(again);
    assert.deepEqual(receiver.ids(), [3, 4]);
    assert.deepEqual(receiver.accounts(), []);
    await again.close();
  }));

test("an entry that no host takes is refused before it has a number", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    await assert.rejects(spool.append(entry(1, { document: "x".repeat(1024 * 1024) })), EntryTooLarge);
    assert.equal((await spool.append(entry(1))).seq, 1);
    await spool.close();
  }));

test("what is sent under another agent id is numbered from 1, and nothing of it is lost", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    await Promise.all(range(1, 6).map((id) => spool.append(entry(id))));
    const receiver = new Receiver();
    const batch = await spool.peek(4, 1e6);
    assert.ok(batch !== null);
    await spool.settle(batch, { taken: receiver.take(batch, ({ seq }) => seq !== 3), refused: NONE });
    await spool.sendAs(batch, OTHER_AGENT);
    await spool.close();
    const again = await openIn(directory);
    await again.append(entry(7));
    const next = await again.peek(10, 1e6);
    assert.equal(next?.agentId, OTHER_AGENT);
    await drain(again, receiver);
    assert.deepEqual(receiver.ids(), [1, 2, 4, 3, 5, 6, 7]);
    const kept = receiver.settled.get(`${OTHER_AGENT}/${optionsIn(directory).bootId}`);
    assert.deepEqual(
      [...(kept ?? [])].sort((a, b) => a - b),
      range(1, kept?.size ?? 0),
    );
    await again.close();
  }));

test("for another host, or as another VM, what is left is numbered from 1 under a new id", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    const never = async () => assert.fail("the first receiver is no other one");
    await spool.sendTo("vm 11", never);
    await Promise.all(range(1, 4).map((id) => spool.append(entry(id))));
    const batch = await spool.peek(2, 1e6);
    assert.ok(batch !== null);
    await spool.settle(batch, { taken: new Set([1, 2]), refused: NONE });
    await spool.close();
    const again = await openIn(directory);
    await again.sendTo("vm 11", never);
    assert.equal(await again.sendTo("vm 12", async () => OTHER_AGENT), 0);
    await again.append(entry(5));
    const receiver = await drain(again);
    assert.deepEqual(receiver.ids(), [3, 4, 5]);
    assert.deepEqual([...receiver.entries.keys()], [`${OTHER_AGENT}/${BOOT}`]);
    receiver.assertNoHoles();
    await again.close();
  }));

test("a copy of the disk sends its source's entries under their own numbers to the same VM, and never as another VM", () =>
  inScratch(async (scratch) => {
    const [directory, disk] = [join(scratch, "source"), join(scratch, "copy")];
    mkdirSync(directory);
    const source = await openIn(directory);
    await source.sendTo("vm 11", async () => assert.fail());
    await Promise.all(range(1, 3).map((id) => source.append(entry(id))));
    await source.close();
    cpSync(directory, disk, { recursive: true });
    // The same token: the host has them from the one or from the other, once.
    const twin = await openIn(directory, { agentId: OTHER_AGENT, bootId: NEXT_BOOT });
    await twin.sendTo("vm 11", async () => assert.fail());
    assert.deepEqual((await twin.peek(10, 1e6))?.agentId, AGENT);
    await twin.close();
    const renewed = "9a0c1f0e-1111-4222-8333-444455556666";
    for (let start = 0; start < 2; start += 1) {
      const copy = await openIn(disk, { agentId: start === 0 ? OTHER_AGENT : renewed, bootId: NEXT_BOOT });
      await copy.append(entry(9 + start));
      assert.equal(await copy.sendTo("vm 12", async () => renewed), start === 0 ? 3 : 0);
      const receiver = await drain(copy);
      assert.deepEqual(receiver.ids(), [9 + start]);
      assert.deepEqual(receiver.accounts(), []);
      await copy.close();
    }
  }));

test("a boot that was delivered is not sent or told again while its records are beside others in a file", () =>
  inScratch(async (directory) => {
    const before = await openIn(directory);
    await Promise.all(range(1, 3).map((id) => before.append(entry(id))));
    await before.close();
    // The file is made smaller together with one of the next boot: both are in one.
    const spool = await openIn(directory, { bootId: NEXT_BOOT, maxBytes: 4000, segmentBytes: 2000 });
    const text = "x".repeat(300);
    for (const id of range(4, 20)) {
      await spool.append(entry(id, { kind: id % 2 === 0 ? "condition" : "report", document: { id, text } }));
    }
    const receiver = new Receiver();
    for (;;) {
      const batch = await spool.peek(10, 1e6);
      if (batch === null || batch.bootId !== BOOT) break;
      await spool.settle(batch, { taken: receiver.take(batch), refused: NONE });
    }
    await spool.close();
    const again = await openIn(directory, { bootId: NEXT_BOOT });
    const next = await again.peek(10, 1e6);
    assert.equal(next?.bootId, NEXT_BOOT);
    await drain(again, receiver);
    receiver.assertNoHoles();
    await again.close();
  }));

test("many appends share a flush: far fewer writes than entries", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    const begun = performance.now();
    await Promise.all(range(1, 2000).map((id) => spool.append(entry(id))));
    const together = performance.now() - begun;
    const alone = performance.now();
    for (const id of range(2001, 2020)) await spool.append(entry(id));
    const oneByOne = (performance.now() - alone) / 20;
    assert.ok(together < oneByOne * 2000, `${together} ms together, ${oneByOne} ms each alone`);
    await spool.close();
  }));
