import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { temporaryDirectory, toExport } from "../../test/fixtures/journal-files.ts";
import { defaultJournal } from "./journal/directory.ts";
import type { LogReader, LogReadSummary } from "./log-reader.ts";
import { openLog } from "./open-log.ts";
import { RootFs } from "./root-fs.ts";

const fs = new RootFs("/");

function summaryOf(reader: LogReader): Promise<LogReadSummary> {
  const signal = new AbortController().signal;
  return reader.read(() => {}, { unit: "ollama.service", since: null, until: null, afterCursor: null, signal });
}

describe("opening a log", () => {
  const directory = temporaryDirectory(after);
  const write = (name: string, content: string | Buffer) => {
    writeFileSync(join(directory, name), content);
    return join(directory, name);
  };
  const open = async (path: string) => await summaryOf(await openLog(path, fs));

  it("tells a text log from an export by what is in it, not by its name", async () => {
    assert.equal((await open(write("a.export", "[cuda-transport] Connected\n"))).kind, "file");
    const entry = { realtime: 1, monotonic: 1, bootId: "1".repeat(32), fields: [["MESSAGE", "x"] as const] };
    const summary = await open(write("b.log", toExport([entry])));
    assert.deepEqual([summary.kind, summary.scanned, summary.entries], ["journal", 1, 0]);
  });

  it("takes a file named as a journal for a journal, and says that it is none", async () => {
    const summary = await open(write("text.journal", "hello\n"));
    assert.equal(summary.kind, "journal");
    assert.match(summary.gaps.join(), /text\.journal: not a journal file/);
  });

  it("says of a path that does not exist that it does not", async () => {
    const summary = await open(join(directory, "nowhere"));
    assert.deepEqual([summary.entries, summary.scanned], [0, 0]);
    assert.match(summary.gaps.join(), /nowhere: does not exist/);
  });

  it("says of a directory without journal files that there are none", async () => {
    mkdirSync(join(directory, "bare"));
    assert.match((await open(join(directory, "bare"))).gaps.join(), /bare: no journal files there/);
  });

  it("refuses what is not a file", async () => {
    assert.match((await open("/dev/null")).gaps.join(), /\/dev\/null/);
  });

  it("says of a root without a journal that there is none", async () => {
    const summary = await summaryOf(defaultJournal(new RootFs(directory)));
    assert.deepEqual([summary.kind, summary.entries, summary.scanned], ["journal", 0, 0]);
    assert.match(summary.gaps.join(), /\/var\/log\/journal, \/run\/log\/journal: no journal files there/);
  });

  it("finds the journal of a captured root", async () => {
    const place = join(directory, "root/var/log/journal", "a".repeat(32));
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, "system.journal"), "");
    const summary = await summaryOf(defaultJournal(new RootFs(join(directory, "root"))));
    assert.match(summary.gaps.join(), /system\.journal: the file is empty/);
  });
});
