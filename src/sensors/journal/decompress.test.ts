import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { lz4, xz } from "../../../test/fixtures/compress.ts";
import {
  temporaryDirectory,
  toExport,
  withoutJournalRemote,
  writeJournal,
} from "../../../test/fixtures/journal-files.ts";
import { readWithLibsystemd, withoutLibsystemd } from "../../../test/fixtures/libsystemd.ts";
import { openLog } from "../open-log.ts";
import { RootFs } from "../root-fs.ts";
import { decompress, decompressLz4 } from "./decompress.ts";
import { COMPRESSED } from "./objects.ts";
import { xzDecoder } from "./xz.ts";

function without(library: string, debian: string): string | false {
  const present = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"].some((place) =>
    existsSync(`${place}/${library}`),
  );
  return present || process.env["CI"] === "true"
    ? false
    : `${library} is not installed; as root: apt-get install -y ${debian}`;
}

const repetitive = fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 30 }), fc.integer({ min: 1, max: 400 })), {
  minLength: 1,
  maxLength: 20,
});

describe("compressed payloads", () => {
  it("gives what liblz4 compressed", { skip: without("liblz4.so.1", "liblz4-1") }, () => {
    fc.assert(
      fc.property(repetitive, (parts) => {
        const text = Buffer.from(parts.map(([word, times]) => word.repeat(times)).join(""));
        assert.deepEqual(decompressLz4(lz4(text)), text);
      }),
      { numRuns: 200 },
    );
  });

  it("gives what liblzma compressed, however large", { skip: without("liblzma.so.5", "liblzma5") }, async () => {
    const decode = await xzDecoder();
    for (const length of [1, 600, 65_536, 65_537, 3_000_000]) {
      const text = Buffer.alloc(length, "log line ");
      assert.deepEqual(decompress(COMPRESSED.xz, xz(text), decode), text);
    }
    assert.equal(decompress(COMPRESSED.xz, Buffer.from("no xz stream"), decode), null);
  });

  it("gives up XZ where there is no liblzma", () => {
    assert.equal(decompress(COMPRESSED.xz, Buffer.from("whatever"), null), null);
  });

  it("gives up a payload that is larger than it may be, or damaged", () => {
    assert.equal(decompress(COMPRESSED.zstd, zstdCompressSync(Buffer.alloc(17 << 20)), null), null);
    assert.equal(decompress(COMPRESSED.zstd, Buffer.from("no zstd frame"), null), null);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 5000 }), (bytes, claimed) => {
        const payload = Buffer.concat([Buffer.alloc(8), bytes]);
        payload.writeBigUInt64LE(BigInt(claimed));
        const result = decompressLz4(payload);
        assert.ok(result === null || result.length === claimed);
      }),
    );
  });

  const skip =
    withoutJournalRemote() ||
    withoutLibsystemd() ||
    without("liblz4.so.1", "liblz4-1") ||
    without("liblzma.so.5", "liblzma5");
  it("reads journal files with LZ4 and XZ data as libsystemd does", { skip }, async () => {
    const directory = temporaryDirectory(after);
    const text = `compressed ${"again and ".repeat(40)}`;
    const entries = ["before", text, "after"].map((message, index) => ({
      realtime: 1_767_225_600_000_000 + index,
      monotonic: index + 1,
      bootId: "1".repeat(32),
      fields: [["_SYSTEMD_UNIT", "ollama.service"] as const, ["MESSAGE", message] as const],
    }));
    const path = writeJournal(directory, "plain", toExport(entries));
    for (const [flag, compress] of [
      [COMPRESSED.lz4, lz4],
      [COMPRESSED.xz, xz],
    ] as const) {
      // Today's writers do not make such files: the payload is replaced in place, and the room that this leaves
      // becomes an object of its own.
      const bytes = readFileSync(path);
      const payloadAt = bytes.indexOf(`MESSAGE=${text}`);
      const at = payloadAt - 72;
      const was = Math.ceil(Number(bytes.readBigUInt64LE(at + 8)) / 8) * 8;
      const payload = compress(Buffer.from(`MESSAGE=${text}`));
      const size = 72 + payload.length;
      const now = Math.ceil(size / 8) * 8;
      bytes.fill(0, payloadAt, at + was);
      payload.copy(bytes, payloadAt);
      bytes.writeUInt8(flag, at + 1);
      bytes.writeBigUInt64LE(BigInt(size), at + 8);
      // FIELD objects take any size from 41 bytes on.
      bytes.writeUInt8(2, at + now);
      bytes.writeBigUInt64LE(BigInt(was - now), at + now + 8);
      bytes.writeBigUInt64LE(bytes.readBigUInt64LE(144) + 1n, 144);
      bytes.writeUInt32LE((bytes.readUInt32LE(12) & ~8) | flag, 12);
      const changed = join(directory, `flag-${flag}.journal`);
      writeFileSync(changed, bytes);
      const messages: string[] = [];
      const signal = new AbortController().signal;
      const options = { unit: "ollama.service", since: null, until: null, afterCursor: null, signal };
      const summary = await (await openLog(changed, new RootFs("/"))).read(
        ({ message }) => messages.push(message.toString()),
        options,
      );
      assert.deepEqual(messages, ["before", text, "after"]);
      assert.deepEqual(summary.gaps, []);
      const reference = readWithLibsystemd([changed], ["MESSAGE"]);
      assert.deepEqual(
        reference.map(({ values: [message] }) => message?.toString()),
        messages,
      );
    }
  });
});
