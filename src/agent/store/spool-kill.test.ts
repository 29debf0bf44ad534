import assert from "node:assert/strict";
import { syncBuiltinESMExports } from "node:module";
import { type TestContext, test } from "node:test";
import { z } from "zod";
import { type Picture, restore, stopAtCalls } from "./kill-points.ts";
import { scanRecords } from "./record.ts";
import { Spool } from "./spool.ts";
import { BOOT, drain, entry, inScratch, NEXT_BOOT, NONE, optionsIn, Receiver } from "./spool-fixture.ts";
import type { SpoolFound, SpoolOptions } from "./spool-types.ts";

const positionSchema = z.object({ line: z.number() }).nullable();

/** A moment in which the process may be killed: the disk, what the host has, and what was promised until then. */
interface Moment {
  readonly picture: Picture;
  readonly receiver: Receiver;
  readonly promised: readonly number[];
}

type Limits = Pick<SpoolOptions, "maxBytes" | "segmentBytes" | "bootId">;

/** Follows numbered events as the service does: appends each, sends what there is, and is asked for more at any call. */
class Life {
  readonly promised: Set<number>;
  readonly receiver: Receiver;
  readonly #waiting: Promise<unknown>[] = [];
  /** How many more are there to be appended: else each write would ask for the next. */
  #left = 18;
  #spool: Spool | null = null;
  #next = 1;

  constructor({ receiver, promised }: Moment) {
    this.receiver = receiver.copy();
    this.promised = new Set(promised);
  }

  append(count: number): void {
    const spool = this.#spool;
    if (spool === null) return;
    for (let index = 0; index < count && this.#left > 0; index += 1) {
      this.#left -= 1;
      const id = this.#next;
      this.#next += 1;
      const document = { id, text: "x".repeat((id * 37) % 300) };
      const kept = spool.append(entry(id, { document })).then((appended) => {
        if (appended.kept === "disk") this.promised.add(id);
      });
      this.#waiting.push(kept);
    }
  }

  async run(options: SpoolOptions): Promise<void> {
    const { spool, found } = await Spool.open(options);
    this.#spool = spool;
    this.#next = nextAfter(found);
    const told = spool.sendTo("the host of VM 11", async () => assert.fail("it is the same host"));
    this.append(3);
    await told;
    for (let round = 0; round < 5; round += 1) {
      const batch = await spool.peek(7, 1e6);
      if (batch === null) this.append(2);
      // Every third answer is lost.
      else if (round % 3 === 2) this.receiver.take(batch);
      else await spool.settle(batch, { taken: this.receiver.take(batch), refused: NONE });
    }
    await Promise.all(this.#waiting);
    await spool.close();
    this.#spool = null;
  }
}

const nextAfter = ({ position }: SpoolFound): number => (positionSchema.parse(position)?.line ?? 0) + 1;

/** Every moment in which a life that begins with `start` could end, the last one aside. */
async function momentsOf(t: TestContext, start: Moment, limits: Limits): Promise<readonly Moment[]> {
  return await inScratch(async (directory) => {
    restore(start.picture, directory);
    const moments: Moment[] = [];
    const life = new Life(start);
    let calls = 0;
    await stopAtCalls(t, directory, (picture) => {
      const before = moments.at(-1);
      // With the same on the disk, the later moment has more promises to keep.
      if (before !== undefined && isSame(before.picture, picture)) moments.pop();
      moments.push({ picture, receiver: life.receiver.copy(), promised: [...life.promised] });
      calls += 1;
      if (calls % 5 === 0) life.append(1 + (calls % 3));
    });
    try {
      await life.run(optionsIn(directory, limits));
    } finally {
      t.mock.restoreAll();
      syncBuiltinESMExports();
    }
    return moments;
  });
}

function isSame(one: Picture, other: Picture): boolean {
  return one.size === other.size && [...one].every(([name, bytes]) => other.get(name)?.equals(bytes) === true);
}

/** The start after it: what is sent then, and what the host has in the end. */
async function goOn({ picture, receiver: before, promised }: Moment, limits: Limits) {
  return await inScratch(async (directory) => {
    restore(picture, directory);
    const { spool, found } = await Spool.open(optionsIn(directory, limits));
    const next = nextAfter(found);
    await spool.append(entry(next));
    const receiver = await drain(spool, before.copy());
    await spool.close();
    receiver.assertNoHoles();
    const ids = receiver.ids();
    assert.equal(new Set(ids).size, ids.length, "something came twice");
    const missing = Array.from({ length: next }, (_, index) => index + 1).filter((id) => !ids.includes(id));
    const told = receiver.withoutEntry();
    return { missing, told, accounts: receiver.accounts(), lost: promised.filter((id) => !ids.includes(id)) };
  });
}

/** A life, two that begin where it was killed, and two of the next boot that begin where those were. */
async function eachMoment(t: TestContext, limits: Omit<Limits, "bootId">, judge: Judge): Promise<number> {
  const boots = [BOOT, BOOT, NEXT_BOOT];
  let starts: readonly Moment[] = [{ picture: new Map(), receiver: new Receiver(), promised: [] }];
  let judged = 0;
  for (const bootId of boots) {
    const ends: Moment[] = [];
    for (const start of starts) {
      const moments = await momentsOf(t, start, { ...limits, bootId });
      for (const [index, moment] of moments.entries()) {
        const isReboot = index % 4 === 3;
        judge(await goOn(moment, { ...limits, bootId: isReboot ? NEXT_BOOT : bootId }));
      }
      judged += moments.length;
      const torn = moments.filter(hasTornEnd);
      ends.push(
        ...[torn[torn.length >> 1], moments[moments.length - (moments.length >> 2)]].flatMap((one) => one ?? []),
      );
    }
    starts = ends.slice(0, 2);
  }
  return judged;
}

type Judge = (end: Awaited<ReturnType<typeof goOn>>) => void;

function hasTornEnd({ picture }: Moment): boolean {
  const last = [...picture.keys()]
    .filter((name) => name.endsWith(".seg"))
    .sort()
    .at(-1);
  const bytes = last === undefined ? undefined : picture.get(last);
  return bytes !== undefined && scanRecords(bytes, Math.min(8, bytes.length)).cutBytes > 0;
}

test("killed at any call: nothing that was promised is missing, nothing comes twice, and no drop is told", async (t) => {
  const judged = await eachMoment(t, { maxBytes: 1024 * 1024, segmentBytes: 1500 }, ({ missing, accounts, lost }) => {
    assert.deepEqual({ accounts, missing, lost }, { accounts: [], missing: [], lost: [] });
  });
  assert.ok(judged > 300, `${judged} moments`);
});

test("killed at any call while there is no room: as many are told as dropped as are missing, for that reason", async (t) => {
  let most = 0;
  const judged = await eachMoment(t, { maxBytes: 3500, segmentBytes: 800 }, ({ missing, told, accounts }) => {
    // An account may speak of what the host has too, when the answer never came.
    assert.equal(told, missing.length, JSON.stringify({ missing, accounts }));
    assert.deepEqual(
      [...new Set(accounts.map(({ reason }) => reason))].filter((reason) => reason !== "spool-full"),
      [],
    );
    most = Math.max(most, told);
  });
  assert.ok(judged > 300 && most > 5, `${judged} moments, ${most} dropped`);
});
