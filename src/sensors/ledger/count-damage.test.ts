import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, it } from "node:test";
import fc from "fast-check";
import { countAt } from "../../../test/fixtures/count.ts";
import {
  type EntrySpec,
  temporaryDirectory,
  toExport,
  USUAL_SHAPE,
  withoutJournalRemote,
  writeJournal,
} from "../../../test/fixtures/journal-files.ts";
import type { Ledger } from "../../facts/ledger.ts";
import { RootFs } from "../root-fs.ts";

const UNIT = "ollama.service";
const SKIP = withoutJournalRemote();

const SPECS: readonly EntrySpec[] = Array.from({ length: 300 }, (_, index) => ({
  realtime: 1_767_225_600_000_000 + index * 1000,
  monotonic: 60_000_000 + index * 1000,
  bootId: "3c4f8a1f0d7e4d5b9a5e1c2b3d4e5f60",
  fields: [
    ["_SYSTEMD_UNIT", index % 10 === 9 ? "other.service" : UNIT],
    ["_PID", "1203"],
    [
      "MESSAGE",
      index % 2 === 0
        ? `[cuda-transport] cuda_transport_call() INVOKED: call_id=0x0050 data_len=${index % 7} tp=0x5594ede26bc0 bar0=0x7f39b5123000 (pid=1203)`
        : `[cuda-transport] SENDING to VGPU-STUB: call_id=0x0050 seq=${index} args=26 data_len=88 (pid=1203)`,
    ],
  ],
}));

const count = (ledger: Ledger) => ledger.calls.reduce((sum, call) => sum + call.count, 0);

/** What a damage does to the bytes from `at` on. */
type Harm = (bytes: Buffer, at: number) => void;

for (const shape of [USUAL_SHAPE, { ...USUAL_SHAPE, compact: false, keyedHash: false }]) {
  it(`damage anywhere is never a smaller count without a word (${shape.compact ? "compact" : "regular"})`, {
    skip: SKIP,
  }, async () => {
    const directory = temporaryDirectory(after);
    const sound = readFileSync(writeJournal(directory, "sound", toExport(SPECS), shape));
    const tail = Number(sound.readBigUInt64LE(136)) + 600;
    const harmed = join(directory, "harmed.journal");
    const signal = new AbortController().signal;
    const options = { unit: UNIT, since: null, until: null, signal };
    writeFileSync(harmed, sound);
    const whole = await countAt(new RootFs("/"), harmed, options);
    assert.equal(whole.coverage, "full");
    const headerSize = Number(sound.readBigUInt64LE(88));
    const hashTables = 16 * 2 + Number(sound.readBigUInt64LE(112)) + Number(sound.readBigUInt64LE(128));
    const objects = headerSize + hashTables;
    const place = fc.oneof(
      fc.integer({ min: 0, max: headerSize - 1 }),
      fc.integer({ min: objects, max: tail }),
      fc.integer({ min: objects, max: tail }),
      fc.integer({ min: objects, max: tail }),
    );
    const flip = fc.integer({ min: 0, max: 7 }).map<Harm>((bit) => (bytes, at) => {
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << bit), at);
    });
    const zero = fc.integer({ min: 8, max: 4096 }).map<Harm>((length) => (bytes, at) => {
      bytes.fill(0, at, Math.min(bytes.length, at + length));
    });
    const garbage = fc.uint8Array({ minLength: 1, maxLength: 24 }).map<Harm>((noise) => (bytes, at) => {
      bytes.set(noise.subarray(0, bytes.length - at), at);
    });
    await fc.assert(
      fc.asyncProperty(place, fc.oneof(flip, zero, garbage), async (at, harm) => {
        const bytes = Buffer.from(sound);
        harm(bytes, at);
        writeFileSync(harmed, bytes);
        const ledger = await countAt(new RootFs("/"), harmed, options);
        if (ledger.coverage === "full") assert.equal(count(ledger), count(whole), `byte ${at}`);
      }),
      { numRuns: Number(process.env["FUZZ_RUNS"] ?? 400) },
    );
  });
}
