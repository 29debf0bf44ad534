import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Ledger } from "../src/facts/ledger.ts";
import { callsReportSchema } from "../src/report/calls.ts";
import { journalOfDirectory } from "../src/sensors/journal/directory.ts";
import { LogLedger } from "../src/sensors/ledger/log-ledger.ts";
import type { RateLimit } from "../src/sensors/ledger/rate-cap.ts";
import { readRateLimit } from "../src/sensors/ledger/rate-limit.ts";
import { RootFs } from "../src/sensors/root-fs.ts";
import { type Container, startContainer } from "./bench/container.ts";
import { run } from "./bench/process.ts";
import { ensureContainer } from "./bench/setup.ts";
import { countAt } from "./fixtures/count.ts";

/** Counting in the journal of a real journald, while it works. */

const skip = (await ensureContainer()) ?? false;
const PROGRAM = join(import.meta.dirname, "..", "bin", "vgpu-agent.js");
const LINE = "[cuda-transport] cuda_transport_call() INVOKED: call_id=0x0050 data_len=88 tp=0x1 bar0=0x2 (pid=1203)";
const UNIT = "ollama.service";
const options = { unit: UNIT, since: null, until: null, signal: new AbortController().signal };

/** A unit that prints the line so many times and stays. */
function burst(lines: number, ...settings: readonly string[]): string {
  return [
    "[Service]",
    ...settings,
    `ExecStart=/bin/sh -c "yes '${LINE}' 2>/dev/null | head -n ${lines}; exec sleep 600"`,
    "",
  ].join("\n");
}

/** In a unit, 0 means the default limit; this is how to have none. */
const UNLIMITED = "LogRateLimitIntervalSec=1us";

async function directoryOf(box: Container): Promise<string> {
  return join(box.journalDir, (await box.exec("cat /etc/machine-id")).stdout.trim());
}

async function storedIn(box: Container): Promise<number> {
  const said = await box.exec(`journalctl --sync; journalctl -u ollama _TRANSPORT=stdout -o cat | grep -c INVOKED`);
  return Number(said.stdout);
}

/** Waits until journald stores no more lines of the burst. */
async function settled(box: Container): Promise<number> {
  await box.until("pgrep -x sleep >/dev/null && ! pgrep -x yes >/dev/null");
  let stored = await storedIn(box);
  for (let last = -1; stored !== last; stored = await storedIn(box)) last = stored;
  return stored;
}

const total = ({ calls }: Ledger) => calls.reduce((sum, { count }) => sum + count, 0);
const bulk = (directory: string) => countAt(new RootFs("/"), directory, { ...options, rateLimit: null });

async function everyEntry(directory: string, rateLimit: RateLimit | null): Promise<Ledger> {
  const ledger = new LogLedger({ rateLimit, everyLine: true });
  const reader = journalOfDirectory(new RootFs("/"), directory);
  return ledger.ledger(
    [await reader.read((entry) => ledger.add(entry), { ...options, afterCursor: null })],
    Date.now() + 60_000,
  );
}

describe("a journal that its journald limits", { skip }, () => {
  let box: Container;
  before(async () => {
    const other = "[Service]\nExecStart=/bin/echo another unit\n";
    box = await startContainer({ devices: [], units: { [UNIT]: burst(100_000), "other.service": other } });
  });
  after(() => box[Symbol.asyncDispose]());

  it("shows a burst of 100,000 lines as possibly cut while no record tells, and as cut when one does", async () => {
    await box.exec("systemctl start ollama");
    const stored = await settled(box);
    assert.ok(stored < 100_000, `${stored}: the limit was not met`);
    const directory = await directoryOf(box);
    const limit = await readRateLimit(new RootFs(box.rootDir), UNIT);
    assert.deepEqual(limit, { intervalMs: 30_000, burst: 10_000 });
    const silent = await everyEntry(directory, limit);
    assert.deepEqual([total(silent), silent.dropped, silent.coverage], [stored, 0, "partial"]);
    assert.deepEqual(silent.possibleDrops, { intervals: 1, intervalMs: 30_000, lines: stored, exact: true });
    const first = await run(process.execPath, [PROGRAM, "calls", "--journal", directory, "--json"]);
    const report = callsReportSchema.parse(JSON.parse(first.stdout));
    assert.deepEqual(
      [report.total, report.coverage, report.possible_drops?.lines, report.possible_drops?.exact, first.exitCode],
      [stored, "partial", stored, true, 4],
    );

    // A limit with a short interval: the next line begins a new one, and journald says what it dropped before.
    await box.exec(
      `mkdir -p /run/systemd/system/ollama.service.d; printf '[Service]\\n${UNLIMITED}\\n' >/run/systemd/system/ollama.service.d/x.conf; systemctl daemon-reload; systemctl restart ollama`,
    );
    await settled(box);
    const lifted = await readRateLimit(new RootFs(box.rootDir), UNIT);
    assert.equal(lifted?.intervalMs, 0.001);
    const told = await everyEntry(directory, lifted);
    assert.equal(total(told), stored + 100_000);
    assert.ok(told.dropped >= 100_000 - stored);
    assert.equal(told.possibleDrops, null);
    const shown = await run(process.execPath, [PROGRAM, "calls", "--journal", directory]);
    assert.equal(shown.exitCode, 4);
    assert.match(shown.stdout.replaceAll(/\s+/g, " "), /counted [\d,]+ calls \+ [\d,]+ lines dropped by journald/);
    const json = callsReportSchema.parse(
      JSON.parse((await run(process.execPath, [PROGRAM, "calls", "--journal", directory, "--json"])).stdout),
    );
    assert.deepEqual([json.total, json.dropped], [stored + 100_000, told.dropped]);
  });
});

describe("a unit's LogRateLimitIntervalSec=0", { skip }, () => {
  it("does not lift the limit: it means the default, as we take it", async () => {
    await using box = await startContainer({
      devices: [],
      units: { [UNIT]: burst(100_000, "LogRateLimitIntervalSec=0") },
    });
    await box.exec("systemctl start ollama");
    assert.ok((await settled(box)) < 100_000);
    assert.deepEqual(await readRateLimit(new RootFs(box.rootDir), UNIT), { intervalMs: 30_000, burst: 10_000 });
  });
});

describe("a journal that is written to, rotated and vacuumed while calls are counted", { skip }, () => {
  const LINES = 250_000;
  let box: Container;
  let directory = "";
  before(async () => {
    box = await startContainer({ devices: [], units: { [UNIT]: burst(LINES, UNLIMITED) } });
    directory = await directoryOf(box);
  });
  after(() => box[Symbol.asyncDispose]());

  it("never counts less than before without a word, and everything in the end", async () => {
    await box.exec("systemctl start ollama");
    let writing = true;
    const rotations = box
      .exec("for i in $(seq 12); do journalctl --rotate; sleep 0.3; done", { timeoutMs: 60_000 })
      .then(() => settled(box))
      .finally(() => {
        writing = false;
      });
    const seen: number[] = [];
    while (writing) {
      const ledger = await bulk(directory);
      const count = total(ledger);
      assert.ok(count <= LINES, `${count} counted of ${LINES}`);
      if (ledger.coverage === "full") {
        assert.ok(count >= (seen.at(-1) ?? 0), `${count} after ${seen.at(-1)}`);
        seen.push(count);
      } else assert.ok(ledger.gaps.length > 0);
    }
    await rotations;
    assert.ok(seen.length > 0, "not one count of a journal at work was full");
    const last = await bulk(directory);
    assert.deepEqual([total(last), last.coverage], [LINES, "full"]);
    assert.ok(readdirSync(directory).length > 5, "the journal was not rotated");
  });

  it("says so when files are removed under it, or has what was there before or after", async () => {
    let stored = await storedIn(box);
    for (const megabytes of [40, 30, 20, 16, 8]) {
      const vacuum = box.exec(`journalctl --vacuum-size=${megabytes}M`);
      const during: Ledger[] = [];
      let running = true;
      vacuum.finally(() => {
        running = false;
      });
      do during.push(await bulk(directory));
      while (running);
      await vacuum;
      const left = await storedIn(box);
      for (const ledger of during) {
        const count = total(ledger);
        assert.ok(count >= left && count <= stored, `${count} counted, ${stored} before, ${left} after`);
        assert.ok(ledger.coverage !== "partial" || ledger.gaps.length > 0);
      }
      assert.equal(total(await bulk(directory)), left);
      stored = left;
    }
    assert.ok(stored < LINES, "nothing was vacuumed");
  });
});

describe("a journal with small messages compressed", { skip }, () => {
  it("is counted exactly", async () => {
    const lines = Array.from({ length: 40 }, (_, index) => `${LINE.replace("88", String(index))} ${"pad ".repeat(30)}`);
    await using box = await startContainer({
      devices: [],
      files: {
        "/etc/systemd/journald.conf.d/small.conf": "[Journal]\nCompress=64\n",
        "/lines": `${lines.join("\n")}\n`,
      },
      units: { [UNIT]: `[Service]\nType=oneshot\nExecStart=/bin/sh -c "cat /lines /lines /lines"\n` },
    });
    await box.exec("systemctl start ollama");
    assert.equal(await storedIn(box), 120);
    const ledger = await bulk(await directoryOf(box));
    assert.deepEqual([total(ledger), ledger.coverage], [120, "full"]);
    assert.equal(ledger.calls[0]?.bytesToHost, 3 * 780);
  });
});
