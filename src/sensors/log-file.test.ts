import assert from "node:assert/strict";
import { closeSync, ftruncateSync, mkdirSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { temporaryDirectory } from "../../test/fixtures/journal-files.ts";
import { LogFileReader } from "./log-file.ts";
import type { LogEntry, LogReadOptions } from "./log-reader.ts";
import { RootFs } from "./root-fs.ts";

const GIB = 2 ** 30;
const fs = new RootFs("/");

describe("reading a plain log file", () => {
  const directory = temporaryDirectory(after);
  const path = join(directory, "stderr.log");

  async function read(options: Partial<LogReadOptions> = {}, onEntry: (entry: LogEntry) => void = () => {}) {
    const entries: LogEntry[] = [];
    const summary = await new LogFileReader(path, fs).read(
      (entry) => {
        entries.push(entry);
        onEntry(entry);
      },
      { unit: "", since: null, until: null, afterCursor: null, signal: new AbortController().signal, ...options },
    );
    return { entries, summary, texts: entries.map(({ message }) => message.toString("latin1")) };
  }

  it("splits lines, whatever ends them, and keeps what is after the last newline", async () => {
    writeFileSync(path, "one\ntwo\r\n\nlast");
    const { texts, entries, summary } = await read();
    assert.deepEqual(texts, ["one", "two", "", "last"]);
    assert.deepEqual(
      entries.map(({ locator }) => locator),
      [0, 4, 9, 10].map((offset) => `${path}:${offset}`),
    );
    assert.deepEqual([summary.kind, summary.entries, summary.bytes, summary.gaps.length], ["file", 4, 14, 0]);
  });

  it("gives the lines that were written, wherever the windows part them", async () => {
    const line = fc.oneof(
      { weight: 5, arbitrary: fc.nat(200) },
      { weight: 1, arbitrary: fc.constantFrom(65534, 65535, 65536, 65537, 300_000, 1_048_575, 1_048_576, 1_048_577) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 12 }), fc.boolean(), async (lengths, crlf) => {
        const lines = lengths.map((length, index) => String.fromCharCode(97 + index).repeat(length));
        writeFileSync(path, lines.map((text) => text + (crlf ? "\r\n" : "\n")).join(""));
        const { texts, entries, summary } = await read();
        assert.deepEqual(
          texts,
          lines.map((text) => text.slice(0, 65536)),
        );
        assert.deepEqual(
          entries.map(({ truncated }) => truncated),
          lengths.map((length) => length > 65536),
        );
        const cut = lengths.filter((length) => length > 65536).length;
        if (cut > 0) assert.match(summary.gaps.join(), new RegExp(`${cut} lines? (was|were) longer than 65536`));
      }),
      { numRuns: 60 },
    );
  });

  it("reads a line of 2 GiB in flat memory", async (test) => {
    const file = openSync(path, "w");
    writeSync(file, "first\nbegin ");
    writeSync(file, "\nend\n", 2 * GIB);
    closeSync(file);
    const before = process.memoryUsage().rss;
    const startedAt = performance.now();
    const { entries, texts, summary } = await read();
    const grown = process.memoryUsage().rss - before;
    test.diagnostic(`2 GiB line: ${Math.round(performance.now() - startedAt)} ms, ${Math.round(grown / 2 ** 20)} MiB`);
    assert.deepEqual(
      entries.map(({ message, truncated }) => [message.length, truncated]),
      [
        [5, false],
        [65536, true],
        [3, false],
      ],
    );
    assert.equal(texts[2], "end");
    assert.match(summary.gaps.join(), /1 line was longer/);
    assert.ok(grown < 200 * 2 ** 20, `${grown} bytes`);
  });

  it("passes over the hole that copytruncate leaves, and says that something is lost", async () => {
    const file = openSync(path, "w");
    writeSync(file, "after the hole\nmore\n", 3 * 2 ** 20 + 5);
    closeSync(file);
    const { texts, summary, entries } = await read();
    assert.deepEqual(texts, ["after the hole", "more"]);
    assert.equal(entries[0]?.locator, `${path}:${3 * 2 ** 20 + 5}`);
    assert.match(summary.gaps.join(), /3145733 NUL bytes/);
  });

  it("keeps NUL inside a line", async () => {
    writeFileSync(path, "a\0b\n");
    assert.deepEqual((await read()).texts, ["a\0b"]);
  });

  it("says that a file is empty, missing or not a file", async () => {
    writeFileSync(path, "");
    assert.match((await read()).summary.gaps.join(), /the file is empty/);
    const other = async (name: string) => {
      const options = { unit: "", since: null, until: null, afterCursor: null, signal: new AbortController().signal };
      return (await new LogFileReader(join(directory, name), fs).read(() => {}, options)).gaps.join();
    };
    assert.match(await other("nothing.log"), /nothing\.log: does not exist/);
    mkdirSync(join(directory, "folder"));
    assert.match(await other("folder"), /EINVAL|EISDIR/);
  });

  it("says when the file becomes shorter under it", async () => {
    writeFileSync(path, "x".repeat(99).concat("\n").repeat(30_000));
    let cut = false;
    const { summary } = await read({}, () => {
      if (!cut) truncateSync(path, 100);
      cut = true;
    });
    assert.match(summary.gaps.join(), /became shorter while it was read \(3000000 bytes, now \d+\)/);
  });

  it("does not read on in a file that grows", async () => {
    writeFileSync(path, "one\n");
    const file = openSync(path, "a");
    const { texts } = await read({}, () => writeSync(file, "more\n"));
    closeSync(file);
    assert.deepEqual(texts, ["one"]);
  });

  it("takes a line without a time to be of the time of the last line that had one", async () => {
    writeFileSync(path, "start\n100000001.5 a\nb\n100000002.0 c\nd\n100000003.0 e\n");
    const reading = await read({ since: 100000002000, until: 100000002999 });
    assert.deepEqual(reading.texts, ["start", "100000002.0 c", "d"]);
    assert.deepEqual(
      reading.entries.map(({ at }) => at),
      [null, 100000002000, null],
    );
    assert.match(reading.summary.gaps.join(), /1 line before the first time/);
    assert.deepEqual([reading.summary.firstAt, reading.summary.lastAt], [100000002000, 100000002000]);
  });

  it("knows the manager's lines and the pids of a syslog dump", async () => {
    writeFileSync(path, "Mar 26 06:56:50 vm systemd[1]: Started x\nMar 26 06:56:51 vm ollama[1187]: hello\n");
    const { entries } = await read();
    assert.deepEqual(
      entries.map(({ pid, fromManager }) => [pid, fromManager]),
      [
        [1, true],
        [1187, false],
      ],
    );
  });

  it("goes on after the line of a cursor, and says when that line is gone", async () => {
    writeFileSync(path, "one\ntwo\nthree\n");
    const first = await read();
    assert.deepEqual((await read({ afterCursor: first.entries[0]?.locator ?? "" })).texts, ["two", "three"]);
    assert.deepEqual((await read({ afterCursor: first.summary.cursor })).texts, []);
    const gone = await read({ afterCursor: `${path}:5000` });
    assert.deepEqual(gone.texts.length, 3);
    assert.match(gone.summary.gaps.join(), /not there any more/);
  });

  it("stops when it is told to", async () => {
    const stop = new AbortController();
    const file = openSync(path, "w");
    writeSync(file, "one\n");
    ftruncateSync(file, 2 * GIB);
    closeSync(file);
    const { summary } = await read({ signal: stop.signal }, () => stop.abort());
    assert.match(summary.gaps.join(), /stopped at the time limit after 1 entries/);
  });
});
