import assert from "node:assert/strict";
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import fc from "fast-check";
import { mediatorScenario } from "../../../test/fixtures/mediator-scenario.ts";
import type { CallEvent, MediatorEvent } from "../../protocol/mediator-events.ts";
import { type FollowerState, followMediatorLog, LogFollower } from "./follow.ts";
import { parseFollowerState } from "./state.ts";

const BANNER = "  MEDIATOR DAEMON v3.1 \n";
let request = 0;
const line = (): string =>
  `[MEDIATOR] CUDA result sent vm_id=11 request_id=${++request} call_id=0x26 result.status=0 -> stub sets DONE\n`;

describe("a log that is followed", () => {
  let folder = "";
  let path = "";
  let events: MediatorEvent[] = [];
  let clock = 0;
  const open: LogFollower[] = [];

  const follower = (state?: FollowerState, chunkBytes = 4096): LogFollower => {
    const made = new LogFollower(path, (event) => events.push(event), {
      now: () => clock,
      chunkBytes,
      ...(state === undefined ? {} : { state: saved(state) }),
    });
    open.push(made);
    return made;
  };
  /** As it comes back from a file. */
  const saved = (state: FollowerState): FollowerState => {
    const parsed = parseFollowerState(JSON.parse(JSON.stringify(state)));
    assert.deepEqual(parsed, state);
    return parsed ?? assert.fail();
  };
  const calls = (): CallEvent[] => events.filter((event) => event.kind === "call");
  const requests = (): number[] => calls().map(({ requestId }) => requestId);
  const changes = (): string[] => events.flatMap((event) => (event.kind === "log" ? [event.change] : []));
  const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "mediator-log-"));
    path = join(folder, "mediator.log");
    events = [];
    request = 0;
    clock = 1000;
  });
  afterEach(() => {
    for (const each of open.splice(0)) each.close();
    rmSync(folder, { recursive: true });
  });

  test("need not be there yet, and gives each line when it comes", () => {
    const log = follower();
    assert.deepEqual(log.poll(), { bytes: 0, more: false, problem: null });
    writeFileSync(path, BANNER + line());
    log.poll();
    appendFileSync(path, line());
    log.poll();
    log.poll();
    assert.deepEqual(requests(), [1, 2]);
    assert.deepEqual(changes(), ["opened"]);
  });

  test("gives a line that is written in parts once, when it is whole", () => {
    const log = follower();
    writeFileSync(path, BANNER);
    const text = line();
    for (const letter of text) {
      appendFileSync(path, letter);
      log.poll();
      assert.equal(calls().length, letter === "\n" ? 1 : 0);
    }
  });

  test("tells between which moments a line was written", () => {
    const log = follower();
    writeFileSync(path, BANNER + line());
    log.poll();
    clock = 1500;
    log.poll();
    clock = 2000;
    appendFileSync(path, line());
    log.poll();
    assert.deepEqual(
      calls().map(({ when }) => when),
      [
        { notBefore: null, notAfter: 1000 },
        { notBefore: 1500, notAfter: 2000 },
      ],
    );
  });

  test("is read from its start when it is truncated, by a writer that appends or by one that does not", () => {
    writeFileSync(path, BANNER + line());
    const log = follower();
    log.poll();
    truncateSync(path);
    appendFileSync(path, line());
    log.poll();
    // Not appending: the writer goes on at its old place, and leaves a hole.
    const fd = openSync(path, "r+");
    truncateSync(path);
    writeSync(fd, line(), 5000);
    closeSync(fd);
    log.poll();
    assert.deepEqual(requests(), [1, 2, 3]);
    assert.deepEqual(changes(), ["opened", "truncated", "truncated"]);
    assert.deepEqual(
      calls().map((call) => call.log),
      [0, 1, 2],
    );
    assert.ok(events.some((event) => event.kind === "unread" && event.what === "nul-hole" && event.bytes === 5000));
  });

  test("is known to be truncated when it has grown past the old place since", () => {
    writeFileSync(path, BANNER + line());
    const log = follower();
    log.poll();
    writeFileSync(path, BANNER + line() + line() + line() + line());
    log.poll();
    assert.deepEqual(requests(), [1, 2, 3, 4, 5]);
    assert.deepEqual(changes(), ["opened", "truncated"]);
  });

  test("is followed when it is moved away, while the mediator still writes to it and a new one is made", () => {
    writeFileSync(path, BANNER + line());
    const log = follower();
    log.poll();
    renameSync(path, `${path}.bak`);
    appendFileSync(`${path}.bak`, line());
    log.poll();
    appendFileSync(`${path}.bak`, line());
    writeFileSync(path, BANNER + line());
    log.poll();
    appendFileSync(`${path}.bak`, line());
    appendFileSync(path, line());
    log.poll();
    assert.deepEqual(requests(), [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(changes(), ["opened", "replaced"]);
    assert.deepEqual(
      calls().map((call) => call.log),
      [0, 0, 0, 1, 0, 1],
    );
  });

  test("is given up an hour after it lost its name and stopped growing, and its epoch ends then", () => {
    writeFileSync(path, BANNER + line());
    const log = follower();
    log.poll();
    renameSync(path, `${path}.bak`);
    writeFileSync(path, BANNER);
    log.poll();
    clock += 3_600_000;
    log.poll();
    assert.ok(!events.some(({ kind }) => kind === "epoch-end"));
    clock += 1;
    log.poll();
    assert.deepEqual(
      events.filter(({ kind }) => kind === "epoch-end").map((event) => event.log),
      [0],
    );
    assert.equal(log.state().sources.length, 1);
  });

  test("gives no line twice and loses none when the reader restarts, while the log is moved or not", () => {
    writeFileSync(path, BANNER + line() + line().slice(0, 30));
    const first = follower();
    first.poll();
    const state = first.state();
    request -= 1;
    appendFileSync(path, line().slice(30) + line());
    renameSync(path, `${path}.1`);
    writeFileSync(path, BANNER + line());
    const second = follower(state);
    second.poll();
    assert.deepEqual(requests(), [1, 2, 3, 4]);
    assert.deepEqual(changes(), ["opened", "resumed", "replaced"]);
    const third = follower(second.state());
    appendFileSync(`${path}.1`, line());
    appendFileSync(path, line());
    third.poll();
    assert.deepEqual(requests(), [1, 2, 3, 4, 5, 6]);
  });

  test("is said to be lost when the file of the state is gone, and truncated when its text is another", () => {
    writeFileSync(path, BANNER + line());
    const first = follower();
    first.poll();
    const state = first.state();
    writeFileSync(path, BANNER + line() + line() + line());
    follower(state).poll();
    assert.deepEqual(changes(), ["opened", "truncated"]);
    assert.deepEqual(requests(), [1, 2, 3, 4]);
    events = [];
    writeFileSync(`${path}.new`, BANNER + line());
    rmSync(path);
    renameSync(`${path}.new`, path);
    follower(state).poll();
    assert.deepEqual(changes(), ["lost", "opened"]);
    assert.deepEqual(requests(), [5]);
  });

  test("has a state that is refused when it is damaged", () => {
    writeFileSync(path, BANNER + line());
    const log = follower();
    log.poll();
    const text = JSON.stringify(log.state());
    assert.notEqual(parseFollowerState(JSON.parse(text)), null);
    assert.equal(parseFollowerState(JSON.parse(text.replace(/"offset":\d+/, '"offset":-1'))), null);
    assert.equal(parseFollowerState(JSON.parse(text.replace('"version":1', '"version":2'))), null);
    for (const other of [null, 7, "x", [], {}]) assert.equal(parseFollowerState(other), null);
  });

  test("what is no regular file is refused with a reason, without waiting for a writer", () => {
    path = folder;
    assert.match(follower().poll().problem ?? "", /is not a regular file/);
  });

  test("is read in parts, so that one poll never takes long", () => {
    writeFileSync(path, BANNER + Array.from({ length: 3000 }, line).join(""));
    const log = new LogFollower(path, (event) => events.push(event), {
      now: () => clock,
      chunkBytes: 4096,
      mostBytesAPoll: 20_000,
    });
    open.push(log);
    assert.deepEqual(log.poll(), { bytes: 20_000, more: true, problem: null });
    let polls = 1;
    while (log.poll().more) polls += 1;
    assert.ok(polls > 10);
    assert.deepEqual(requests(), upTo(3000));
  });

  test("is followed until the signal, looking again after each wait", async () => {
    writeFileSync(path, BANNER + line());
    const stop = new AbortController();
    let waits = 0;
    const state = await followMediatorLog(path, (event) => events.push(event), {
      now: () => clock,
      signal: stop.signal,
      wait: async () => {
        waits += 1;
        if (waits === 3) stop.abort();
        else appendFileSync(path, line());
      },
    });
    assert.deepEqual(requests(), [1, 2, 3]);
    assert.equal(state.sources[0]?.read.offset, readFileSync(path).length);
  });

  test("loses and repeats nothing, whatever writers and readers do between two polls", () => {
    const { bytes } = mediatorScenario({ seed: 9, operations: 150, chunk: 700, vms: 2 });
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ do: fc.constant("write" as const), bytes: fc.integer({ min: 1, max: 3000 }) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant("poll" as const) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("move" as const) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("truncate" as const) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        events = [];
        let log = follower(undefined, 512);
        let at = 0;
        let generation = 0;
        const read = () => {
          while (log.poll().more);
        };
        for (const each of [...steps, { do: "write" as const, bytes: bytes.length }]) {
          switch (each.do) {
            case "write":
              appendFileSync(path, bytes.subarray(at, at + each.bytes));
              at += each.bytes;
              break;
            case "poll":
              read();
              break;
            case "restart": {
              const state = log.state();
              log.close();
              open.pop();
              log = follower(state, 512);
              break;
            }
            case "move":
            case "truncate": {
              // Both at the end of a line, all of which was read: else lines are torn or lost, which no reader can help.
              const newline = bytes.indexOf("\n", at);
              if (at >= bytes.length || newline === -1) break;
              appendFileSync(path, bytes.subarray(at, newline + 1));
              at = newline + 1;
              if (each.do === "truncate") {
                read();
                truncateSync(path);
              } else if (existsSync(path)) {
                // Had the follower not seen this file, it could not know it under its new name.
                log.poll();
                renameSync(path, `${path}.${++generation}`);
              }
              break;
            }
            default:
              each satisfies never;
          }
        }
        read();
        const seen = new Map<string, number>();
        for (const { vmId, requestId } of calls()) {
          const key = `${vmId}/${requestId}`;
          seen.set(key, (seen.get(key) ?? 0) + 1);
        }
        const written = [...bytes.toString("latin1").matchAll(/sent vm_id=(\d+) request_id=(\d+) /g)];
        assert.deepEqual(
          written.map((match) => seen.get(`${match[1]}/${match[2]}`)),
          written.map(() => 1),
        );
        assert.equal(calls().length, written.length);
        log.close();
        open.splice(0);
        rmSync(folder, { recursive: true });
        folder = mkdtempSync(join(tmpdir(), "mediator-log-"));
        path = join(folder, "mediator.log");
      }),
      { numRuns: 150 },
    );
  });
});
