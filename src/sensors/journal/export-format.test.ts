import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { type EntrySpec, temporaryDirectory, toExport } from "../../../test/fixtures/journal-files.ts";
import { RootFs } from "../root-fs.ts";
import { journalOfExport } from "./export-format.ts";
import { ExportParser } from "./export-parser.ts";

const UNIT = "ollama.service";

function entry(index: number, message: string | Buffer): EntrySpec {
  return {
    realtime: 1_767_225_600_000_000 + index * 1000,
    monotonic: 1000 + index,
    bootId: "1".repeat(32),
    fields: [
      ["_SYSTEMD_UNIT", UNIT],
      ["_PID", "1187"],
      ["MESSAGE", message],
    ],
  };
}

describe("reading Journal Export Format", () => {
  const directory = temporaryDirectory(after);
  const path = join(directory, "some.export");

  async function read(content: Buffer, afterCursor: string | null = null) {
    writeFileSync(path, content);
    const messages: Buffer[] = [];
    const locators: string[] = [];
    const summary = await journalOfExport(new RootFs("/"), path).read(
      ({ message, locator }) => {
        messages.push(message);
        locators.push(locator);
      },
      { unit: UNIT, since: null, until: null, afterCursor, signal: new AbortController().signal },
    );
    return { messages, locators, summary };
  }

  it("gives every message as it was, whatever bytes it has", async () => {
    const message = fc.oneof(
      fc.string(),
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 20 }), async (texts) => {
        const { messages, summary } = await read(toExport(texts.map((text, index) => entry(index, text))));
        assert.deepEqual(
          messages,
          texts.map((text) => Buffer.from(text)),
        );
        assert.deepEqual(summary.gaps, []);
      }),
      { numRuns: 100 },
    );
  });

  it("parses pieces of any size alike", () => {
    const content = toExport([entry(0, "one"), entry(1, Buffer.from([0, 10, 10, 255])), entry(2, "z".repeat(70_000))]);
    const parse = (size: number) => {
      const seen: string[] = [];
      const parser = new ExportParser({
        wants: () => true,
        field: (name, value, truncated) => seen.push(`${name} ${value.toString("hex")} ${truncated}`),
        entry: (start, state) => seen.push(`entry ${start} ${state}`),
        damage: (offset) => seen.push(`damage ${offset}`),
      });
      for (let at = 0; at < content.length; at += size) parser.push(Buffer.from(content.subarray(at, at + size)));
      assert.deepEqual(parser.end(), { end: "whole" });
      return seen;
    };
    const whole = parse(content.length);
    assert.equal(whole.filter((line) => line.startsWith("entry")).length, 3);
    for (const size of [1, 7, 64, 4096, 65537]) assert.deepEqual(parse(size), whole, `pieces of ${size}`);
  });

  it("never gives other text than was written when the file is cut, and says where it was", async () => {
    const texts = Array.from({ length: 8 }, (_, index) => (index % 3 === 0 ? `bin\0${index}` : `message ${index}`));
    const content = toExport(texts.map((text, index) => entry(index, text)));
    for (let length = 1; length < content.length - 1; length += 1) {
      const { messages, summary } = await read(content.subarray(0, length));
      assert.deepEqual(messages.map(String), texts.slice(0, messages.length), `cut at ${length}`);
      const ends = content.subarray(length - 2, length).equals(Buffer.from("\n\n"));
      if (!ends) assert.ok(summary.gaps.length > 0, `cut at ${length}`);
    }
  });

  it("goes on after bytes that are no field, and says how many entries are missing", async () => {
    const content = toExport([entry(0, "one"), entry(1, "two"), entry(2, "three")]);
    const damaged = Buffer.from(content.toString("latin1").replace("MESSAGE=two", "ME\x00SAGE!two"), "latin1");
    const { messages, summary } = await read(damaged);
    assert.deepEqual(messages.map(String), ["one", "three"]);
    assert.match(summary.gaps.join(), /damaged at byte \d+; 1 entry is missing/);
  });

  it("survives any bytes in bounded time", async () => {
    const content = toExport(Array.from({ length: 6 }, (_, index) => entry(index, `bin\0${index}`)));
    const flip = fc.record({ at: fc.nat(content.length - 1), value: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(flip, { minLength: 1, maxLength: 4 }), async (flips) => {
        const damaged = Buffer.from(content);
        for (const { at, value } of flips) damaged.writeUInt8(value, at);
        await read(damaged);
      }),
      { numRuns: 300 },
    );
  });

  it("cuts a long message in flat memory", async () => {
    const { messages, summary } = await read(
      toExport([entry(0, "a".repeat(5_000_000)), entry(1, Buffer.alloc(5_000_000)), entry(2, "end")]),
    );
    assert.deepEqual(
      messages.map(({ length }) => length),
      [65536, 65536, 3],
    );
    assert.match(summary.gaps.join(), /2 messages were longer/);
  });

  it("goes on after a cursor", async () => {
    const content = toExport([entry(0, "one"), entry(1, "two"), entry(2, "three")]);
    const all = await read(content);
    const rest = await read(content, all.locators[0] ?? "");
    assert.deepEqual(rest.messages.map(String), ["two", "three"]);
    assert.deepEqual(rest.summary.gaps, []);
  });

  it("says that an empty export is empty", async () => {
    assert.match((await read(Buffer.from("\n"))).summary.gaps.join(), /the export has no entries/);
  });
});
