import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { type CallsReport, callsReportSchema } from "../src/report/calls.ts";
import { run } from "./bench/process.ts";
import { NOT_ROOT, vgpuAgentAsNobody } from "./support/as-nobody.ts";
import { start, temporaryDirectory } from "./support/real-process.ts";
import { NO_UPROBES } from "./support/tracing.ts";
import { compileCaller, compileTransport, startCaller, type Truth } from "./support/transport-target.ts";

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

describe("whose calls vgpu-agent calls --follow counts", { skip: NO_UPROBES }, () => {
  const directory = temporaryDirectory();
  const program = NO_UPROBES === false ? compileCaller(directory) : "";
  const sum = (truth: ReadonlyMap<number, Truth>) => [...truth.values()].reduce((total, { count }) => total + count, 0);

  /** Counts with these arguments while `act` runs; the last report. */
  async function follow(args: readonly string[], act: () => Promise<void>): Promise<CallsReport> {
    const child = spawn(process.execPath, [PROGRAM, "calls", "--follow", "--json", ...args]);
    let last: CallsReport | undefined;
    let acted = false;
    for await (const line of createInterface({ input: child.stdout })) {
      last = callsReportSchema.parse(JSON.parse(line));
      if (acted) continue;
      acted = true;
      await act();
      child.kill("SIGINT");
    }
    return last ?? assert.fail("nothing was printed");
  }

  it("with --pid: the process's and its descendants', also of those that start meanwhile, and nobody else's", async () => {
    const library = compileTransport(directory, "libcuda.so.1");
    const other = await startCaller(program, [library]);
    const child = await startCaller("/bin/sh", ["-c", `"${program}" "${library}"; true`]);
    const script = `echo ready; read -r go; "${program}" "${library}"; true`;
    const later = await startLater("/bin/sh", ["-c", script]);
    try {
      const ofChild = await follow(["--pid", String(child.pid)], async () => {
        await other.run(700);
        await child.run(500);
      });
      assert.equal(ofChild.total, sum(await child.truth()));
      assert.deepEqual([ofChild.pid, ofChild.of_others, ofChild.coverage], [child.pid, 0, "full"]);
      assert.deepEqual(
        ofChild.processes.map(({ calls, asked_for }) => [calls, asked_for]),
        [[500, true]],
      );
      const ofLater = await follow(["--pid", String(later.pid)], async () => {
        await later.say("go", "ready");
        await other.run(300);
        await later.say("run 900 1 0", "ran");
      });
      assert.equal(ofLater.total, 900);
    } finally {
      await child.stop();
      await later.stop();
      await other.stop();
    }
  });

  it("with a unit: everybody's, each with whose it is", async () => {
    const library = compileTransport(directory, "libcuda2.so.1");
    const caller = await startCaller(program, [library]);
    try {
      const report = await follow(["--unit", "vgpu-agent-no-such.service"], async () => {
        await caller.run(400);
      });
      const mine = report.processes.find(({ pid }) => pid === caller.pid);
      assert.deepEqual([mine?.calls, mine?.asked_for, mine?.comm], [400, false, "caller"]);
      assert.ok((report.of_others ?? 0) >= 400);
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

/** Starts a program that waits to be told to go on. */
async function startLater(program: string, args: readonly string[]) {
  const running = await start(program, args);
  const { stdin, stdout } = running.child;
  if (stdin === null || stdout === null) throw new Error("the program has no pipes");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  return {
    ...running,
    say: async (line: string, answer: string) => {
      stdin.write(`${line}\n`);
      const said = await lines.next();
      assert.ok(said.done !== true && said.value.startsWith(answer), `${line}: ${said.value}`);
    },
  };
}

function byId(a: readonly unknown[], b: readonly unknown[]): number {
  return Number(a[0]) - Number(b[0]);
}
