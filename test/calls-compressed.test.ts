import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { RootFs } from "../src/sensors/root-fs.ts";
import { lz4, xz } from "./fixtures/compress.ts";
import { countAt } from "./fixtures/count.ts";
import { temporaryDirectory, toExport, withoutJournalRemote, writeJournal } from "./fixtures/journal-files.ts";

/** Calls whose messages are stored compressed, by each of the ways that journald has had. */

const LIBRARIES = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"];
const without = (library: string): string | false =>
  LIBRARIES.some((place) => existsSync(join(place, library))) || process.env["CI"] === "true"
    ? false
    : `${library} is not installed`;

const WAYS = [
  { name: "XZ", flag: 1, compress: xz, skip: without("liblzma.so.5") },
  { name: "LZ4", flag: 2, compress: lz4, skip: without("liblz4.so.1") },
  { name: "ZSTD", flag: 4, compress: (text: Buffer) => zstdCompressSync(text), skip: false },
  { name: "a way that nobody knows", flag: 8 << 1, compress: (text: Buffer) => text.subarray(0, 100), skip: false },
] as const;
/** Header: the incompatible flags that say which ways the file uses, and the number of its objects. */
const INCOMPATIBLE = 12;
const OBJECTS = 144;
const FLAG_OF = { 1: 1, 2: 2, 4: 8 } as const;
const DATA_HEADER = 72;

/** Replaces the payload of a DATA object in place; the room that this leaves becomes an object of its own. */
function replace(bytes: Buffer, text: string, flag: number, compress: (text: Buffer) => Buffer): void {
  const payloadAt = bytes.indexOf(text);
  assert.ok(payloadAt > 0, `${text} is not in the file as it is`);
  const at = payloadAt - DATA_HEADER;
  const was = Math.ceil(Number(bytes.readBigUInt64LE(at + 8)) / 8) * 8;
  const payload = compress(Buffer.from(text));
  const now = Math.ceil((DATA_HEADER + payload.length) / 8) * 8;
  bytes.fill(0, payloadAt, at + was);
  payload.copy(bytes, payloadAt);
  bytes.writeUInt8(flag, at + 1);
  bytes.writeBigUInt64LE(BigInt(DATA_HEADER + payload.length), at + 8);
  // FIELD objects take any size from 41 bytes on.
  bytes.writeUInt8(2, at + now);
  bytes.writeBigUInt64LE(BigInt(was - now), at + now + 8);
  bytes.writeBigUInt64LE(bytes.readBigUInt64LE(OBJECTS) + 1n, OBJECTS);
}

describe("calls in compressed messages", { skip: withoutJournalRemote() }, () => {
  const directory = temporaryDirectory(after);
  const call = (id: string) =>
    `[cuda-transport] cuda_transport_call() INVOKED: call_id=${id} data_len=88 tp=0x1 bar0=0x2 (pid=1203) ${"pad ".repeat(60)}`;
  const messages = [call("0x0050"), call("0x0032"), "[cuda-transport] Connected (vm_id=11) data_path=BAR1"];
  const specs = Array.from({ length: 30 }, (_, index) => ({
    realtime: 1_767_225_600_000_000 + index,
    monotonic: index + 1,
    bootId: "1".repeat(32),
    fields: [
      ["_SYSTEMD_UNIT", "ollama.service"] as const,
      ["_PID", "1187"] as const,
      ["MESSAGE", messages[index % 3] ?? ""] as const,
    ],
  }));

  for (const { name, flag, compress, skip } of WAYS) {
    it(`are counted exactly, or said to be missing: ${name}`, { skip }, async () => {
      const shape = { compact: true, compress: false, keyedHash: true };
      const path = writeJournal(directory, `file-${flag}`, toExport(specs), shape);
      const bytes = readFileSync(path);
      replace(bytes, `MESSAGE=${call("0x0050")}`, flag, compress);
      const used = flag === 1 || flag === 2 || flag === 4 ? FLAG_OF[flag] : 0;
      bytes.writeUInt32LE(bytes.readUInt32LE(INCOMPATIBLE) | used, INCOMPATIBLE);
      writeFileSync(path, bytes);
      const options = { unit: "ollama.service", since: null, until: null, signal: new AbortController().signal };
      const { calls, coverage, gaps } = await countAt(new RootFs("/"), path, options);
      const counted = (id: number) => calls.find(({ callId }) => callId === id)?.count ?? 0;
      if (used === 0) assert.notEqual(coverage, "full");
      if (coverage === "full") assert.deepEqual([counted(0x50), counted(0x32)], [10, 10]);
      else assert.ok(gaps.length > 0 && counted(0x50) <= 10 && counted(0x32) <= 10);
      if (used !== 0) assert.equal(coverage, "full", gaps.join());
    });
  }
});
