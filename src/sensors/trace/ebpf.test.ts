import assert from "node:assert/strict";
import { utimesSync } from "node:fs";
import { describe, it } from "node:test";
import { compileLibrary, contextOf, temporaryDirectory } from "../../../test/support/real-process.ts";
import { NO_UPROBES } from "../../../test/support/tracing.ts";
import { type Caller, compileCaller, compileTransport, startCaller } from "../../../test/support/transport-target.ts";
import { loadKernel } from "../../native/syscall.ts";
import { EbpfTracer } from "./ebpf.ts";
import { findTargets, TargetScanner } from "./targets.ts";

/** The function calls itself once: two entries and two returns of one thread for each call. */
const NESTED = `
int cuInit(unsigned flags) { return (int)flags; }
int cuda_transport_call(void *tp, unsigned id, const unsigned *args, unsigned n, const void *send, unsigned send_len,
    void *result, void *recv, unsigned cap, unsigned *len) {
  if (id == 0) return (int)args[0];
  return cuda_transport_call(tp, 0, args, n, send, send_len, result, recv, cap, len) ? (int)args[0] : 0;
}
`;

async function attachedTo(caller: Caller, limits: { calls: number; results: number; open: number }) {
  const kernel = loadKernel() ?? assert.fail();
  const tracer = new EbpfTracer(kernel, { only: null, limits });
  const { targets } = await findTargets(contextOf("/"), null);
  for (const { inode, offset, handle, pids } of targets) {
    if (pids.includes(caller.pid)) tracer.attach({ inode, offset, path: `/proc/self/fd/${handle.fd}` });
    await handle.close();
  }
  return tracer;
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

describe("counting with eBPF", { skip: NO_UPROBES }, () => {
  const directory = temporaryDirectory();
  const program = NO_UPROBES === false ? compileCaller(directory) : "";

  it("says exactly how many calls it could not count when its map is full", async () => {
    const caller = await startCaller(program, [compileTransport(directory, "full.so")]);
    const tracer = await attachedTo(caller, { calls: 2, results: 8, open: 8 });
    await caller.run(6000);
    const { calls, dropped, gaps } = tracer.read();
    tracer.close();
    assert.deepEqual([calls.length, sum(calls.map(({ count }) => count)), dropped], [2, 2000, 4000]);
    assert.match(gaps.join(), /4000 calls were not counted/);
    await caller.stop();
  });

  it("says how many results it could not count", async () => {
    const caller = await startCaller(program, [compileTransport(directory, "results.so")]);
    const tracer = await attachedTo(caller, { calls: 64, results: 1, open: 8 });
    await caller.run(6000);
    const { calls, dropped, gaps } = tracer.read();
    tracer.close();
    const failures = sum(
      calls.map(({ results }) => sum(Object.entries(results).map(([rc, count]) => (rc === "0" ? 0 : count)))),
    );
    assert.equal(dropped, 0);
    assert.match(gaps.join(), new RegExp(`^${1200 - failures} results were not counted`));
    await caller.stop();
  });

  it("notes calls within calls: the same call may be seen twice", async () => {
    const path = compileLibrary(directory, "nested.so", NESTED, "-O0", "-fcf-protection=none");
    const caller = await startCaller(program, [path]);
    const tracer = await attachedTo(caller, { calls: 64, results: 64, open: 8 });
    await caller.run(600);
    const { gaps } = tracer.read();
    tracer.close();
    assert.match(gaps.join(), /^600 calls began while another of the same thread was open/);
    await caller.stop();
  });
});

describe("what is probed", { skip: NO_UPROBES }, () => {
  const directory = temporaryDirectory();
  const program = NO_UPROBES === false ? compileCaller(directory) : "";

  it("is the instruction after endbr64, or the first where there is none", async () => {
    for (const [prologue, first] of [
      ["endbr", 0xe9],
      ["jump", 0xe9],
      ["push", 0x55],
    ] as const) {
      const caller = await startCaller(program, [compileTransport(directory, `${prologue}.so`, prologue)]);
      const { targets } = await new TargetScanner(contextOf("/")).scan([caller.pid]);
      assert.equal(targets.length, 1);
      const byte = Buffer.alloc(1);
      await targets[0]?.handle.read(byte, 0, 1, targets[0].offset);
      assert.equal(byte[0], first, prologue);
      await targets[0]?.handle.close();
      await caller.stop();
    }
  });

  it("is each file once, however many processes map it, and again when it was written anew", async () => {
    const path = compileTransport(directory, "shared.so");
    const callers = await Promise.all([startCaller(program, [path]), startCaller(program, [path])]);
    const pids = callers.map(({ pid }) => pid);
    const scanner = new TargetScanner(contextOf("/"));
    const first = await scanner.scan(pids);
    assert.deepEqual(first.processes.map(({ pid }) => pid).sort(), pids.toSorted());
    assert.deepEqual(
      first.targets.map(({ library }) => library),
      [path],
    );
    await first.targets[0]?.handle.close();
    assert.deepEqual((await scanner.scan(pids)).targets, []);
    utimesSync(path, 1, 1);
    const again = await scanner.scan(pids);
    assert.deepEqual(
      again.targets.map(({ inode }) => inode),
      [first.targets[0]?.inode],
    );
    await again.targets[0]?.handle.close();
    await Promise.all(callers.map((caller) => caller.stop()));
    assert.deepEqual((await scanner.scan(pids)).processes, []);
  });
});
