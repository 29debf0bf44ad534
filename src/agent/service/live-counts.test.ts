import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { makeGroup } from "../../../test/support/control-group.ts";
import { temporaryDirectory } from "../../../test/support/real-process.ts";
import { NO_UPROBES } from "../../../test/support/tracing.ts";
import { compileCaller, compileTransport, startCaller } from "../../../test/support/transport-target.ts";
import type { TraceFacts } from "../../facts/ledger.ts";
import { RootFs } from "../../sensors/root-fs.ts";
import { LiveCounts } from "./live-counts.ts";

const UNIT = `vgpu-agent-counts-${process.pid}.service`;
const group = makeGroup(UNIT);
/** Six ids each: more rows than a table may have. */
const LIVES = 90;
const MOST_ROWS = 500;
const ROUND_MS = 500;
const MOST_ROUNDS = 60;

const countOf = (trace: TraceFacts | null): number =>
  trace?.ledger.calls.reduce((sum, { count }) => sum + count, 0) ?? 0;

describe("the kernel's counts over a long life", { skip: NO_UPROBES || group.skip }, () => {
  const directory = temporaryDirectory();

  it("begin a new table in silence when many processes have come and gone, and lose no call by it", async () => {
    const program = compileCaller(directory);
    const shim = compileTransport(directory, "libcuda.so.1");
    const server = await startCaller(program, [shim]);
    group.enter(server.pid);
    const live = await LiveCounts.start({ fs: new RootFs("/"), unit: UNIT, now: Date.now });
    try {
      const runs = `echo $$ > ${group.directory}/cgroup.procs; for n in $(seq ${LIVES}); do echo 'run 60 1 0' | { sleep 0.01; ${program} ${shim}; }; done`;
      execFileSync("sh", ["-c", runs]);
      const first = live.rest();
      assert.equal(countOf(first), LIVES * 60);
      assert.ok((first?.ledger.calls.length ?? 0) > MOST_ROWS);
      // The new table is made beside the old one, and takes its place when nothing was called meanwhile.
      let [called, counted, to, kept] = [0, 0, first?.ledger.to ?? 0, LIVES];
      for (let round = 0; kept >= LIVES; round += 1) {
        assert.ok(round < MOST_ROUNDS, "it is never renewed");
        assert.equal(live.tick(false), null);
        await sleep(ROUND_MS);
        await server.run(60);
        called += 60;
        const trace = live.rest() ?? assert.fail("the calls of a round are missing");
        counted += countOf(trace);
        assert.deepEqual([trace.ledger.coverage, trace.ledger.gaps], ["full", []]);
        assert.ok((trace.ledger.from ?? 0) >= to, "no call is in two windows");
        [to, kept] = [trace.ledger.to ?? 0, trace.ledger.processes.length];
      }
      assert.equal(counted, called);
    } finally {
      await live.stop();
      await server.stop();
    }
  });
});
