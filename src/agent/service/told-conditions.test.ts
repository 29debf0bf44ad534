import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { temporaryDirectory } from "../../../test/support/real-process.ts";
import { NO_CONDITIONS } from "../observe/condition-state.ts";
import { StorageError } from "../store/storage-error.ts";
import { ToldConditions } from "./told-conditions.ts";

const directory = temporaryDirectory();
const fresh = () => join(mkdtempSync(join(directory, "told-")), "conditions.json");
const state = (bootId: string) => ({ ...NO_CONDITIONS, bootId });
const condition = (id: number) => ({
  at: id,
  document: { schema: "vgpu-agent/condition/1" as const, id: `c-${id}` },
});

/** `say` takes what the tracker says; here only that it comes back as it was matters. */
const say = (told: ToldConditions, id: number) => told.say(condition(id));

describe("conditions that were said", () => {
  it("are known with their state before the spool has the first of them", async () => {
    const path = fresh();
    const { told } = await ToldConditions.open(path, 0);
    const [first, second] = [say(told, 1), say(told, 2)];
    await told.save(first, state("a"));
    const again = await ToldConditions.open(path, 0);
    assert.deepEqual(again.state, state("a"));
    assert.deepEqual(again.unsaid, [first, second]);
    assert.deepEqual((await ToldConditions.open(path, 1)).unsaid, [second], "the spool has the first");
    assert.deepEqual((await ToldConditions.open(path, 2)).unsaid, []);
    assert.deepEqual((await ToldConditions.open(path, 9)).unsaid, [], "the spool knows more than the file");
  });

  it("are kept while the disk does not take the spool's record", async () => {
    const path = fresh();
    const { told } = await ToldConditions.open(path, 0);
    const first = say(told, 1);
    await told.save(first, state("a"));
    told.appended(first, "memory");
    const second = say(told, 2);
    await told.save(second, state("b"));
    assert.equal((await ToldConditions.open(path, 0)).unsaid.length, 2);
    told.appended(second, "disk");
    const third = say(told, 3);
    await told.save(third, state("c"));
    assert.deepEqual((await ToldConditions.open(path, 2)).unsaid, [third]);
  });

  it("are brought to the disk later where it did not take them when they were said", async () => {
    const path = join(fresh(), "..", "not-yet", "conditions.json");
    const { told } = await ToldConditions.open(path, 0);
    await told.saveRest(state("nothing was said"));
    const first = say(told, 1);
    await assert.rejects(told.save(first, state("a")), StorageError);
    await assert.rejects(told.saveRest(state("a")), StorageError);
    mkdirSync(dirname(path));
    await told.saveRest(state("a"));
    const again = await ToldConditions.open(path, 0);
    assert.deepEqual([again.state, again.unsaid], [state("a"), [first]]);
    rmSync(path);
    await told.saveRest(state("b"));
    assert.equal(existsSync(path), false, "nothing is left to write");
  });

  it("get numbers that go on after a restart, also where the file is lost", async () => {
    const path = fresh();
    const { told, state: before } = await ToldConditions.open(path, 41);
    assert.deepEqual(before, NO_CONDITIONS);
    assert.equal(say(told, 1).number, 42);
  });

  it("are told once each wherever it is cut off", async () => {
    const steps = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(30), async (groups, cutAt) => {
        const path = fresh();
        /** Numbers and names in the spool, as records that are there or not. */
        const spool: { readonly number: number; readonly id: number }[] = [];
        let work = 0;
        const isCut = () => work++ >= cutAt;
        const { told } = await ToldConditions.open(path, 0);
        let id = 0;
        let saved = 0;
        run: for (const group of groups) {
          const said = Array.from({ length: group }, () => {
            id += 1;
            return { ...say(told, id), id };
          });
          for (const one of said) {
            if (isCut()) break run;
            await told.save(one, state(`after ${id}`));
            saved = id;
            if (isCut()) break run;
            spool.push({ number: one.number, id: one.id });
            told.appended(one, "disk");
          }
        }
        const again = await ToldConditions.open(path, spool.at(-1)?.number ?? 0);
        const all = [...spool.map((one) => one.id), ...again.unsaid.map(({ at }) => at)];
        assert.deepEqual(
          all,
          Array.from({ length: saved }, (_, index) => index + 1),
          "what led to the state that is kept, once each",
        );
        assert.equal(again.state.bootId, saved === 0 ? null : `after ${saved}`);
      }),
      { numRuns: 60 },
    );
  });
});
