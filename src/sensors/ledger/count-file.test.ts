import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { countAt } from "../../../test/fixtures/count.ts";
import { temporaryDirectory } from "../../../test/fixtures/journal-files.ts";
import type { Ledger } from "../../facts/ledger.ts";
import { LogFileReader } from "../log-file.ts";
import { RootFs } from "../root-fs.ts";
import { LogLedger } from "./log-ledger.ts";

const options = (since: number | null = null, until: number | null = null) => ({
  unit: "ollama.service",
  since,
  until,
  signal: new AbortController().signal,
});

const invoked = (bytes: number, pid = 1203) =>
  `[cuda-transport] cuda_transport_call() INVOKED: call_id=0x0050 data_len=${bytes} tp=0x5594ede26bc0 bar0=0x7f39b5123000 (pid=${pid})`;

const LINES = [
  invoked(88),
  invoked(90, 1777),
  "[cuda-transport] SENDING to VGPU-STUB: call_id=0x0050 seq=1 args=2 data_len=88 (pid=1777)",
  "[libvgpu-cuda] cuMemAlloc_v2() CALLED (size=1048576, pid=1888)",
  "[cuda-transport] STATUS_ERROR: call=cuInit(0x0001) seq=1 err=0x00000003(MEDIATOR_UNAVAIL) vm_id=1",
  "[cuda-transport] STATUS_ERROR host-cuda: call=cuMemAlloc_v2(0x0030) seq=4 host_status=0x00000002",
  "[cuda-transport] Timeout on call 0x0033 (seq=9) after 120s",
  `[cuda-transport] RECEIVED from V${invoked(3)}`,
  "time=2026-01-01T10:00:00.123Z level=INFO source=server.go:1 msg=started",
  '[GIN] 2026/01/01 - 10:20:00 | 200 | 5ms | POST "/api/generate"',
  `Jan 01 10:00:00 guest ollama[1203]: ${invoked(7)}`,
  "Jan 01 10:00:01 guest ollama[1203]: [cuda-transport] Timeout on call 0x0033 (seq=9) after 120s",
  `Jan 01 10:00:00 guest systemd[1]: ${invoked(7)}`,
  "",
  "plain\r",
];

async function lineByLine(path: string, bounds = options()): Promise<Ledger> {
  const ledger = new LogLedger({ everyLine: true });
  const reader = new LogFileReader(path, new RootFs("/"));
  return ledger.ledger([await reader.read((entry) => ledger.add(entry), { ...bounds, afterCursor: null })]);
}

const sorted = (ledger: Ledger): Ledger => ({
  ...ledger,
  calls: ledger.calls.toSorted((one, other) => one.pid - other.pid || one.callId - other.callId),
  processes: ledger.processes.toSorted((one, other) => one.pid - other.pid),
});

describe("the bulk ledger of a file", () => {
  const directory = temporaryDirectory(after);
  const path = join(directory, "sink.log");

  async function assertSame(content: string | Buffer, bounds = options()): Promise<Ledger> {
    writeFileSync(path, content);
    const ours = await countAt(new RootFs("/"), path, bounds);
    assert.deepEqual(sorted(ours), sorted(await lineByLine(path, bounds)));
    return ours;
  }

  it("is the ledger of every line, whatever the lines", async () => {
    const line = fc.constantFrom(...LINES);
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 40 }), fc.boolean(), async (lines, ended) => {
        await assertSame(lines.join("\n") + (ended ? "\n" : ""));
      }),
      { numRuns: 300 },
    );
  });

  it("puts lines together that lie in two windows", async () => {
    const some = Array.from({ length: 60_000 }, (_, index) => LINES[(index * 7) % LINES.length] ?? "");
    const { calls } = await assertSame(some.join("\n"));
    assert.ok(calls.reduce((sum, { count }) => sum + count, 0) > 10_000);
  });

  it("finds the process of a line that was named far before it", async () => {
    const far = [LINES[3], ...Array.from({ length: 60_000 }, () => "[GIN] something else in between"), LINES[6]];
    const { calls } = await assertSame(far.join("\n"));
    assert.deepEqual(
      calls.map(({ pid, callId }) => [pid, callId]),
      [[1888, 0x33]],
    );
  });

  it("says what is missing: holes, lines that are cut, an empty file, none", async () => {
    assert.equal(
      (await assertSame(Buffer.concat([Buffer.alloc(5000), Buffer.from(`${invoked(1)}\n`)]))).coverage,
      "partial",
    );
    assert.equal((await assertSame(`${invoked(1)}\n${"x".repeat(200_000)}\n${invoked(1)}\n`)).coverage, "partial");
    assert.equal((await assertSame(`${"x".repeat(3_000_000)}\n${invoked(1)}\n`)).coverage, "partial");
    assert.equal((await assertSame("")).coverage, "none");
    const absent = await countAt(new RootFs("/"), join(directory, "absent"), options());
    assert.equal(absent.coverage, "none");
    assert.match(absent.gaps.join(), /does not exist/);
  });

  it("applies a window of time", async () => {
    await assertSame(LINES.join("\n"), options(Date.parse("2026-01-01T10:10:00Z")));
    await assertSame(LINES.join("\n"), options(null, Date.parse("2026-01-01T10:10:00Z")));
  });
});
