import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { MediatorLog } from "../../../test/fixtures/mediator-log.ts";
import type { MediatorRun } from "./mediator-runs.ts";
import { MediatorSource } from "./mediator-source.ts";

const START = 1_700_000_000_000;
const STEP_MS = 1000;
const BUFFERED_MS = 2000;

describe("the mediator's run, as the counterpart tells it", () => {
  let folder = "";
  let clock = START;
  let open: MediatorSource[] = [];
  const path = () => join(folder, "mediator.log");
  const mediator = () => new MediatorLog((text) => appendFileSync(path(), text, "latin1"), { stderrOnly: false });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "vgpu-runs-"));
    clock = START;
    writeFileSync(path(), "");
    mediator().start([11]);
  });
  afterEach(() => {
    for (const source of open) source.close();
    open = [];
    rmSync(folder, { recursive: true });
  });

  function sourceAfter(saved: unknown = null): MediatorSource {
    const source = new MediatorSource(path(), { now: () => clock, saved });
    open.push(source);
    return source;
  }

  /** As the store has it. */
  const savedOf = (source: MediatorSource): unknown => JSON.parse(JSON.stringify(source.state()));

  function look(source: MediatorSource): MediatorRun {
    mediator().heartbeat();
    clock += STEP_MS;
    while (source.poll().more);
    return source.mediatorRun() ?? assert.fail("the log was not read to its end");
  }

  it("is not known before the log was read to its end, and when the first one began nobody knows", () => {
    const source = sourceAfter();
    assert.equal(source.mediatorRun(), null);
    const first = look(source);
    assert.equal(first.beganAt, null);
    assert.deepEqual(look(source), first);
  });

  it("is another one with a banner, that began no earlier than the look before it", () => {
    const source = sourceAfter();
    const first = look(source);
    mediator().start([11]);
    const second = look(source);
    assert.deepEqual(second, { ...first, run: first.run + 1, beganAt: clock - STEP_MS - BUFFERED_MS });
    assert.deepEqual(look(source), second);
  });

  it("is the same in a log that was moved away or truncated while the mediator went on", () => {
    const source = sourceAfter();
    const first = look(source);
    renameSync(path(), `${path()}.1`);
    assert.deepEqual(look(source), first);
    truncateSync(path(), 0);
    assert.deepEqual(look(source), first);
  });

  it("is another one in a log that it began anew, under the same name or in a new file", () => {
    const source = sourceAfter();
    look(source);
    const first = look(source);
    truncateSync(path(), 0);
    mediator().start([11]);
    const second = look(source);
    assert.equal(second.run, first.run + 1);
    rmSync(path());
    mediator().start([11]);
    const third = look(source);
    assert.deepEqual(third, { ...first, run: first.run + 2, beganAt: clock - STEP_MS - BUFFERED_MS });
  });

  it("is the same after a restart of the counterpart, which reads the same banners again", () => {
    const before = sourceAfter();
    look(before);
    mediator().start([11]);
    const run = look(before);
    assert.deepEqual(look(sourceAfter(savedOf(before))), run);
  });

  it("has the same number where the counterpart was killed before it could keep it", () => {
    const before = sourceAfter();
    look(before);
    const saved = savedOf(before);
    mediator().start([11]);
    const told = look(before);
    const again = look(sourceAfter(saved));
    assert.deepEqual([again.series, again.run], [told.series, told.run]);
    assert.ok(again.beganAt !== null && told.beganAt !== null && again.beganAt <= told.beganAt);
  });

  it("that began while the counterpart was away is another one, began after its last look at the earliest", () => {
    const before = sourceAfter();
    const first = look(before);
    const lookedAt = clock - STEP_MS;
    const saved = savedOf(before);
    clock += 3_600_000;
    rmSync(path());
    mediator().start([11]);
    const run = look(sourceAfter(saved));
    assert.equal(run.run, first.run + 1);
    assert.ok(run.beganAt !== null && run.beganAt >= lookedAt - BUFFERED_MS && run.beganAt < clock);
  });

  it("cannot be compared with runs of before, where what was counted is lost", () => {
    const first = look(sourceAfter());
    assert.notEqual(look(sourceAfter()).series, first.series);
  });
});
