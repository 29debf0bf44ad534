import assert from "node:assert/strict";
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { CAPTURES, skipWithoutCaptures } from "../../../test/fixtures/captures.ts";
import {
  type EntrySpec,
  type FileShape,
  temporaryDirectory,
  toExport,
  withoutJournalRemote,
  writeJournal,
} from "../../../test/fixtures/journal-files.ts";
import { readWithLibsystemd, unitMatches, withoutLibsystemd } from "../../../test/fixtures/libsystemd.ts";
import type { LogEntry, LogReader, LogReadOptions, LogReadSummary } from "../log-reader.ts";
import { openLog } from "../open-log.ts";
import { RootFs } from "../root-fs.ts";

const UNIT = "ollama.service";
const BOOTS = ["1".repeat(32), "2".repeat(32)] as const;
const MACHINE = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const START = 1_767_225_600_000_000;
const fs = new RootFs("/");

interface Reading {
  readonly entries: readonly LogEntry[];
  readonly summary: LogReadSummary;
}

async function readAll(reader: LogReader, options: Partial<LogReadOptions> = {}): Promise<Reading> {
  const entries: LogEntry[] = [];
  const summary = await reader.read((entry) => entries.push(entry), {
    unit: UNIT,
    since: null,
    until: null,
    afterCursor: null,
    signal: new AbortController().signal,
    ...options,
  });
  return { entries, summary };
}

const texts = ({ entries }: Reading) => entries.map((entry) => entry.message.toString("latin1"));

function spec(index: number, fields: EntrySpec["fields"], boot = 0): EntrySpec {
  return {
    realtime: START + index * 1_000_000,
    monotonic: 60_000_000 + index * 1_000_000,
    bootId: BOOTS[boot] ?? BOOTS[0],
    fields: [["_MACHINE_ID", MACHINE], ...fields],
  };
}

function line(index: number, message: string | Buffer, unit = UNIT, boot = 0): EntrySpec {
  return spec(
    index,
    [
      ["_PID", String(1187 + boot)],
      ["_UID", "998"],
      ["_SYSTEMD_UNIT", unit],
      ["_SYSTEMD_INVOCATION_ID", String(boot + 5).repeat(32)],
      ["MESSAGE", message],
    ],
    boot,
  );
}

/** Everything that a journal may throw at its reader. */
function everyKind(): readonly EntrySpec[] {
  const about = (index: number, pid: string): EntrySpec =>
    spec(index, [
      ["_PID", pid],
      ["_UID", "0"],
      ["_SYSTEMD_UNIT", "init.scope"],
      ["UNIT", UNIT],
      ["INVOCATION_ID", "9".repeat(32)],
      ["MESSAGE", `Started ${UNIT}. ${pid}`],
    ]);
  return [
    line(0, "listening"),
    line(1, "not ours", "ssh.service"),
    about(2, "1"),
    about(3, "77"),
    line(4, "x".repeat(4000)),
    line(5, `${"env=map[A:1 ".repeat(300)}]`),
    line(6, Buffer.from([0x5b, 0x00, 0xff, 0xfe, 0x0a, 0x5d])),
    line(7, ""),
    line(8, "listening"),
    spec(9, [
      ["_PID", "300"],
      ["_UID", "0"],
      ["_SYSTEMD_UNIT", "systemd-journald.service"],
      ["OBJECT_SYSTEMD_UNIT", UNIT],
      ["OBJECT_SYSTEMD_INVOCATION_ID", "8".repeat(32)],
      ["MESSAGE_ID", "a596d6fe7bfa4994828e72309e95d61e"],
      ["N_DROPPED", "2207"],
      ["MESSAGE", `Suppressed 2207 messages from ${UNIT}`],
    ]),
    spec(10, [
      ["_PID", "301"],
      ["_UID", "1000"],
      ["_SYSTEMD_UNIT", "evil.service"],
      ["OBJECT_SYSTEMD_UNIT", UNIT],
      ["N_DROPPED", "9999"],
      ["MESSAGE_ID", "a596d6fe7bfa4994828e72309e95d61e"],
      ["MESSAGE", "forged by a user's process"],
    ]),
    spec(11, [
      ["_SYSTEMD_UNIT", UNIT],
      ["TAG", "same"],
      ["TAG", "same"],
      ["MESSAGE", "a field twice"],
    ]),
    spec(12, [["_SYSTEMD_UNIT", UNIT]]),
    line(13, "after the reboot", UNIT, 1),
    ...Array.from({ length: 300 }, (_, index) =>
      line(20 + index, `line ${index}`, index % 3 === 0 ? UNIT : "other.service", 1),
    ),
  ];
}

const SHAPES: readonly FileShape[] = [true, false].flatMap((compact) =>
  [true, false].flatMap((compress) => [true, false].map((keyedHash) => ({ compact, compress, keyedHash }))),
);

describe("reading journal files", { skip: withoutJournalRemote() }, () => {
  const directory = temporaryDirectory(after);
  const whole = () => {
    const path = join(directory, "whole.journal");
    return existsSync(path) ? path : writeJournal(directory, "whole", toExport(everyKind()));
  };

  for (const shape of SHAPES) {
    const name = `${shape.compact ? "compact" : "regular"}, ${shape.compress ? "zstd" : "uncompressed"}, ${shape.keyedHash ? "keyed" : "plain"} hash`;
    it(`gives the entries that libsystemd gives: ${name}`, { skip: withoutLibsystemd() }, async () => {
      const path = writeJournal(directory, `shape-${SHAPES.indexOf(shape)}`, toExport(everyKind()), shape);
      const reference = readWithLibsystemd([path], ["MESSAGE", "_PID"], unitMatches(UNIT));
      const { entries, summary } = await readAll(await openLog(path, fs));
      assert.deepEqual(summary.gaps, []);
      assert.deepEqual(
        entries.map(({ at, message, pid, locator }) => ({ at, message: message.toString("latin1"), pid, locator })),
        reference.map(({ realtime, cursor, values: [message, pid] }) => ({
          at: Math.floor(realtime / 1000),
          message: message?.toString("latin1") ?? "",
          pid: pid === null || pid === undefined ? null : Number(pid.toString()),
          locator: cursor,
        })),
      );
      assert.equal(summary.scanned, everyKind().length);
      assert.equal(summary.suppressed, 2207);
    });
  }

  it("tells the manager's lines from the workload's, with the invocation that each is about", async () => {
    const { entries, summary } = await readAll(await openLog(whole(), fs));
    const [first, started] = entries;
    assert.equal(first?.fromManager, false);
    assert.equal(first?.invocationId, "5".repeat(32));
    assert.equal(first?.pid, 1187);
    assert.equal(first?.bootId, BOOTS[0]);
    assert.equal(started?.message.toString(), `Started ${UNIT}. 1`);
    assert.equal(started?.fromManager, true);
    assert.equal(started?.invocationId, "9".repeat(32));
    assert.ok(!texts({ entries, summary }).includes(`Started ${UNIT}. 77`), "UNIT= of a process that is not PID 1");
    assert.ok(!texts({ entries, summary }).includes("forged by a user's process"));
    assert.deepEqual(summary.bootIds, BOOTS);
    assert.deepEqual(summary.machineIds, [MACHINE]);
    assert.equal(summary.cursor, entries.at(-1)?.locator);
  });

  it("keeps to the window, with its ends in it", async () => {
    const ms = START / 1000;
    const reader = await openLog(whole(), fs);
    const reading = await readAll(reader, { since: ms + 4000, until: ms + 8000 });
    assert.deepEqual(
      reading.entries.map(({ at }) => (at ?? 0) - ms),
      [4000, 5000, 6000, 7000, 8000],
    );
    assert.equal(reading.summary.suppressed, 0);
    assert.deepEqual(reading.summary.gaps, []);
  });

  it("says nothing is there when the window is past the last entry, and not that the journal is empty", async () => {
    const { entries, summary } = await readAll(await openLog(whole(), fs), { since: START / 1000 + 86_400_000 });
    assert.deepEqual([entries.length, summary.scanned, summary.gaps], [0, everyKind().length, []]);
  });

  it("goes on after a cursor, whatever entry that was of", async () => {
    const reader = await openLog(whole(), fs);
    const all = await readAll(reader);
    const cursor = all.entries[4]?.locator ?? "";
    const rest = await readAll(reader, { afterCursor: cursor });
    assert.deepEqual(texts(rest), texts(all).slice(5));
    assert.deepEqual(rest.summary.gaps, []);
    const unmatched = cursor.replace(/;i=[0-9a-f]+;/, ";i=2;");
    assert.deepEqual(texts(await readAll(reader, { afterCursor: unmatched })), texts(all).slice(1));
    const end = await readAll(reader, { afterCursor: all.summary.cursor });
    assert.deepEqual([end.entries.length, end.summary.gaps], [0, []]);
  });

  it("starts at the first later entry when the cursor's own is gone, and says so", async () => {
    const reader = await openLog(whole(), fs);
    const all = await readAll(reader);
    const gone = `s=${"f".repeat(32)};i=1;b=${"e".repeat(32)};m=1;t=${(START + 4_500_000).toString(16)};x=1`;
    const rest = await readAll(reader, { afterCursor: gone });
    assert.deepEqual(texts(rest), texts(all).slice(3));
    assert.match(rest.summary.gaps.join(), /cursor is not there any more/);
    assert.match((await readAll(reader, { afterCursor: "nonsense" })).summary.gaps.join(), /not a journal cursor/);
  });

  it("reads a directory as one journal, in the order of time, entries stored twice once", async () => {
    const place = join(directory, "merge", MACHINE);
    const entries = Array.from({ length: 90 }, (_, index) => line(index, `n ${index}`));
    const parts = [0, 1, 2].map((part) => entries.filter((_, index) => index % 3 === part));
    parts.forEach((part, index) => {
      writeJournal(place, `part${index}`, toExport(part));
    });
    copyFileSync(join(place, "part0.journal"), join(directory, "merge", "copy.journal~"));
    const { summary, ...reading } = await readAll(await openLog(join(directory, "merge"), fs));
    assert.deepEqual(
      texts({ ...reading, summary }),
      entries.map((_, index) => `n ${index}`),
    );
    assert.deepEqual(summary.gaps, []);
  });

  it("keeps the order of one file when the clock was set back in it", async () => {
    const times = [50, 51, 10, 11, 60];
    const specs = times.map((time, index) => ({ ...line(time, `n ${index}`), monotonic: 1_000_000 * (index + 1) }));
    const path = writeJournal(directory, "clock", toExport(specs));
    const reading = await readAll(await openLog(path, fs));
    assert.deepEqual(texts(reading), ["n 0", "n 1", "n 2", "n 3", "n 4"]);
    const window = { since: START / 1000 + 10_000, until: START / 1000 + 11_000 };
    assert.deepEqual(texts(await readAll(await openLog(path, fs), window)), ["n 2", "n 3"]);
  });

  it("gives from export format what it gives from the journal made of it", async () => {
    const path = join(directory, "whole.export");
    writeFileSync(path, toExport(everyKind()));
    const fromExport = await readAll(await openLog(path, fs));
    const fromFile = await readAll(await openLog(whole(), fs));
    const withoutCursor = ({ entries }: Reading) =>
      entries.map(({ at, message, truncated, pid, bootId, invocationId, fromManager }) => ({
        at,
        message,
        truncated,
        pid,
        bootId,
        invocationId,
        fromManager,
      }));
    assert.deepEqual(withoutCursor(fromExport), withoutCursor(fromFile));
    assert.equal(fromExport.summary.suppressed, 2207);
    assert.deepEqual(fromExport.summary.gaps, []);
  });

  const captures = join(CAPTURES, "vm");
  it("reads captures of real VMs in export format and as journals alike", {
    skip: skipWithoutCaptures,
  }, async () => {
    for (const name of readdirSync(captures)) {
      const source = join(captures, name, "journal.export");
      const path = writeJournal(directory, `capture-${name}`, readFileSync(source));
      const fromExport = await readAll(await openLog(source, fs));
      const fromFile = await readAll(await openLog(path, fs));
      assert.ok(fromExport.entries.length > 0);
      assert.deepEqual(texts(fromFile), texts(fromExport));
      assert.deepEqual(
        fromFile.entries.map(({ at, pid, fromManager, invocationId }) => [at, pid, fromManager, invocationId]),
        fromExport.entries.map(({ at, pid, fromManager, invocationId }) => [at, pid, fromManager, invocationId]),
      );
      assert.deepEqual([...fromExport.summary.gaps, ...fromFile.summary.gaps], []);
      const reference = readWithLibsystemd([path], ["MESSAGE"], unitMatches(UNIT));
      assert.deepEqual(
        texts(fromFile),
        reference.map(({ values: [message] }) => message?.toString("latin1")),
      );
    }
  });

  it("cuts a message longer than it keeps, and says so", async () => {
    const path = writeJournal(
      directory,
      "long",
      toExport([line(0, "a".repeat(70_000)), line(1, randomText(3_000_000)), line(2, "end")]),
    );
    const { entries, summary } = await readAll(await openLog(path, fs));
    assert.deepEqual(
      entries.map(({ message, truncated }) => [message.length, truncated]),
      [
        [65536, true],
        [65536, true],
        [3, false],
      ],
    );
    assert.match(summary.gaps.join(), /2 messages were longer than 65536 bytes/);
  });

  it("stops when it is told to, and says after how much", async () => {
    const stop = new AbortController();
    stop.abort();
    const { entries, summary } = await readAll(await openLog(whole(), fs), { signal: stop.signal });
    assert.equal(entries.length, 0);
    assert.match(summary.gaps.join(), /stopped at the time limit after 0 entries/);
  });
});

/** Text that does not compress. */
function randomText(length: number): string {
  let state = 1;
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return String.fromCharCode(33 + ((state >>> 16) % 90));
  }).join("");
}
