import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { type Generation, randomNumbers } from "../../../test/fixtures/mediator-log.ts";
import { mediatorScenario } from "../../../test/fixtures/mediator-scenario.ts";
import { logScanPath } from "../../native/log-scan.ts";
import type { MediatorEvent } from "../../protocol/mediator-events.ts";
import { readMediatorLogInBulk } from "./bulk.ts";
import { startBulk } from "./bulk-start.ts";
import { LogFeed } from "./feed.ts";

const SAMPLES = join(import.meta.dirname, "../../../../shared/samples");

function eventsOf(bytes: Buffer): MediatorEvent[] {
  const events: MediatorEvent[] = [];
  let epochs = 0;
  const feed = new LogFeed({ log: 0, emit: (event) => events.push(event), nextEpoch: () => epochs++ });
  feed.push(bytes);
  feed.finish();
  return events;
}

const text = (...lines: string[]): Buffer => Buffer.from(lines.map((line) => `${line}\n`).join(""), "latin1");
const BANNER = "  MEDIATOR DAEMON v3.1 \xe2\x80\x94 Phase 3+: CUDA API Remoting";
const SENT = (vm: number, request: number, call: string, status = 0): string =>
  `[MEDIATOR] CUDA result sent vm_id=${vm} request_id=${request} call_id=0x${call} result.status=${status} -> stub sets DONE`;
const INPUT = (seq: number | string, shown: string): string =>
  `[mediator] CUDA call input prefix vm=11 call_id=0x0032 seq=${seq} len=4 prefix_len=4 bytes=[${shown}]`;
const SHOWN = (shown: string): string =>
  `[cuda-executor] cuMemcpyHtoD input prefix vm=184549525 len=4 prefix_len=4 bytes=[${shown}]`;

/** Parts of a log again and again, so that calls repeat, with damage of all kinds between and within them. */
function repeated(seed: number, generation: Generation, rounds: number): Buffer {
  const random = randomNumbers(seed);
  const { bytes } = mediatorScenario({ seed, operations: 40, trouble: seed % 2 === 1, chunk: 512, generation });
  const parts: Buffer[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const from = random() % 4 === 0 ? random() % bytes.length : 0;
    const part = Buffer.from(bytes.subarray(from, random() % 4 === 0 ? random() % bytes.length : bytes.length));
    for (let count = random() % 4; count > 0 && part.length > 0; count -= 1) {
      const [at, what] = [random() % part.length, random() % 4];
      if (what === 0) part.fill(0, at, Math.min(part.length, at + (random() % 3000)));
      if (what === 1) part[at] = random() & 255;
      if (what === 2) part.fill("\n", at, at + 1);
      if (what === 3) part.copyWithin(at, random() % part.length, random() % part.length);
    }
    parts.push(part);
    if (random() % 8 === 0) parts.push(Buffer.from("[WATCHDOG] Job timeout: vm=6 req=12 (31.0s > 30s)\n"));
    if (random() % 8 === 0) parts.push(text(BANNER));
    if (random() % 8 === 0) parts.push(Buffer.alloc(random() % 200_000, "x"));
  }
  return Buffer.concat(parts);
}

const program = logScanPath();

describe("a log that is read in bulk", { skip: program === null && "log-scan was not built" }, () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "vgpu-agent-bulk-"));
  });
  after(() => rmSync(directory, { recursive: true }));

  /** What is told of a log in bulk; null when that was given up. */
  async function inBulk(bytes: Buffer): Promise<MediatorEvent[] | null> {
    const path = join(directory, "log");
    writeFileSync(path, bytes);
    const file = await open(path);
    try {
      const events: MediatorEvent[] = [];
      const result = await readMediatorLogInBulk(file, await startBulk(file, { least: 1 }), {
        add: (event) => events.push({ ...event }),
      });
      if (result !== null) assert.equal(result.bytes, bytes.length);
      return result === null ? null : events;
    } finally {
      await file.close();
    }
  }

  for (const generation of ["current", "plain-owner", "no-terminators"] satisfies Generation[]) {
    test(`gives the same events as one that is parsed, damaged or not (${generation})`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.nat(10_000), fc.integer({ min: 1, max: 12 }), async (seed, rounds) => {
          const bytes = repeated(seed, generation, rounds);
          if (bytes.length === 0) return;
          assert.deepEqual(await inBulk(bytes), eventsOf(bytes));
        }),
        // A chunk of a copy that had lost the end of a line was once taken for what the next ones look like.
        { numRuns: 40, examples: [[2501, 6]] },
      );
    });
  }

  test("gives the same events over many stretches of the file", async () => {
    const parts = Array.from({ length: 160 }, (_, index) => repeated(index, "current", 1 + (index % 3)));
    const one = Buffer.concat(parts);
    const bytes = Buffer.concat(Array.from({ length: Math.ceil((40 << 20) / one.length) }, () => one));
    const [told, parsed] = [await inBulk(bytes), eventsOf(bytes)];
    assert.equal(told?.length, parsed.length);
    for (const [index, event] of parsed.entries()) assert.deepEqual(told[index], event);
  });

  test("gives the same events of a real log", async (t) => {
    for (const name of ["h100/mediator.log", "mediator/real-fault-chain.log"]) {
      const path = join(SAMPLES, name);
      if (!existsSync(path)) {
        t.skip("no samples here");
        return;
      }
      const bytes = readFileSync(path);
      for (const times of [1, 3, 40]) {
        const log = Buffer.concat(Array.from({ length: times }, () => bytes));
        assert.deepEqual(await inBulk(log), eventsOf(log));
      }
    }
  });

  test("tells each call with its own numbers and place, and no call twice", async () => {
    const numbers = Array.from({ length: 2000 }, (_, index) => index * 7);
    const bytes = text(
      BANNER,
      ...numbers.flatMap((id) => [INPUT(id, "00 00 80 3f"), SHOWN("00 00 80 3f"), SENT(11, id, "32")]),
    );
    const calls = (await inBulk(bytes))?.flatMap((event) => (event.kind === "call" ? [event] : []));
    assert.deepEqual(
      calls?.map(({ requestId }) => requestId),
      numbers,
    );
    assert.deepEqual(
      calls?.map(({ seq }) => seq),
      numbers,
    );
    for (const { terminatorAt, end, requestId } of calls ?? []) {
      assert.equal(bytes.toString("latin1", terminatorAt, end), `${SENT(11, requestId, "32")}\n`);
    }
  });

  const ASYNC = (seq: number | string, hash: string): string =>
    `[cuda-executor] cuMemcpyHtoDAsync vm=184549525 seq=${seq} guest_dst=0x7f0dba800600 host_dst=0x7f0dba800600 size=4 stream_guest=0x2a0ad40 fnv1a64=0x${hash}`;
  const asynchronous = (id: number, copy: string): string[] => [
    INPUT(id, "00 00 80 3f").replace("0x0032", "0x003c"),
    copy,
    SHOWN("00 00 80 3f").replace("HtoD", "HtoDAsync"),
    SENT(11, id, "3c"),
  ];

  test("tells each asynchronous copy with its own hash and sequence number", async () => {
    const hashes = ["0", "1", "ffffffff", "100000000", "1fffffffffffff", "20000000000000", "ffffffffffffffff"];
    const copies = hashes.map((hash, index) => asynchronous(7 * index, ASYNC(7 * index, hash.padStart(16, "0"))));
    const bytes = text(BANNER, ...copies.flat());
    const told = await inBulk(bytes);
    assert.deepEqual(told, eventsOf(bytes));
    const lines = told?.flatMap((event) => (event.kind === "call" ? event.lines : []));
    assert.deepEqual(
      lines?.map((line) => (line.kind === "copy-in-async" ? [line.hash.toString(16), line.seq] : [])),
      hashes.map((hash, index) => [hash, 7 * index]),
    );
  });

  const calls = (id: number): string[] => [INPUT(id, "00 00 80 3f"), SHOWN("00 00 80 3f"), SENT(11, id, "32")];
  const three = [...calls(1), ...calls(2), ...calls(3)];
  const HASH = "2fa183a08531045a";
  const odd = (copy: string): string[] => [
    ...[1, 2, 3].flatMap((id) => asynchronous(id, ASYNC(id, HASH))),
    ...asynchronous(4, copy),
    ...asynchronous(4, copy),
    ...asynchronous(5, ASYNC(5, HASH)),
  ];
  const oddities: readonly (readonly [string, readonly (string | Buffer)[]])[] = [
    ["a payload with another thread's line in it", [INPUT(4, "00 [WATCH"), SHOWN("00 00 80 3f"), SENT(11, 4, "32")]],
    [
      "a payload that is cut",
      ["[mediator] CUDA call input prefix vm=11 call_id=0x0032 seq=4 len=4 prefix_len=4 bytes=[00 00"],
    ],
    ["a number with zeros before it", [INPUT("0004", "00 00 80 3f"), SHOWN("00 00 80 3f"), SENT(11, 4, "32")]],
    ["a request id above 32 bits", [INPUT(4, "00 00 80 3f"), SHOWN("00 00 80 3f"), SENT(11, 4294967296, "32")]],
    ["a call of another VM than its lines", [INPUT(4, "00 00 80 3f"), SHOWN("00 00 80 3f"), SENT(12, 4, "32")]],
    ["an asynchronous copy with another sequence number", odd(ASYNC(5, HASH))],
    ["an asynchronous copy with zeros before its sequence number", odd(ASYNC("04", HASH))],
    ["an asynchronous copy with a hash in capitals", odd(ASYNC(4, HASH.toUpperCase()))],
    ["an asynchronous copy with a short hash", odd(ASYNC(4, HASH.slice(1)))],
    ["an asynchronous copy with two hashes", odd(ASYNC(4, `${HASH} fnv1a64=0x0000000000000001`))],
    ["an asynchronous copy that is told twice", odd(`${ASYNC(4, HASH)}\n${ASYNC(4, HASH)}`)],
    ["an asynchronous copy with another line", odd(`${ASYNC(4, HASH)}\n[cuda-executor] what is new`)],
    [
      "an asynchronous copy without anything before its hash",
      odd("[cuda-executor] cuMemcpyHtoDAsync vm=1 seq=4 fnv1a64=0x0000000000000001"),
    ],
    ["a failed call", [INPUT(4, "00 00 80 3f"), SHOWN("00 00 80 3f"), SENT(11, 4, "32", 201)]],
    ["a negative status", [SENT(11, 4, "32", -1)]],
    ["a line that no grammar knows", [INPUT(4, "00 00 80 3f"), "[cuda-executor] what is new", SENT(11, 4, "32")]],
    ["a line longer than any", [Buffer.alloc(100_000, "a"), SENT(11, 4, "32")]],
    ["a hole", [Buffer.alloc(5000), SENT(11, 4, "32")]],
    ["a hole in a line", ["[cuda-executor] cuMem\0\0Alloc", SENT(11, 4, "32")]],
    ["a restart", [BANNER, SENT(11, 4, "32")]],
    [
      "a compiler's message",
      [
        `[cuda-executor] vm_id=184549632 module-load JIT logs call_id=0x0040 err_log="ptxas application`,
        `ptxas fatal   : Ptx assembly aborted due to errors" info_log=""`,
        SENT(11, 4, "40", 218),
      ],
    ],
    [
      "a compiler's message without an end",
      [
        `[cuda-executor] vm_id=184549632 module-load JIT logs call_id=0x0040 err_log="ptxas application`,
        SENT(11, 4, "40"),
      ],
    ],
  ];
  for (const [name, lines] of oddities) {
    test(`gives the same events around ${name}`, async () => {
      const middle = lines.map((line) => (typeof line === "string" ? text(line) : line));
      for (const times of [1, 3]) {
        const many = Array.from({ length: times }, () => middle).flat();
        const bytes = Buffer.concat([text(BANNER, ...three), ...many, text(...three), ...many, text("rest", ...three)]);
        assert.deepEqual(await inBulk(bytes), eventsOf(bytes));
        // And when the log ends in the middle of it.
        for (let end = bytes.length - 700; end < bytes.length; end += 61) {
          const cut = bytes.subarray(0, end);
          assert.deepEqual(await inBulk(cut), eventsOf(cut));
        }
      }
    });
  }

  test("is given up, and not read wrong, when the program is missing, fails or is stopped", async () => {
    const path = join(directory, "log");
    writeFileSync(path, text(BANNER, ...three));
    const file = await open(path);
    try {
      for (const other of [null, "/nonexistent", "/bin/false", "/bin/true"]) {
        const started = await startBulk(file, { least: 1, program: other });
        assert.equal(await readMediatorLogInBulk(file, started, { add: () => {} }), null);
      }
      await assert.rejects(startBulk(file, { least: 1, signal: AbortSignal.abort(new Error("enough")) }), /enough/);
      const end = new AbortController();
      const started = await startBulk(file, { least: 1, signal: end.signal });
      end.abort(new Error("enough"));
      await assert.rejects(readMediatorLogInBulk(file, started, { add: () => {} }), /enough/);
    } finally {
      await file.close();
    }
  });
});
