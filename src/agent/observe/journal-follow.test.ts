import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import {
  type EntrySpec,
  type FileShape,
  temporaryDirectory,
  toExport,
  USUAL_SHAPE,
  withoutJournalRemote,
  writeJournal,
} from "../../../test/fixtures/journal-files.ts";
import { VirtualClock } from "../../../test/fixtures/virtual-clock.ts";
import { parseCursor } from "../../sensors/journal/cursor.ts";
import { journalOfDirectory } from "../../sensors/journal/directory.ts";
import { filesOfDirectory } from "../../sensors/journal/find-files.ts";
import type { LogEntry } from "../../sensors/log-reader.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { JournalFollower } from "./journal-follow.ts";
import type { LogPosition } from "./log-position.ts";

const UNIT = "ollama.service";
const BOOT_A = "a".repeat(32);
const BOOT_B = "b".repeat(32);
/** Epoch microseconds. */
const T0 = 1_770_000_000_000_000;
const skip = withoutJournalRemote();
const fs = new RootFs("/");

const entry = (
  number: number,
  more: Partial<EntrySpec> & { readonly unit?: string; readonly text?: string } = {},
): EntrySpec => ({
  realtime: T0 + number * 1000,
  monotonic: 1_000_000 + number * 1000,
  bootId: BOOT_A,
  ...more,
  fields: [
    ["MESSAGE", more.text ?? `line ${number} ${"x".repeat(number % 7 === 0 ? 900 : 10)}`],
    ["_PID", String(1000 + (number % 3))],
    ["_SYSTEMD_UNIT", more.unit ?? UNIT],
    ["_MACHINE_ID", "c".repeat(32)],
    ["_SOURCE_REALTIME_TIMESTAMP", String(T0 + number)],
  ],
});
const many = (from: number, to: number, more: Parameters<typeof entry>[1] = {}) =>
  Array.from({ length: to - from }, (_, index) => entry(from + index, more));

function follower(
  directory: string,
  after: LogPosition | null,
  clock = new VirtualClock(),
  since = 0,
): JournalFollower {
  return new JournalFollower({
    fs,
    find: () => filesOfDirectory(fs, directory),
    unit: UNIT,
    after: after?.kind === "journal" ? after : null,
    since,
    monotonic: clock.monotonic,
  });
}

interface Read {
  readonly lines: readonly string[];
  readonly entries: readonly LogEntry[];
  readonly gaps: readonly string[];
  readonly position: LogPosition | null;
}

/** Everything that is there now. */
async function drain(one: JournalFollower): Promise<Read> {
  const entries: LogEntry[] = [];
  const gaps: string[] = [];
  for (;;) {
    const { items, position, more } = await one.poll();
    for (const item of items) {
      if (item.kind === "gap") gaps.push(item.text);
      else entries.push(item.entry);
    }
    if (!more) return { lines: entries.map(firstWords), entries, gaps, position };
  }
}

async function readOnce(directory: string, after: LogPosition | null = null, since = 0): Promise<Read> {
  const one = follower(directory, after, new VirtualClock(), since);
  try {
    return await drain(one);
  } finally {
    await one.close();
  }
}

const firstWords = ({ message }: LogEntry) => message.toString("latin1").split(" ").slice(0, 2).join(" ");
const numbered = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `line ${from + index}`);
const journalAt = (one: LogEntry): LogPosition => ({ kind: "journal", cursor: one.locator });

describe("a journal that is followed", { skip }, () => {
  const shapes: readonly (readonly [string, FileShape])[] = [
    ["as journald writes it now", USUAL_SHAPE],
    ["of an older journald", { compact: false, compress: false, keyedHash: false }],
  ];
  for (const [name, shape] of shapes) {
    it(`gives the entries that a whole reading gives: ${name}`, async () => {
      const directory = temporaryDirectory(after);
      const mixed = many(0, 3000).map((one, index) =>
        index % 5 === 0 ? entry(index, { unit: "other.service" }) : one,
      );
      writeJournal(directory, "system", toExport(mixed), shape);
      const whole: LogEntry[] = [];
      const signal = new AbortController().signal;
      const options = { unit: UNIT, since: null, until: null, afterCursor: null, signal };
      await journalOfDirectory(fs, directory).read((one) => whole.push(one), options);
      const shown = (one: LogEntry) => [
        one.locator,
        one.at,
        one.pid,
        one.bootId,
        one.message.toString("latin1"),
        one.fromManager,
      ];
      const read = await readOnce(directory);
      assert.deepEqual(read.gaps, []);
      assert.equal(read.entries.length, 2400);
      assert.deepEqual(read.entries.map(shown), whole.map(shown));
      for (const at of [0, 1, 999, 2398, 2399]) {
        const last = read.entries[at];
        assert.ok(last !== undefined);
        const rest = await readOnce(directory, journalAt(last));
        assert.deepEqual(rest.gaps, []);
        assert.deepEqual(rest.entries.map(shown), whole.slice(at + 1).map(shown), `after entry ${at}`);
      }
    });
  }

  it("gives each new line once while the file grows, and what is behind it of other units moves the position", async () => {
    const directory = temporaryDirectory(after);
    const path = join(directory, "system.journal");
    const program = ["/lib/systemd/systemd-journal-remote", "/usr/lib/systemd/systemd-journal-remote"].find((one) =>
      existsSync(one),
    );
    assert.ok(program !== undefined);
    const writer = spawn(program, ["-o", path, "-"], { stdio: ["pipe", "ignore", "ignore"] });
    const ended = new Promise((resolve) => writer.once("close", resolve));
    const one = follower(directory, null);
    const lines: string[] = [];
    let [written, position]: [number, LogPosition | null] = [0, null];
    try {
      while (written < 5000) {
        const next = Math.min(5000, written + 1 + ((written * 7) % 400));
        writer.stdin.write(toExport(many(written, next)));
        written = next;
        one.lookAgain();
        lines.push(...(await drain(one)).lines);
      }
      writer.stdin.end(toExport([entry(5000, { unit: "other.service" })]));
      await ended;
      one.lookAgain();
      const last = await drain(one);
      lines.push(...last.lines);
      position = last.position;
      assert.deepEqual(last.gaps, []);
    } finally {
      await one.close();
      writer.kill();
    }
    assert.deepEqual(lines, numbered(0, 5000));
    assert.ok(position?.kind === "journal");
    assert.equal(parseCursor(position.cursor)?.seqnum, 5001);
  });

  it("without a position begins at the time that it is told", async () => {
    const directory = temporaryDirectory(after);
    writeJournal(directory, "system", toExport(many(0, 100)));
    const read = await readOnce(directory, null, T0 / 1000 + 60);
    assert.deepEqual(read.lines, numbered(60, 100));
  });

  it("keeps journald's order when the clock jumps back and forth, and over a reboot", async () => {
    const directory = temporaryDirectory(after);
    const entries = [
      ...many(0, 10),
      ...many(10, 20).map((one) => ({ ...one, realtime: one.realtime - 3600_000_000 })),
      ...many(20, 30).map((one) => ({ ...one, realtime: one.realtime + 86_400_000_000 })),
      ...many(30, 40).map((one) => ({
        ...one,
        bootId: BOOT_B,
        monotonic: one.monotonic - 900_000,
        realtime: 1000 + one.realtime - T0,
      })),
    ];
    writeJournal(directory, "system", toExport(entries));
    const read = await readOnce(directory);
    assert.deepEqual(read.lines, numbered(0, 40));
    assert.equal(read.entries.filter(({ bootId }) => bootId === BOOT_B).length, 10);
    for (const at of [9, 10, 19, 20, 29, 30]) {
      const last = read.entries[at];
      assert.ok(last !== undefined);
      const rest = await readOnce(directory, journalAt(last));
      assert.deepEqual(rest.lines, numbered(at + 1, 40), `after line ${at}`);
      assert.deepEqual(rest.gaps, []);
    }
  });

  it("reads another machine's journal, or one that was made anew, from its oldest entry on, and says so", async () => {
    const directory = temporaryDirectory(after);
    const path = writeJournal(directory, "system", toExport(many(0, 50)));
    const tenth = (await readOnce(directory)).entries[9];
    assert.ok(tenth !== undefined);
    rmSync(path);
    writeJournal(directory, "system", toExport(many(40, 50)));
    const read = await readOnce(directory, journalAt(tenth));
    assert.deepEqual(read.lines, numbered(40, 50));
    assert.equal(read.gaps.length, 1);
    assert.match(read.gaps[0] ?? "", /of another journal: read from the oldest entry on/);
  });

  it("says that a journal was set back, as by a snapshot, and reads what is there now", async () => {
    const directory = temporaryDirectory(after);
    const path = writeJournal(directory, "system", toExport(many(0, 20)));
    const all = await readOnce(directory);
    const last = all.entries.at(-1);
    assert.ok(last !== undefined);
    const ahead = last.locator.replace(/;i=[0-9a-f]+/, ";i=ffff");
    const read = await readOnce(directory, { kind: "journal", cursor: ahead });
    assert.deepEqual(read.lines, numbered(0, 20));
    assert.match(read.gaps[0] ?? "", /was set back \(entry 65535 was read last, the newest is 20\)/);
    const other = (all.entries[9]?.locator ?? "").replace(/;x=[0-9a-f]+/, ";x=1234");
    const again = await readOnce(directory, { kind: "journal", cursor: other });
    assert.deepEqual(again.lines, numbered(0, 20));
    assert.match(again.gaps[0] ?? "", /another entry has the number 10/);
    assert.ok(existsSync(path));
  });

  it("a cursor that is none, or none at all, loses nothing", async () => {
    const directory = temporaryDirectory(after);
    writeJournal(directory, "system", toExport(many(0, 20)));
    const read = await readOnce(directory, { kind: "journal", cursor: "s=nonsense" });
    assert.deepEqual(read.lines, numbered(0, 20));
    assert.equal(read.gaps.length, 1);
  });

  it("reads a file that was archived while it was read to its end, and not again under its new name", async () => {
    const directory = temporaryDirectory(after);
    const path = writeJournal(directory, "system", toExport(many(0, 20)));
    const one = follower(directory, null);
    assert.deepEqual((await drain(one)).lines, numbered(0, 20));
    renameSync(path, join(directory, "system@0001-0000000000000001-0001.journal"));
    one.lookAgain();
    const read = await drain(one);
    assert.deepEqual([read.lines, read.gaps], [[], []]);
    one.lookAgain();
    assert.deepEqual((await drain(one)).lines, []);
    await one.close();
  });

  for (const [when, hidden] of [
    ["after the directory was listed", "listed"],
    ["between a look at a file and its opening", "looked at"],
  ] as const) {
    it(`is not taken for set back when journald rotates ${when}`, async () => {
      const directory = temporaryDirectory(after);
      const path = writeJournal(directory, "system", toExport(many(0, 20)));
      const { position } = await readOnce(directory);
      const next = writeJournal(temporaryDirectory(after), "system", toExport([]), USUAL_SHAPE);
      let isRotated = false;
      const rotate = () => {
        if (isRotated) return;
        isRotated = true;
        renameSync(path, join(directory, "system@0001-0000000000000001-0001.journal"));
        copyFileSync(next, path);
      };
      class Rotating extends RootFs {
        override async stat(at: string) {
          const meta = await super.stat(at);
          if (hidden === "looked at") rotate();
          return meta;
        }
      }
      const one = new JournalFollower({
        fs: new Rotating("/"),
        find: async () => {
          const found = await filesOfDirectory(fs, directory);
          if (hidden === "listed") rotate();
          return found;
        },
        unit: UNIT,
        after: position?.kind === "journal" ? position : null,
        since: 0,
        monotonic: new VirtualClock().monotonic,
      });
      const read = await drain(one);
      assert.deepEqual([read.lines, read.gaps], [[], []]);
      assert.deepEqual(read.position, position);
      await one.close();
    });
  }

  it("says what is wrong with files that are no journals, once", async () => {
    const directory = temporaryDirectory(after);
    writeJournal(directory, "system", toExport(many(0, 5)));
    writeFileSync(join(directory, "broken.journal"), "no journal at all");
    const one = follower(directory, null);
    const first = await drain(one);
    assert.deepEqual(first.lines, numbered(0, 5));
    assert.equal(first.gaps.length, 1);
    one.lookAgain();
    assert.deepEqual((await drain(one)).gaps, []);
    await one.close();
  });

  it("survives any damage: no line is made up, none is given twice, and what is lost is said", async () => {
    const directory = temporaryDirectory(after);
    const path = writeJournal(directory, "system", toExport(many(0, 300)));
    const sound = readFileSync(path);
    const used = 64 * 1024 + Math.floor(sound.length / 400);
    const damage = fc.array(fc.tuple(fc.nat(used), fc.nat(255)), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(damage, async (changes) => {
        const bytes = Buffer.from(sound);
        for (const [at, value] of changes) bytes[Math.min(at * 4, bytes.length - 1)] = value;
        writeFileSync(path, bytes);
        const { entries, gaps } = await readOnce(directory);
        const numbers = entries.map(firstWords);
        assert.equal(new Set(entries.map(({ locator }) => locator)).size, numbers.length);
        assert.ok(
          entries.length === 300 || gaps.length > 0 || bytes.equals(sound),
          `${entries.length} lines and no gap`,
        );
      }),
      { numRuns: 100 },
    );
  });

  it("a journal that is not there is a problem, and is followed when it comes", async () => {
    const directory = join(temporaryDirectory(after), "journal");
    const one = follower(directory, null);
    const { problem } = await one.poll();
    assert.ok(problem !== null);
    writeJournal(directory, "system", toExport(many(0, 5)));
    one.lookAgain();
    assert.deepEqual((await drain(one)).lines, numbered(0, 5));
    await one.close();
  });
});
