import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { type CallsReport, callsReportSchema } from "../src/report/calls.ts";
import { run } from "./bench/process.ts";
import { NOT_ROOT, vgpuAgentAsNobody } from "./support/as-nobody.ts";
import { temporaryDirectory } from "./support/real-process.ts";
import { NO_UPROBES } from "./support/tracing.ts";
import { compileCaller, compileTransport, startCaller } from "./support/transport-target.ts";

const PROGRAM = join(import.meta.dirname, "..", "bin", "vgpu-agent.js");
const CALLS = 5000;
const THREADS = 2;

describe("vgpu-agent calls --follow", { skip: NO_UPROBES }, () => {
  const directory = temporaryDirectory();

  it("counts a running process's calls exactly, in lines of JSON, and ends with Ctrl-C", async () => {
    const caller = await startCaller(compileCaller(directory), [compileTransport(directory, "libcuda.so.1")]);
    try {
      const child = spawn(process.execPath, [
        PROGRAM,
        "calls",
        "--follow",
        "--json",
        "--pid",
        String(caller.child.pid),
      ]);
      const exited = once(child, "exit");
      const reports: CallsReport[] = [];
      let ran = false;
      for await (const line of createInterface({ input: child.stdout })) {
        reports.push(callsReportSchema.parse(JSON.parse(line)));
        // The first line says that the probes are in place.
        if (!ran) {
          ran = true;
          await caller.run(CALLS, THREADS);
          child.kill("SIGINT");
        }
      }
      assert.deepEqual(await exited, [0, null]);
      const last = reports.at(-1);
      const truth = [...(await caller.truth())].map(([id, { count, results, bytesToHost, bytesBack }]) => [
        id,
        count,
        results,
        bytesToHost,
        bytesBack,
      ]);
      const counted = last?.calls.map((row) => [
        Number(row.call_id),
        row.count,
        row.results,
        row.bytes_to_host,
        row.bytes_back,
      ]);
      assert.deepEqual(counted?.sort(byId), truth.sort(byId));
      assert.equal(last?.total, CALLS * THREADS);
      assert.equal(last?.coverage, "full");
      assert.ok(last?.calls.every(({ p50_us, p99_us }) => p50_us !== null && p99_us !== null && p50_us <= p99_us));
    } finally {
      await caller.stop();
    }
  });
});

describe("vgpu-agent calls --live", () => {
  it("says why it cannot count, and what counts instead, exit 1", { skip: NOT_ROOT }, async () => {
    const result = await vgpuAgentAsNobody(["calls", "--live", "1"]);
    assert.equal(result.exitCode, 1);
    assert.match(result.stderr, /^vgpu-agent: calls cannot be counted live here\. .*not permitted.*\n$/);
    assert.equal(result.stdout, "");
  });

  it("refuses spans that cannot be meant, exit 2", async () => {
    for (const seconds of ["0", "-1", "x", "1e9"]) {
      assert.equal((await run(process.execPath, [PROGRAM, "calls", "--live", seconds])).exitCode, 2, seconds);
    }
  });
});

function byId(a: readonly unknown[], b: readonly unknown[]): number {
  return Number(a[0]) - Number(b[0]);
}
