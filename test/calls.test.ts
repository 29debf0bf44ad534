import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { callsReportSchema } from "../src/report/calls.ts";
import { run } from "./bench/process.ts";
import { writeJournal } from "./bench/tree.ts";

const PROGRAM = join(import.meta.dirname, "..", "bin", "vgpu-agent.js");
const invoked = (callId: string, bytes: number) =>
  `[cuda-transport] cuda_transport_call() INVOKED: call_id=${callId} data_len=${bytes} tp=0x1 bar0=0x2 (pid=1203)`;

describe("vgpu-agent calls", () => {
  let dir = "";
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "vgpu-calls-"));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const calls = (args: readonly string[]) => run(process.execPath, [PROGRAM, "calls", ...args]);

  it("counts a journal's calls, exit 0", async () => {
    const journal = await writeJournal(dir, [
      { message: invoked("0x0050", 88) },
      { message: invoked("0x0050", 88) },
      { message: invoked("0x003c", 65536) },
    ]);
    const result = await calls(["--journal", journal, "--json"]);
    assert.equal(result.exitCode, 0, result.stderr);
    const report = callsReportSchema.parse(JSON.parse(result.stdout));
    assert.deepEqual(
      report.calls.map(({ call_id, count, bytes_to_host }) => [call_id, count, bytes_to_host]),
      [
        ["0x0050", 2, 176],
        ["0x003c", 1, 65536],
      ],
    );
    assert.equal(report.coverage, "full");
  });

  it("counts a plain file as it counts a journal", async () => {
    const file = join(dir, "stderr.log");
    await writeFile(file, `${invoked("0x0050", 88)}\n${invoked("0x0050", 1)}\n`);
    const report = callsReportSchema.parse(JSON.parse((await calls(["--log", file, "--json"])).stdout));
    assert.deepEqual([report.source, report.total, report.calls[0]?.bytes_to_host], ["file", 2, 89]);
  });

  it("says that a log without debugging counts no call, exit 1", async () => {
    const file = join(dir, "quiet.log");
    await writeFile(file, "[cuda-transport] Connected (vm_id=11) data_path=BAR1 status_from=BAR1-status-mirror\n");
    const result = await calls(["--log", file]);
    assert.equal(result.exitCode, 1);
    assert.match(result.stdout, /0 calls .* coverage none/);
    assert.match(result.stdout, /VGPU_DEBUG/);
  });

  it("says what is missing of a log that is not there, exit 1", async () => {
    const result = await calls(["--log", join(dir, "missing.log")]);
    assert.equal(result.exitCode, 1);
    assert.match(result.stdout, /missing\.log/);
  });
});
