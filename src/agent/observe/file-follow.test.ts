import assert from "node:assert/strict";
import {
  appendFileSync,
  copyFileSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { temporaryDirectory } from "../../../test/fixtures/journal-files.ts";
import { VirtualClock } from "../../../test/fixtures/virtual-clock.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { FileFollower } from "./file-follow.ts";
import { type LogPosition, logPositionSchema } from "./log-position.ts";

class Log {
  readonly path = join(temporaryDirectory(after), "ollama-stderr.log");
  readonly clock = new VirtualClock();
  position: LogPosition | null = null;
  gaps: string[] = [];
  #follower = this.#open();

  constructor() {
    after(() => this.#follower.close());
  }

  #open(): FileFollower {
    const after = this.position?.kind === "file" ? this.position : null;
    return new FileFollower({ fs: new RootFs("/"), path: this.path, after, monotonic: this.clock.monotonic });
  }

  async read(): Promise<string[]> {
    const lines: string[] = [];
    for (;;) {
      const { items, position, more } = await this.#follower.poll();
      for (const item of items) {
        if (item.kind === "gap") this.gaps.push(item.text);
        else lines.push(item.entry.message.toString("latin1"));
      }
      this.position = position ?? this.position;
      if (!more) return lines;
    }
  }

  /** A new agent goes on from the position that was kept. */
  async restart(from: LogPosition | null = this.position): Promise<void> {
    await this.#follower.close();
    this.position = from === null ? null : logPositionSchema.parse(JSON.parse(JSON.stringify(from)));
    this.#follower = this.#open();
  }
}

test("new lines are given once, and one that is not finished is waited for", async () => {
  const log = new Log();
  assert.deepEqual(await log.read(), []);
  writeFileSync(log.path, "one\ntwo\nthr");
  assert.deepEqual(await log.read(), ["one", "two"]);
  appendFileSync(log.path, "ee\r\n\nfour\n");
  assert.deepEqual(await log.read(), ["three", "", "four"]);
  assert.deepEqual(await log.read(), []);
  assert.deepEqual(log.gaps, []);
});

test("after a restart reading goes on behind the last line", async () => {
  const log = new Log();
  writeFileSync(log.path, "one\ntwo\nthr");
  await log.read();
  await log.restart();
  appendFileSync(log.path, "ee\nfour\n");
  assert.deepEqual(await log.read(), ["three", "four"]);
  assert.deepEqual(log.gaps, []);
});

test("each line's own position is behind it", async () => {
  const log = new Log();
  writeFileSync(log.path, "one\ntwo\nthree\n");
  const follower = new FileFollower({
    fs: new RootFs("/"),
    path: log.path,
    after: null,
    monotonic: log.clock.monotonic,
  });
  const { items } = await follower.poll();
  await follower.close();
  for (const [index, rest] of [["two", "three"], ["three"], []].entries()) {
    const item = items[index];
    assert.ok(item?.kind === "line");
    await log.restart(item.position());
    assert.deepEqual(await log.read(), rest);
  }
  assert.deepEqual(log.gaps, []);
});

test("a file that was moved away is read to its end, also when it is still written to, and over a restart", async () => {
  const log = new Log();
  const service = openSync(log.path, "a");
  writeSync(service, "one\n");
  assert.deepEqual(await log.read(), ["one"]);
  renameSync(log.path, `${log.path}.1`);
  writeSync(service, "two\n");
  assert.deepEqual(await log.read(), ["two"]);
  writeFileSync(log.path, "three\n");
  writeSync(service, "also two\n");
  assert.deepEqual(await log.read(), ["also two", "three"]);
  await log.restart();
  writeSync(service, "still two\n");
  appendFileSync(log.path, "four\n");
  assert.deepEqual(await log.read(), ["still two", "four"]);
  assert.deepEqual(log.gaps, []);
});

test("copytruncate: what was not read before the truncation is lost, and said; the rest goes on", async () => {
  const log = new Log();
  const service = openSync(log.path, "a");
  writeSync(service, "one\ntwo\n");
  await log.read();
  copyFileSync(log.path, `${log.path}.1`);
  ftruncateSync(service, 0);
  writeSync(service, "three\n");
  assert.deepEqual(await log.read(), ["three"]);
  assert.equal(log.gaps.length, 1);
  assert.match(log.gaps[0] ?? "", /was truncated at byte 8 or before/);
});

test("a file that was truncated and has grown past the old place is not taken for the same", async () => {
  const log = new Log();
  writeFileSync(log.path, "one\ntwo\n");
  await log.read();
  truncateSync(log.path, 0);
  appendFileSync(log.path, "another beginning that is longer\nthan the old\n");
  assert.deepEqual(await log.read(), ["another beginning that is longer", "than the old"]);
  assert.equal(log.gaps.length, 1);
  await log.restart();
  truncateSync(log.path, 0);
  appendFileSync(log.path, "yet another beginning that is longer still\nthan the old\n");
  assert.deepEqual(await log.read(), ["yet another beginning that is longer still", "than the old"]);
  assert.equal(log.gaps.length, 2);
});

test("a hole that a truncation under a writer leaves is passed over and said", async () => {
  const log = new Log();
  const service = openSync(log.path, "w");
  writeSync(service, "one\n");
  await log.read();
  truncateSync(log.path, 0);
  writeSync(service, "two\n");
  assert.deepEqual(await log.read(), ["two"]);
  assert.match(log.gaps.join("; "), /truncated.*NUL bytes/);
});

test("a file that was replaced while the agent was away is said to be gone", async () => {
  const log = new Log();
  writeFileSync(log.path, "one\n");
  await log.read();
  await log.restart();
  writeFileSync(`${log.path}.new`, "two\n");
  rmSync(log.path);
  renameSync(`${log.path}.new`, log.path);
  assert.deepEqual(await log.read(), ["two"]);
  assert.equal(log.gaps.length, 1);
});

test("a line without an end is cut, its rest passed over, also by a reader that comes later", async () => {
  const log = new Log();
  writeFileSync(log.path, `short\n${"x".repeat(700_000)}`);
  const first = await log.read();
  assert.deepEqual(
    first.map(({ length }) => length),
    [5, 65_536],
  );
  await log.restart();
  appendFileSync(log.path, `${"y".repeat(100_000)}\nnext\n`);
  assert.deepEqual(await log.read(), ["next"]);
  assert.equal(log.gaps.filter((gap) => gap.includes("longer than")).length, 1);
});

test("a file that vanishes is waited for", async () => {
  const log = new Log();
  writeFileSync(log.path, "one\n");
  await log.read();
  rmSync(log.path);
  assert.deepEqual(await log.read(), []);
  writeFileSync(log.path, "two\n");
  assert.deepEqual(await log.read(), ["two"]);
  log.clock.now += 3600_000;
  assert.deepEqual(await log.read(), []);
  assert.equal(log.position?.kind === "file" ? log.position.sources.length : 0, 1, "the old file is let go");
});

test("whatever is appended in whatever pieces, with restarts between, each line comes once and in order", async () => {
  const piece = fc.oneof(fc.string({ maxLength: 30 }), fc.constant("\n"), fc.constant("line\nline\n"));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(piece, fc.boolean()), { maxLength: 30 }), async (pieces) => {
      const log = new Log();
      writeFileSync(log.path, "");
      const lines: string[] = [];
      let text = "";
      for (const [one, restarts] of pieces) {
        const clean = one.replaceAll(/[^\n\x20-\x7e]/g, "?");
        text += clean;
        appendFileSync(log.path, clean);
        lines.push(...(await log.read()));
        if (restarts) await log.restart();
      }
      assert.deepEqual(lines, text.split("\n").slice(0, -1));
      assert.deepEqual(log.gaps, []);
      await log.restart();
    }),
    { numRuns: 60 },
  );
});
