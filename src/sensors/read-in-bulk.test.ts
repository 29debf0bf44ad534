import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import {
  type EntrySpec,
  temporaryDirectory,
  toExport,
  withoutJournalRemote,
  writeJournal,
} from "../../test/fixtures/journal-files.ts";
import { valueIn } from "../facts/reading.ts";
import { SHIM_LINES } from "../protocol/guest-lines.ts";
import { OLLAMA_LINES } from "../protocol/ollama-lines.ts";
import { LogActivity } from "./log-activity.ts";
import { readGivenLogs } from "./logs.ts";
import { openLog } from "./open-log.ts";
import { RootFs } from "./root-fs.ts";

const UNIT = "ollama.service";
const START = 1_767_225_600_000_000;
const INVOCATIONS = ["5b0c2b0e0c5c4a7f8a1d6b5e4f3a2b10", "6b0c2b0e0c5c4a7f8a1d6b5e4f3a2b11"];
const BOOTS = ["3c4f8a1f0d7e4d5b9a5e1c2b3d4e5f60", "4c4f8a1f0d7e4d5b9a5e1c2b3d4e5f61"] as const;

const PER_CALL = [
  "cuda_transport_call() INVOKED: call_id=0x0050 data_len=88 tp=0x5594ede26bc0 bar0=0x7f39b5123000 (pid=1203)",
  "cuda_transport_call() INVOKED: call_id=0x0032 data_len=4096 tp=0x5594ede26bc0 bar0=(nil) (pid=1777)",
  "SENDING to VGPU-STUB: call_id=0x0050 seq=1 args=26 data_len=88 (pid=1203)",
  "RINGING DOORBELL: MMIO write to VGPU-STUB (call_id=0x0050, pid=1203)",
  "RECEIVED from VGPU-STUB: call_id=0x0050 seq=1 status=DONE (pid=1203)",
  "RECEIVED from VGPU-STUB: call_id=0x0032 seq=2 status=DONE (pid=1777)",
].map((text) => `[cuda-transport] ${text}`);
/** Torn and merged, as threads that write at once leave them: none of them is a per-call line of the usual shape. */
const TORN = PER_CALL.flatMap((text, index) => [
  text.slice(0, 60) + (PER_CALL[(index + 1) % PER_CALL.length] ?? ""),
  `${text} and more`,
  text.replace("[cuda-transport] ", ""),
]);
const OTHERS = [...SHIM_LINES, ...OLLAMA_LINES].flatMap(({ examples }) => examples);
const MESSAGES: readonly string[] = [...OTHERS, ...TORN, "plain text", "z".repeat(3000)];

const anyMessage = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...PER_CALL) },
  { weight: 1, arbitrary: fc.constantFrom(...MESSAGES) },
);

function specOf(message: string, index: number): EntrySpec {
  const later = index > 60;
  return {
    realtime: START + index * 40_000,
    monotonic: 60_000_000 + index * 40_000,
    bootId: BOOTS[index > 90 ? 1 : 0],
    fields: [
      ["_SYSTEMD_UNIT", index % 17 === 4 ? "other.service" : UNIT],
      ["_SYSTEMD_INVOCATION_ID", INVOCATIONS[later ? 1 : 0] ?? ""],
      ["_PID", index % 3 === 0 ? "1100" : "1101"],
      ["_MACHINE_ID", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"],
      ["MESSAGE", message],
    ],
  };
}

/** Places of lines among one another are kept within what folded lines leave of them; bytes are counted differently. */
function comparable(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (key, part) => (key === "ordinal" || key === "bytes" ? undefined : part)));
}

async function entryByEntry(path: string): Promise<unknown> {
  const activity = new LogActivity(UNIT);
  const options = { unit: UNIT, since: null, until: null, afterCursor: null, signal: new AbortController().signal };
  const summary = await (await openLog(path, new RootFs("/"))).read((entry) => activity.add(entry), options);
  return comparable(activity.facts([summary]));
}

async function inBulk(path: string): Promise<unknown> {
  const given = { journal: path, log: null, unit: UNIT, since: null, until: null };
  const choice = valueIn(await readGivenLogs(given, new AbortController().signal));
  assert.ok(choice !== undefined);
  return comparable(choice.facts);
}

describe("a log that is read in bulk", () => {
  const directory = temporaryDirectory(after);

  it("tells the same of a journal as its entries one by one", { skip: withoutJournalRemote() }, async () => {
    let made = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(anyMessage, { minLength: 1, maxLength: 120 }), async (messages) => {
        made += 1;
        const path = writeJournal(directory, `journal-${made}`, toExport(messages.map(specOf)));
        assert.deepEqual(await inBulk(path), await entryByEntry(path));
      }),
      { numRuns: 60 },
    );
  });

  it("tells the same of a plain file as its lines one by one", async () => {
    const path = join(directory, "sink.log");
    await fc.assert(
      fc.asyncProperty(fc.array(anyMessage, { minLength: 1, maxLength: 120 }), async (messages) => {
        writeFileSync(path, Buffer.from(`${messages.join("\n")}\n`, "latin1"));
        assert.deepEqual(await inBulk(path), await entryByEntry(path));
      }),
      { numRuns: 200 },
    );
  });
});
