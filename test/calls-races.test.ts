import assert from "node:assert/strict";
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { Ledger } from "../src/facts/ledger.ts";
import { countCalls } from "../src/sensors/ledger/count-calls.ts";
import { LogFileReader } from "../src/sensors/log-file.ts";
import { RootFs } from "../src/sensors/root-fs.ts";
import { countAt } from "./fixtures/count.ts";
import {
  type EntrySpec,
  temporaryDirectory,
  toExport,
  withoutJournalRemote,
  writeJournal,
} from "./fixtures/journal-files.ts";

/** Files that change under the count: at a known moment, between their being opened and read, and at any moment. */

const LINE = "[cuda-transport] cuda_transport_call() INVOKED: call_id=0x0050 data_len=88 tp=0x1 bar0=0x2 (pid=1203)";
const options = { unit: "ollama.service", since: null, until: null, signal: new AbortController().signal };

/** Does something to a file as soon as it was opened. */
class Meddler extends RootFs {
  readonly #path: string;
  readonly #meddle: () => void;
  #left = 1;

  constructor(path: string, meddle: () => void) {
    super("/");
    this.#path = path;
    this.#meddle = meddle;
  }

  override async open(path: string, noFollow = false): Promise<FileHandle> {
    const handle = await super.open(path, noFollow);
    if (path === this.#path && this.#left-- > 0) this.#meddle();
    return handle;
  }
}

const total = ({ calls }: Ledger) => calls.reduce((sum, { count }) => sum + count, 0);

/** The only two honest results: what was there when the count began, or a part of it with words for the rest. */
function assertHonest(ledger: Ledger, truth: number): void {
  const count = total(ledger);
  assert.ok(count <= truth, `${count} counted of ${truth}`);
  if (ledger.coverage === "full") assert.equal(count, truth, "fewer were counted without a word");
  else assert.ok(ledger.gaps.length > 0, "it says that something is missing, and not what");
}

describe("a journal file that changes while it is read", { skip: withoutJournalRemote() }, () => {
  const directory = temporaryDirectory(after);
  const ENTRIES = 6000;
  const specs = Array.from(
    { length: ENTRIES },
    (_, index): EntrySpec => ({
      realtime: 1_767_225_600_000_000 + index,
      monotonic: index + 1,
      bootId: "1".repeat(32),
      fields: [
        ["_SYSTEMD_UNIT", "ollama.service"],
        ["_PID", "1187"],
        ["MESSAGE", index % 2 === 0 ? LINE : `[GIN] request ${index} ${"x".repeat(300)}`],
      ],
    }),
  );
  const original = withoutJournalRemote() === false ? writeJournal(directory, "original", toExport(specs)) : "";
  const CALLS = ENTRIES / 2;

  function fresh(name: string): string {
    const folder = join(directory, name);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    const path = join(folder, "system.journal");
    copyFileSync(original, path);
    return path;
  }

  const size = original === "" ? 0 : statSync(original).size;
  for (const part of [0, 0.01, 0.3, 0.7, 0.98]) {
    it(`is cut to ${part * 100} % of its size after it was opened`, async () => {
      const path = fresh(`cut-${part}`);
      const fs = new Meddler(path, () => truncateSync(path, Math.floor(size * part)));
      assertHonest(await countAt(fs, join(path, ".."), options), CALLS);
    });
  }

  it("is removed, or renamed, after it was opened: what was opened is read", async () => {
    const removed = fresh("removed");
    const without = await countAt(new Meddler(removed, () => unlinkSync(removed)), join(removed, ".."), options);
    assert.deepEqual([total(without), without.coverage], [CALLS, "full"]);
    const renamed = fresh("renamed");
    const archive = () => renameSync(renamed, join(renamed, "..", "system@1-2.journal"));
    assertHonest(await countAt(new Meddler(renamed, archive), join(renamed, ".."), options), CALLS);
  });

  it("is cut or removed at any moment: no crash, and never fewer calls without a word", async () => {
    for (let round = 0; round < 40; round += 1) {
      const path = fresh("any");
      const counting = countAt(new RootFs("/"), join(path, ".."), options);
      await pause((round % 20) * 2);
      if (round < 20) truncateSync(path, Math.floor((size * (round % 7)) / 7));
      else unlinkSync(path);
      assertHonest(await counting, CALLS);
    }
  });

  it("is overwritten with zeroes at any moment", async () => {
    for (let round = 0; round < 20; round += 1) {
      const path = fresh("zeroes");
      const counting = countAt(new RootFs("/"), join(path, ".."), options);
      await pause(round * 2);
      const bytes = readFileSync(path);
      bytes.fill(0, Math.floor(size / 3), Math.floor(size / 2));
      writeFileSync(path, bytes, { flag: "r+" });
      assertHonest(await counting, CALLS);
    }
  });
});

describe("a log file that changes while it is read", () => {
  const directory = temporaryDirectory(after);
  const LINES = 60_000;
  const path = join(directory, "stderr.log");
  const write = () => writeFileSync(path, `${LINE}\n`.repeat(LINES));
  const count = (fs: RootFs) => countCalls([new LogFileReader(path, fs)], options);

  it("is truncated, as copytruncate does, after it was opened", async () => {
    for (const kept of [0, 1, 1000, 3_000_000]) {
      write();
      const ledger = await count(new Meddler(path, () => truncateSync(path, kept)));
      // It was shorter already at the first look at its size. Of a line that is cut the call may be there.
      const left = kept / (LINE.length + 1);
      assert.ok([Math.floor(left), Math.ceil(left)].includes(total(ledger)), `${total(ledger)} of ${left}`);
      if (kept === 0) assert.equal(ledger.coverage, "none");
    }
  });

  it("is replaced by a new one, as logrotate does: what was opened is counted", async () => {
    write();
    const rotate = () => {
      renameSync(path, `${path}.1`);
      writeFileSync(path, `${LINE}\n`.repeat(7));
    };
    const ledger = await count(new Meddler(path, rotate));
    assert.deepEqual([total(ledger), ledger.coverage], [LINES, "full"]);
    assert.equal(total(await count(new RootFs("/"))), 7);
  });

  it("is appended to: what was there is counted, and whole lines of the rest at most", async () => {
    write();
    const ledger = await count(new Meddler(path, () => appendFileSync(path, `${LINE}\n`.repeat(1000))));
    assert.equal(ledger.coverage, "full");
    assert.ok(total(ledger) >= LINES && total(ledger) <= LINES + 1000);
    writeFileSync(path, `${LINE}\n${LINE.slice(0, 60)}`);
    assert.equal(total(await count(new RootFs("/"))), 1);
    appendFileSync(path, `${LINE.slice(60)}\n`);
    assert.equal(total(await count(new RootFs("/"))), 2);
  });

  it("is truncated, replaced or written on at any moment", async () => {
    for (let round = 0; round < 30; round += 1) {
      write();
      const counting = count(new RootFs("/"));
      await pause(round % 10);
      if (round < 10) truncateSync(path, 0);
      else if (round < 20) renameSync(path, `${path}.1`);
      else appendFileSync(path, "[GIN] 200\n".repeat(100));
      assertHonest(await counting, LINES);
    }
  });
});
