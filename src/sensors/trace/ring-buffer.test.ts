import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { bucketOf, Collector } from "./collector.ts";
import { parseEventFormat, parseLost, parsePageBytes, walkPage } from "./ring-buffer.ts";
import { isRemains, newName, parseProbes } from "./tracefs-names.ts";

const START = 5_000_000_000n;

/** A page as the kernel gives it: time, length, then the words. */
function page(words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(16 + words.length * 4);
  bytes.writeBigUInt64LE(START, 0);
  bytes.writeUInt32LE(words.length * 4, 8);
  for (const [index, word] of words.entries()) bytes.writeUInt32LE(word >>> 0, 16 + index * 4);
  return bytes;
}

function eventsIn(bytes: Buffer): [type: number, after: number, second: number][] {
  const events: [number, number, number][] = [];
  walkPage(bytes, bytes.length, (type, timeNs, from, at) => {
    events.push([type, timeNs - Number(START), from.readInt32LE(at + 4)]);
  });
  return events;
}

const head = (kind: number, delta: number) => (delta << 5) | kind;

describe("a page of the trace buffer", () => {
  it("gives short and long events with the time since the page began", () => {
    const short = [head(2, 100), 7, 41];
    const long = [head(0, 50), 16, 8, 42, 0];
    assert.deepEqual(eventsIn(page([...short, ...long])), [
      [7, 100, 41],
      [8, 150, 42],
    ]);
  });

  it("adds long deltas, takes absolute times, and ends at the padding", () => {
    const extend = [head(30, 3), 2];
    const stamp = [head(31, 0), Math.floor(Number(START) / 2 ** 27) + 1];
    const event = [head(2, 1), 7, 41];
    const absolute = (Math.floor(Number(START) / 2 ** 27) + 1) * 2 ** 27 - Number(START);
    assert.deepEqual(eventsIn(page([...extend, ...event, ...stamp, ...event, head(29, 0), 0, ...event])), [
      [7, 2 * 2 ** 27 + 4, 41],
      [7, absolute + 1, 41],
    ]);
  });

  it("passes over an event that was discarded", () => {
    assert.deepEqual(eventsIn(page([head(29, 1), 8, 0, head(2, 5), 7, 41])), [[7, 5, 41]]);
  });

  it("never throws, never loops and never reads outside, whatever its bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 256 }), fc.nat(256), (bytes, valid) => {
        const given = Buffer.from(bytes);
        walkPage(given, Math.min(valid, given.length), (_, __, from, at) => from.readInt32LE(at + 4));
      }),
    );
  });
});

describe("tracefs's text files", () => {
  it("give an event's number and the places of its fields", () => {
    const format = parseEventFormat(
      "name: p1\nID: 1702\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n" +
        "\tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;\n\tfield:u32 call;\toffset:16;\tsize:4;\tsigned:0;\n",
    );
    assert.equal(format?.id, 1702);
    assert.deepEqual(
      [...(format?.offsets ?? [])],
      [
        ["common_type", 0],
        ["comm", 12],
        ["call", 16],
      ],
    );
    assert.equal(parseEventFormat("nothing"), null);
  });

  it("give what was lost and the size of a page", () => {
    assert.equal(
      parseLost("entries: 5\noverrun: 3\ncommit overrun: 2\nbytes: 9\ndropped events: 4\nread events: 1\n"),
      9,
    );
    assert.equal(parsePageBytes("\tfield: char data;\toffset:16;\tsize:8176;\tsigned:1;\n"), 8192);
    assert.equal(parsePageBytes(""), 4096);
  });

  it("tell whose probes are there: an agent that runs has no remains, another's are not ours", () => {
    const own = newName();
    assert.notEqual(newName(), own);
    assert.equal(isRemains(own), false);
    const dead = own.replace(
      /_(\d+)_(\d+)_(\d+)$/,
      (_, pid: string, start: string) => `_${pid}_${Number(start) + 1}_1`,
    );
    assert.equal(isRemains(dead), true, "the same pid, started at another time");
    assert.equal(isRemains(dead.replace(/^vgpu_agent_\d+/, "vgpu_agent_1")), false, "of another pid namespace");
    assert.equal(isRemains("my_probes"), false);
    assert.deepEqual(parseProbes("p:a/b /x:0x1 c=%si:u32\nr16:c/d /x:0x1\n\n"), [
      { group: "a", event: "b" },
      { group: "c", event: "d" },
    ]);
  });
});

describe("the collector", () => {
  const enter = { kind: "enter", callId: 0x50, bytesToHost: 10, bytesBack: 20 } as const;

  it("pairs a return with the call of its thread", () => {
    const collector = new Collector();
    collector.enter(1, 11, 1000, enter);
    collector.enter(1, 12, 1500, enter);
    collector.leave(12, 2524, 999);
    collector.leave(13, 3000, 0);
    assert.deepEqual(collector.open(), [{ pid: 1, tid: 11, callId: 0x50, enteredNs: 1000 }]);
    const [call] = collector.calls();
    assert.deepEqual(call, {
      ...{ pid: 1, callId: 0x50, count: 2, returned: 1, bytesToHost: 20, bytesBack: 40 },
      ...{ results: { "999": 1 }, latency: { "10": 1 }, firstNs: 1000, lastNs: 1500, group: null },
    });
  });

  it("notes a call within a call", () => {
    const collector = new Collector();
    collector.enter(1, 11, 1000, enter);
    collector.enter(1, 11, 1001, enter);
    assert.equal(collector.nested, 1);
  });

  it("puts each latency into the bucket that holds it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 47 }), (ns) => {
        const bucket = bucketOf(ns);
        assert.ok(2 ** bucket <= ns && (ns < 2 ** (bucket + 1) || bucket === 47), `${ns}: ${bucket}`);
      }),
    );
    assert.deepEqual([bucketOf(0), bucketOf(2 ** 40 - 1), bucketOf(2 ** 40), bucketOf(2 ** 52)], [0, 39, 40, 47]);
  });
});
