import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { knownEvidence } from "../../../test/fixtures/match-evidence.ts";
import { MediatorLog, type TrueOperation } from "../../../test/fixtures/mediator-log.ts";
import { type Device, GuestProcess } from "../../../test/fixtures/mediator-vm.ts";
import { MediatorSource } from "./mediator-source.ts";

const STEP_MS = 1000;
const START = 1_700_000_000_000;

/** A mediator whose log grows while time passes, and sources that look at it after each step. */
class World {
  readonly folder = mkdtempSync(join(tmpdir(), "vgpu-resume-"));
  readonly path = join(this.folder, "mediator.log");
  readonly operations: TrueOperation[] = [];
  clock = START;
  #process = 4000;
  readonly #device: Device = { vmId: 11, domId: 11, fd: 51, requestId: 1 };
  /** Reopens its file under the name, as a mediator that is started with `>` or `>>` has it. */
  readonly log = new MediatorLog((text) => appendFileSync(this.path, text, "latin1"), {
    stderrOnly: false,
    onOperation: (operation) => this.operations.push(operation),
  });
  readonly open: MediatorSource[] = [];

  source(saved?: unknown): MediatorSource {
    // As it comes back from the store.
    const made = new MediatorSource(this.path, {
      now: () => this.clock,
      saved: saved === undefined ? null : JSON.parse(JSON.stringify(saved)),
    });
    this.open.push(made);
    return made;
  }

  /** A process runs for three steps. The window of its life, and what it did. */
  runProcess(sources: readonly MediatorSource[]) {
    this.#process += 1;
    const from = this.clock;
    const first = this.operations.length;
    const guest = new GuestProcess(this.log, this.#device, this.#process);
    guest.init();
    const ptr = guest.alloc(200_000) ?? assert.fail();
    this.step(sources);
    guest.copyIn(ptr, 200_000);
    guest.launch("mul_mat");
    this.step(sources);
    guest.copyOut(ptr, 200_000);
    this.step(sources);
    return { from, to: this.clock, operations: this.operations.slice(first) };
  }

  step(sources: readonly MediatorSource[]): void {
    this.log.heartbeat();
    this.clock += STEP_MS;
    for (const source of sources) while (source.poll().more);
  }

  steps(count: number, sources: readonly MediatorSource[]): void {
    for (let done = 0; done < count; done += 1) this.step(sources);
  }

  /** What is answered for a window, without what differs from run to run. */
  answer(source: MediatorSource, { from, to, operations }: ReturnType<World["runProcess"]>): unknown {
    const { evidence } = knownEvidence(operations, 11, "debug");
    const document = { ...evidence, window: { from, to }, clock_offset_ms: 0, clock_error_ms: 50 };
    const joined = source.join({ vmId: 11, document, receivedAt: this.clock - 60_000 });
    assert.ok(joined !== null);
    return joined.result;
  }

  close(): void {
    for (const source of this.open) source.close();
    rmSync(this.folder, { recursive: true });
  }
}

const stateOf = (answer: unknown): string => JSON.stringify(answer).match(/"verdict":\{"state":"([a-z ]+)"/)?.[1] ?? "";
const coverageOf = (answer: unknown): string => JSON.stringify(answer).match(/"coverage":"([a-z]+)"/)?.[1] ?? "";

describe("a mediator's log that is followed across a restart of ours", () => {
  let world: World;
  beforeEach(() => {
    world = new World();
    writeFileSync(world.path, "");
    world.log.start([11]);
  });
  afterEach(() => world.close());

  it("gives the same answers of before, and of after, as one that never stopped", () => {
    const steady = world.source();
    const first = world.source();
    world.steps(20, [steady, first]);
    const early = world.runProcess([steady, first]);
    world.steps(20, [steady, first]);
    const second = world.source(first.state());
    first.close();
    world.steps(3, [steady, second]);
    const late = world.runProcess([steady, second]);
    world.steps(20, [steady, second]);
    for (const window of [early, late]) {
      assert.deepEqual(world.answer(second, window), world.answer(steady, window));
      assert.equal(stateOf(world.answer(second, window)), "executing");
    }
    assert.equal(coverageOf(world.answer(second, early)), "full");
  });

  it("does not join before it has read again what was read before", () => {
    const first = world.source();
    world.steps(5, [first]);
    const again = world.source(first.state());
    assert.equal(again.settledUntil(), null);
    assert.equal(again.health(), null);
    again.poll();
    const until = again.settledUntil();
    assert.ok(until !== null && until < world.clock, "what came just now may have lines that are not written yet");
  });

  it("does not say that it watched while it was away for long", () => {
    const first = world.source();
    world.steps(20, [first]);
    const state = first.state();
    first.close();
    const meanwhile = world.runProcess([]);
    world.steps(60, []);
    const second = world.source(state);
    world.steps(20, [second]);
    const answer = world.answer(second, meanwhile);
    assert.equal(stateOf(answer), "not known", "its records are there, and may be of another time");
    const nothing = { from: meanwhile.from, to: meanwhile.to, operations: [] };
    assert.notEqual(coverageOf(world.answer(second, nothing)), "full", "and that there are no others is not known");
  });

  it("reads a file that was moved away meanwhile, and the new one under its name", () => {
    const first = world.source();
    world.steps(5, [first]);
    const before = world.runProcess([first]);
    world.steps(5, [first]);
    const state = first.state();
    renameSync(world.path, `${world.path}.1`);
    writeFileSync(world.path, "");
    world.log.start([11]);
    const second = world.source(state);
    world.steps(5, [second]);
    const after = world.runProcess([second]);
    world.steps(20, [second]);
    for (const window of [before, after]) assert.equal(stateOf(world.answer(second, window)), "executing");
  });

  it("reads what a truncated file has now, and knows that the rest is lost", () => {
    const first = world.source();
    world.steps(5, [first]);
    const before = world.runProcess([first]);
    world.steps(5, [first]);
    const state = first.state();
    truncateSync(world.path, 0);
    world.log.start([11]);
    const second = world.source(state);
    world.steps(5, [second]);
    const after = world.runProcess([second]);
    world.steps(20, [second]);
    assert.equal(stateOf(world.answer(second, after)), "executing");
    assert.equal(stateOf(world.answer(second, before)), "not known");
    assert.notEqual(coverageOf(world.answer(second, before)), "full");
  });

  it("knows that what was in a file that is gone is lost, and reads the one that took its name", () => {
    const first = world.source();
    world.steps(5, [first]);
    const before = world.runProcess([first]);
    world.steps(5, [first]);
    const state = first.state();
    first.close();
    world.open.splice(0);
    rmSync(world.path);
    // So that the new file cannot get the inode of the old one.
    writeFileSync(`${world.path}.other`, "");
    writeFileSync(world.path, "");
    world.log.start([11]);
    const second = world.source(state);
    world.steps(5, [second]);
    const after = world.runProcess([second]);
    world.steps(20, [second]);
    assert.equal(stateOf(world.answer(second, after)), "executing");
    assert.equal(stateOf(world.answer(second, before)), "not known");
    assert.notEqual(coverageOf(world.answer(second, before)), "full");
    const { watchedSince } = second.following();
    assert.ok(watchedSince !== null && watchedSince > before.to, "what is lost is not watched");
  });

  it("gives the same answers after many restarts, at whatever byte the log ends then", () => {
    const steady = world.source();
    let restarted = world.source();
    const windows: ReturnType<World["runProcess"]>[] = [];
    for (let round = 0; round < 6; round += 1) {
      world.steps(3, [steady, restarted]);
      windows.push(world.runProcess([steady, restarted]));
      // In the middle of a line, and of a record.
      world.log.raw("[cuda-executor] CUDA_CALL_IN");
      for (const source of [steady, restarted]) source.poll();
      const state = restarted.state();
      restarted.close();
      world.open.splice(world.open.indexOf(restarted), 1);
      world.log.raw("IT vm=0 \n");
      restarted = world.source(state);
    }
    world.steps(20, [steady, restarted]);
    for (const window of windows) {
      assert.deepEqual(world.answer(restarted, window), world.answer(steady, window));
      assert.equal(stateOf(world.answer(restarted, window)), "executing");
    }
  });

  it("starts anew with a state that is damaged or of another version", () => {
    for (const saved of [null, {}, "x", { version: 2 }, { ...Object(world.source().state()), sources: [{}] }]) {
      const source = world.source(saved);
      source.poll();
      assert.ok(source.following().readAt !== null);
    }
  });
});
