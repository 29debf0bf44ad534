import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import {
  type EntrySpec,
  type FileShape,
  temporaryDirectory,
  toExport,
  withoutJournalRemote,
  writeJournal,
} from "../../../test/fixtures/journal-files.ts";
import type { LogReadSummary } from "../log-reader.ts";
import { openLog } from "../open-log.ts";
import { RootFs } from "../root-fs.ts";

const UNIT = "ollama.service";
const fs = new RootFs("/");
const REGULAR: FileShape = { compact: false, compress: true, keyedHash: false };
const COMPACT: FileShape = { compact: true, compress: true, keyedHash: true };

const SPECS: readonly EntrySpec[] = Array.from({ length: 60 }, (_, index) => ({
  realtime: 1_767_225_600_000_000 + index * 1000,
  monotonic: 1_000_000 + index * 1000,
  bootId: "1".repeat(32),
  fields: [
    ["_PID", String(1000 + (index % 7))],
    ["_SYSTEMD_UNIT", index % 4 === 0 ? "ssh.service" : UNIT],
    ["SYSLOG_IDENTIFIER", "ollama"],
    ["MESSAGE", index % 9 === 0 ? `long ${"y".repeat(900)} ${index}` : `message ${index} of the workload`],
  ],
}));
const WANTED = SPECS.filter((_, index) => index % 4 !== 0).map(({ fields }) => String(fields[3]?.[1]));
const WRITTEN = new Set(SPECS.map(({ fields }) => fields[3]?.[1]));

async function read(path: string): Promise<{ messages: readonly string[]; summary: LogReadSummary }> {
  const messages: string[] = [];
  const summary = await (await openLog(path, fs)).read((entry) => messages.push(entry.message.toString("latin1")), {
    unit: UNIT,
    since: null,
    until: null,
    afterCursor: null,
    signal: AbortSignal.timeout(20_000),
  });
  return { messages, summary };
}

describe("reading damaged journal files", { skip: withoutJournalRemote() }, () => {
  const directory = temporaryDirectory(after);
  /** Bytes up to the end of the last object. */
  const used = (bytes: Buffer) => {
    const tail = Number(bytes.readBigUInt64LE(136));
    return tail + Number(bytes.readBigUInt64LE(tail + 8));
  };
  const made = new Map<FileShape, Buffer>();
  const sound = (shape: FileShape): Buffer => {
    const known = made.get(shape);
    if (known !== undefined) return known;
    const path = writeJournal(directory, `sound-${made.size}`, toExport(SPECS), shape);
    // Without the megabytes that the writer set aside for entries to come.
    const whole = readFileSync(path);
    const bytes = whole.subarray(0, used(whole) + 4096);
    made.set(shape, bytes);
    return bytes;
  };
  const readDamaged = async (bytes: Buffer) => {
    const path = join(directory, "damaged.journal");
    writeFileSync(path, bytes);
    return await read(path);
  };

  for (const shape of [REGULAR, COMPACT]) {
    const name = shape.compact ? "compact" : "regular";

    it(`hands on every entry of an undamaged file without a gap (${name})`, async () => {
      const { messages, summary } = await readDamaged(sound(shape));
      assert.deepEqual(messages, WANTED);
      assert.deepEqual(summary.gaps, []);
    });

    it(`never gives less or other text than was written without a gap (${name})`, async () => {
      const bytes = sound(shape);
      const flip = fc.record({ at: fc.nat(used(bytes) - 1), mask: fc.integer({ min: 1, max: 255 }) });
      await fc.assert(
        fc.asyncProperty(fc.array(flip, { minLength: 1, maxLength: 2 }), async (flips) => {
          const damaged = Buffer.from(bytes);
          for (const { at, mask } of flips) damaged.writeUInt8(damaged.readUInt8(at) ^ mask, at);
          const { messages, summary } = await readDamaged(damaged);
          for (const message of messages) assert.ok(message === "" || WRITTEN.has(message), message);
          if (summary.gaps.length === 0) assert.deepEqual(messages, WANTED);
        }),
        { numRuns: 300 },
      );
    });

    it(`names what a cut costs, wherever the file is cut (${name})`, async () => {
      const bytes = sound(shape);
      const end = used(bytes);
      await fc.assert(
        fc.asyncProperty(fc.nat(end - 1), async (length) => {
          const { messages, summary } = await readDamaged(bytes.subarray(0, length));
          assert.deepEqual(messages, WANTED.slice(0, messages.length));
          assert.ok(summary.gaps.length > 0);
        }),
        { numRuns: 100 },
      );
    });

    it(`goes on after a stretch of zeros, and says where it was and how many entries it may have cost (${name})`, async () => {
      const bytes = sound(shape);
      const stretch = fc.record({
        from: fc.integer({ min: 272, max: used(bytes) - 1 }),
        length: fc.integer({ min: 1, max: 9000 }),
      });
      await fc.assert(
        fc.asyncProperty(stretch, async ({ from, length }) => {
          const damaged = Buffer.from(bytes);
          damaged.fill(0, from, Math.min(from + length, used(bytes)));
          const { messages, summary } = await readDamaged(damaged);
          for (const message of messages) assert.ok(WANTED.includes(message), message);
          if (messages.length < WANTED.length) assert.match(summary.gaps.join("\n"), /damaged\.journal: .*byte \d+/);
        }),
        { numRuns: 100 },
      );
    });
  }

  it("finds the entries behind the damage again", async () => {
    const damaged = Buffer.from(sound(COMPACT));
    const at = damaged.indexOf("message 29 of the workload");
    damaged.fill(0xaa, at - 80, at + 30);
    const { messages, summary } = await readDamaged(damaged);
    assert.ok(messages.length >= WANTED.length - 3, `${messages.length} of ${WANTED.length}`);
    assert.ok(messages.includes(WANTED.at(-1) ?? ""));
    assert.match(summary.gaps.join("\n"), /damaged at byte \d+ \(next sound object at byte \d+\)/);
  });

  for (const shape of [REGULAR, COMPACT]) {
    it(`hands on entries whose text is sound when a field that they share is not (${shape.compact ? "keyed" : "plain"} hash)`, async () => {
      const damaged = Buffer.from(sound(shape));
      damaged.write("X", damaged.indexOf("SYSLOG_IDENTIFIER=ollama") + 18, "latin1");
      const { messages, summary } = await readDamaged(damaged);
      assert.deepEqual(messages, WANTED);
      assert.match(summary.gaps.join(), /60 entries do not match the checksum/);
    });

    it(`hands on no altered text when a shared field cannot be read either (${shape.compact ? "keyed" : "plain"} hash)`, async () => {
      const damaged = Buffer.from(sound(shape));
      damaged.writeUInt8(4, damaged.indexOf("SYSLOG_IDENTIFIER=ollama") - (shape.compact ? 72 : 64) + 1);
      damaged.write("M", damaged.indexOf("message 29 of the workload"), "latin1");
      const { messages, summary } = await readDamaged(damaged);
      assert.deepEqual(
        messages,
        WANTED.filter((message) => message !== "message 29 of the workload"),
      );
      assert.match(summary.gaps.join("\n"), /60 entries have fields that could not be read/);
    });

    it(`hands on no text that is not the one written (${shape.compact ? "keyed" : "plain"} hash)`, async () => {
      const damaged = Buffer.from(sound(shape));
      damaged.write("M", damaged.indexOf("message 29 of the workload"), "latin1");
      const { messages, summary } = await readDamaged(damaged);
      assert.deepEqual(
        messages,
        WANTED.filter((message) => message !== "message 29 of the workload"),
      );
      assert.match(summary.gaps.join("\n"), /the message of 1 entry could not be decoded/);
    });
  }

  it("stops at what the header of a file being written covers, without a gap", async () => {
    const bytes = Buffer.from(sound(COMPACT));
    bytes.writeUInt8(1, 16);
    bytes.fill(0x5a, used(bytes) + 8, used(bytes) + 400);
    const { messages, summary } = await readDamaged(bytes);
    assert.deepEqual(messages, WANTED);
    assert.deepEqual(summary.gaps, []);
  });

  it("leaves an entry alone that is being appended", async () => {
    const bytes = Buffer.from(sound(COMPACT));
    bytes.writeUInt8(1, 16);
    bytes.writeBigUInt64LE(BigInt(SPECS.length - 1), 152);
    const { messages, summary } = await readDamaged(bytes);
    assert.deepEqual(messages, WANTED.slice(0, -1));
    assert.deepEqual(summary.gaps, []);
  });

  it("says of a file that is no journal what it is not", async () => {
    assert.match((await readDamaged(Buffer.alloc(0))).summary.gaps.join(), /the file is empty/);
    assert.match((await readDamaged(Buffer.from("\x7fELF".repeat(100)))).summary.gaps.join(), /not a journal file/);
    assert.match((await readDamaged(sound(COMPACT).subarray(0, 100))).summary.gaps.join(), /cut off inside its header/);
    const strange = Buffer.from(sound(COMPACT));
    strange.writeUInt32LE(strange.readUInt32LE(12) | 64, 12);
    assert.match((await readDamaged(strange)).summary.gaps.join(), /does not know \(byte 12.*60 entries were not read/);
  });
});
