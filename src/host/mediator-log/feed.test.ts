import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { type Generation, randomNumbers } from "../../../test/fixtures/mediator-log.ts";
import { mediatorScenario } from "../../../test/fixtures/mediator-scenario.ts";
import type { MediatorEvent } from "../../protocol/mediator-events.ts";
import { matchMediatorLine } from "../../protocol/mediator-lines.ts";
import { Assembler } from "./assembler.ts";
import { LogFeed, type LogState } from "./feed.ts";
import { LONGEST_LINE } from "./parser.ts";

const counter =
  (next = 0): (() => number) =>
  () =>
    next++;

function eventsOf(bytes: Uint8Array, pieces: readonly number[] = [], chunkBytes = 4096): MediatorEvent[] {
  const events: MediatorEvent[] = [];
  const feed = new LogFeed({ log: 0, emit: (event) => events.push(event), nextEpoch: counter(), chunkBytes });
  let at = 0;
  for (const length of pieces) {
    feed.push(bytes.subarray(at, at + length));
    at += length;
  }
  feed.push(bytes.subarray(Math.min(at, bytes.length)));
  feed.finish();
  return events;
}

/** The same with every line read by a grammar, and none from bytes. */
function eventsByGrammar(bytes: Buffer): MediatorEvent[] {
  const events: MediatorEvent[] = [];
  const sink = new Assembler({ log: 0, emit: (event) => events.push(event), nextEpoch: counter() });
  let at = 0;
  for (const text of bytes.toString("latin1").split("\n")) {
    const end = at + text.length + 1;
    const match = matchMediatorLine(text);
    if (match !== null) sink.reading(at, end, match.reading, match.grammar.stream === "stdout");
    else if (text !== "") sink.unread(at, end, "unknown-line");
    at = end;
  }
  sink.finish(bytes.length);
  return events;
}

const text = (...lines: string[]): Buffer => Buffer.from(lines.map((line) => `${line}\n`).join(""), "latin1");
const kinds = (events: readonly MediatorEvent[]): string[] => events.map(({ kind }) => kind);
const SENT = (vm: number, request: number, call: string, status = 0): string =>
  `[MEDIATOR] CUDA result sent vm_id=${vm} request_id=${request} call_id=0x${call} result.status=${status} -> stub sets DONE`;
const BANNER = "  MEDIATOR DAEMON v3.1 \xe2\x80\x94 Phase 3+: CUDA API Remoting";

/** A real-looking log with damage of all kinds in it. */
function damaged(seed: number): Buffer {
  const { bytes } = mediatorScenario({ seed, operations: 60, trouble: true, chunk: 512 });
  const random = randomNumbers(seed);
  const parts: Buffer[] = [];
  let at = 0;
  for (let count = random() % 8; count > 0; count -= 1) {
    const next = Math.min(bytes.length, at + (random() % (bytes.length / 4)));
    parts.push(bytes.subarray(at, next));
    const what = random() % 6;
    if (what === 0) parts.push(Buffer.alloc(random() % 5000));
    if (what === 1) parts.push(Buffer.from(Array.from({ length: random() % 300 }, () => random() & 255)));
    if (what === 2) parts.push(Buffer.alloc(LONGEST_LINE + (random() % 3) - 1, "x"));
    if (what === 3) parts.push(Buffer.from("[WATCHDOG] Job timeout: vm=6 req=12 (31.0s > 30s)\n"));
    if (what === 4) parts.push(Buffer.from("\n  MEDIATOR DAEMON v3.1 \n"));
    at = what === 5 ? Math.min(bytes.length, next + (random() % 200)) : next;
  }
  parts.push(bytes.subarray(at));
  return Buffer.concat(parts);
}

describe("a log in pieces", () => {
  test("gives the same events however it is cut", () => {
    fc.assert(
      fc.property(
        fc.nat(500),
        fc.array(fc.oneof(fc.nat(40), fc.nat(3000)), { maxLength: 60 }),
        fc.integer({ min: 1, max: 9000 }),
        (seed, pieces, chunk) => {
          const bytes = damaged(seed);
          assert.deepEqual(eventsOf(bytes, pieces, chunk), eventsOf(bytes, [], 1 << 20));
        },
      ),
      { numRuns: 120 },
    );
  });

  test("gives each event once when reading stops at any byte and another reader goes on from the saved state", () => {
    fc.assert(
      fc.property(fc.nat(500), fc.array(fc.nat(), { minLength: 1, maxLength: 6 }), (seed, cuts) => {
        const bytes = damaged(seed);
        const stops = [...cuts.map((cut) => cut % bytes.length), bytes.length].sort((a, b) => a - b);
        const events: MediatorEvent[] = [];
        const nextEpoch = counter();
        let state: LogState | undefined;
        for (const [index, stop] of stops.entries()) {
          const feed = new LogFeed({
            log: 0,
            emit: (event) => events.push(event),
            nextEpoch,
            chunkBytes: 700,
            ...(state === undefined ? {} : { state: JSON.parse(JSON.stringify(state)) }),
          });
          feed.push(bytes.subarray(Math.min(state?.offset ?? 0, stop), stop));
          if (index === stops.length - 1) feed.finish();
          state = feed.state();
        }
        assert.deepEqual(events, eventsOf(bytes));
      }),
      // Reading stopped inside a line that is too long to be kept.
      { numRuns: 120, examples: [[481, [1093070215, 0]]] },
    );
  });
});

describe("a log that is read from bytes", () => {
  for (const generation of ["current", "plain-owner", "no-terminators"] satisfies Generation[]) {
    test(`says the same as its grammars (${generation})`, () => {
      for (let seed = 0; seed < 12; seed += 1) {
        const { bytes } = mediatorScenario({ seed, operations: 200, trouble: true, generation });
        assert.deepEqual(eventsOf(bytes), eventsByGrammar(bytes));
      }
    });
  }

  test("says the same as its grammars when bytes of it are changed", () => {
    fc.assert(
      fc.property(
        fc.nat(200),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 32, max: 126 })), { maxLength: 30 }),
        (seed, changes) => {
          const { bytes } = mediatorScenario({ seed, operations: 12, chunk: 100 });
          for (const [at, byte] of changes) if (bytes[at % bytes.length] !== 10) bytes[at % bytes.length] = byte;
          const known = (events: MediatorEvent[]) =>
            events.filter(({ kind }) => kind === "call" || kind === "unframed");
          const [fast, slow] = [known(eventsOf(bytes)), known(eventsByGrammar(bytes))];
          // A line that says something and is cut or torn is distrusted here, and taken by the grammar alone.
          const trusted = fast.filter((event) => "sound" in event && event.sound);
          for (const event of trusted) assert.ok(slow.some((other) => isDeepStrictEqual(other, event)));
        },
      ),
      { numRuns: 200 },
    );
  });

  test("gives one call for each terminator, with its request, process and payload", () => {
    const { bytes, operations } = mediatorScenario({ seed: 3, operations: 400, chunk: 1000 });
    const calls = eventsOf(bytes).filter((event) => event.kind === "call");
    assert.equal(
      calls.length,
      operations.reduce((sum, { answered }) => sum + answered, 0),
    );
    for (const operation of operations) {
      const mine = calls.filter(
        (call) =>
          call.vmId === operation.vmId &&
          call.requestId >= (operation.requests?.[0] ?? Infinity) &&
          call.requestId <= (operation.requests?.[1] ?? -Infinity),
      );
      assert.equal(mine.length, operation.answered);
      assert.ok(mine.every((call) => call.sound || call === calls[0]));
      assert.ok(mine.every((call) => call.callId === operation.callId && call.status === operation.status));
      assert.ok(mine.every((call) => call.at >= operation.place[0] && call.end <= operation.place[1]));
      if (operation.kind === "copy-in") {
        assert.equal(
          mine.reduce((sum, call) => sum + (call.payloadBytes ?? 0), 0),
          operation.bytes,
        );
        assert.ok(mine.every((call) => call.owner === operation.vmId * 2 ** 24 + operation.pid));
        assert.deepEqual(
          mine.map((call) => call.seq),
          mine.map((_, index) => operation.seqs[0] + index),
        );
      }
    }
  });
});

describe("the framing of calls", () => {
  test("keeps lines with the terminator that follows them, and never with another VM's", () => {
    const events = eventsOf(
      text(
        BANNER,
        "[cuda-executor] cuMemAlloc: allocating 4096 bytes on physical GPU (vm=184549525)",
        "[cuda-executor] cuMemAlloc SUCCESS: allocated 0x7f0000000000 on physical GPU (vm=184549525)",
        SENT(11, 7, "30"),
        SENT(12, 3, "26"),
        "[cuda-executor] cuMemAlloc: allocating 4096 bytes on physical GPU (vm=184549525)",
        SENT(12, 4, "30"),
      ),
    );
    const calls = events.filter((event) => event.kind === "call");
    assert.deepEqual(
      calls.map((call) => [call.vmId, call.owner, call.lines.map(({ kind }) => kind), call.sound]),
      [
        [11, 184549525, ["alloc-start", "alloc-ok"], true],
        [12, null, [], true],
        [12, 184549525, ["alloc-start"], false],
      ],
    );
  });

  test("tells lines of a call that crashed the mediator apart from the next run's", () => {
    const events = eventsOf(
      text(
        BANNER,
        SENT(11, 7, "26"),
        "[cuda-executor] cuLaunchKernel: func=0x55eb051d7580 name=<unknown> mod=0x0 stream=0x0 grid=(1,1,1) block=(1,1,1) shared=0 params=1 mode=1 vm=184549525",
        BANNER,
        SENT(11, 9, "26"),
      ),
    );
    assert.deepEqual(kinds(events), ["epoch", "call", "unframed", "epoch-end", "epoch", "call", "epoch-end"]);
    const crashed = events[2];
    assert.ok(crashed?.kind === "unframed" && crashed.why === "banner" && crashed.sound);
    assert.equal(crashed.lines[0]?.kind, "launch");
    assert.deepEqual(
      events.map(({ epoch }) => epoch),
      [0, 0, 0, 0, 1, 1, 1],
    );
  });

  test("a rejected call ends the lines before it, and names its VM", () => {
    const events = eventsOf(text(BANNER, "[REJECT] vm=6 rate-limited (CUDA call, code=1)", SENT(6, 2, "26")));
    assert.deepEqual(kinds(events), ["epoch", "reject", "call", "epoch-end"]);
  });

  test("in builds without terminators each operation is given alone, with the owner being the VM", () => {
    const { bytes } = mediatorScenario({ seed: 5, operations: 100, generation: "no-terminators" });
    const events = eventsOf(bytes);
    assert.ok(!kinds(events).includes("call"));
    const unframed = events.filter((event) => event.kind === "unframed");
    assert.ok(unframed.length > 50);
    for (const event of unframed) {
      assert.ok(event.why === "no-terminators" || event.why === "end");
      assert.ok(event.lines.filter(({ kind }) => kind.endsWith("-start") || kind === "launch").length <= 1);
    }
    const end = events.at(-1);
    assert.ok(
      end?.kind === "epoch-end" && !end.summary.hasTerminator && !end.summary.hasOwner && end.summary.hasStdout,
    );
  });

  test("the first call of a log that begins in the middle is not trusted whole", () => {
    const events = eventsOf(text(SENT(11, 7, "30"), SENT(11, 8, "30")));
    assert.deepEqual(
      events.filter((event) => event.kind === "call").map(({ sound }) => sound),
      [false, true],
    );
  });

  test("an epoch tells what its log can prove", () => {
    const all = mediatorScenario({ seed: 1, operations: 50 }).bytes;
    const half = mediatorScenario({ seed: 1, operations: 50, stderrOnly: true }).bytes;
    const summary = (bytes: Buffer) => {
      const end = eventsOf(bytes).at(-1);
      assert.ok(end?.kind === "epoch-end");
      return end.summary;
    };
    assert.deepEqual(
      [summary(all).hasStdout, summary(all).hasOwner, summary(all).hasTerminator, summary(all).version],
      [true, true, true, "3.1"],
    );
    assert.deepEqual(
      [summary(half).hasStdout, summary(half).hasTerminator, summary(half).version],
      [false, true, null],
    );
  });
});

describe("damage in a log", () => {
  test("another thread's line in the middle of shown payload is read, and the call stays whole", () => {
    const events = eventsOf(
      text(
        BANNER,
        "[mediator] CUDA call input prefix vm=11 call_id=0x0032 seq=9 len=4 prefix_len=4 bytes=[00 00 [WATCHDOG] Job timeout: vm=6 req=12 (31.0s > 30s)",
        "80 3f]",
        "[cuda-executor] cuMemcpyHtoD input prefix vm=184549525 len=4 prefix_len=4 bytes=[00 00 80 3f]",
        SENT(11, 7, "32"),
      ),
    );
    assert.deepEqual(kinds(events), ["epoch", "job-timeout", "call", "epoch-end"]);
    const call = events[2];
    assert.ok(call?.kind === "call" && call.sound && call.seq === 9 && call.payloadBytes === 4);
  });

  test("a compiler's message of several lines is one line of its call", () => {
    const events = eventsOf(
      text(
        BANNER,
        `[cuda-executor] vm_id=184549632 module-load JIT logs call_id=0x0040 err_log="ptxas application ptx input, line 6; error`,
        `ptxas fatal   : Ptx assembly aborted due to errors" info_log=""`,
        SENT(11, 7, "40", 218),
      ),
    );
    assert.deepEqual(kinds(events), ["epoch", "call", "epoch-end"]);
  });

  test("a hole of NUL bytes is counted, and what stands behind it is read", () => {
    const events = eventsOf(
      Buffer.concat([Buffer.alloc(300_000), text(SENT(11, 7, "26"), SENT(11, 8, "26"))]),
      [],
      1000,
    );
    assert.deepEqual(kinds(events), ["epoch", "unread", "call", "call", "epoch-end"]);
    assert.ok(events[1]?.kind === "unread" && events[1].what === "nul-hole" && events[1].bytes === 300_000);
  });

  test("a line without an end costs no more memory than a chunk, and the next line is read", () => {
    const events: MediatorEvent[] = [];
    const feed = new LogFeed({ log: 0, emit: (event) => events.push(event), nextEpoch: counter(), chunkBytes: 65536 });
    feed.push(text(BANNER));
    const piece = Buffer.alloc(65536, "a");
    for (let count = 0; count < 1600; count += 1) feed.push(piece);
    assert.ok(feed.buffer.length < 4 * 65536);
    feed.push(text("", SENT(11, 7, "26"), SENT(11, 8, "26")));
    feed.finish();
    assert.deepEqual(kinds(events), ["epoch", "unread", "call", "call", "epoch-end"]);
    assert.ok(events[1]?.kind === "unread" && events[1].what === "long-line" && events[1].bytes === 65536 * 1600 + 1);
    assert.deepEqual(
      events.filter((event) => event.kind === "call").map(({ sound }) => sound),
      [false, true],
    );
  });

  test("lines that were never terminated by calls are given in bounded groups", () => {
    const line = "[cuda-executor] HtoD progress: 16 MB total (vm=9)";
    const events = eventsOf(text(BANNER, ...Array.from({ length: 1000 }, () => line)));
    for (const event of events) if (event.kind === "unframed") assert.ok(event.lines.length <= 65);
    assert.ok(events.length > 10);
  });

  test("a last line without its newline is never believed whole", () => {
    const whole = text(BANNER, SENT(11, 7, "26"), SENT(11, 8, "26"));
    const events = eventsOf(whole.subarray(0, whole.length - 1));
    assert.deepEqual(kinds(events), ["epoch", "call", "unread", "epoch-end"]);
  });

  test("no bytes make it throw, and all of them are walked", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.nat(100), (bytes, seed) => {
        const near = damaged(seed);
        for (const [index, byte] of bytes.entries()) near[(index * 7919 + byte * 31) % near.length] = byte;
        const events = eventsOf(Buffer.concat([bytes, near]));
        for (const event of events) assert.ok(event.at <= event.end && event.end <= bytes.length + near.length);
      }),
      { numRuns: 60 },
    );
  });

  test("no payload byte stays in the buffer when reading is over", () => {
    const feed = new LogFeed({ log: 0, emit: () => {}, nextEpoch: counter() });
    feed.push(mediatorScenario({ seed: 1, operations: 20 }).bytes);
    feed.finish();
    assert.ok(feed.buffer.every((byte) => byte === 0));
  });
});
