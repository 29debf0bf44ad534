import assert from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { HEAD_BYTES } from "./record.ts";
import { Spool } from "./spool.ts";
import { drain, entry, inScratch, NONE, openIn, optionsIn, Receiver } from "./spool-fixture.ts";

const FIRST = "0000000001.seg";

/** A state directory whose spool has one file with these entries, each whole. */
async function fill(directory: string, ids: readonly number[]): Promise<Buffer> {
  const spool = await openIn(directory);
  for (const id of ids) await spool.append(entry(id, { document: { id, text: "ä".repeat(id * 3) } }));
  await spool.close();
  return readFileSync(join(directory, "spool", FIRST));
}

/** The same in a fresh directory, with another content of the file. */
async function withFile(source: string, bytes: Buffer, body: (directory: string) => Promise<void>): Promise<void> {
  await inScratch(async (directory) => {
    mkdirSync(join(directory, "spool"));
    copyFileSync(join(source, "checkpoint"), join(directory, "checkpoint"));
    writeFileSync(join(directory, "spool", FIRST), bytes);
    await body(directory);
  });
}

/** Where each record ends. */
function endsOf(bytes: Buffer): readonly number[] {
  const ends: number[] = [];
  for (let at = 8; at < bytes.length; at = ends.at(-1) ?? 0) ends.push(at + HEAD_BYTES + bytes.readUInt32LE(at + 4));
  return ends;
}

test("cut at any byte, every record before the cut is there, and appending goes on", () =>
  inScratch(async (source) => {
    const ids = [1, 2, 3, 4, 5];
    const whole = await fill(source, ids);
    const ends = endsOf(whole);
    assert.equal(ends.at(-1), whole.length);
    for (let length = 0; length < whole.length; length += 1) {
      await withFile(source, whole.subarray(0, length), async (directory) => {
        const { spool, found } = await Spool.open(optionsIn(directory));
        const kept = ids.filter((id) => (ends[id - 1] ?? 0) <= length);
        const { seq } = await spool.append(entry(99));
        assert.equal(seq, kept.length + 1);
        assert.deepEqual(found.position, kept.length === 0 ? null : { line: kept.length });
        const receiver = await drain(spool);
        assert.deepEqual(receiver.ids(), [...kept, 99], `cut at ${length}`);
        const begins = [8, ...ends].includes(length) || length < 8;
        assert.equal(found.cutBytes > 0, !begins);
        assert.equal(found.damagedPlaces, 0);
        receiver.assertNoHoles();
        await spool.close();
      });
    }
  }));

test("numbers that were given and not yet written when the checkpoint was are given again, and not told as lost", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    const isToldTo = spool.sendTo("the host of VM 11", async () => assert.fail("it is the first host"));
    const appended = [1, 2, 3].map((id) => spool.append(entry(id)));
    await isToldTo;
    // As a kill leaves it here: a checkpoint, and nothing in the spool.
    const killed = join(directory, "killed");
    mkdirSync(killed);
    copyFileSync(join(directory, "checkpoint"), join(killed, "checkpoint"));
    await Promise.all(appended);
    await spool.close();
    const again = await openIn(killed);
    assert.equal((await again.append(entry(1))).seq, 1);
    const receiver = await drain(again);
    assert.deepEqual(receiver.accounts(), []);
    assert.deepEqual(receiver.ids(), [1]);
    await again.close();
  }));

test("a record that was cut off at a kill is no damage later: what is dropped behind it is told as dropped", () =>
  inScratch(async (directory) => {
    const limits = { maxBytes: 4000, segmentBytes: 1000 };
    const first = await openIn(directory, limits);
    await first.append(entry(1, { kind: "condition" }));
    await first.append(entry(2));
    await first.close();
    const path = join(directory, "spool", FIRST);
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.subarray(0, bytes.length - 5));
    const second = await openIn(directory, limits);
    for (let id = 2; id <= 60; id += 1) await second.append(entry(id));
    assert.ok(second.state().dropped["spool-full"] > 10);
    await second.close();
    const third = await openIn(directory, limits);
    const receiver = await drain(third);
    await third.close();
    assert.ok(receiver.ids().includes(1));
    const missing = 60 - receiver.ids().length;
    assert.deepEqual(receiver.accounts(), [{ first: 2, last: missing + 1, count: missing, reason: "spool-full" }]);
  }));

test("any bit that flips costs one record, which is told as damaged; no number is given twice", () =>
  inScratch(async (source) => {
    const ids = [1, 2, 3, 4, 5, 6];
    const whole = await fill(source, ids);
    const ends = endsOf(whole);
    const bits = fc.integer({ min: 0, max: whole.length * 8 - 1 });
    await fc.assert(
      fc.asyncProperty(bits, async (bit) => {
        const changed = Buffer.from(whole);
        changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        const hit = bit >> 3 < 8 ? null : ends.findIndex((end) => bit >> 3 < end) + 1;
        await withFile(source, changed, async (directory) => {
          const { spool, found } = await Spool.open(optionsIn(directory));
          assert.equal(found.damagedPlaces, 1);
          const { seq } = await spool.append(entry(99));
          assert.ok(seq > ids.length, `number ${seq} was given before`);
          const receiver = await drain(spool);
          const kept = [...ids.filter((id) => id !== hit), 99];
          assert.deepEqual(receiver.ids(), kept, `bit ${bit}`);
          receiver.assertNoHoles();
          assert.ok(receiver.accounts().every(({ reason }) => reason === "damaged"));
          const count = receiver.accounts().reduce((sum, one) => sum + one.count, 0);
          assert.ok(hit === null ? count === 0 : count >= 1);
          await spool.close();
        });
      }),
      { numRuns: 150 },
    );
  }));

test("whatever is written over a part of the file, what is left whole is sent once and in order, and the rest is told", () =>
  inScratch(async (source) => {
    const ids = Array.from({ length: 30 }, (_, index) => index + 1);
    const whole = await fill(source, ids);
    const part = fc.tuple(fc.nat({ max: whole.length - 1 }), fc.uint8Array({ minLength: 1, maxLength: 600 }));
    await fc.assert(
      fc.asyncProperty(part, async ([at, noise]) => {
        const changed = Buffer.from(whole);
        changed.set(noise.subarray(0, whole.length - at), at);
        await withFile(source, changed, async (directory) => {
          const spool = await openIn(directory);
          const receiver = await drain(spool, new Receiver(), 7);
          receiver.assertNoHoles();
          const got = receiver.ids();
          assert.deepEqual(
            got,
            [...new Set(got)].sort((a, b) => a - b),
          );
          const ends = endsOf(whole);
          const untouched = ids.filter((id) => {
            const [begin, end] = [ends[id - 2] ?? 8, ends[id - 1] ?? 0];
            return end <= at || begin >= at + noise.length;
          });
          assert.deepEqual(
            untouched.filter((id) => !got.includes(id)),
            [],
          );
          await spool.close();
        });
      }),
      { numRuns: 150 },
    );
  }));

test("a document that looks like a record is not taken for one, even when its own record is damaged", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    await spool.append(entry(1));
    const forged = readFileSync(join(directory, "spool", FIRST))
      .subarray(8)
      .toString("latin1");
    await spool.append(entry(2, { document: { id: 2, text: forged + forged } }));
    await spool.append(entry(3));
    await spool.close();
    const path = join(directory, "spool", FIRST);
    const bytes = readFileSync(path);
    const [end = 0] = endsOf(bytes);
    bytes.writeUInt8(0, end);
    writeFileSync(path, bytes);
    const again = await openIn(directory);
    assert.deepEqual((await drain(again)).ids(), [1, 3]);
    await again.close();
  }));

test("damage that comes while it runs costs the record that it hit", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory);
    for (const id of [1, 2, 3]) await spool.append(entry(id));
    const path = join(directory, "spool", FIRST);
    const bytes = readFileSync(path);
    bytes.writeUInt8(0, (endsOf(bytes)[1] ?? 0) - 3);
    writeFileSync(path, bytes);
    const receiver = await drain(spool);
    assert.deepEqual(receiver.ids(), [1, 3]);
    assert.deepEqual(receiver.accounts(), [{ first: 2, last: 2, count: 1, reason: "damaged" }]);
    receiver.assertNoHoles();
    assert.equal(spool.state().entries, 0);
    await spool.close();
  }));

test("a crash between the smaller copy of a file and the removal of the next leaves nothing twice", () =>
  inScratch(async (directory) => {
    const spool = await openIn(directory, { segmentBytes: 400 });
    for (const id of [1, 2, 3, 4, 5, 6]) await spool.append(entry(id));
    await spool.close();
    const names = readdirSync(join(directory, "spool"));
    assert.ok(names.length >= 2);
    const [first = "", second = ""] = names.map((name) => join(directory, "spool", name));
    writeFileSync(first, Buffer.concat([readFileSync(first), readFileSync(second).subarray(8)]));
    writeFileSync(`${first}.new`, "half");
    const again = await openIn(directory);
    const receiver = await drain(again);
    assert.deepEqual(receiver.ids(), [1, 2, 3, 4, 5, 6]);
    await again.close();
    assert.ok(!readdirSync(join(directory, "spool")).some((name) => name.endsWith(".new")));
  }));

/** What a history may do to a spool. */
const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("append" as const), count: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("send" as const), most: fc.integer({ min: 1, max: 20 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("answer-lost" as const), most: fc.integer({ min: 1, max: 20 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("refuse" as const), every: fc.integer({ min: 2, max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reboot" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("lose-checkpoint-write" as const) }) },
);

test("over any history nothing comes twice with two contents, and every number is there or accounted for", async () => {
  const KINDS = ["report", "guest-evidence", "condition"] as const;
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 25 }), async (history) => {
      await inScratch(async (directory) => {
        mkdirSync(join(directory, "state"));
        let boot = 1;
        const bootId = () => `0b0b0b0b-0000-4000-8000-${String(boot).padStart(12, "0")}`;
        const open = () => openIn(join(directory, "state"), { maxBytes: 12_000, segmentBytes: 2000, bootId: bootId() });
        let spool = await open();
        const receiver = new Receiver();
        let id = 0;
        let dropped = 0;
        const restart = async () => {
          await spool.close();
          const { "spool-full": full, refused } = spool.state().dropped;
          dropped += full + refused;
          spool = await open();
        };
        for (const step of history) {
          if (step.do === "append") {
            const next = Array.from({ length: step.count }, () => ++id);
            await Promise.all(
              next.map((one) =>
                spool.append(
                  entry(one, {
                    kind: KINDS[one % 3] ?? "report",
                    document: { id: one, text: "x".repeat((one * 37) % 500) },
                  }),
                ),
              ),
            );
          } else if (step.do === "send" || step.do === "answer-lost") {
            const batch = await spool.peek(step.most, 1e6);
            if (batch === null) continue;
            const taken = receiver.take(batch);
            if (step.do === "send") await spool.settle(batch, { taken, refused: NONE });
          } else if (step.do === "refuse") {
            const batch = await spool.peek(10, 1e6);
            if (batch === null) continue;
            const isRefused = (seq: number) => seq % step.every === 0;
            const entries = batch.entries.filter(({ kind }) => kind !== "dropped");
            // A host that has it does not refuse it.
            const known = receiver.entries.get(`${batch.agentId}/${batch.bootId}`);
            const refused = entries.map(({ seq }) => seq).filter((seq) => isRefused(seq) && !known?.has(seq));
            const taken = receiver.take(batch, ({ seq }) => !refused.includes(seq));
            await spool.settle(batch, { taken, refused: new Set(refused) });
          } else if (step.do === "restart") {
            await restart();
          } else if (step.do === "reboot") {
            boot += 1;
            await restart();
          } else {
            // The answer came, and the power went before the checkpoint was written.
            const batch = await spool.peek(5, 1e6);
            const [state, then] = [join(directory, "state"), join(directory, "then")];
            cpSync(state, then, { recursive: true });
            if (batch !== null) await spool.settle(batch, { taken: receiver.take(batch), refused: NONE });
            await restart();
            await spool.close();
            rmSync(state, { recursive: true });
            renameSync(then, state);
            spool = await open();
          }
          assert.ok(spool.state().diskBytes <= 12_000 + 2100);
        }
        await restart();
        await drain(spool, receiver, 9);
        receiver.assertNoHoles();
        const got = receiver.ids();
        assert.equal(new Set(got).size, got.length);
        dropped += spool.state().dropped["spool-full"];
        assert.ok(got.length + dropped >= id, `${got.length} came and ${dropped} were dropped of ${id}`);
        assert.equal(spool.state().entries, 0);
        const told = receiver.accounts().reduce((sum, { count }) => sum + count, 0);
        assert.ok(told <= dropped, `${told} were told as dropped, and ${dropped} were`);
        await spool.close();
      });
    }),
    { numRuns: 120 },
  );
});

test("left-overs of any kind in the directory are no reason not to start", () =>
  inScratch(async (directory) => {
    mkdirSync(join(directory, "spool"));
    writeFileSync(join(directory, "spool", "0000000003.seg"), "");
    writeFileSync(join(directory, "spool", "0000000004.seg"), "VGSP");
    writeFileSync(join(directory, "spool", "0000000005.seg"), "something else altogether");
    writeFileSync(join(directory, "spool", "README"), "kept");
    const spool = await openIn(directory);
    await spool.append(entry(1));
    assert.deepEqual((await drain(spool)).ids(), [1]);
    await spool.close();
    assert.ok(readdirSync(join(directory, "spool")).includes("README"));
  }));
